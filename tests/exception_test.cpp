// G6, A13, U9: what a task throws arrives as what it was, and nothing else. For every pool.
#include <unistd.h>
#include <any>
#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <memory>
#include <new>
#include <optional>
#include <regex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <typeinfo>
#include <variant>

#include "tests/support/any_pool.hpp"
#include "tests/support/sanitized.hpp"

struct PlainError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
YOKE_EXCEPTION(PlainError)

struct ErrorWithPayload : std::exception {
  int line = 0;
  std::string file;
  ErrorWithPayload() = default;
  ErrorWithPayload(int l, std::string f) : line(l), file(std::move(f)) {}
  const char* what() const noexcept override { return "with payload"; }
  MSGPACK_DEFINE(line, file)
};
YOKE_EXCEPTION(ErrorWithPayload)

namespace deep {
struct Derived : ErrorWithPayload {
  Derived() = default;
  explicit Derived(int l) : ErrorWithPayload(l, "derived") {}
};
}  // namespace deep
YOKE_EXCEPTION(deep::Derived)

/// What crosses of it throws what is no std::exception: packing, unpacking or copying.
enum class Throws { packing, unpacking, copying };
struct Unruly : std::exception {
  Throws where;
  explicit Unruly(Throws w) : where(w) {}
  Unruly(const Unruly& other) : std::exception(other), where(other.where) {
    if (where == Throws::copying && arrived) throw 7;
  }
  Unruly& operator=(const Unruly&) = default;
  const char* what() const noexcept override { return "unruly"; }
  static inline bool arrived = false;
};
template <>
struct yoke::Codec<Unruly> {
  static void pack(Packer& packer, const Unruly& error) {
    if (error.where == Throws::packing) throw 42;
    pack_value(packer, error.where);
  }
  static Unruly unpack(const Object& object) {
    const Unruly error(unpack_value<Throws>(object));
    if (error.where == Throws::unpacking) throw 43;
    Unruly::arrived = true;
    return Unruly(error.where);
  }
};
YOKE_EXCEPTION(Unruly)

/// The user's own, which would pass for the pool's.
struct OwnTimeout : yoke::TimeoutError {
  using yoke::TimeoutError::TimeoutError;
};
YOKE_EXCEPTION(OwnTimeout)
YOKE_EXCEPTION(yoke::CancelledError)

namespace {

using namespace yoke_test;

struct UnknownError : std::domain_error {
  using std::domain_error::domain_error;
};
struct NoException {
  int value = 0;
};

template <class E>
[[noreturn]] void throw_with_text(const std::string& text) {
  throw E(text);
}
template <class E>
[[noreturn]] void throw_default() {
  throw E();
}
template <class T>
[[noreturn]] void throw_value(const T& value) {
  throw value;
}
[[noreturn]] void throw_c_string() { throw "a C string"; }

constexpr int line_of_throw = __LINE__ + 2;
[[gnu::noinline]] void dig(int depth) {
  depth == 0 ? throw PlainError("rock") : dig(depth - 1);
  asm volatile("");
}
[[gnu::noinline]] int go_digging(int depth) {
  dig(depth);
  return depth;
}
int dig_again() {
  try {
    go_digging(1);
  } catch (const PlainError&) {
    try {
      throw std::runtime_error("of no interest");
    } catch (const std::runtime_error&) {
    }
    throw;
  }
  return 0;
}
int dig_elsewhere() { return std::async(std::launch::async, go_digging, 1).get(); }
int dig_in_pool_below() {
  yoke::ProcessPoolExecutor inner(1);
  return inner.submit(go_digging, 1).get();
}

class ExceptionTest : public AnyPoolTest {
 protected:
  template <class F, class... A>
  std::exception_ptr from(F f, A... arguments) {
    const auto future = executor->submit(f, arguments...);
    soon(future).wait();
    pid_ = future.worker_pid();
    return future.exception();
  }
  /// Arrived as an E that tells where it comes from.
  template <class E>
  std::string expect(const std::exception_ptr& error, const std::string& type_name) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      EXPECT_NE(dynamic_cast<const E*>(&e), nullptr) << "arrived as " << typeid(e).name();
      const auto* remote = dynamic_cast<const yoke::RemoteException*>(&e);
      if (remote) {
        EXPECT_EQ(remote->type_name(), type_name);
        EXPECT_EQ(remote->worker_pid(), pid_);
        EXPECT_FALSE(remote->task_name().empty());
      } else {
        ADD_FAILURE() << "does not tell where it comes from";
      }
      return e.what();
    }
    return "";
  }
  int pid_ = 0;
};
YOKE_ANY_POOL(ExceptionTest);

