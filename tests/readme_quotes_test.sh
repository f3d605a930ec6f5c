#!/usr/bin/env bash
# What README.md and the guide (include/README.md, include/guide/*.md) quote is what there is: a file, or what an example
# prints, word for word, in a fenced block behind a comment that names it:
#   <!-- file: tools/examples/hello.cpp -->      the source; any other file of the repository too
#   <!-- output: hello -->                       tools/examples/hello.expected
# Each example of tools/examples is quoted by one page at least, with its output; and relative links lead to files.
# usage: readme_quotes_test.sh [PAGE...]
set -euo pipefail
root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
examples=$root/tools/examples
pages=("$@")
(($#)) || pages=("$root/README.md" "$root/include/README.md" "$root"/include/guide/*.md)
failed=0
complain() {
  printf '%s\n' "$*"
  failed=1
}

# quotes PAGE: a line "KIND NAME" for each comment.
quotes() {
  sed -nE 's/^<!-- (file|output): (.*[^ ]) *-->$/\1 \2/p' "$1"
}

# quoted PAGE KIND NAME: the block behind that comment; blank lines may stand between the two.
quoted() {
  awk -v comment="<!-- $2: $3 -->" '
    { sub(/[ \t]+$/, "", $0) }
    state == "inside" && /^```$/ { exit }
    state == "inside" { print; next }
    state == "behind" && /^```/ { state = "inside"; next }
    state == "behind" && !/^$/ { exit }
    $0 == comment { state = "behind" }
  ' "$1"
}

# links PAGE: the targets of its relative links, outside of blocks of code.
links() {
  awk '/^```/ { code = !code } !code' "$1" | sed 's/`[^`]*`//g' | grep -oE '\]\([^)]+\)' |
    sed -E 's/^\]\(//; s/\)$//; s/#.*//' | grep -vE '^([a-z]+:|$)' || true
}

for page in "${pages[@]}"; do
  [[ -r $page ]] || { complain "there is no $page"; continue; }
  shown=${page#"$root/"}
  while read -r kind name; do
    file=$root/$name
    [[ $kind == file ]] || file=$examples/$name.expected
    if [[ ! -r $file ]]; then
      complain "$shown quotes $kind $name, and there is no $file"
    elif ! diff -u --label "$shown: $kind $name" --label "$file" \
      <(quoted "$page" "$kind" "$name") <(sed -E 's/[ \t]+$//' "$file"); then
      failed=1
    fi
  done < <(quotes "$page")
  while read -r target; do
    [[ -e $(dirname "$page")/$target ]] || complain "$shown: a link leads to nothing: $target"
  done < <(links "$page")
done

all=$(for page in "${pages[@]}"; do [[ ! -r $page ]] || quotes "$page"; done)
for source in "$examples"/*.cpp; do
  for wanted in "file ${source#"$root/"}" "output $(basename "$source" .cpp)"; do
    grep -qxF -- "$wanted" <<<"$all" || complain "no page quotes: $wanted"
  done
done
exit "$failed"
