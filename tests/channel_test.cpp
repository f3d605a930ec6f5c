// The channel between one parent and one worker, both ends in this process: a thread plays the worker.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "lib/channel/parent_channel.hpp"
#include "lib/channel/slot.hpp"
#include "lib/channel/worker_channel.hpp"
#include "lib/system/warm_memory.hpp"
#include "lib/wire/chunk.hpp"
#include "lib/wire/large_buffer.hpp"
#include "tests/support/sanitized.hpp"
#include "yoke/yoke.hpp"

namespace {

using namespace yoke;
using namespace yoke::channel;

void nothing(Call&) {}
Callable callable{&nothing, &typeid(void)};

boost::intrusive_ptr<Task> task_with(const std::string& text) {
  return new detail::TaskOf<void>(callable, nullptr, Bytes(std::as_bytes(std::span(text))));
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Both ends; the worker's is for the thread that plays it.
struct Pair {
  ParentChannel parent{0, 1, {}};
  std::optional<WorkerChannel> worker;
  Pair() {
    worker.emplace(system::UniqueFd(::fcntl(parent.segment_fd(), F_DUPFD_CLOEXEC, 3)),
                   system::UniqueFd(::fcntl(parent.worker_socket(), F_DUPFD_CLOEXEC, 3)));
    parent.close_worker_ends();
  }
  ParentChannel::Push push(const std::string& text) { return parent.push(*task_with(text), 1, 0, 0); }
  /// Runs one task as the worker: sends its argument back, reversed.
  bool work() {
    const TaskSlot* slot = worker->next();
    if (!slot) return false;
    const std::string text = text_of(worker->arguments(*slot));
    PackBuffer result;
    result.lend_when_long();
    const std::string reversed(text.rbegin(), text.rend());
    result.write(reversed.data(), reversed.size());
    worker->publish(ResultKind::value, result, 1);
    return true;
  }
  std::string collect() {
    ParentChannel::Collected result;
    if (!parent.collect(result)) return "nothing";
    EXPECT_EQ(result.damage, "");
    return text_of(result.outcome.bytes.view());
  }
};

/// The call of a chunk, as the worker's task loop makes it.
class ChunkCall final : public Call {
 public:
  ChunkCall(WorkerChannel& channel, PackBuffer& result, std::atomic<std::uint8_t>& phase)
      : Call({}, nullptr, result, phase), channel_(channel) {}
  void publish() override {}
  void begin_items(std::uint32_t value_size) override {
    channel_.begin_items(value_size);
    keep_values_at(channel_.keeping());
  }
  bool keep_item(std::span<const std::byte> value, std::span<const std::byte> error) override {
    const bool room = channel_.keep_item(value, error);
    keep_values_at(channel_.keeping());
    return room;
  }

 private:
  WorkerChannel& channel_;
};

TEST(Channel, B12_each_item_is_seen_once_it_is_done) {
  Pair pair;
  EXPECT_EQ(pair.push("chunk"), ParentChannel::Push::done);
  ASSERT_TRUE(pair.worker->next());
  PackBuffer result;
  std::atomic<std::uint8_t> phase{0};
  ChunkCall call(*pair.worker, result, phase);
  constexpr std::uint64_t room = ChunkProgress::capacity / sizeof(std::uint64_t);
  detail::ChunkResult chunk(call, room + 10, sizeof(std::uint64_t));
  std::uint64_t errors = 0;
  std::uint64_t done = 0;
  for (bool goes_on = true; goes_on; ++done) {
    ASSERT_EQ(pair.parent.chunk_progress(0).items, done);
    std::memcpy(result.extend(sizeof done), &done, sizeof done);
    const bool throws = done % 1000 == 2 || done % 1000 == 3;
    if (throws) try {
        throw std::runtime_error("no");
      } catch (...) {
        chunk.item_threw(done, Phase::run);
        ++errors;
      }
    goes_on = throws ? chunk.item_done() : chunk.value_done<sizeof(std::uint64_t)>();
  }
  const wire::ChunkPart kept = pair.parent.chunk_progress(0);
  EXPECT_EQ(kept.items, done - 1) << "the last one had no room";
  EXPECT_LT(kept.items, room);
  EXPECT_EQ(kept.error_count, errors);
  EXPECT_FALSE(kept.errors.empty());
  ASSERT_EQ(kept.values.size(), kept.items * sizeof(std::uint64_t));
  for (std::uint64_t i = 0; i < kept.items; ++i) {
    std::uint64_t value = 0;
    std::memcpy(&value, kept.values.data() + i * sizeof value, sizeof value);
    ASSERT_EQ(value, i);
  }
}

/// Open sockets, by their numbers.
std::vector<int> sockets() {
  std::vector<int> found;
  struct stat file{};
  for (int fd = 3; fd < 1024; ++fd) {
    if (::fstat(fd, &file) == 0 && S_ISSOCK(file.st_mode)) found.push_back(fd);
  }
  return found;
}

TEST(Channel, I21_a_worker_is_ready_though_its_word_was_lost_with_the_socket) {
  const std::vector<int> before = sockets();
  ParentChannel parent{0, 1, {}};
  WorkerChannel worker(system::UniqueFd(::fcntl(parent.segment_fd(), F_DUPFD_CLOEXEC, 3)),
                       system::UniqueFd(::fcntl(parent.worker_socket(), F_DUPFD_CLOEXEC, 500)));
  parent.close_worker_ends();
  EXPECT_FALSE(parent.ready());
  worker.announce_ready();
  std::vector<int> own;  // the parent's
  for (const int fd : sockets()) {
    if (fd < 500 && std::ranges::find(before, fd) == before.end()) own.push_back(fd);
  }
  ASSERT_EQ(own.size(), 1U);
  const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(file, own.front());
  EXPECT_TRUE(parent.ready());
  EXPECT_EQ(::fcntl(own.front(), F_GETFD), 0);
  ::close(file);
}

TEST(Channel, tasks_and_results_of_every_size) {
  Pair pair;
  for (const std::size_t length : {0U, 1U, 79U, 80U, 81U, 1000U, 65'535U, 65'536U, 65'537U, 300'000U}) {
    const std::string text = std::string(length, 'a') + "b";
    ASSERT_EQ(pair.push(text), ParentChannel::Push::done) << length;
    ASSERT_TRUE(pair.work());
    EXPECT_TRUE(pair.parent.peek());
    EXPECT_EQ(pair.collect(), "b" + std::string(length, 'a'));
    EXPECT_EQ(pair.parent.outstanding(), 0U);
  }
}

TEST(Channel, in_order_through_many_laps) {
  Pair pair;
  std::thread worker([&] {
    while (pair.work()) {
    }
  });
  std::mt19937 random(1);
  std::deque<std::string> expected;
  unsigned sent = 0, received = 0;
  constexpr unsigned count = 20 * slot_count;
  while (received < count) {
    if (sent < count) {
      const std::string text =
          std::to_string(sent) + std::string(random() % 50 == 0 ? random() % 100'000 : random() % 200, 'x');
      if (pair.push(text) == ParentChannel::Push::done) {
        pair.parent.ring();
        expected.emplace_back(text.rbegin(), text.rend());
        ++sent;
      }
    }
    while (pair.parent.peek()) {
      ASSERT_EQ(pair.collect(), expected.front());
      expected.pop_front();
      ++received;
    }
  }
  pair.parent.ask_to_stop();
  worker.join();
}

TEST(Channel, a_full_ring_says_so) {
  Pair pair;
  for (std::size_t i = 0; i < slot_count; ++i) ASSERT_EQ(pair.push("x"), ParentChannel::Push::done);
  EXPECT_EQ(pair.push("x"), ParentChannel::Push::full);
  pair.work();
  EXPECT_EQ(pair.push("x"), ParentChannel::Push::full) << "its result was not collected";
  pair.collect();
  EXPECT_EQ(pair.push("x"), ParentChannel::Push::done);
}

TEST(Channel, what_is_taken_back_is_not_run) {
  Pair pair;
  for (const char* text : {"a1", "b2", "c3", "d4"}) pair.push(text);
  EXPECT_TRUE(pair.parent.revoke(1));
  EXPECT_TRUE(pair.parent.revoke(3));
  EXPECT_FALSE(pair.parent.revoke(3));
  EXPECT_EQ(pair.parent.outstanding(), 2U);
  pair.work();
  EXPECT_FALSE(pair.parent.revoke(0)) << "it has been started";
  pair.work();
  EXPECT_EQ(pair.collect(), "1a");
  EXPECT_EQ(pair.collect(), "3c");
  EXPECT_EQ(pair.collect(), "nothing");
  pair.push("e5");
  pair.work();
  EXPECT_EQ(pair.collect(), "5e");
  EXPECT_EQ(pair.parent.first_uncollected(), pair.parent.next_position());
}

TEST(Channel, a_batching_collector_is_rung_from_its_mark_on) {
  Pair pair;
  for (const char* text : {"a", "b", "c", "d", "e"}) pair.push(text);
  const auto work_and_see = [&] {
    pair.work();
    return pair.parent.leader_bell().rung();
  };
  pair.parent.arm_leader_bell(2);
  EXPECT_FALSE(work_and_see());
  EXPECT_FALSE(work_and_see());
  EXPECT_TRUE(work_and_see());
  pair.parent.leader_bell().disarm();
  pair.parent.arm_leader_bell(0);
  EXPECT_TRUE(work_and_see());
  pair.parent.leader_bell().disarm();
  pair.work();
  for (const char* text : {"a", "b", "c", "d", "e"}) EXPECT_EQ(pair.collect(), text);
}

TEST(Channel, taking_back_while_the_worker_runs) {
  Pair pair;
  std::thread worker([&] {
    while (pair.work()) {
    }
  });
  unsigned pushed = 0, revoked = 0, collected = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto first = pair.parent.next_position();
    for (int i = 0; i < 5; ++i)
      if (pair.push(std::to_string(pushed)) == ParentChannel::Push::done) ++pushed;
    pair.parent.ring();
    for (auto position = pair.parent.next_position(); position-- > first;)
      if (pair.parent.task_at(position) && pair.parent.revoke(position)) ++revoked;
    while (pair.parent.peek()) {
      pair.collect();
      ++collected;
    }
  }
  while (pair.parent.outstanding() != 0)
    if (pair.parent.peek()) {
      pair.collect();
      ++collected;
    }
  EXPECT_EQ(collected + revoked, pushed);
  pair.parent.ask_to_stop();
  worker.join();
}

TEST(Channel, the_worker_stops_after_what_it_was_given) {
  Pair pair;
  pair.push("ab");
  pair.parent.ask_to_stop();
  EXPECT_TRUE(pair.work());
  EXPECT_FALSE(pair.work());
  EXPECT_EQ(pair.collect(), "ba");
}

TEST(Channel, a_task_that_was_claimed_has_no_start_until_the_worker_tells) {
  Pair pair;
  for (const char* text : {"ab", "cd"}) pair.push(text);
  const auto tell = [&](std::int64_t time) {  // as the task loop does
    pair.worker->status().started_ns.store(time);
    pair.worker->status().position.store(pair.worker->position() + 1);
  };
  ASSERT_NE(pair.worker->next(), nullptr);
  EXPECT_FALSE(pair.parent.started_ns(0));
  tell(100);
  EXPECT_EQ(pair.parent.started_ns(0), 100);
  ASSERT_NE(pair.worker->next(), nullptr);
  EXPECT_TRUE(pair.parent.started(1));
  EXPECT_FALSE(pair.parent.started_ns(1)) << "the time is the first one's";
  tell(200);
  EXPECT_EQ(pair.parent.started_ns(1), 200);
}

TEST(Channel, many_large_arguments_at_once) {  // more than the worker has pieces of memory for
  Pair pair;
  constexpr int count = 200;
  const auto text = [](int i) { return std::to_string(i) + std::string(100'000, 'x'); };
  for (int sent = 0, done = 0; done < count; ++done) {
    while (sent < count && pair.push(text(sent)) == ParentChannel::Push::done) ++sent;
    ASSERT_GT(sent, done);
    ASSERT_TRUE(pair.work()) << done;
    const std::string expected = text(done);
    ASSERT_EQ(pair.collect(), std::string(expected.rbegin(), expected.rend()));
  }
}

TEST(Channel, large_arguments_and_some_taken_back) {
  Pair pair;
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    std::deque<std::string> expected;
    const auto first = pair.parent.next_position();
    for (int i = 0; i < 20; ++i) {
      const std::string text = std::to_string(i) + std::string(random() % 2 == 0 ? 70'000 : 10, 'x');
      ASSERT_EQ(pair.push(text), ParentChannel::Push::done);
      if (random() % 3 == 0)
        pair.parent.revoke(first + static_cast<unsigned>(i));
      else
        expected.emplace_back(text.rbegin(), text.rend());
    }
    for (const auto& text : expected) {
      ASSERT_TRUE(pair.work());
      ASSERT_EQ(pair.collect(), text);
    }
  }
}

/// A message in memory of its owner's own, as the bytes of a received result are.
class ForeignBuffer final : public Buffer {
 public:
  explicit ForeignBuffer(std::string text) : text_(std::move(text)) {}
  std::span<const std::byte> view() const override { return std::as_bytes(std::span(text_)); }
  std::size_t size() const noexcept override { return text_.size(); }

 private:
  std::string text_;
};
TEST(Channel, large_arguments_in_memory_of_another_kind) {
  Pair pair;
  const auto text = [](int i) { return std::to_string(i) + std::string(100'000, static_cast<char>('a' + i)); };
  for (int i = 0; i < 5; ++i) {
    const TaskPtr task(
        new detail::TaskOf<void>(callable, nullptr, Bytes(std::make_shared<const ForeignBuffer>(text(i)))));
    ASSERT_EQ(pair.parent.push(*task, 1, 0, 0), ParentChannel::Push::done);
  }
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(pair.work());
    const std::string expected = text(i);
    ASSERT_EQ(pair.collect(), std::string(expected.rbegin(), expected.rend()));
  }
}

TEST(Channel, more_descriptors_than_the_socket_takes) {
  Pair pair;
  unsigned pushed = 0;
  auto outcome = ParentChannel::Push::done;
  while ((outcome = pair.push(std::to_string(pushed) + std::string(70'000, 'x'))) == ParentChannel::Push::done)
    ++pushed;
  EXPECT_EQ(outcome, ParentChannel::Push::full);
  EXPECT_EQ(pushed, GivenMemory::most_pieces);
  for (unsigned i = 0; i < pushed; ++i) {
    ASSERT_TRUE(pair.work()) << i;
    ASSERT_NE(pair.collect().find(std::string(100, 'x')), std::string::npos);
  }
  EXPECT_EQ(pair.push("x" + std::string(70'000, 'x')), ParentChannel::Push::done);
}

TEST(Channel, U4_memory_of_arguments_is_for_reading_and_stays_as_it_is) {
  ParentChannel parent(0, 1, {});
  const system::UniqueFd socket(::fcntl(parent.worker_socket(), F_DUPFD_CLOEXEC, 3));
  ASSERT_EQ(parent.push(*task_with(std::string(100'000, 'x')), 1, 0, 0), ParentChannel::Push::done);
  ControlMessage message;
  ASSERT_EQ(receive_control(socket.get(), message), Receipt::message);
  ASSERT_TRUE(message.descriptor);
  EXPECT_EQ(::fcntl(message.descriptor.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  const std::string path = "/proc/self/fd/" + std::to_string(message.descriptor.get());
  const system::UniqueFd again(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(again);
  EXPECT_NE(::ftruncate(again.get(), 1L << 40), 0);
  EXPECT_NE(::ftruncate(again.get(), 1), 0);
  EXPECT_NE(::fallocate(again.get(), 0, 1L << 30, 4096), 0);
  EXPECT_NE(::fcntl(again.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_EQ(::pwrite(again.get(), "y", 1, 0), -1);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again.get(), 0), MAP_FAILED);
}

/// Pieces of memory of arguments that this process has mapped.
std::size_t mapped_pieces() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);)
    count += line.find("memfd:yoke-message") != std::string::npos ? 1U : 0U;
  return count;
}

TEST(Channel, U3_memory_of_arguments_is_used_again_and_taken_back_by_word) {
  const std::size_t before = mapped_pieces();
  Pair pair;
  const auto once = [&](char letter) {
    const std::string text(100'000, letter);
    ASSERT_EQ(pair.push(text), ParentChannel::Push::done);
    ASSERT_TRUE(pair.work());
    ASSERT_EQ(pair.collect(), text);
  };
  once('a');
  EXPECT_TRUE(pair.parent.needs_trim());
  // the worker's result lies in one more
  EXPECT_EQ(mapped_pieces(), before + 2) << "this process plays both sides";
  once('b');
  EXPECT_EQ(mapped_pieces(), before + 2);
  pair.parent.trim(std::chrono::hours(1));
  EXPECT_TRUE(pair.parent.needs_trim());
  pair.parent.trim({});
  EXPECT_FALSE(pair.parent.needs_trim());
  pair.worker->read_news();
  EXPECT_EQ(mapped_pieces(), before);
  once('c');
}

TEST(Channel, U3_no_piece_that_a_task_needs_is_taken_back) {
  Pair pair;
  const std::string text(100'000, 'x');
  ASSERT_EQ(pair.push(text), ParentChannel::Push::done);
  pair.parent.trim({});
  EXPECT_TRUE(pair.parent.needs_trim());
  ASSERT_TRUE(pair.work());
  EXPECT_EQ(pair.collect(), text);
}

TEST(Channel, a_large_result_of_a_worker_that_is_gone) {  // with a message that it has not read
  Pair pair;
  const std::string text(100'000, 'x');
  pair.push(text);
  pair.push(text);
  ASSERT_TRUE(pair.work());
  pair.worker.reset();
  EXPECT_EQ(pair.collect(), text);
}

/// Memory is kept for the next use for as long as it lives.
struct Keeper final : system::warm_memory::Keeper {
  Keeper() { system::warm_memory::join(*this); }
  ~Keeper() override {
    system::warm_memory::leave(*this);
    system::warm_memory::trim({});
  }
  void warm_memory_came() noexcept override {}
};

TEST(Channel, a_large_result_stays_as_it_is_until_it_is_fetched) {
  const Keeper keeper;
  Pair pair;
  const auto text = [](int i) { return std::string(100'000, static_cast<char>('a' + i)); };
  std::vector<Bytes> results;
  for (int i = 0; i < 6; ++i) {  // more than are kept
    pair.push(text(i));
    ASSERT_TRUE(pair.work());
    ParentChannel::Collected result;
    ASSERT_TRUE(pair.parent.collect(result));
    results.push_back(std::move(result.outcome.bytes));
    if (i % 2 == 1) {
      EXPECT_EQ(text_of(results[results.size() - 2].view()), text(i - 1));
    }
  }
  for (int i = 0; i < 6; ++i) EXPECT_EQ(text_of(results[static_cast<unsigned>(i)].view()), text(i));
}

constexpr auto for_parent = LargeBuffer::For::parent;

TEST(LargeBuffer, lent_memory_is_used_again_once_it_is_back) {
  const Keeper keeper;
  const auto numbers = [](int count) {
    std::deque<LargeBuffer> buffers;
    std::vector<std::uint64_t> all;
    for (int i = 0; i < count; ++i) {
      LargeBuffer& buffer = buffers.emplace_back(for_parent);
      buffer.reserve(100'000, 0);
      all.push_back(buffer.number());
    }
    return all;
  };
  std::uint64_t number = 0;
  system::UniqueFd lent;
  system::UniqueFd copy;
  {
    LargeBuffer buffer(for_parent);
    buffer.reserve(100'000, 0);
    buffer.data()[0] = std::byte{'x'};
    number = buffer.number();
    lent = buffer.lend();
    copy.reset(::fcntl(lent.get(), F_DUPFD_CLOEXEC, 3));
  }
  char byte = 0;
  ASSERT_EQ(::pread(lent.get(), &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'x');
  EXPECT_EQ(::pwrite(lent.get(), &byte, 1, 0), -1);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, lent.get(), 0), MAP_FAILED);
  EXPECT_EQ(std::ranges::count(numbers(3), number), 0);
  lent.reset();
  EXPECT_EQ(std::ranges::count(numbers(3), number), 0);
  copy.reset();
  EXPECT_EQ(std::ranges::count(numbers(3), number), 1);
}

TEST(LargeBuffer, a_fork_does_not_use_the_same_memory) {
  const Keeper keeper;
  auto in_use = std::make_unique<LargeBuffer>(for_parent);
  in_use->reserve(100'000, 0);
  std::uint64_t kept = 0;
  {
    LargeBuffer buffer(for_parent);
    buffer.reserve(100'000, 0);
    kept = buffer.number();
  }
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto forbidden = in_use->number();
    in_use.reset();
    LargeBuffer first(for_parent), second(for_parent);
    first.reserve(100'000, 0);
    second.reserve(100'000, 0);
    bool same = false;
    for (const auto* buffer : {&first, &second}) same |= buffer->number() == kept || buffer->number() == forbidden;
    ::_exit(same ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(LargeBuffer, what_is_kept_is_given_up_where_it_is_missing) {
  if (yoke_test::sanitized) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  const Keeper keeper;
  const auto make = [](std::size_t size) {
    LargeBuffer buffer(for_parent);
    buffer.reserve(size, 0);
  };
  make(100'000);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  {
    const system::UniqueFd lowest_free(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    low.rlim_cur = static_cast<rlim_t>(lowest_free.get());
  }
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_NO_THROW(make(1'000'000));  // the descriptor of what was kept is free again
  {
    LargeBuffer in_use(for_parent);
    in_use.reserve(1'000'000, 0);
    EXPECT_THROW(make(10'000'000), std::system_error);
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST(LargeBuffer, small_ones_leave_far_larger_memory_alone) {
  const Keeper keeper;
  const auto number_for = [](std::size_t size) {
    LargeBuffer buffer(for_parent);
    buffer.reserve(size, 0);
    return buffer.number();
  };
  const auto large = number_for(8'000'000);
  for (std::size_t size = 100'000; size < 4'000'000; size += 100'000) EXPECT_NE(number_for(size), large);
  EXPECT_EQ(number_for(7'000'000), large);
}

TEST(LargeBuffer, one_that_grows_leaves_the_largest_kept) {
  const Keeper keeper;
  std::uint64_t number = 0;
  for (int turn = 0; turn < 3; ++turn) {
    LargeBuffer buffer(for_parent);
    std::size_t size = 0;
    for (std::size_t capacity = 100'000; capacity < 100'000'000; capacity *= 2) {
      buffer.reserve(capacity, size);
      size = capacity;
    }
    if (turn != 0) {
      EXPECT_EQ(buffer.number(), number);
    }
    number = buffer.number();
  }
}

}  // namespace