TEST_P(ExceptionTest, G6_standard_types_with_a_text) {
  const auto check = [&]<class E>(const E&, const std::string& name) {
    EXPECT_EQ(expect<E>(from(throw_with_text<E>, "the text"), "std::" + name), "the text");
  };
  check(std::logic_error(""), "logic_error");
  check(std::domain_error(""), "domain_error");
  check(std::invalid_argument(""), "invalid_argument");
  check(std::length_error(""), "length_error");
  check(std::out_of_range(""), "out_of_range");
  check(std::runtime_error(""), "runtime_error");
  check(std::range_error(""), "range_error");
  check(std::overflow_error(""), "overflow_error");
  check(std::underflow_error(""), "underflow_error");
}

TEST_P(ExceptionTest, G6_standard_types_without_a_text) {
  const auto check = [&]<class E>(const E& e, const std::string& name) {
    EXPECT_EQ(expect<E>(from(throw_default<E>), "std::" + name), e.what());
  };
  check(std::exception(), "exception");
  check(std::bad_alloc(), "bad_alloc");
  check(std::bad_array_new_length(), "bad_array_new_length");
  check(std::bad_cast(), "bad_cast");
  check(std::bad_typeid(), "bad_typeid");
  check(std::bad_exception(), "bad_exception");
  check(std::bad_function_call(), "bad_function_call");
  check(std::bad_weak_ptr(), "bad_weak_ptr");
  check(std::bad_optional_access(), "bad_optional_access");
  check(std::bad_variant_access(), "bad_variant_access");
  check(std::bad_any_cast(), "bad_any_cast");
}

TEST_P(ExceptionTest, G6_system_error_with_its_code) {
  const auto thrown = [](int code) -> int { throw std::system_error(code, std::system_category(), "opening"); };
  const auto error = from(thrown, ENOENT);
  EXPECT_EQ(expect<std::system_error>(error, "std::system_error"),
            std::system_error(ENOENT, std::system_category(), "opening").what());
  try {
    std::rethrow_exception(error);
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), std::errc::no_such_file_or_directory);
    EXPECT_EQ(e.code().category(), std::system_category());
  }
}

TEST_P(ExceptionTest, G6_filesystem_error_with_its_paths) {
  const auto thrown = [](int code) -> int {
    throw std::filesystem::filesystem_error("moving", "/a", "/b", std::error_code(code, std::generic_category()));
  };
  const auto error = from(thrown, EACCES);
  try {
    std::rethrow_exception(error);
  } catch (const std::filesystem::filesystem_error& e) {
    EXPECT_EQ(e.path1(), "/a");
    EXPECT_EQ(e.path2(), "/b");
    EXPECT_EQ(e.code(), std::errc::permission_denied);
  }
}

TEST_P(ExceptionTest, G6_other_types_with_codes) {
  const auto future_error = [](int) -> int { throw std::future_error(std::future_errc::broken_promise); };
  const auto stream_error = [](int) -> int { throw std::ios_base::failure("stream"); };
  const auto regex_error = [](int) -> int { throw std::regex_error(std::regex_constants::error_brack); };
  try {
    std::rethrow_exception(from(future_error, 0));
  } catch (const std::future_error& e) {
    EXPECT_EQ(e.code(), std::future_errc::broken_promise);
  }
  EXPECT_EQ(expect<std::ios_base::failure>(from(stream_error, 0), "std::ios_base::failure[abi:cxx11]"),
            std::ios_base::failure("stream").what());
  try {
    std::rethrow_exception(from(regex_error, 0));
  } catch (const std::regex_error& e) {
    EXPECT_EQ(e.code(), std::regex_constants::error_brack);
  }
}

TEST_P(ExceptionTest, G6_registered_types) {
  EXPECT_EQ(expect<PlainError>(from(throw_with_text<PlainError>, "mine"), "PlainError"), "mine");
  const auto thrown = [](int line) -> int { throw ErrorWithPayload(line, "reader.cpp"); };
  const auto error = from(thrown, 88);
  EXPECT_EQ(expect<ErrorWithPayload>(error, "ErrorWithPayload"), "with payload");
  try {
    std::rethrow_exception(error);
  } catch (const ErrorWithPayload& e) {
    EXPECT_EQ(e.line, 88);
    EXPECT_EQ(e.file, "reader.cpp");
  }
}

