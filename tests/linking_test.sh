#!/usr/bin/env bash
# Programs that link the library in every way that a user may: each must run and print 41, or be refused in a clear sentence.
#
# usage: linking_test.sh [FOLDER]. FOLDER keeps what was built for the next run; without it all is built anew and removed.
# A project that has yoke as a Meson subproject builds it, and installs it; everything else is linked to that by hand.
set -euo pipefail
unset CDPATH
export LC_ALL=C.UTF-8
unset "${!YOKE_@}"

root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
children=$root/tests/children
if [[ -n ${1:-} ]]; then
  mkdir -p -- "$1"
  work=$(cd -P -- "$1" && pwd)
else
  work=$(mktemp -d)
  trap 'rm -rf -- "$work"' EXIT
fi
log=$work/linking.log
: >"$log"
prefix=$work/prefix
libdir=$prefix/lib
unset CXXFLAGS LDFLAGS PKG_CONFIG_PATH PKG_CONFIG_LIBDIR LD_LIBRARY_PATH
export PKG_CONFIG_PATH=$libdir/pkgconfig

ccache=
if command -v ccache >/dev/null && [[ -w $(ccache --get-config cache_dir 2>/dev/null || echo /nowhere) ]]; then ccache=ccache; fi
export CXX="${ccache:+$ccache }g++"

# Says what failed and stops: without a library there is nothing to link.
must() {
  printf '+ %s\n' "${*@Q}" >>"$log"
  if ! "$@" >>"$log" 2>&1; then
    tail -n 40 "$log" >&2
    printf 'NOT OK: %s\n' "${*@Q}" >&2
    exit 1
  fi
}

passed=0
failed=0
skipped=0
verdict() { # NAME STATUS [OUTPUT FILE]
  if [[ $2 == 0 ]]; then
    passed=$((passed + 1))
    printf 'ok: %s\n' "$1"
  else
    failed=$((failed + 1))
    printf 'NOT OK: %s\n' "$1"
    [[ ! -s ${3:-} ]] || sed 's/^/  /' "$3" | head -n 20
  fi
}
skip() {
  skipped=$((skipped + 1))
  printf 'skipped: %s\n' "$1"
}
has() { command -v "$1" >/dev/null; }

# --- the library: as a subproject, installed ------------------------------------------------------------------------------

# meson_project FOLDER SOURCE: a project of one program that depends on yoke.
meson_project() {
  mkdir -p "$1"
  cat >"$1/meson.build" <<END
project('user', 'cpp', default_options: ['cpp_std=c++20', 'warning_level=3', 'werror=true'])
executable('user', '$2', dependencies: dependency('yoke'))
END
  cp "$children/$2" "$1/$2"
}

meson_project "$work/subproject" ten_lines.cpp
mkdir -p "$work/subproject/subprojects"
ln -sfn "$root" "$work/subproject/subprojects/yoke"
printf '[wrap-file]\ndirectory = yoke\n\n[provide]\nyoke = yoke_dep\n' >"$work/subproject/subprojects/yoke.wrap"
[[ -e $work/subproject/build/build.ninja ]] || must env PKG_CONFIG_PATH= meson setup --buildtype=debug \
  -Dyoke:default_library=both --prefix="$prefix" --libdir=lib --force-fallback-for=yoke "$work/subproject/build" "$work/subproject"
must ninja -C "$work/subproject/build"
must meson install -C "$work/subproject/build" --no-rebuild

check_output() { # NAME COMMAND...: it must print 41
  local name=$1 status=0 output=$work/output
  shift
  timeout 60 "$@" >"$output" 2>&1 || status=$?
  [[ $status == 0 && $(<"$output") == 41 ]] || status=1
  verdict "$name" "$status" "$output"
}
check_refusal() { # NAME PATTERN COMMAND...: it must fail and say so
  local name=$1 pattern=$2 status=0 output=$work/output
  shift 2
  if timeout 60 "$@" >"$output" 2>&1 || ! grep -qE -e "$pattern" "$output"; then status=1; fi
  verdict "$name" "$status" "$output"
}

