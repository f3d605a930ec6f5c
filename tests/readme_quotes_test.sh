#!/usr/bin/env bash
# What README.md quotes is what there is: each example of tools/examples, and what it prints, stands in it word for
# word, in a fenced block behind a comment that names it:
#   <!-- file: tools/examples/hello.cpp -->      the source
#   <!-- output: hello -->                       tools/examples/hello.expected
# Any other file of the repository may be quoted by `file:` as well. usage: readme_quotes_test.sh [README [EXAMPLES]]
set -euo pipefail
root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readme=${1:-$root/README.md}
examples=${2:-$root/tools/examples}
[[ -r $readme ]] || { printf 'there is no %s\n' "$readme"; exit 1; }

# quotes: a line "KIND NAME" for each comment.
quotes() {
  sed -nE 's/^<!-- (file|output): (.*[^ ]) *-->$/\1 \2/p' "$readme"
}

# quoted KIND NAME: the block behind that comment; blank lines may stand between the two.
quoted() {
  awk -v comment="<!-- $1: $2 -->" '
    { sub(/[ \t]+$/, "", $0) }
    state == "inside" && /^```$/ { exit }
    state == "inside" { print; next }
    state == "behind" && /^```/ { state = "inside"; next }
    state == "behind" && !/^$/ { exit }
    $0 == comment { state = "behind" }
  ' "$readme"
}

failed=0
check() {
  local kind=$1 name=$2 file=$3
  if [[ ! -r $file ]]; then
    printf 'README quotes %s %s, and there is no %s\n' "$kind" "$name" "$file"
    failed=1
  elif ! diff -u --label "README: $kind $name" --label "$file" \
    <(quoted "$kind" "$name") <(sed -E 's/[ \t]+$//' "$file"); then
    failed=1
  fi
}

while read -r kind name; do
  case $kind in
    file) check file "$name" "$root/$name" ;;
    output) check output "$name" "$examples/$name.expected" ;;
  esac
done < <(quotes)

for source in "$examples"/*.cpp; do
  name=$(basename "$source" .cpp)
  for wanted in "file ${source#"$root/"}" "output $name"; do
    grep -qxF -- "$wanted" <(quotes) && continue
    printf 'README does not quote: %s\n' "$wanted"
    failed=1
  done
done
exit "$failed"