[[noreturn]] void throw_unruly(Throws where) { throw Unruly(where); }
int throw_unruly_item(Throws where) { throw_unruly(where); }
TEST_P(ExceptionTest, G6_a_codec_may_throw_anything) {
  const int pid = soon(executor->submit(own_pid)).get();
  for (const Throws where : {Throws::packing, Throws::unpacking, Throws::copying}) {
    SCOPED_TRACE(static_cast<int>(where));
    Unruly::arrived = false;
    EXPECT_EQ(expect<yoke::RemoteError>(from(throw_unruly, where), "Unruly"), "unruly");
    Unruly::arrived = false;
    auto results = executor->map(throw_unruly_item, std::vector<Throws>{where});
    const auto it = results.begin();
    EXPECT_THROW(*it, yoke::RemoteError);
  }
  Unruly::arrived = false;
  EXPECT_EQ(executor->stats().deaths, 0U);
  EXPECT_GT(pid, 0);
}

TEST_P(ExceptionTest, G6_a_registered_type_can_be_caught_by_its_base) {
  const auto thrown = [](int line) -> int { throw deep::Derived(line); };
  const auto error = from(thrown, 7);
  EXPECT_EQ(expect<deep::Derived>(error, "deep::Derived"), "with payload");
  try {
    std::rethrow_exception(error);
  } catch (const ErrorWithPayload& e) {
    EXPECT_EQ(e.line, 7);
  }
}

TEST_P(ExceptionTest, G6_unknown_types_tell_type_and_text) {
  EXPECT_EQ(
      expect<yoke::RemoteError>(from(throw_with_text<UnknownError>, "who am I"), "(anonymous namespace)::UnknownError"),
      "who am I");
}

TEST_P(ExceptionTest, G6_what_is_no_exception) {
  EXPECT_EQ(expect<yoke::RemoteError>(from(throw_value<int>, 42), "int"), "the value 42");
  EXPECT_EQ(expect<yoke::RemoteError>(from(throw_value<std::string>, "a string"), "std::string"), "a string");
  EXPECT_EQ(expect<yoke::RemoteError>(from(throw_c_string), "char const*"), "a C string");
  EXPECT_FALSE(
      expect<yoke::RemoteError>(from(throw_value<NoException>, NoException{1}), "(anonymous namespace)::NoException")
          .empty());
}

[[noreturn]] void throw_chain(int depth) {
  if (depth == 0) throw std::out_of_range("the root");
  try {
    throw_chain(depth - 1);
  } catch (...) {
    std::throw_with_nested(std::runtime_error("level " + std::to_string(depth)));
  }
}
TEST_P(ExceptionTest, G6_nested_chains_are_kept) {
  std::vector<std::string> texts;
  std::exception_ptr error = from(throw_chain, 3);
  while (error) {
    try {
      std::rethrow_exception(std::exchange(error, nullptr));
    } catch (const std::exception& e) {
      texts.push_back(e.what());
      if (const auto* nested = dynamic_cast<const std::nested_exception*>(&e)) error = nested->nested_ptr();
      if (texts.size() == 4) {
        EXPECT_NE(dynamic_cast<const std::out_of_range*>(&e), nullptr);
      }
    }
  }
  EXPECT_EQ(texts, (std::vector<std::string>{"level 3", "level 2", "level 1", "the root"}));
}

template <class E>
[[noreturn]] void throw_around_another(const E& error) {
  try {
    throw std::out_of_range("the root");
  } catch (...) {
    std::throw_with_nested(error);
  }
}

TEST_P(ExceptionTest, G6_an_exception_that_nests_another_is_what_it_was) {
  const auto check = [&](const std::exception_ptr& error, const std::string& type, auto expected) {
    try {
      std::rethrow_exception(error);
    } catch (const decltype(expected)& e) {
      EXPECT_STREQ(e.what(), expected.what());
      EXPECT_EQ(dynamic_cast<const yoke::RemoteException&>(e).type_name(), type);
      EXPECT_THROW(std::rethrow_if_nested(e), std::out_of_range);
    } catch (...) {
      ADD_FAILURE() << type << " arrived as another";
    }
  };
  check(from([] { throw_around_another(std::invalid_argument("no")); }), "std::invalid_argument",
        std::invalid_argument("no"));
  check(from([] { throw_around_another(PlainError("no")); }), "PlainError", PlainError("no"));
  check(from([] { throw_around_another(std::bad_alloc()); }), "std::bad_alloc", std::bad_alloc());
  check(from([] { throw_around_another(deep::Derived(7)); }), "deep::Derived", deep::Derived(7));
  const auto code = std::make_error_code(std::errc::io_error);
  check(from([] { throw_around_another(std::system_error(std::make_error_code(std::errc::io_error), "disk")); }),
        "std::system_error", std::system_error(code, "disk"));
}

