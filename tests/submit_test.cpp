// A1, A2, A13, G3: what can be submitted, how arguments are converted, and what comes back. For every pool.
#include <dlfcn.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/children/linked_tasks.hpp"
#include "tests/support/any_pool.hpp"

namespace [[gnu::visibility("hidden")]] hidden {
int negate(int value) { return -value; }
}  // namespace hidden

namespace {

using namespace yoke_test;

int halve(int value) noexcept { return value / 2; }  // of this file alone

template <class T>
T twice(T value) {
  return value + value;
}

struct Counter {
  int start = 0;
  MSGPACK_DEFINE(start)
  int plus(int n) const { return start + n; }
  virtual int times(int n) const { return start * n; }
  Counter() = default;
  explicit Counter(int s) : start(s) {}
  Counter(const Counter&) = default;
  virtual ~Counter() = default;
};

struct Adder {  // a callable object with a state that crosses
  int amount = 0;
  MSGPACK_DEFINE(amount)
  int operator()(int value) const { return value + amount; }
};

struct Halver {  // without a state
  int operator()(int value) const { return value / 2; }
};

class SubmitTest : public AnyPoolTest {};
TEST_P(SubmitTest, G3_views_are_valid_for_the_whole_call) {
  const auto read_twice = [](std::string_view text, std::span<const double> values) {
    const auto read = [&] {
      return std::pair(std::hash<std::string_view>()(text), std::accumulate(values.begin(), values.end(), 0.0));
    };
    const auto before = read();
    for (std::size_t size = 1; size < 4'000'000; size *= 2) std::vector<char>(size, 'x').back() = 'y';
    return read() == before ? before : std::pair(std::size_t{0}, -1.0);
  };
  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, std::size_t{1000}, std::size_t{1'000'000}}) {
    const std::string text(size, 't');
    const std::vector<double> values(size, 0.5);
    EXPECT_EQ(soon(executor->submit(read_twice, text, values)).get(),
              std::pair(std::hash<std::string>()(text), 0.5 * static_cast<double>(size)))
        << size;
  }
}

YOKE_ANY_POOL(SubmitTest);

