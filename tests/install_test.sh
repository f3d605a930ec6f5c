#!/usr/bin/env bash
# M5: what `meson install` makes of a shared library, a static one and both is used as README.md says, word for word: a program and
# a task library, by pkg-config, CMake and Meson; and each `yoke` command finds the tasks of each library.
# usage: install_test.sh FOLDER BUILD. The objects of the library and of the command are those of BUILD; all else is made anew.
set -euo pipefail
unset CDPATH
export LC_ALL=C.UTF-8
unset "${!YOKE_@}" CXXFLAGS LDFLAGS PKG_CONFIG_PATH PKG_CONFIG_LIBDIR LD_LIBRARY_PATH DESTDIR

root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(cd -P -- "$2" && pwd)
rm -rf -- "$1"
mkdir -p -- "$1"
work=$(cd -P -- "$1" && pwd)

# --- what README.md says --------------------------------------------------------------------------------------------------

block() { awk -v fence='```'"$1" '/^```/ { inside = $0 == fence; next } inside' "$root/README.md"; } # LANGUAGE
line() { grep -m 1 -e "$1" "$root/README.md" | sed 's/^\$ //'; }                                    # PATTERN
compile_program=$(line '^g++ .*libs yoke)$')
compile_with_path=$(line '^g++ .*-rpath')
compile_tasks=$(line '^\$ g++ .*tasks\.cpp')
cmake_lines=$(block cmake)
meson_lines=$(block meson)

# --- a compiler that has compiled the library before ----------------------------------------------------------------------

cat >"$work/g++" <<END
#!/bin/sh
out= deps= last=
for word; do
  case \$last in -o) out=\$word ;; -MF) deps=\$word ;; esac
  last=\$word