TEST_P(ExceptionTest, G6_long_texts_and_zeros) {
  for (const std::size_t length : {0UL, 50UL, 500UL, 70'000UL, 500'000UL}) {
    const std::string text(length, 'x');
    EXPECT_EQ(expect<std::runtime_error>(from(throw_with_text<std::runtime_error>, text), "std::runtime_error"), text);
  }
}

TEST_P(ExceptionTest, G6_the_librarys_own_errors) {
  EXPECT_EQ(expect<yoke::Error>(from(throw_with_text<yoke::RecursionError>, "deep"), "yoke::RecursionError"), "deep");
}

int fail_in_pool_below(const std::string& text) {
  yoke::Executor inner(yoke::make_in_process_pool());
  return inner.submit([](const std::string& t) -> int { throw PlainError(t); }, text).get();
}
TEST_P(ExceptionTest, G6_through_two_pools) {
  EXPECT_EQ(expect<PlainError>(from(fail_in_pool_below, "far away"), "PlainError"), "far away");
}

template <class E>
[[noreturn]] void throw_verdict() {
  if constexpr (std::is_same_v<E, yoke::TerminatedWorkerError>)
    throw E(yoke::WorkerDeath{});
  else
    throw E("all is lost");
}
template <class E>
[[noreturn]] void throw_verdict_around_another() {
  try {
    throw std::out_of_range("the root");
  } catch (...) {
    std::throw_with_nested(E("all is lost"));
  }
}
template <class E>
[[noreturn]] void throw_around_verdict() {
  try {
    throw_verdict<E>();
  } catch (...) {
    std::throw_with_nested(std::runtime_error("outside"));
  }
}

TEST_P(ExceptionTest, U9_a_task_that_throws_the_pools_verdicts_is_not_taken_for_the_pool) {
  const auto verdict = [&](auto throws, const std::string& type) {
    return expect<yoke::RemoteError>(from(throws), type);
  };
  EXPECT_EQ(verdict(throw_verdict<yoke::BrokenProcessPool>, "yoke::BrokenProcessPool"), "all is lost");
  EXPECT_EQ(verdict(throw_verdict<yoke::CancelledError>, "yoke::CancelledError"), "all is lost");
  EXPECT_EQ(verdict(throw_verdict<yoke::ShutdownExecutorError>, "yoke::ShutdownExecutorError"), "all is lost");
  EXPECT_EQ(verdict(throw_verdict<yoke::TimeoutError>, "yoke::TimeoutError"), "all is lost");
  EXPECT_EQ(verdict(throw_verdict<OwnTimeout>, "OwnTimeout"), "all is lost");
  verdict(throw_verdict<yoke::TerminatedWorkerError>, "yoke::TerminatedWorkerError");
  verdict(throw_verdict_around_another<yoke::BrokenProcessPool>, "yoke::BrokenProcessPool");
  verdict(throw_verdict_around_another<OwnTimeout>, "OwnTimeout");
}

TEST_P(ExceptionTest, U9_nor_one_whose_exception_nests_a_verdict) {
  for (const auto& error : {from(throw_around_verdict<yoke::CancelledError>), from(throw_around_verdict<OwnTimeout>)}) {
    try {
      std::rethrow_exception(error);
    } catch (const std::runtime_error& outer) {
      EXPECT_STREQ(outer.what(), "outside");
      EXPECT_THROW(std::rethrow_if_nested(outer), yoke::RemoteError);
    }
  }
}

TEST_P(ExceptionTest, U9_nor_an_item_of_a_map) {
  const auto refuse = [](int) -> int { throw yoke::CancelledError("all is lost"); };
  for (const int chunksize : {1, 2}) {
    auto results = executor->map(yoke::MapOptions{.chunksize = chunksize}, refuse, std::vector<int>{1, 2});
    EXPECT_THROW(*results.begin(), yoke::RemoteError);
  }
}

