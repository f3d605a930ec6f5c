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
#include <atomic>
#include <cstdio>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
struct Opaque { Opaque(const Opaque&); virtual ~Opaque(); int* secret; };
int take(const Opaque&);
Opaque give();
inline int add(int a, int b) { return a + b; }
int overloaded(int);
double overloaded(double);
template <class T> T twice(T x) { return x + x; }
struct Object { int x; int method(int y) { return x + y; } };
END
# Compiled once, since it takes longer than all cases together. Both compilers find theirs by its name.
compile() { "$1" -std=c++20 "${includes[@]}" "${@:2}"; }
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  case $compiler in g++) precompiled=common.hpp.gch ;; *) precompiled=common.hpp.pch ;; esac
  compile "$compiler" -x c++-header "$scratch/common.hpp" -o "$scratch/$precompiled" || exit 1
done

# expect PROMISE SENTENCE BODY [COMPILER]: main with this body does not compile, and the first error has the sentence ('' if it does compile).
expect() {
  local compiler output
  cat >"$scratch/case.cpp" <<END
int main() {
  yoke::ProcessPoolExecutor pool(1);
  $3
}
END
  for compiler in ${4:-g++ clang++}; do
    command -v "$compiler" >/dev/null || continue
    tried=$((tried + 1))
    if output=$(compile "$compiler" -fsyntax-only -include "$scratch/common.hpp" "$scratch/case.cpp" 2>&1); then
      [[ -z $2 ]] || { printf 'NOT OK: %s (%s): it compiled\n' "$1" "$compiler"; broken=1; continue; }
    elif [[ -z $2 || $(grep -m 1 'error:' <<<"$output") != *"$2"* ]]; then
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
expect 'a lambda that captures this' 'Where it captures this, a reference or a pointer: pass what the task needs as arguments' \
  'struct S { yoke::ProcessPoolExecutor& p; int x; int go() { return p.submit([this](int y) { return x + y; }, 2).get(); } }; S{pool, 1}.go();'
expect 'a lambda that captures a number' 'Pass what it captures as arguments, or wrap a lambda that captures plain values' \
  'char x = 1; pool.submit([x] { return x; });'
expect 'a lambda that captures a string' 'captures such as strings, containers and smart pointers are more than their bytes' \
  'std::string s; pool.submit([s] { return s.size(); });'
expect 'the same in a map' 'Where it captures this, a reference or a pointer' \
  'int n = 0; pool.map([&n](int x) { n += x; return x; }, std::vector<int>{1});'
expect 'the same bound' 'Where it captures this, a reference or a pointer' \
  'int n = 0; pool.submit(yoke::bind([&n](int x) { n += x; }, 1));'
expect 'std::bind' 'in place of std::bind' 'pool.submit(std::bind(add, 1, 2));'
expect 'a reference to a callable' 'is a reference to one of the calling process' 'auto f = [] {}; pool.submit(std::ref(f));'
expect 'a pointer to a callable' 'submit the callable itself, *pointer' 'auto f = [] {}; pool.submit(&f);'
expect 'what cannot be called' 'the function to call, after the options' 'pool.submit(3);'
expect 'a data member' 'a pointer to a data member is no function' 'pool.submit(&Object::x, Object());'
expect 'a function with variable arguments' "C's variable arguments" 'pool.submit(std::printf, "text");'
# g++ reports what stands where the type is to be deduced before it looks into a body: there the sentence is a name.
overloaded() {
  expect "$1 (g++)" 'this_function_is_overloaded_or_a_template__submit_a_lambda_that_calls_it' "$2" g++
  expect "$1 (clang++)" 'the name of an overloaded or template function does not say which one is meant: submit a lambda' "$2" clang++
}
overloaded 'an overloaded function' 'pool.submit(overloaded, 1);'
overloaded 'the same with options' 'pool.submit({.priority = 1}, overloaded, 1);'
overloaded 'a function template' 'pool.submit(twice, 1);'
overloaded 'the same in a map' 'pool.map(twice, std::vector<int>{1});'
overloaded 'the same bound' 'pool.submit(yoke::bind(overloaded, 1));'
overloaded 'the same as an initializer' 'yoke::initializer(overloaded, 1);'
expect 'one of them' '' 'pool.submit(twice<int>, 1); pool.submit(static_cast<int (*)(int)>(&overloaded), 1); pool.submit({}, add, 1, 2);'
expect 'by_value of a string' 'by_value takes a lambda whose captures are trivially copyable values' \
  'std::string s; pool.submit(yoke::by_value([s](int) { return 1; }), 1);'
expect 'an argument without a codec' 'this type cannot cross to a worker: it has no codec' \
  'pool.submit(take, give());'
expect 'a result without a codec' 'this type cannot cross to a worker: it has no codec' \
  'pool.submit(give).get();'
expect 'a pointer' 'a pointer cannot cross to a worker: it is an address' 'int x = 0; pool.submit([](int* p) { return *p; }, &x);'
expect 'pointers in a container' 'a pointer cannot cross to a worker: it is an address' \
  'pool.submit([](std::vector<int*> v) { return v.size(); }, std::vector<int*>());'
expect 'a pointer as result' 'a pointer cannot cross to a worker: it is an address' 'pool.submit([] { static int x; return &x; });'
expect 'the items of a map' 'a pointer cannot cross to a worker: it is an address' 'pool.map([](int* p) { return *p; }, std::vector<int*>());'
expect 'characters' 'Take and return a std::string' 'pool.submit([](const char* s) { return s[0]; }, "text");'
expect 'characters as result' 'Take and return a std::string' 'pool.submit([] { return "text"; });'
expect 'an open file' 'Pass its path, and open it in the task' 'std::FILE* f = nullptr; pool.submit([](std::FILE* p) { return std::fgetc(p); }, f);'
expect 'a stream' 'a stream cannot cross to a worker' 'pool.submit([](std::ofstream& s) { s << 1; }, std::ofstream());'
expect 'a function pointer' 'Submit the function itself' 'pool.submit([](int (*f)(int, int)) { return f(1, 2); }, &add);'
expect 'a std::function as argument' 'a function object cannot be an argument' \
  'pool.submit([](std::function<int()> f) { return f(); }, std::function<int()>());'
expect 'a lambda as result' 'a function object cannot be an argument or a result' 'pool.submit([] { return [] { return 1; }; });'
expect 'a mutex' 'Tasks share nothing that it would guard' 'std::mutex m; pool.submit([](std::mutex& m) { m.lock(); }, m);'
expect 'a mutex in an aggregate' 'Tasks share nothing that it would guard' \
  'struct Both { int x; std::mutex m; }; Both b; pool.submit([](const Both& b) { return b.x; }, b);'
expect 'a std::atomic' 'std::atomic_ref on the elements of a yoke::SharedArray' \
  'std::atomic<int> n; pool.submit([](std::atomic<int>& n) { n++; }, n);'
expect 'a thread' 'Let the task start its own' 'pool.submit([](std::thread t) { t.join(); }, std::thread());'
expect 'a future' 'its other end is in this process' 'pool.submit([](std::future<int> f) { return f.get(); }, std::future<int>());'
expect 'a future for its value' 'pass future.get()' 'pool.submit(add, pool.submit(add, 1, 2), 3);'
expect 'an iterator' 'an iterator cannot cross to a worker' 'pool.submit([] { return std::vector<int>().begin(); });'
expect 'an exception' 'Let the task throw' 'pool.submit([](std::exception_ptr) {}, std::exception_ptr());'
expect 'a pool' 'an executor cannot cross to a worker' 'pool.submit([](yoke::ProcessPoolExecutor&) {}, pool);'
expect 'an initializer list' 'take a std::vector' 'pool.submit([](std::initializer_list<int> l) { return l.size(); }, std::initializer_list<int>{1});'
expect 'a pointer to the object' 'pass the object itself, *pointer' 'Object o{1}; pool.submit(&Object::method, &o, 3);'
expect 'the same by this' 'pass the object itself, *pointer' \
  'struct S { yoke::ProcessPoolExecutor& p; int f(int y) { return y; } int go() { return p.submit(&S::f, this, 2).get(); } }; S{pool}.go();'
expect 'another type' 'an argument cannot be converted' 'pool.submit([](int x) { return x; }, "text");'
expect 'an address for a number' 'an argument cannot be converted' 'int x = 1; pool.submit([](long p, std::string) { return p; }, &x, "");'
expect 'a number for a text' 'an argument cannot be converted' 'pool.submit([](std::string s) { return s; }, 1);'
expect 'a call that does not fit' 'cannot be called with copies of these arguments' 'pool.submit([](auto x) { return x; });'
expect 'no range' 'map takes the function, and then ranges' 'pool.map(add, 1, 2);'
expect 'members in a base class' 'a plain aggregate (up to 20 members, none in a base class)' \
  'struct Base { int x; }; struct Derived : Base { int y; }; pool.submit([](const Derived& d) { return d.x; }, Derived());'
expect 'a member that cannot cross' 'a pointer cannot cross to a worker: it is an address' \
  'struct Holder { int x; int* y; }; pool.submit([](const Holder& h) { return h.x; }, Holder());'
expect 'a member that is a reference' 'this type cannot cross to a worker: it has no codec' \
  'struct Holder { int x; int& y; }; int z = 0; pool.submit([](const Holder& h) { return h.x; }, Holder{1, z});'
expect 'a constant member' 'this type cannot cross to a worker: it has no codec' \
  'struct Holder { const int x = 1; std::string y; }; pool.submit([](const Holder& h) { return h.x; }, Holder());'
expect 'a view as result' 'a task cannot return a view' \
  'pool.submit([](const std::string& s) { return std::string_view(s); }, std::string());'
expect 'views in a container as result' 'a task cannot return a view' 'pool.submit([] { return std::vector<std::string_view>(); });'
expect 'a view in an aggregate as result' 'a task cannot return a view' \
  'struct Named { int x; std::optional<std::string_view> name; }; pool.submit([] { return Named(); });'
expect 'a type that holds its own' '' 'struct Node { int x; std::vector<Node> more; }; pool.submit([](Node n) { return n; }, Node()).get();'
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
bits='an aggregate with a bit-field cannot cross to a worker'
expect 'a bit-field' "$bits" \
  'struct Bits { unsigned a : 3; unsigned b : 5; }; pool.submit([](Bits b) { return b.a; }, Bits());'
expect 'a bit-field beside a text' "$bits" \
  'struct Bits { unsigned a : 3; std::string b; }; pool.submit([](Bits b) { return b.b; }, Bits());' g++  # clang++ 14 cannot ask
expect 'whole types in its place' '' \
  'struct Bytes { unsigned char a; unsigned char b; }; pool.submit([](Bytes b) { return b.a; }, Bytes()).get();'
# expect_exception PROMISE SENTENCE TYPE: of a type E, at namespace scope.
expect_exception() { expect "$1" "$2" "} $3; YOKE_EXCEPTION(E) namespace {"; }
expect_exception 'an exception type' '' 'struct E : std::runtime_error { using std::runtime_error::runtime_error; }'
expect_exception 'one with a text of its own' '' 'struct E : std::runtime_error { explicit E(std::string_view t) : std::runtime_error(std::string(t)) {} }'
expect_exception 'a final one' 'cannot be final' 'struct E final : std::runtime_error { using std::runtime_error::runtime_error; }'
expect_exception 'one of a C string' 'needs a constructor from std::string' \
  'struct E : std::runtime_error { explicit E(const char* t) : std::runtime_error(t) {} }'
expect_exception 'one of nothing' 'needs a constructor from std::string' 'struct E : std::exception {}'
expect_exception 'an abstract one' 'cannot be abstract' 'struct E : std::runtime_error { using std::runtime_error::runtime_error; virtual void f() = 0; }'
expect_exception 'one that cannot be copied' 'must be copyable' \
  'struct E : std::runtime_error { using std::runtime_error::runtime_error; E(const E&) = delete; E(E&&) = default; }'
expect_exception 'no exception' 'takes a type derived from std::exception' 'struct E {}'
expect 'map over nothing' 'map needs at least one range' 'pool.map(add);'

((tried > 0)) || { echo 'no compiler was found'; exit 77; }
exit "$broken"
