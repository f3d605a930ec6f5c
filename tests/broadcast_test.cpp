// G10: a broadcast value is packed once and unpacked once by each worker, by any pool.
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/any_pool.hpp"

namespace {

using namespace yoke_test;

/// Counts, in its process, how often one was packed and unpacked.
struct Model {
  std::vector<double> weights;
};
int packed_here = 0;
int unpacked_here = 0;
int forgotten_here = 0;

struct Uncopyable {
  explicit Uncopyable(std::string words) : text(std::move(words)) {}
  Uncopyable(Uncopyable&&) = default;
  ~Uncopyable() { forgotten_here += text.empty() ? 0 : 1; }
  std::string text;
};

struct Unpackable {
  int kind = 0;
};

/// Asks its pool when it goes.
struct Nosy {
  explicit Nosy(std::string words) : text(std::move(words)) {}
  Nosy(Nosy&&) = default;
  ~Nosy() {
    if (pool && !text.empty()) last_seen = pool->stats().submitted;
  }
  std::string text;
  static inline const yoke::Executor* pool = nullptr;  // in the program alone
  static inline std::uint64_t last_seen = 0;
};

}  // namespace

template <>
struct yoke::Codec<Model> {
  static void pack(Packer& packer, const Model& model) {
    ++packed_here;
    pack_value(packer, model.weights);
  }
  static Model unpack(const Object& object) {
    ++unpacked_here;
    return {unpack_value<std::vector<double>>(object)};
  }
};
template <>
struct yoke::Codec<Unpackable> {
  static void pack(Packer&, const Unpackable& value) {
    if (value.kind == 0) throw std::out_of_range("out of ink");
    throw 42;
  }
  static Unpackable unpack(const Object&) { return {}; }
};
template <>
struct yoke::Codec<Nosy> {
  static void pack(Packer& packer, const Nosy& value) { pack_value(packer, value.text); }
  static Nosy unpack(const Object& object) { return Nosy(unpack_value<std::string>(object)); }
};
template <>
struct yoke::Codec<Uncopyable> {
  static void pack(Packer& packer, const Uncopyable& value) { pack_value(packer, value.text); }
  static Uncopyable unpack(const Object& object) { return Uncopyable(unpack_value<std::string>(object)); }
};

namespace {

double weigh(const Model& model, double x) { return model.weights.back() * x; }
double weigh_handle(const yoke::Broadcast<Model>& model, double x) { return weigh(*model, x); }
/// Process, and how often the process has unpacked any.
std::pair<int, int> count_unpacked(const Model&) { return {own_pid(), unpacked_here}; }
std::size_t length_of(const std::string& text) { return text.size(); }
std::string text_of_nosy(const Nosy& value) { return value.text; }
std::string text_of(const Uncopyable& value) { return value.text; }
int times_forgotten() { return forgotten_here; }
void write_to(const yoke::Broadcast<std::string>& value) { const_cast<std::string&>(value.get())[0] = 'X'; }
std::string same_text(std::string text) { return text; }
struct HasArray {
  yoke::SharedArray<int> array;
};

class BroadcastTest : public AnyPoolTest {};

TEST_P(BroadcastTest, G10_a_parameter_is_the_value_or_the_handle) {
  const auto model = yoke::broadcast(Model{{1, 2, 3}});
  EXPECT_EQ(model->weights.size(), 3U);
  EXPECT_EQ(soon(executor->submit(weigh, model, 2)).get(), 6);
  EXPECT_EQ(soon(executor->submit(weigh_handle, model, 2)).get(), 6);
  EXPECT_EQ(soon(executor->submit(weigh, Model{{5}}, 2)).get(), 10) << "the same function without one";
  const auto text = yoke::broadcast("twelve bytes");
  EXPECT_EQ(soon(executor->submit(length_of, text)).get(), 12U);
  EXPECT_EQ(soon(executor->submit(same_text, text)).get(), "twelve bytes");
  EXPECT_EQ(soon(executor->submit(text_of, yoke::broadcast(Uncopyable("moved")))).get(), "moved");
}

TEST_P(BroadcastTest, G10_map_with_a_bound_one) {
  const auto model = yoke::broadcast(Model{std::vector<double>(100'000, 3)});
  std::vector<double> items(500, 2), expected(500, 6);
  EXPECT_EQ(executor->map(yoke::bind(weigh, model), items).get(), expected);
}

TEST_P(BroadcastTest, G10_it_is_packed_once_and_unpacked_once_by_each_worker) {
  packed_here = unpacked_here = 0;
  const auto model = yoke::broadcast(Model{std::vector<double>(10'000)});
  EXPECT_EQ(packed_here, 1);
  std::vector<yoke::Future<std::pair<int, int>>> futures;
  for (int i = 0; i < 100; ++i) futures.push_back(executor->submit(count_unpacked, model));
  for (auto& future : futures) {
    const auto [pid, count] = soon(future).get();
    EXPECT_EQ(count, in_process() ? 0 : 1) << pid;
  }
  EXPECT_EQ(packed_here, 1);
}

TEST_P(BroadcastTest, G10_workers_forget_it_after_the_last_handle) {
  if (in_process()) GTEST_SKIP() << "it has no workers";
  {
    const auto value = yoke::broadcast(Uncopyable("words"));
    EXPECT_EQ(soon(executor->submit(text_of, value)).get(), "words");
    EXPECT_EQ(soon(executor->submit(times_forgotten)).get(), 0);
  }
  wait_until([&] { return soon(executor->submit(times_forgotten)).get() == 1; }, "a worker that forgets a value");
}

TEST_P(BroadcastTest, G10_its_destructor_runs_under_no_lock_of_the_pool) {
  Nosy::pool = &*executor;
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(soon(executor->submit(text_of_nosy, yoke::broadcast(Nosy("words")))).get(), "words");
    EXPECT_EQ(Nosy::last_seen, static_cast<std::uint64_t>(i));
  }
  Nosy::pool = nullptr;
}

TEST_P(BroadcastTest, G10_what_it_cannot_hold) {
  const auto error = thrown_by<yoke::SerializationError>([] { yoke::broadcast(HasArray{yoke::SharedArray<int>(3)}); });
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("cannot hold a SharedArray"), std::string::npos) << error->what();
}

TEST_P(BroadcastTest, G10_what_its_codec_throws_is_told_as_for_arguments) {
  for (const int kind : {0, 1}) {
    const auto error = thrown_by<yoke::SerializationError>([&] { yoke::broadcast(Unpackable{kind}); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->what(),
              std::string("a broadcast value could not be packed: ") + (kind == 0 ? "out of ink" : "the value 42"));
  }
}

TEST_P(BroadcastTest, G10_a_worker_that_changes_it_changes_its_own) {
  if (in_process()) GTEST_SKIP() << "it has no workers";
  const auto text = yoke::broadcast(std::string(100, 'a'));
  soon(executor->submit(write_to, text)).get();
  EXPECT_EQ(*text, std::string(100, 'a'));
}

YOKE_ANY_POOL(BroadcastTest);

}  // namespace