TEST_P(SubmitTest, A1_a_function) { EXPECT_EQ(soon(executor->submit(add_one, 41)).get(), 42); }
TEST_P(SubmitTest, A1_a_function_pointer) {
  int (*pointer)(int) = add_one;
  EXPECT_EQ(soon(executor->submit(pointer, 41)).get(), 42);
  EXPECT_EQ(soon(executor->submit(&add_one, 42)).get(), 43);
}
TEST_P(SubmitTest, A1_a_static_function) { EXPECT_EQ(soon(executor->submit(halve, 84)).get(), 42); }
TEST_P(SubmitTest, A1_a_template_instance) {
  EXPECT_EQ(soon(executor->submit(twice<int>, 21)).get(), 42);
  EXPECT_EQ(soon(executor->submit(twice<std::string>, "ab")).get(), "abab");
}
TEST_P(SubmitTest, A1_a_hidden_function) { EXPECT_EQ(soon(executor->submit(hidden::negate, 42)).get(), -42); }
TEST_P(SubmitTest, A1_a_lambda) {
  EXPECT_EQ(soon(executor->submit([](int a, int b) { return a * b; }, 6, 7)).get(), 42);
}
TEST_P(SubmitTest, A1_a_generic_lambda) {
  const auto add = [](auto a, auto b) { return a + b; };
  EXPECT_EQ(soon(executor->submit(add, 40, 2)).get(), 42);
  EXPECT_EQ(soon(executor->submit(add, 0.5, 0.25)).get(), 0.75);
  EXPECT_EQ(soon(executor->submit(add, "a", std::string("b"))).get(), "ab");
}
TEST_P(SubmitTest, A1_a_member_function) {
  EXPECT_EQ(soon(executor->submit(&Counter::plus, Counter(40), 2)).get(), 42);
}
TEST_P(SubmitTest, A1_a_virtual_member_function) {
  EXPECT_EQ(soon(executor->submit(&Counter::times, Counter(6), 7)).get(), 42);
}
TEST_P(SubmitTest, A1_a_functor_with_codec) { EXPECT_EQ(soon(executor->submit(Adder{2}, 40)).get(), 42); }
TEST_P(SubmitTest, A1_a_functor_without_state) { EXPECT_EQ(soon(executor->submit(Halver(), 84)).get(), 42); }
TEST_P(SubmitTest, A1_bound_arguments) {
  const auto join = [](const std::string& a, const std::string& b, int n) { return a + b + std::to_string(n); };
  EXPECT_EQ(soon(executor->submit(yoke::bind(join, "x", "y"), 7)).get(), "xy7");
  EXPECT_EQ(soon(executor->submit(yoke::bind(add_one, 41))).get(), 42);
  EXPECT_EQ(soon(executor->submit(yoke::bind(&Counter::plus, Counter(40)), 2)).get(), 42);
}
TEST_P(SubmitTest, A1_a_lambda_by_value) {
  int factor = 6;
  double offset = 0.5;
  const auto scale = yoke::by_value([factor, offset](int value) { return factor * value + offset; });
  EXPECT_EQ(soon(executor->submit(scale, 7)).get(), 42.5);
}
TEST_P(SubmitTest, A1_a_function_of_a_shared_library) {
  EXPECT_EQ(soon(executor->submit(triple_in_library, 14)).get(), 42);
  EXPECT_EQ(soon(submit_hidden(*executor, 10)).get(), 40);
  EXPECT_EQ(soon(submit_library_lambda(*executor, 10)).get(), 50);
}
TEST_P(SubmitTest, A1_a_function_of_a_library_opened_later) {
  soon(executor->submit(add_one, 0)).get();  // a worker is there before the library
  void* library = ::dlopen(LATE_TASKS, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << ::dlerror();
  const auto submit_late =
      reinterpret_cast<void (*)(yoke::Executor&, int, yoke::Future<int>&)>(::dlsym(library, "submit_late"));
  yoke::Future<int> future;
  submit_late(*executor, 7, future);
  EXPECT_EQ(soon(future).get(), 42);
  // it stays open: references to functions in it may be kept
}
TEST_P(SubmitTest, A1_many_tasks_come_back_right) {
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 5000; ++i) futures.push_back(executor->submit(add_one, i));
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(soon(futures[static_cast<std::size_t>(i)]).get(), i + 1);
}

std::size_t length_of(const std::string& text) { return text.size(); }
double half(double value) { return value / 2; }
TEST_P(SubmitTest, A2_arguments_convert_to_the_parameters_first) {
  EXPECT_EQ(soon(executor->submit(length_of, "abc")).get(), 3U);
  EXPECT_EQ(soon(executor->submit(half, 3)).get(), 1.5);
}

int change(std::string& text, std::vector<int>& values) {
  text += "!";
  values.push_back(1);
  return static_cast<int>(text.size() + values.size());
}
TEST_P(SubmitTest, A2_references_bind_to_the_workers_copy) {
  std::string text = "abc";
  std::vector<int> values{1, 2};
  EXPECT_EQ(soon(executor->submit(change, text, values)).get(), 7);
  EXPECT_EQ(text, "abc");
  EXPECT_EQ(values.size(), 2U);
}

std::unique_ptr<std::string> box(std::string text) { return std::make_unique<std::string>(std::move(text)); }
std::string unbox(std::unique_ptr<std::string> box) { return *box; }
TEST_P(SubmitTest, A2_move_only_values_work) {
  auto boxed = soon(executor->submit(box, "content")).get();
  ASSERT_NE(boxed, nullptr);
  EXPECT_EQ(*boxed, "content");
  EXPECT_EQ(soon(executor->submit(unbox, std::move(boxed))).get(), "content");
}

void add_to_board(const Board& board) { board.add(0); }
TEST_P(SubmitTest, A2_void_works) {
  auto future = executor->submit(add_to_board, board);
  soon(future).get();
  EXPECT_EQ(board.get(0), 1U);
}

