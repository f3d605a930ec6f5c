#!/usr/bin/env bash
# The example job counts what grep counts, to the letter, over every file of a root, and loses only the poisoned one.
# usage: wordcount_equals_grep_test.sh WORDCOUNT_JOB [ROOT]
set -euo pipefail
if (($# < 1)); then
  printf 'usage: %s WORDCOUNT_JOB [ROOT]\n' "$0" >&2
  exit 2
fi
job=$1
root=${2:-/usr/include/c++}
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
export LC_ALL=C

broken=0
fail() {
  printf 'NOT OK: %s\n' "$*"
  broken=1
}

# same_as_grep NAME ROOT
same_as_grep() {
  if ! "$job" --root "$2" --counts "$scratch/$1.job" >"$scratch/$1.summary" 2>&1; then
    cat "$scratch/$1.summary"
    fail "$1: the job failed"
    return
  fi
  # grep says 1 where a file holds no identifier, and xargs turns that into 123.
  { find "$2" -type f -print0 | xargs -0 -r grep -aohE '[A-Za-z_][A-Za-z0-9_]*' || (($? == 123)); } |
    sort | uniq -c >"$scratch/$1.grep"
  if cmp -s "$scratch/$1.job" "$scratch/$1.grep"; then
    printf 'ok: %s: %d identifiers, the same as by grep\n' "$1" "$(wc -l <"$scratch/$1.grep")"
  else
    diff "$scratch/$1.grep" "$scratch/$1.job" | head -n 20
    fail "$1: not the same as by grep (<) and by the job (>)"
  fi
  grep -q 'add_to_section' "$scratch/$1.summary" || fail "$1: the summary does not name the function that crashed"
  grep -qE 'SIGSEGV.*parser\.cpp:[0-9]+|AddressSanitizer|exited' "$scratch/$1.summary" ||
    fail "$1: the summary does not say how the poisoned file killed its worker"
}

# Files that test the edges: no newline at the end, NUL bytes, bytes that are no ASCII, digits in front, nothing at all.
mkdir -p "$scratch/edges/folder with blanks"
printf 'abc\0def 0x1F 12ab __x9\nlast' >"$scratch/edges/nul.h"
printf 'caf\xe9d \xff\xfe\xc3\xa9t\xc3\xa9 1_2 a\r\nb\r\n' >"$scratch/edges/folder with blanks/latin.h"
printf '\0\0\n\0' >"$scratch/edges/zeros"
: >"$scratch/edges/empty.h"
head -c 300000 /dev/urandom >"$scratch/edges/random"
ln -s nul.h "$scratch/edges/link.h"
mkdir "$scratch/none"

same_as_grep edges "$scratch/edges"
same_as_grep root "$root"
exit "$broken"