TEST_P(ExceptionTest, U9_what_a_terminal_would_obey_is_shown_and_not_sent_to_it) {
  const std::string hostile =
      "red\x1b[31m\x07\x7f \xc2\x9b"
      "2J \xe2\x80\xae turned \xff\tend";
  const std::string shown = "red\\x1b[31m\\x07\\u007f \\u009b2J \\u202e turned \\xff\tend";
  const auto text_of = [&](auto throws) {
    try {
      std::rethrow_exception(from(throws, hostile + "\nyoke: all is well"));
    } catch (const std::exception& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(text_of(throw_with_text<std::runtime_error>), shown + "\nyoke: all is well");
  EXPECT_EQ(text_of(throw_with_text<PlainError>), shown + "\nyoke: all is well");
  EXPECT_EQ(text_of(throw_with_text<UnknownError>), shown + "\\nyoke: all is well");
  EXPECT_EQ(text_of(throw_value<std::string>), shown + "\\nyoke: all is well");
}

TEST_P(ExceptionTest, U9_a_text_for_people_is_no_longer_than_one_can_read) {
  const std::string text = expect<yoke::RemoteError>(from(throw_with_text<UnknownError>, std::string(1'000'000, 'x')),
                                                     "(anonymous namespace)::UnknownError");
  EXPECT_LT(text.size(), 20'000U);
  EXPECT_NE(text.find("more bytes)"), std::string::npos);
  const std::string other_letters = "za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87 \xe2\x9c\x93";
  EXPECT_EQ(expect<std::runtime_error>(from(throw_with_text<std::runtime_error>, other_letters), "std::runtime_error"),
            other_letters);
}

std::vector<std::string> frames_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const yoke::RemoteException& remote) {
    return remote.frames();
  } catch (...) {
    return {"it does not tell where it comes from"};
  }
}

TEST_P(ExceptionTest, G6_frames_of_the_place_that_threw) {
  const auto frames = frames_of(from(go_digging, 1));
  if (in_process() || sanitized) {
    EXPECT_TRUE(frames.empty());
    return;
  }
  ASSERT_EQ(frames.size(), 3U);
  const std::string here = "exception_test.cpp:" + std::to_string(line_of_throw);
  for (int i : {0, 1}) {
    EXPECT_NE(frames[static_cast<std::size_t>(i)].find("dig(int) at "), std::string::npos) << frames[0];
    EXPECT_NE(frames[static_cast<std::size_t>(i)].find(here), std::string::npos) << frames[0];
  }
  EXPECT_NE(frames[2].find("go_digging(int) at "), std::string::npos) << frames[2];
}

[[gnu::noinline]] void fall_here() { throw std::runtime_error("here"); }
[[gnu::noinline]] void fall_there() { throw std::runtime_error("there"); }

/// The allocator gives out the memory of the one before.
TEST_P(ExceptionTest, G6_frames_are_those_of_the_last_throw) {
  for (int i = 0; i < 8; ++i) {
    const auto frames = frames_of(from(i % 2 == 0 ? fall_here : fall_there));
    if (in_process() || sanitized) continue;  // no places of throws are known here
    ASSERT_FALSE(frames.empty());
    EXPECT_NE(frames[0].find(i % 2 == 0 ? "fall_here()" : "fall_there()"), std::string::npos) << frames[0];
  }
}

TEST_P(ExceptionTest, G6_an_exception_that_was_never_thrown_has_no_frames) {
  const auto frames = frames_of(from([] {
    try {
      fall_here();
    } catch (const std::exception&) {
    }
    std::promise<int> promise;
    promise.set_exception(std::make_exception_ptr(std::logic_error("never thrown")));
    promise.get_future().get();
  }));
  EXPECT_TRUE(frames.empty());
}

TEST_P(ExceptionTest, G6_frames_of_what_is_thrown_on_and_of_a_nested_pool) {
  for (const auto& frames : {frames_of(from(dig_again)), frames_of(from(dig_in_pool_below))}) {
    if (in_process() || sanitized) continue;  // no places of throws are known here
    ASSERT_GE(frames.size(), 3U);
    EXPECT_NE(frames[0].find("dig(int) at "), std::string::npos) << frames[0];
  }
  EXPECT_TRUE(frames_of(from(dig_elsewhere)).empty()) << "another thread threw it";
}

}  // namespace