std::vector<double> iota(std::size_t n) {
  std::vector<double> values(n);
  std::iota(values.begin(), values.end(), 0.0);
  return values;
}
double sum(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }
TEST_P(SubmitTest, A2_messages_of_every_size_cross) {  // in the slot, in the arena, in a memfd
  for (const std::size_t n :
       {0UL, 1UL, 9UL, 10UL, 11UL, 100UL, 1000UL, 8190UL, 8191UL, 8192UL, 8193UL, 100'000UL, 1'000'000UL}) {
    EXPECT_EQ(soon(executor->submit(iota, n)).get(), iota(n)) << n;
    EXPECT_EQ(soon(executor->submit(sum, iota(n))).get(), sum(iota(n))) << n;
  }
}
TEST_P(SubmitTest, A2_many_long_messages_at_once) {  // more than the arena holds
  std::vector<yoke::Future<double>> futures;
  for (std::size_t i = 0; i < 200; ++i) futures.push_back(executor->submit(sum, iota(i * 50)));
  for (std::size_t i = 0; i < 200; ++i) ASSERT_EQ(soon(futures[i]).get(), sum(iota(i * 50)));
}

struct Trouble {  // an error as a value
  int code = 0;
  std::string text;
};
Trouble find_trouble() { return {7, "seven"}; }
TEST_P(SubmitTest, A13_an_error_returned_is_a_value) {
  auto future = executor->submit(find_trouble);
  EXPECT_EQ(soon(future).exception(), nullptr);
  EXPECT_EQ(future.get().text, "seven");
}

struct Nothing {};
[[noreturn]] void throw_nothing() { throw Nothing(); }
[[noreturn]] void throw_empty_text() { throw std::runtime_error(""); }
[[noreturn]] void throw_null() { throw nullptr; }
TEST_P(SubmitTest, A13_an_empty_exception_is_an_exception) {
  EXPECT_NE(soon(executor->submit(throw_nothing)).exception(), nullptr);
  EXPECT_NE(soon(executor->submit(throw_empty_text)).exception(), nullptr);
  EXPECT_NE(soon(executor->submit(throw_null)).exception(), nullptr);
}

struct Node {
  int value = 0;
  std::unique_ptr<Node> next;
};
Node chain_of(std::size_t length) {
  Node head;
  for (std::size_t i = 1; i < length; ++i) head.next = std::make_unique<Node>(Node{0, std::move(head.next)});
  return head;
}
std::size_t count_nodes(const Node& first) {
  std::size_t count = 0;
  for (const Node* at = &first; at; at = at->next.get()) ++count;
  return count;
}
std::size_t count_items(const std::vector<Node>& chains) { return chains.size(); }

TEST_P(SubmitTest, I17_a_chain_is_sent_or_refused_but_ends_nobody) {
  for (const std::size_t length : {1U, 200U}) {
    EXPECT_EQ(soon(executor->submit(count_nodes, chain_of(length))).get(), length);
    EXPECT_EQ(count_nodes(soon(executor->submit(chain_of, length)).get()), length);
  }
  for (const std::size_t length : {300U, 20'000U}) {  // longer ones could not even be destroyed
    const auto refused = [&](auto&& call) {
      const auto error = thrown_by<yoke::SerializationError>(call);
      ASSERT_TRUE(error);
      EXPECT_NE(std::string(error->what()).find("nest deeper than 512"), std::string::npos) << error->what();
    };
    refused([&] { soon(executor->submit(count_nodes, chain_of(length))).get(); });
    refused([&] { soon(executor->submit(chain_of, length)).get(); });
    refused([&] { executor->map(chain_of, std::vector<std::size_t>{length}).get(); });
    refused([&] {
      std::vector<Node> all;
      all.push_back(chain_of(length));
      soon(executor->submit(count_items, std::move(all))).get();
    });
    refused([&] { yoke::broadcast(chain_of(length)); });
  }
}

TEST_P(SubmitTest, A1_the_worker_is_named_by_the_future) {
  auto future = executor->submit(own_pid);
  const int pid = soon(future).result();
  EXPECT_EQ(future.worker_pid(), pid);
  EXPECT_EQ(pid == ::getpid(), in_process());
}

}  // namespace
