#!/usr/bin/env bash
# M6: each public header compiles alone (g++), and after all others (clang++), without a warning; each says first of all what it
# needs of the language; and each C++ block of each page is a whole program that compiles, or one of tools/examples, which does.
# usage: headers_test.sh FOLDER INCLUDE_DIR...
set -uo pipefail
unset CDPATH
export LC_ALL=C.UTF-8
root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rm -rf -- "$1"
mkdir -p -- "$1"
work=$(cd -P -- "$1" && pwd)
folders=("${@:2}")
failed=0

flags=(-std=c++20 -Wall -Wextra -Wshadow -Wconversion -Werror "${folders[@]/#/-I}" -isystem/usr/include/eigen3 -isystem/usr/include/opencv4)
jobs=$(nproc)

# What other libraries' headers some of them include.
declare -A needs=([codecs/eigen.hpp]=Eigen/Core [codecs/nlohmann_json.hpp]=nlohmann/json.hpp [codecs/opencv.hpp]=opencv2/core/mat.hpp
  [codecs/protobuf.hpp]=google/protobuf/message_lite.h [compat/asio.hpp]=asio/async_result.hpp)
is_there() { printf '#include <%s>\n' "$1" | g++ "${flags[@]}" -x c++ -M - >/dev/null 2>&1; }

# verdict NAME STATUS FILE: what the compiler said is in FILE.
verdict() {
  if (($2 == 0)); then
    printf 'ok: %s\n' "$1"
  else
    printf 'NOT OK: %s\n%s\n' "$1" "$(head -n 15 "$3")"
    failed=1
  fi
}

# compile_all NAME...: $work/NAME.cpp by g++, several at once.
compile_all() {
  printf '%s\0' "$@" | xargs -0 -P "$jobs" -I{} sh -c "g++ ${flags[*]} -fsyntax-only '$work/{}.cpp' >'$work/{}.log' 2>&1
    echo \$? >'$work/{}.status'"
  local name
  for name; do verdict "$(<"$work/$name.shown")" "$(<"$work/$name.status")" "$work/$name.log"; done
}

# --- headers --------------------------------------------------------------------------------------------------------------

# refused HEADER SENTENCE FLAG...: with these flags the sentence is the first error.
refused() {
  g++ "${folders[@]/#/-I}" "${@:3}" -fsyntax-only -fmax-errors=1 "$work/${1//\//_}.cpp" >"$work/said" 2>&1
  [[ $(grep -m 1 -F error: "$work/said") == *"#error \"$2"* ]]
  verdict "$1 with ${*:3}" $? "$work/said"
}

names=()
while read -r header; do
  needed=${needs[$header]:-}
  if [[ -n $needed ]] && ! is_there "$needed"; then
    printf 'skipped: %s: there is no %s\n' "$header" "$needed"
    continue
  fi
  name=${header//\//_}
  names+=("$name")
  printf '#include <yoke/%s>\n' "$header" "$header" >"$work/$name.cpp" # twice: it has a guard
  printf '#include <yoke/%s>\n' "$header" >>"$work/all.cpp"
  printf '%s alone' "$header" >"$work/$name.shown"
  refused "$header" 'yoke needs C++20: compile with -std=c++20' -std=c++17
done < <(for folder in "${folders[@]}"; do (cd "$folder/yoke" && find . -name '*.hpp'); done | sed 's,^\./,,' | sort -u)
refused yoke.hpp 'yoke needs exceptions' -std=c++20 -fno-exceptions
refused yoke.hpp 'yoke needs typeid' -std=c++20 -fno-rtti
((${#names[@]} > 30)) || { echo 'NOT OK: the headers were not found'; exit 1; }
compile_all "${names[@]}"
if command -v clang++ >/dev/null; then
  clang++ "${flags[@]}" -fsyntax-only "$work/all.cpp" >"$work/said" 2>&1
  verdict 'all by clang++' $? "$work/said"
fi

# --- pages ----------------------------------------------------------------------------------------------------------------

names=()
while read -r page; do
  shown=${page#"$root/"}
  awk -v start="$work/${shown//\//_}" '
    /^```/ { inside = !inside; file = /^```(cpp|c\+\+|cc|cxx)/ && !quote ? start "_" NR ".cpp" : "/dev/null" }
    /^[^ `]/ && !inside { quote = /^<!-- file: / }
    inside && !/^```/ { print > file }
  ' "$page"
  for block in "$work/${shown//\//_}"_*.cpp; do
    [[ -e $block ]] || continue
    name=$(basename "$block" .cpp)
    for needed in $(sed -nE 's/^#include <([^>]+)>.*/\1/p' "$block"); do is_there "$needed" || continue 2; done
    names+=("$name")
    printf '%s, the block in line %s' "$shown" "${name##*_}" >"$work/$name.shown"
  done
done < <(cd "$root" && find "$root" -name '*.md' -not -path "$root/build*" -not -path '*/subprojects/*/*')
((${#names[@]} == 0)) || compile_all "${names[@]}"
exit "$failed"