check_output 'Meson subproject' "$work/subproject/build/user"
meson_project "$work/installed" ten_lines.cpp
rm -rf -- "$work/installed/build"
must meson setup --buildtype=debug "$work/installed/build" "$work/installed"
must ninja -C "$work/installed/build"
check_output 'Meson with the installed library' "$work/installed/build/user"

# --- CMake, with the installed library ------------------------------------------------------------------------------------

if has cmake; then
  rm -rf -- "$work/cmake" "$work/moved"
  mkdir -p "$work/cmake"
  cp "$children/ten_lines.cpp" "$work/cmake/"
  cat >"$work/cmake/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.16)
project(user CXX)
find_package(yoke ${WANTED} REQUIRED)
foreach(kind yoke shared static)
  add_executable(user_${kind} ten_lines.cpp)
  target_link_libraries(user_${kind} PRIVATE yoke::${kind})
endforeach()
END
  cp -r "$prefix" "$work/moved" # it says nothing of where it was installed
  with_cmake=(cmake -G Ninja -S "$work/cmake" -B "$work/cmake/build" "-DCMAKE_PREFIX_PATH=$work/moved")
  must "${with_cmake[@]}" -DWANTED=0.1
  must ninja -C "$work/cmake/build"
  for kind in yoke shared static; do check_output "CMake, yoke::$kind" "$work/cmake/build/user_$kind"; done
  for version in 99 0.0; do check_refusal "CMake, version $version" 'with requested version' "${with_cmake[@]}" -DWANTED=$version; done
else
  skip cmake
fi

# --- by hand: one program for each combination, built by one ninja --------------------------------------------------------

programs=$work/programs
mkdir -p "$programs"
rules=$programs/build.ninja
cat >"$rules" <<'END'
rule compile
  command = $compiler -std=c++20 $flags -MD -MF $out.d -c $in -o $out
  depfile = $out.d
rule link
  command = $compiler $flags $in -o $out $libraries
END
declare -A compiled=()
names=()
object=