done
case \$out in
  lib/libyoke.*.p/*.o) made=\$(echo '$build'/lib/libyoke.so.*.p/"\${out##*/}") ;;
  tools/yoke.p/*.o) made='$build'/\$out ;;
  *) exec g++ "\$@" ;;
esac
cp "\$made" "\$out" && echo "\$out:" >"\$deps"
END
chmod +x "$work/g++"

# --- checks ---------------------------------------------------------------------------------------------------------------

failed=0
check() { # NAME COMMAND...: it must succeed
  local output
  if output=$("${@:2}" 2>&1); then
    printf 'ok: %s\n' "$1"
  else
    printf 'NOT OK: %s\n%s\n' "$1" "$(tail -n 15 <<<"$output" | sed 's/^/  /')"
    failed=1
  fi
}
in_folder() { (cd "$1" && eval "$2"); }
prints() { # TEXT COMMAND...: it is among what the command says
  local output
  output=$(timeout 60 "${@:2}" 2>&1) || true
  printf '%s\n' "$output"
  [[ $output == *"$1"* ]]
}
names_no_system_folder() { ! prints /usr/include pkg-config --define-variable=prefix=/usr --cflags yoke; }
builds_no_more_than_is_wanted() {
  meson introspect "$1" --targets | python3 -c '
import json, sys
names = {target["name"] for target in json.load(sys.stdin) if target["build_by_default"]}
assert names == {"yoke", "yoke-worker"}, names'
}

hello='2 + 3 = 5'
mapped='"value":11'

# --- one kind of library, in a prefix of its own --------------------------------------------------------------------------

try_kind() { # shared|static|both
  local kind=$1 at=$work/$1
  export HOME=$at
  local prefix=$HOME/yoke
  mkdir -p "$at"/{program,cmake,meson}
  cp "$root/tests/children/one_task.cpp" "$at/program/tasks.cpp"
  for folder in program cmake meson; do cp "$root/tools/examples/hello.cpp" "$at/$folder/main.cpp"; done
  printf 'cmake_minimum_required(VERSION 3.16)\nproject(user CXX)\nadd_executable(app main.cpp)\n%s\n' "$cmake_lines" \
    >"$at/cmake/CMakeLists.txt"
  printf "project('user', 'cpp', default_options: 'cpp_std=c++20')\n%s\n" "$meson_lines" >"$at/meson/meson.build"

  check "$kind: configure" env CXX="$work/g++" meson setup -Ddefault_library="$kind" --prefix="$prefix" --libdir=lib "$at/build" "$root"
  check "$kind: builds the library and the command alone" builds_no_more_than_is_wanted "$at/build"
  check "$kind: build" ninja -C "$at/build"
  check "$kind: install" meson install -C "$at/build" --no-rebuild

  export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
  check "$kind: no folder of the system's is named" names_no_system_folder
  check "$kind: $compile_program" in_folder "$at/program" "$compile_program"
  check "$kind: it runs" prints "$hello" env LD_LIBRARY_PATH="$prefix/lib" "$at/program/a.out"
  check "$kind: $compile_with_path" in_folder "$at/program" "$compile_with_path"
  check "$kind: it runs" prints "$hello" "$at/program/a.out"
  check "$kind: $compile_tasks" in_folder "$at/program" "$compile_tasks"
  if command -v cmake >/dev/null; then
    check "$kind: CMake" cmake -G Ninja -S "$at/cmake" -B "$at/cmake/build" -DCMAKE_PREFIX_PATH="$prefix"
    check "$kind: CMake builds" ninja -C "$at/cmake/build"
    check "$kind: CMake's program runs" prints "$hello" "$at/cmake/build/app"
  fi
  check "$kind: Meson" meson setup "$at/meson/build" "$at/meson"
  check "$kind: Meson builds" ninja -C "$at/meson/build"
  check "$kind: Meson's program runs" prints "$hello" "$at/meson/build/app"
  return "$failed"
}

pids=()
for kind in shared static both; do
  try_kind "$kind" >"$work/$kind.log" 2>&1 &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
cat "$work"/{shared,static,both}.log

# --- each command with each library of tasks -------------------------------------------------------------------------------

with_archive() { # KIND NAME FLAG...: a library of tasks that has a copy of libyoke.a in it
  export PKG_CONFIG_PATH=$work/$1/yoke/lib/pkgconfig
  local libraries
  libraries=$(pkg-config --static --libs yoke)
  # shellcheck disable=SC2046,SC2086 # flags
  g++ -std=c++20 -shared -fPIC "$work/tasks.o" -o "$work/$2.so" "${@:3}" ${libraries/-lyoke/-l:libyoke.a}
}
# shellcheck disable=SC2046 # flags
check 'compile tasks' g++ -std=c++20 -fPIC -c "$work/both/program/tasks.cpp" -o "$work/tasks.o" -I"$work/both/yoke/include"
check 'link tasks to the archive' with_archive both archive
check 'link tasks to the archive, bound to it' with_archive both bound -Wl,-Bsymbolic
check 'link tasks to the archive, hidden' with_archive static hidden -Wl,--exclude-libs,ALL
hint='a hidden copy of yoke'
for command in shared static both; do
  mv "$work/$command/yoke" "$work/$command/moved" # an installed tree stands anywhere
  yoke=$work/$command/moved/bin/yoke
  for library in "$work"/{shared,static,both}/program/libtasks.so "$work/archive.so"; do
    # Nothing but a library of tasks brings libyoke.so to a command that does not need it.
    [[ $command != static ]] || export LD_LIBRARY_PATH=$work/shared/moved/lib
    check "the $command command with ${library#"$work/"}" prints "$mapped" "$yoke" map "$library:length" eleven_long
    unset LD_LIBRARY_PATH
  done
  for library in "$work"/{bound,hidden}.so; do
    check "the $command command with ${library#"$work/"} says why not" prints "$hint" "$yoke" map "$library:length" eleven_long
  done
done
printf '\n%s\n' "$( ((failed == 0)) && echo passed || echo failed)"
exit "$failed"
