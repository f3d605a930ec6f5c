#!/usr/bin/env bash
# An example prints what its .expected file says, where these stand for what differs from run to run:
#   {pid} {n} {mb}  a number    {ms}  a number, with decimals    {hex}  an address    {path}  a file's path
# How many callers a crash report names is up to the optimiser: lines "  called from ..." need not be expected.
set -euo pipefail
if (($# != 2)); then
  printf 'usage: %s PROGRAM EXPECTED\n' "$0" >&2
  exit 2
fi
program=$1
mapfile -t expected <"$2"

status=0
output=$("$program" 2>&1 </dev/null) || status=$?
grep -q '^  called from ' "$2" || output=$(sed '/^  called from /d' <<<"$output")
mapfile -t printed < <([[ -z $output ]] || printf '%s\n' "$output")

# An expected line as a regular expression: all that is special in one is quoted, then the placeholders are replaced.
as_pattern() {
  sed -E -e 's/[][(){}.*+?|^$\\]/\\&/g' \
    -e 's/\\\{(pid|n|mb)\\\}/[0-9]+/g' -e 's/\\\{ms\\\}/[0-9]+(\\.[0-9]+)?/g' \
    -e 's/\\\{hex\\\}/0x[0-9a-f]+/g' -e 's/\\\{path\\\}/[^: ]+/g' <<<"$1"
}

failed=0
((status == 0)) || { printf 'exit status %d\n' "$status"; failed=1; }
lines=$((${#expected[@]} > ${#printed[@]} ? ${#expected[@]} : ${#printed[@]}))
for ((i = 0; i < lines; i++)); do
  want=${expected[i]-<nothing>}
  got=${printed[i]-<nothing>}
  pattern=^$(as_pattern "$want")\$
  [[ $got =~ $pattern ]] && continue
  printf 'line %d\n  expected: %s\n  printed:  %s\n' $((i + 1)) "$want" "$got"
  failed=1
done
exit "$failed"