# need_object COMPILER SOURCE FLAGS: sets `object`; what was compiled in the same way before is not compiled again.
need_object() {
  local key="$1 $2 $3"
  object=${compiled[$key]:-}
  [[ -z $object ]] || return 0
  object=$2-${#compiled[@]}.o
  compiled[$key]=$object
  printf 'build %s: compile %s\n  compiler = %s\n  flags = %s\n' "$object" "$children/$2" "${ccache:+$ccache }$1" \
    "$(pkg-config --cflags yoke) $3" >>"$rules"
}

shared_libraries="$(pkg-config --libs yoke) -Wl,-rpath,$libdir"
static_libraries=$(pkg-config --static --libs yoke | sed 's/-lyoke\b/-l:libyoke.a/')

# program NAME COMPILER shared|static COMPILE-FLAGS LINK-FLAGS [SOURCE [MORE-LIBRARIES [BUILT FIRST]]]
program() {
  local name=$1 libraries=$shared_libraries
  [[ $3 != static ]] || libraries=$static_libraries
  need_object "$2" "${6:-ten_lines.cpp}" "$4"
  names+=("$name")
  printf 'build %s: link %s%s\n  compiler = %s\n  flags = %s\n  libraries = %s %s\n' "${name// /_}" "$object" \
    "${8:+ || $8}" "$2" "$4 $5" "${7:-}" "$libraries" >>"$rules"
}

for compiler in g++ clang++; do
  if ! has "$compiler"; then
    skip "$compiler"
    continue
  fi
  for kind in shared static; do
    name="$compiler $kind"
    program "$name -O0" $compiler $kind '-O0' ''
    program "$name -O2" $compiler $kind '-O2' ''
    program "$name -O2 hidden" $compiler $kind '-O2 -fvisibility=hidden' ''
    program "$name -O2 stripped" $compiler $kind '-O2' '-s'
    program "$name -no-pie" $compiler $kind '-O2 -fno-pie' '-no-pie'
    program "$name gc-sections" $compiler $kind '-O2 -ffunction-sections -fdata-sections' '-Wl,--gc-sections'
    program "$name NDEBUG as-needed" $compiler $kind '-O2 -DNDEBUG' '-Wl,--as-needed'
    program "$name -static-libstdc++" $compiler $kind '-O2' '-static-libstdc++'
    program "$name bind now" $compiler $kind '-O2' '-Wl,-z,relro,-z,now'
    if has ld.gold; then program "$name gold" $compiler $kind '-O2' '-fuse-ld=gold'; else skip "$name gold"; fi
    if has ld.lld; then
      program "$name lld" $compiler $kind '-O2' '-fuse-ld=lld'
      program "$name lld icf" $compiler $kind '-O2 -ffunction-sections' '-fuse-ld=lld -Wl,--icf=all -Wl,--gc-sections'
    else
      skip "$name lld"
    fi
    if [[ $compiler == g++ ]]; then
      program "$name lto" $compiler $kind '-O2 -flto' ''
      program "$name lto stripped gc" $compiler $kind '-O2 -flto -ffunction-sections' '-s -Wl,--gc-sections'
    elif has ld.lld; then
      program "$name lto" $compiler $kind '-O2 -flto' '-fuse-ld=lld'
      program "$name thin lto icf" $compiler $kind '-O2 -flto=thin' '-fuse-ld=lld -Wl,--icf=all'
    fi
  done

  # Tasks of a user's shared library. The library yoke is the shared one: two copies of it in one process are two libraries.
  need_object $compiler user_library.cpp '-O2 -fPIC -fvisibility=hidden'
  printf 'build lib%s_tasks.so: link %s\n  compiler = %s\n  flags = -shared\n  libraries = %s\n' "$compiler" "$object" $compiler \
    "$shared_libraries" >>"$rules"
  program "$compiler tasks of a linked library" $compiler shared '-O2' '' library_user.cpp \
    "-L$programs -l${compiler}_tasks -Wl,-rpath,$programs" "lib${compiler}_tasks.so"
  program "$compiler tasks of a library opened later" $compiler shared \
    "-O2 -DLATE_LIBRARY='\"$programs/lib${compiler}_tasks.so\"'" '' library_user.cpp
done

# Fully static programs. Where the system has no static fmt, as Debian, its two functions are compiled from its headers.
static_fmt=-lfmt
if [[ ! -e $(g++ -print-file-name=libfmt.a) ]]; then
  printf '%s\n' '#include <fmt/format-inl.h>' 'namespace fmt::detail {' \
    'template auto thousands_sep_impl(locale_ref) -> thousands_sep_result<char>;' \
    'template auto decimal_point_impl(locale_ref) -> char;' \
    'template void buffer<char>::append(const char*, const char*);' '}' >"$programs/static_fmt.cpp"
  printf 'build static_fmt.o: compile static_fmt.cpp\n  compiler = %s\n  flags = -fPIE -w\n' "${ccache:+$ccache }g++" >>"$rules"
  static_fmt=static_fmt.o
fi
static_names=()
fully_static() { # NAME COMPILER COMPILE-FLAGS LINK-FLAGS
  need_object "$2" static_program.cpp "$3"
  static_names+=("$1")
  printf 'build %s: link %s | %s\n  compiler = %s\n  flags = %s\n  libraries = %s\n' "${1// /_}" "$object" \
    "$([[ $static_fmt == -lfmt ]] || printf %s "$static_fmt")" "$2" "$3 $4" \
    "${static_libraries/-lfmt/$static_fmt}" >>"$rules"
}
for compiler in g++ clang++; do
  has "$compiler" || continue
  fully_static "$compiler -static" $compiler '-O2' '-static'
  fully_static "$compiler -static-pie" $compiler '-O2 -fPIE' '-static-pie'
  if has ld.gold; then fully_static "$compiler -static gold" $compiler '-O2' '-static -fuse-ld=gold'; fi
  if has ld.lld; then fully_static "$compiler -static lld" $compiler '-O2' '-static -fuse-ld=lld'; fi
done

# Plug-ins, and a host that knows nothing of yoke: the start hook cannot have run.
for kind in shared static; do
  need_object g++ plug_in.cpp '-O2 -fPIC -fvisibility=hidden'
  libraries=${kind}_libraries
  printf 'build plug_in_%s.so: link %s\n  compiler = g++\n  flags = -shared -Wl,-z,defs\n  libraries = %s\n' "$kind" "$object" \
    "${!libraries}" >>"$rules"
done
# One that exports no more than it must: nothing but the library itself keeps it from being unloaded.
printf '%s\n' '{ global: try_workers; yoke_worker_main; local: *; };' >"$programs/few_exports.map"
printf 'build plug_in_few_exports.so: link %s | few_exports.map\n  compiler = g++\n  flags = -shared -Wl,--version-script=few_exports.map\n  libraries = %s\n' \
  "$object" "$static_libraries" >>"$rules"
printf 'build plain_host: link %s\n  compiler = gcc\n  libraries = -ldl -pthread\n' "$children/plain_host.c" >>"$rules"

# What an earlier run linked must not be taken for this one's.
for name in "${names[@]}" "${static_names[@]}" plain_host plug_in_shared.so plug_in_static.so plug_in_few_exports.so; do rm -f -- "$programs/${name// /_}"; done
ninja -C "$programs" -k 0 >"$programs/ninja.log" 2>&1 || true

# built NAME: false if it was not linked; then the reason is in the output.
built() {
  [[ -x $programs/${1// /_} ]] && return 0
  grep -F -A 12 "FAILED: ${1// /_} " "$programs/ninja.log" >"$work/output" || tail -n 20 "$programs/ninja.log" >"$work/output"
  verdict "$1" 1 "$work/output"
  return 1
}
for name in "${names[@]}"; do
  if built "$name"; then check_output "$name" "$programs/${name// /_}"; fi
done
for name in "${static_names[@]}"; do
  built "$name" || continue
  check_output "$name with yoke::init" "$programs/${name// /_}"
  check_refusal "$name without it" 'Call yoke::init\(argc, argv\)|put -lc before -lyoke' "$programs/${name// /_}" no-init
done

# --- plug-ins in hosts that are not linked to yoke -------------------------------------------------------------------------

check_says() { # NAME PATTERN COMMAND...: it must succeed and say so
  local name=$1 pattern=$2 status=0 output=$work/output
  shift 2
  timeout 60 "$@" >"$output" 2>&1 || status=$?
  grep -qE -e "$pattern" "$output" || status=1
  verdict "$name" "$status" "$output"
}
of_plug_in='^sum 41, 2, 4, 6; nested 8; thrown refused by .*refuse\(\).*; died: .*SIGSEGV at address 0x0 .* in .*fall_over'
with_ctypes='import ctypes, sys
function = ctypes.CDLL(sys.argv[1]).try_workers
function.restype = ctypes.c_char_p
print(function().decode())'
for kind in shared static; do
  built plug_in_$kind.so && built plain_host || continue
  check_says "a plug-in with yoke $kind, in a C program" "$of_plug_in" "$programs/plain_host" "$programs/plug_in_$kind.so"
  check_says "the same, by a relative path" "$of_plug_in" env --chdir="$programs" ./plain_host ./plug_in_$kind.so
  if has python3; then
    check_says "the same, in Python" "$of_plug_in" python3 -c "$with_ctypes" "$programs/plug_in_$kind.so"
  else
    skip "a plug-in with yoke $kind, in Python"
  fi
  check_says "the same, without yoke-worker" 'not linked to yoke.*there is none: /nowhere \(No such file.*YOKE_WORKER_PROGRAM' \
    env YOKE_WORKER_PROGRAM=/nowhere "$programs/plain_host" "$programs/plug_in_$kind.so"
done
# The library's threads may run on: what holds their code stays.
if built plug_in_few_exports.so; then
  for said in "$of_plug_in" '^the plug-in stays loaded$'; do
    check_says "a plug-in with few exports: $said" "$said" "$programs/plain_host" "$programs/plug_in_few_exports.so"
  done
fi
# The worker leaves word of what it cannot do.
cp "$programs/plug_in_static.so" "$work/short_lived.so"
check_says 'a plug-in whose file is gone' 'yoke-worker cannot open.*short_lived.so' \
  "$programs/plain_host" "$work/short_lived.so" removed

# --- what is refused ------------------------------------------------------------------------------------------------------

check_refusal 'C++17' 'yoke needs C\+\+20: compile with -std=c\+\+20' \
  g++ -std=c++17 -fsyntax-only "-I$prefix/include" "$children/ten_lines.cpp"
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
