#!/usr/bin/env bash
# G2, G11: what cannot cross is a compile error whose text says so in a sentence.
# usage: compile_error_test.sh INCLUDE_DIR...
set -uo pipefail

includes=()
for folder; do includes+=("-I$folder"); done
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
broken=0
tried=0

cat >"$scratch/common.hpp" <<'END'
#include <yoke/yoke.hpp>
#include <mutex>
struct Opaque { Opaque(const Opaque&); virtual ~Opaque(); int* secret; };
int take(const Opaque&);
Opaque give();
inline int add(int a, int b) { return a + b; }
END
# Compiled once, since it takes longer than all cases together. Both compilers find theirs by its name.
compile() { "$1" -std=c++20 "${includes[@]}" "${@:2}"; }
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  case $compiler in g++) precompiled=common.hpp.gch ;; *) precompiled=common.hpp.pch ;; esac
  compile "$compiler" -x c++-header "$scratch/common.hpp" -o "$scratch/$precompiled" || exit 1
done

# expect PROMISE SENTENCE BODY: main with this body does not compile, and the compiler quotes the sentence ('' if it does compile).
expect() {
  local compiler output
  cat >"$scratch/case.cpp" <<END
int main() {
  yoke::ProcessPoolExecutor pool(1);
  $3
}
END
  for compiler in g++ clang++; do
    command -v "$compiler" >/dev/null || continue
    tried=$((tried + 1))
    if output=$(compile "$compiler" -fsyntax-only -include "$scratch/common.hpp" "$scratch/case.cpp" 2>&1); then
      [[ -z $2 ]] || { printf 'NOT OK: %s (%s): it compiled\n' "$1" "$compiler"; broken=1; continue; }
    elif [[ -z $2 || $output != *"$2"* ]]; then
      printf 'NOT OK: %s (%s): wanted: %s\n%s\n' "$1" "$compiler" "${2:-no error}" "$(head -n 30 <<<"$output")"
      broken=1
      continue
    fi
    printf 'ok: %s (%s)\n' "$1" "$compiler"
  done
}

expect 'what can cross compiles' '' 'pool.submit(add, 1, 2).get();'
expect 'a lambda that captures' 'this callable holds state of the calling process' \
  'int x = 1; pool.submit([x](int y) { return x + y; }, 2);'
expect 'the same says what to do' 'wrap a lambda that captures plain values in yoke::by_value()' \
  'int x = 1; pool.submit([&x](int y) { return x + y; }, 2);'
expect 'a std::function' 'this callable holds state of the calling process' \
  'std::function<int(int)> f; pool.submit(f, 1);'
expect 'by_value of a string' 'by_value takes a lambda whose captures are trivially copyable values' \
  'std::string s; pool.submit(yoke::by_value([s](int) { return 1; }), 1);'
expect 'an argument without a codec' 'this type cannot cross to a worker: it has no codec' \
  'pool.submit(take, give());'
expect 'a result without a codec' 'this type cannot cross to a worker: it has no codec' \
  'pool.submit(give).get();'
expect 'members in a base class' 'a plain aggregate (up to 20 members, none in a base class)' \
  'struct Base { int x; }; struct Derived : Base { int y; }; pool.submit([](const Derived& d) { return d.x; }, Derived());'
expect 'a member that cannot cross' 'this type cannot cross to a worker: it has no codec' \
  'struct Holder { int x; int* y; }; pool.submit([](const Holder& h) { return h.x; }, Holder());'
expect 'a member that is a reference' 'this type cannot cross to a worker: it has no codec' \
  'struct Holder { int x; int& y; }; int z = 0; pool.submit([](const Holder& h) { return h.x; }, Holder{1, z});'
expect 'a constant member' 'this type cannot cross to a worker: it has no codec' \
  'struct Holder { const int x = 1; std::string y; }; pool.submit([](const Holder& h) { return h.x; }, Holder());'
expect 'a view as result' 'a task cannot return a view' \
  'pool.submit([](const std::string& s) { return std::string_view(s); }, std::string());'
expect 'std::ref to be written through' 'std::ref does not make a task write to the caller' \
  'std::vector<int> v; pool.submit([](std::vector<int>& out) { out.push_back(1); }, std::ref(v));'
expect 'the same for any parameter' 'Return what the task works out, or pass a yoke::SharedArray' \
  'int v = 0; pool.submit([](auto& out) { out = 1; }, std::ref(v));'
expect 'the same bound' 'std::ref does not make a task write to the caller' \
  'int v = 0; pool.submit(yoke::bind([](int& out, int x) { out = x; }, std::ref(v)), 1);'
expect 'the same in a map' 'std::ref does not make a task write to the caller' \
  'std::vector<std::reference_wrapper<int>> v; pool.map([](int& out) { out = 1; }, v);'
expect 'a reference to read through' '' \
  'int v = 0; pool.submit([](const int& in, int x) { return in + x; }, std::ref(v), std::cref(v)).get();'
expect 'too few arguments' 'called with another number of arguments' 'pool.submit(add, 1);'
expect 'too many arguments' 'called with another number of arguments' 'pool.submit(add, 1, 2, 3);'
expect 'a span that could be written to' 'a span parameter is a view into the message: write std::span<const T>' \
  'pool.submit([](std::span<int> s) { return s.size(); }, std::vector<int>());'
expect 'a span of elements that need more than its alignment' 'aligned to 16 bytes: take these elements as std::vector' \
  'struct alignas(32) Wide { int x; }; pool.submit([](std::span<const Wide> s) { return s.size(); }, std::vector<Wide>());'
expect 'a wrapper whose functions hold something' 'give captureless lambdas' \
  'int x = 1; pool.submit(take, yoke::wrap_non_serializable(give(), [x](const Opaque&) { return x; }, [](int) { return give(); }));'
expect 'a wrapper with a plain function' 'A function goes into one' \
  'int secret(const Opaque&); Opaque reveal(int); pool.submit(take, yoke::wrap_non_serializable(give(), secret, reveal));'
expect 'a wrapper whose functions do not fit' 'unpack_fn takes what pack_fn returned' \
  'pool.submit(take, yoke::wrap_non_serializable(give(), [](const Opaque&) { return 1; }, [](std::string) { return give(); }));'
expect 'a wrapper that fits' '' \
  'pool.submit(take, yoke::wrap_non_serializable(give(), [](const Opaque&) { return 1; }, [](int) { return give(); }));'
expect 'a reducer for strings' 'a reducer is for a class of yours or of another library' \
  'yoke::Reducers().add<std::string>([](const std::string& s) { return s.size(); }, [](std::size_t n) { return std::string(n, 0); });'
expect 'a reducer for numbers' 'are always packed by yoke itself' \
  'yoke::Reducers().add<int>([](int n) { return n + 1L; }, [](long n) { return static_cast<int>(n); });'
expect 'map over nothing' 'map needs at least one range' 'pool.map(add);'

((tried > 0)) || { echo 'no compiler was found'; exit 77; }
exit "$broken"
