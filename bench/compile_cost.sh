#!/usr/bin/env bash
# What yoke's headers cost to compile: a file with one submit, against a file with the same standard headers alone.
set -euo pipefail
export LC_ALL=C.UTF-8

root=$(cd -P "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
if (($# < 1)) || [[ $1 == -* || ! -e $1/build.ninja ]]; then
  printf 'usage: bench/compile_cost.sh BUILD_FOLDER [REPETITIONS]\n' >&2
  printf 'CXX and CXXFLAGS are heeded (default: g++ -O2); medians of seconds of processor time\n' >&2
  exit 2
fi
build=$1
repetitions=${2:-7}
read -ra compiler <<<"${CXX:-g++} ${CXXFLAGS:--O2} -std=c++20 -DMSGPACK_NO_BOOST -I$root/include -I$build/include"

folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT

# The standard headers that yoke's own headers name. A name without a dot or a slash is one.
standard=$(sed -nE 's/^#include <([a-z_]+)>.*/#include <\1>/p' "$root"/include/yoke/*.hpp | sort -u)
call='int add(int a, int b) { return a + b; }
int call() { return yoke::ProcessPoolExecutor(1).submit(add, 2, 3).get(); }'

# A line each: name|what|content.
names=(standard executor umbrella submit)
declare -A what content
what[standard]='the standard headers that yoke includes'
content[standard]=$standard
what[executor]='<yoke/executor.hpp>'
content[executor]='#include <yoke/executor.hpp>'
what[umbrella]='<yoke/yoke.hpp>'
content[umbrella]='#include <yoke/yoke.hpp>'
what[submit]='<yoke/yoke.hpp> and one submit'
content[submit]="${content[umbrella]}"$'\n'"$call"

for name in "${names[@]}"; do
  printf '%s\n' "${content[$name]}" >"$folder/$name.cpp"
  "${compiler[@]}" -c "$folder/$name.cpp" -o "$folder/$name.o" # and warms the file cache
done

# In turns, so that what else the machine does hits all alike.
TIMEFORMAT='%U %S'
for ((turn = 0; turn < repetitions; ++turn)); do
  for name in "${names[@]}"; do
    { time "${compiler[@]}" -c "$folder/$name.cpp" -o "$folder/$name.o"; } 2>>"$folder/$name.times"
  done
done

declare -A seconds
printf '%s, median of %d\n' "${compiler[*]:0:3}" "$repetitions"
for name in "${names[@]}"; do
  seconds[$name]=$(awk '{ print $1 + $2 }' "$folder/$name.times" | sort -n | sed -n "$((repetitions / 2 + 1))p")
  awk -v s="${seconds[$name]}" -v base="${seconds[standard]}" -v what="${what[$name]}" \
    'BEGIN { printf "%-42s %5.2f s   %+.2f s\n", what, s, s - base }'
done
