// C9, U3, U4, U6: tasks that write what they like into their worker's segment, close its descriptors, or let a child do
// it. The pool goes on, every future is done, and no other worker's task gets a wrong result.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "lib/channel/control_socket.hpp"
#include "lib/channel/layout.hpp"
#include "lib/channel/slot.hpp"
#include "lib/system/unique_fd.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;
using namespace yoke::channel;

enum Word : unsigned { writing, hostile_pid };
enum class Noise { random, ones, zeros, lies };
enum class End { returns, throws, killed, crashes };
constexpr Noise all_noises[] = {Noise::random, Noise::ones, Noise::zeros, Noise::lies};

/// The memory that this worker shares with its parent.
Segment& own_segment() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find("memfd:yoke-segment") != std::string::npos)
      return *reinterpret_cast<Segment*>(std::stoull(line, nullptr, 16));
  throw std::runtime_error("this worker has no segment");
}

/// What could be true, and is not: of results that nobody made, in places that do not hold them, and of a death.
void lie(Segment& segment, std::mt19937_64& random) {
  constexpr std::uint64_t lengths[] = {0, 3, 81, arena_size + 1, UINT32_MAX, UINT64_MAX};
  const std::uint64_t now = segment.status.position.load();  // one further than that of the task that runs
  for (std::uint64_t position = now; position < now + slot_count - 1; ++position) {
    ResultSlot& result = segment.results[position % slot_count];
    result.length = lengths[random() % std::size(lengths)];
    result.where = random() % (2 * arena_size);
    result.place = static_cast<Place>(random() % 4);
    result.kind = static_cast<ResultKind>(random() % 3);
    result.sequence.store(random() % 4 == 0 ? published(position + 1) : published(position));
    segment.tasks[position % slot_count].state.store(random() % (4 * slot_count));
  }
  segment.status.started_ns.store(random() % 2 == 0 ? INT64_MIN : INT64_MAX);
  segment.status.heartbeat_ns.store(INT64_MIN);
  segment.status.phase.store(77);
  segment.black_box.frame_count = 1000;
  segment.black_box.reason_length.store(UINT32_MAX);
  std::memset(segment.black_box.modules, 'x', sizeof segment.black_box.modules);
  segment.black_box.signal.store(static_cast<std::uint32_t>(random() % 70));
}

void overwrite(Noise noise, std::uint64_t seed) {
  Segment& segment = own_segment();
  std::mt19937_64 random(seed);
  const std::span words(reinterpret_cast<volatile std::uint64_t*>(&segment), sizeof segment / sizeof(std::uint64_t));
  if (noise == Noise::lies) return lie(segment, random);
  for (auto& word : words) word = noise == Noise::random ? random() : noise == Noise::ones ? ~std::uint64_t{0} : 0;
}

int overwrite_and_end(Noise noise, std::uint64_t seed, End end) {
  overwrite(noise, seed);
  switch (end) {
    case End::returns: break;
    case End::throws: throw std::runtime_error("with a text");
    case End::killed: kill_self(SIGKILL);
    case End::crashes: kill_self(SIGSEGV);
  }
  return -1;
}

/// Does not stop before something else ends it.
int overwrite_for_ever(const Board& board, Noise noise) {
  for (std::uint64_t seed = 0;; ++seed) {
    overwrite(noise, seed);
    board.add(writing);
  }
}

int let_a_child_write(const Board& board, Noise noise) {
  const std::uint32_t before = board.get(writing);
  if (::fork() == 0) overwrite_for_ever(board, noise);
  board.wait_for(writing, before + 1);
  return -1;
}

int close_all_descriptors() {
  ::close_range(3, ~0U, 0);
  return -1;
}
std::size_t length_of(const std::string& text) { return text.size(); }

/// For as long as it runs, its own slot says that it has not begun, always or now and then, and its worker that it is
/// idle and never was ready.
int deny_its_start(const Board& board, bool always) {
  Segment& segment = own_segment();
  ::signal(SIGTERM, SIG_IGN);
  const std::uint64_t position = segment.status.position.load() - 1;
  auto& state = segment.tasks[position % slot_count].state;
  state.store(slot_word(position, SlotState::ready));
  segment.status.position.store(0);
  segment.status.phase.store(0);
  segment.status.ready.store(0);
  board.add(hostile_pid + board.add(writing), static_cast<std::uint32_t>(::getpid()));
  for (std::uint64_t i = 0;; ++i)
    state.store(slot_word(position, always || i % 2 == 0 ? SlotState::ready : SlotState::running));
}
/// All that came so far as to run it.
bool has_ended(const Board& board) {
  for (unsigned i = 1; i <= board.get(writing); ++i)
    if (const auto pid = static_cast<pid_t>(board.get(hostile_pid + i)); pid != 0 && ::kill(pid, 0) == 0) return false;
  return true;
}

/// The worker dies, and its slot says that it has not begun; its worker, that it was never ready.
int deny_and_die(const Board& board) {
  Segment& segment = own_segment();
  const std::uint64_t position = segment.status.position.load() - 1;
  segment.status.ready.store(0);
  segment.tasks[position % slot_count].state.store(slot_word(position, SlotState::ready));
  board.add(writing);
  kill_self(SIGSEGV);
  return -1;
}

/// The worker dies, and says that it was never ready.
int deny_readiness_and_die() {
  own_segment().status.ready.store(0);
  kill_self(SIGSEGV);
  return -1;
}

/// What came of the initializer is an exception, if this is what the parent finds.
int accuse_the_initializer() {
  Segment& segment = own_segment();
  ResultSlot& result = segment.results[0];
  result.kind = ResultKind::exception;
  result.length = 0;
  result.place = Place::slot;
  result.shared = 0;
  result.seal = result_seal(0, 0, result.where, Place::slot, ResultKind::exception, 0, {});
  result.sequence.store(published(0));
  return -1;
}
void do_nothing() {}

/// The end of its control socket: the one socket that it has.
int own_control_socket() {
  for (int fd = 3; fd < 1024; ++fd) {
    struct stat status{};
    if (::fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode)) return fd;
  }
  throw std::runtime_error("this worker has no socket");
}

/// As ParentChannel's other end sends it.
void send_message(ControlKind kind, std::uint64_t position, std::span<const std::byte> body, int descriptor) {
  ControlHead head{kind, static_cast<std::uint32_t>(body.size()), position};
  iovec parts[2] = {{&head, sizeof head}, {const_cast<std::byte*>(body.data()), body.size()}};
  alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  message.msg_control = ancillary;
  message.msg_controllen = sizeof ancillary;
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
  ::sendmsg(own_control_socket(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/// Publishes the result 0 of its task itself, with so many descriptors of memory that it made, and is never seen again.
int forge_an_int_with_arrays(std::uint32_t count) {
  Segment& segment = own_segment();
  const std::uint64_t position = segment.status.position.load() - 1;
  for (std::uint64_t i = 0; i < count; ++i) {
    const int memory = static_cast<int>(::memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    const std::string content(4096, 'x');
    if (::write(memory, content.data(), content.size()) != static_cast<ssize_t>(content.size())) std::abort();
    ::fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    const std::uint64_t at = 0;
    send_message(ControlKind::shared, position, std::as_bytes(std::span(&at, 1)), memory);
    ::close(memory);
  }
  ResultSlot& slot = segment.results[position % slot_count];
  slot.place = Place::slot;
  slot.kind = ResultKind::value;
  slot.length = sizeof(int);
  slot.where = 0;
  slot.shared = count;
  std::memset(slot.content, 0, sizeof(int));
  slot.seal = result_seal(position, slot.length, 0, slot.place, slot.kind, count, std::span(slot.content, slot.length));
  slot.sequence.store(published(position));
  for (;;) ::pause();
}

/// What a hostile item writes of the items that its worker has.
enum class ChunkLie {
  size_of_values,
  no_size,
  packed,
  errors,
  more_errors_than_bytes,
  error_of_another_item,
  no_msgpack,
  endless_string,
  deep,
  too_few,
  too_many,
  none
};
constexpr ChunkLie all_chunk_lies[] = {ChunkLie::size_of_values,
                                       ChunkLie::no_size,
                                       ChunkLie::packed,
                                       ChunkLie::errors,
                                       ChunkLie::more_errors_than_bytes,
                                       ChunkLie::error_of_another_item,
                                       ChunkLie::no_msgpack,
                                       ChunkLie::endless_string,
                                       ChunkLie::deep,
                                       ChunkLie::too_few,
                                       ChunkLie::too_many,
                                       ChunkLie::none};
void lie_of_chunk(ChunkLie lie) {
  ChunkProgress& chunk = own_segment().chunk;
  ChunkProgress::Step& step = chunk.steps[chunk.current.load() % 2];
  switch (lie) {
    case ChunkLie::size_of_values: chunk.value_size = 4; break;
    case ChunkLie::no_size: chunk.value_size = 0; break;
    case ChunkLie::packed: chunk.value_size = UINT32_MAX; break;
    case ChunkLie::errors:
      step.errors = 8;
      step.error_count = 1;
      std::memset(chunk.content + ChunkProgress::capacity - 8, 0xc1, 8);
      break;
    case ChunkLie::more_errors_than_bytes: step.error_count = UINT32_MAX; break;
    case ChunkLie::error_of_another_item:
      step.errors = 2;
      step.error_count = 1;
      chunk.content[ChunkProgress::capacity - 2] = std::byte{12};
      chunk.content[ChunkProgress::capacity - 1] = std::byte{0xc0};
      break;
    case ChunkLie::no_msgpack: chunk.content[0] = std::byte{0xc1}; break;
    case ChunkLie::endless_string: std::memset(chunk.content, 0xdb, 5); break;
    case ChunkLie::deep: std::memset(chunk.content, 0x91, 600); break;
    case ChunkLie::too_few: step.items = 0; break;
    case ChunkLie::too_many: step.items = 10; break;
    case ChunkLie::none: break;
  }
}
constexpr long hostile_item = 5;
long lie_and_die(ChunkLie lie, long item) {
  if (item == hostile_item) {
    lie_of_chunk(lie);
    kill_self(SIGKILL);
  }
  return item;
}
std::string lie_and_die_of_text(ChunkLie lie, long item) { return "item " + std::to_string(lie_and_die(lie, item)); }

/// Item 3 dies as it may. Item 5, in another worker then, publishes what it likes for all that are left.
long forge_the_rest(ResultKind kind, const std::string& content, long item) {
  if (item == 3) kill_self(SIGKILL);
  if (item != hostile_item) return item;
  Segment& segment = own_segment();
  const std::uint64_t position = segment.status.position.load() - 1;
  ResultSlot& slot = segment.results[position % slot_count];
  slot.place = Place::slot;
  slot.kind = kind;
  slot.length = content.size();
  slot.where = 0;
  slot.shared = 0;
  std::memcpy(slot.content, content.data(), content.size());
  slot.seal = result_seal(position, slot.length, 0, slot.place, kind, 0, std::span(slot.content, slot.length));
  slot.sequence.store(published(position));
  while (segment.collected.load() <= position) ::usleep(100);
  kill_self(SIGKILL);
  return item;
}

/// Sends what no result asks for, and returns an honest one.
int send_descriptors(int count) {
  const std::uint64_t position = own_segment().status.position.load() - 1;
  for (int i = 0; i < count; ++i) send_message(ControlKind::memory, position, {}, 1);
  return 0;
}

std::string text_of(std::size_t length) { return std::string(length, 'x'); }
std::string throw_text(std::size_t length) { throw std::runtime_error(text_of(length)); }
std::string text_without_limit(std::size_t length) {
  own_segment().bootstrap.max_result = 0;
  return text_of(length);
}

std::string long_text(int) { return text_of(10'000); }
std::string long_text_or_death(int item) {
  if (item % 4 == 3) kill_self(SIGKILL);
  return long_text(item);
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), std::filesystem::directory_iterator()));
}

class HostileWorkerTest : public PoolTest {
 protected:
  yoke::ExecutorOptions options() const override {
    auto options = PoolTest::options();
    options.restart_budget = {.deaths = 100'000, .within = std::chrono::seconds(1)};
    return options;
  }

  void SetUp() override {
    PoolTest::SetUp();
    may_write_stderr();  // a sanitizer may have its say about what a worker does to itself
  }

  /// The future is done, with a value that is right, or with an error.
  template <class T>
  static bool right_or_failed(const yoke::Future<T>& future, const T& expected) {
    try {
      return soon(future).result() == expected;
    } catch (const yoke::Error&) {
      return true;
    } catch (const std::runtime_error& error) {
      return error.what() == std::string("with a text");
    }
  }

  /// The pool works as before.
  void expect_work() {
    for (int round = 0; round < 5; ++round) {
      std::vector<yoke::Future<int>> futures;
      for (int i = 0; i < 100; ++i) futures.push_back(pool->submit({.retries = 100}, add_one, i));
      for (int i = 0; i < 100; ++i) ASSERT_TRUE(right_or_failed(futures[static_cast<std::size_t>(i)], i + 1)) << i;
    }
    prime(*pool, size, board);
    for (int i = 0; i < 100; ++i) ASSERT_EQ(soon(pool->submit(add_one, i)).get(), i + 1);
  }
};

TEST_F(HostileWorkerTest, C9_overwrites_its_segment_and_goes_on) {
  for (const Noise noise : all_noises)
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      const auto end = seed % 2 == 0 ? End::returns : End::throws;
      ASSERT_TRUE(right_or_failed(pool->submit(overwrite_and_end, noise, seed, end), -1));
      for (int i = 0; i < 10; ++i) ASSERT_TRUE(right_or_failed(pool->submit(add_one, i), i + 1));
    }
  expect_work();
}

TEST_F(HostileWorkerTest, C9_overwrites_its_segment_and_dies) {
  for (const Noise noise : all_noises)
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      const auto end = seed % 2 == 0 ? End::killed : End::crashes;
      ASSERT_TRUE(right_or_failed(pool->submit(overwrite_and_end, noise, seed, end), -1));
      ASSERT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
    }
  expect_work();
}

TEST_F(HostileWorkerTest, C9_overwrites_its_segment_before_anything_is_known_of_it) {
  for (const Noise noise : all_noises)
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      auto one = options();
      one.max_workers = 1;
      one.initializer = {};
      restart(one);
      EXPECT_TRUE(right_or_failed(pool->submit(overwrite_and_end, noise, seed, End::returns), -1));
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(right_or_failed(pool->submit(add_one, i), i + 1));
      EXPECT_EQ(soon(pool->submit({.retries = 3}, add_one, 1)).get(), 2);
    }
  restart(options());
}

TEST_F(HostileWorkerTest, C9_overwrites_its_segment_while_others_work) {
  for (const Noise noise : all_noises) {
    const std::uint32_t before = board.get(writing);
    auto hostile = pool->submit({.timeout = std::chrono::milliseconds(200)}, overwrite_for_ever, board, noise);
    // It may be found out, and killed, before it has come round once.
    wait_until([&] { return board.get(writing) != before || hostile.done(); }, "the hostile task to write");
    std::vector<yoke::Future<int>> others;
    for (int i = 0; i < 2000; ++i) others.push_back(pool->submit(add_one, i));
    for (int i = 0; i < 2000; ++i) ASSERT_TRUE(right_or_failed(others[static_cast<std::size_t>(i)], i + 1));
    pool->stats();
    EXPECT_TRUE(right_or_failed(hostile, -1));
  }
  expect_work();
}

TEST_F(HostileWorkerTest, C9_lies_of_what_it_has_of_a_chunk) {
  constexpr long items = 16;
  std::vector<long> all(items);
  std::iota(all.begin(), all.end(), 0);
  const auto expect_right = [&](auto function, ChunkLie lie, auto value) {
    auto results = pool->map({.chunksize = items}, function, std::vector<ChunkLie>(items, lie), all);
    long item = 0;
    for (auto it = results.begin(); it != results.end(); ++it, ++item) {
      SCOPED_TRACE("lie " + std::to_string(static_cast<int>(lie)) + ", item " + std::to_string(item));
      if (item == hostile_item) {
        EXPECT_THROW(*it, yoke::TerminatedWorkerError);
      } else if (item > hostile_item) {
        EXPECT_EQ(*it, value(item)) << "is of another worker";
      } else {
        try {
          *it;  // whatever its worker made of it
        } catch (const yoke::TerminatedWorkerError&) {
        } catch (const yoke::SerializationError&) {
        }
      }
    }
    EXPECT_EQ(item, items);
  };
  for (const ChunkLie lie : all_chunk_lies) {
    expect_right(lie_and_die, lie, [](long item) { return item; });
    expect_right(lie_and_die_of_text, lie, [](long item) { return "item " + std::to_string(item); });
  }
  expect_work();
}

TEST_F(HostileWorkerTest, C9_forges_the_rest_of_a_chunk_of_which_another_worker_has_done_some) {
  constexpr long items = 16;
  std::vector<long> all(items);
  std::iota(all.begin(), all.end(), 0);
  for (const ResultKind kind : {ResultKind::value, ResultKind::part, ResultKind::exception}) {
    std::string head(16, '\0');  // of 12 values, whose size is not theirs
    head[0] = 12;
    head[4] = 4;
    head[8] = 16 + 48;
    for (const std::string& content : {std::string(), std::string("\xc1"), head + std::string(48, 'x')}) {
      auto results = pool->map({.chunksize = items}, forge_the_rest, std::vector<ResultKind>(items, kind),
                               std::vector<std::string>(items, content), all);
      long item = 0;
      for (auto it = results.begin(); it != results.end(); ++it, ++item) {
        SCOPED_TRACE("kind " + std::to_string(static_cast<int>(kind)) + ", bytes " + std::to_string(content.size()) +
                     ", item " + std::to_string(item));
        if (item < 3)
          EXPECT_EQ(*it, item);
        else if (item == 3)
          EXPECT_THROW(*it, yoke::TerminatedWorkerError);
        else
          EXPECT_THROW(*it, yoke::Error);
      }
      EXPECT_EQ(item, items);
    }
  }
}

TEST_F(HostileWorkerTest, C9_leaves_a_child_that_writes_on) {
  for (const Noise noise : all_noises) {
    EXPECT_TRUE(right_or_failed(pool->submit(let_a_child_write, board, noise), -1));
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(right_or_failed(pool->submit(add_one, i), i + 1));
  }
  pool->shutdown({.kill_workers = true});
  restart(options());
  expect_work();
}

TEST_F(HostileWorkerTest, C9_closes_all_its_descriptors) {
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(right_or_failed(pool->submit(close_all_descriptors), -1));
  const std::string text(200'000, 'x');
  for (int i = 0; i < 20; ++i)
    EXPECT_TRUE(right_or_failed(pool->submit({.retries = 100}, length_of, text), text.size()));
  expect_work();
}

/// Takes each memory of yoke's that it finds open here and in its parent, and asks for more of it than there is.
int grow_all(const std::string& argument) {
  int grown = 0;
  for (const std::string& process : {std::string("self"), std::to_string(::getppid())})
    for (int fd = 3; fd < 256; ++fd) {
      const std::string path = "/proc/" + process + "/fd/" + std::to_string(fd);
      char target[256] = {};
      if (::readlink(path.c_str(), target, sizeof target - 1) < 0 || !std::strstr(target, "memfd:yoke-")) continue;
      const yoke::system::UniqueFd opened(::open(path.c_str(), O_RDWR | O_CLOEXEC));
      grown += ::ftruncate(opened.get(), 1L << 40) == 0 || ::fallocate(opened.get(), 0, 1L << 30, 4096) == 0 ||
               ::ftruncate(opened.get(), 1) == 0 || ::fcntl(opened.get(), F_ADD_SEALS, F_SEAL_WRITE) == 0;
    }
  return argument.empty() ? -1 : grown;
}
/// Memory of its parent's that this worker finds open there and can write to.
int writable_in_parent() {
  int count = 0;
  for (int fd = 3; fd < 256; ++fd) {
    const std::string path = "/proc/" + std::to_string(::getppid()) + "/fd/" + std::to_string(fd);
    char target[256] = {};
    if (::readlink(path.c_str(), target, sizeof target - 1) < 0 || !std::strstr(target, "memfd:yoke-")) continue;
    const yoke::system::UniqueFd opened(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!opened) continue;
    void* const mapped = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, opened.get(), 0);
    if (mapped == MAP_FAILED) continue;
    ::munmap(mapped, 4096);
    ++count;
  }
  return count;
}

TEST_F(HostileWorkerTest, U4_no_memory_that_a_worker_was_given_changes_its_size_or_seals) {
  const yoke::SharedArray<int> array(1000);
  const auto constant = yoke::broadcast(std::string(1000, 'x'));
  const auto grow_with = [](const yoke::SharedArray<int>&, const std::string&, const std::string& text) {
    return grow_all(text);
  };
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(soon(pool->submit(grow_with, array, constant, std::string(200'000, 'x'))).get(), 0);
  expect_work();
}

TEST_F(HostileWorkerTest, U6_no_segment_of_another_worker_is_open_in_the_program) {
  EXPECT_EQ(soon(pool->submit(writable_in_parent)).get(), 0);
}

TEST_F(HostileWorkerTest, U2_a_time_limit_ends_a_worker_that_denies_its_start) {
  for (const int workers : {1, 3})
    for (const bool always : {true, false}) {
      restart({.max_workers = workers, .kill_grace = 300ms});
      const std::uint32_t before = board.get(writing);
      auto hostile = pool->submit({.timeout = 200ms}, deny_its_start, board, always);
      EXPECT_THROW(soon(hostile).result(), yoke::TimeoutError);
      EXPECT_LE(board.get(writing) - before, 8U) << "it went from worker to worker";
      wait_until([&] { return has_ended(board); }, "the hostile worker to end");
      for (int i = 0; i < 20; ++i) EXPECT_EQ(soon(pool->submit(add_one, i)).get(), i + 1);
    }
}

TEST_F(HostileWorkerTest, U2_cancel_kill_ends_a_worker_that_denies_its_start) {
  for (const bool always : {true, false}) {
    restart({.max_workers = 1, .kill_grace = 300ms});
    const std::uint32_t before = board.get(writing);
    auto hostile = pool->submit(deny_its_start, board, always);
    board.wait_for(writing, before + 1);
    hostile.cancel(yoke::CancelMode::kill);
    wait_until([&] { return has_ended(board); }, "the hostile worker to end");
    EXPECT_TRUE(hostile.cancelled());
    EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
  }
}

TEST_F(HostileWorkerTest, U2_shutdown_ends_a_worker_that_denies_its_start) {
  for (const yoke::ShutdownOptions& end : {yoke::ShutdownOptions{.kill_workers = true}, {.cancel_futures = true}}) {
    restart({.max_workers = 1, .kill_grace = 300ms});
    const std::uint32_t before = board.get(writing);
    auto hostile = pool->submit(deny_its_start, board, true);
    board.wait_for(writing, before + 1);
    shut_down_in_time(*pool, end);
    EXPECT_TRUE(has_ended(board));
    EXPECT_TRUE(hostile.done());
  }
}

/// Marks the task that its worker was given ahead as begun, and returns: nothing will run it.
bool begins_the_next() {
  Segment& segment = own_segment();
  const std::uint64_t next = segment.status.position.load();  // one further than that of the task that runs
  std::uint64_t ready = slot_word(next, SlotState::ready);
  return segment.tasks[next % slot_count].state.compare_exchange_strong(ready, slot_word(next, SlotState::running));
}

TEST_F(HostileWorkerTest, U2_a_task_that_is_said_to_run_in_a_worker_that_sleeps) {
  restart({.max_workers = 1});
  for (int i = 0; i < 50; ++i) soon(pool->submit(add_one, i)).get();  // they are short: further ones are given ahead
  pool->pause();
  const auto hostile = pool->submit(begins_the_next);
  const auto next = pool->submit(add_one, 1), after = pool->submit(add_one, 2);
  pool->unpause();
  ASSERT_TRUE(soon(hostile).result());
  EXPECT_THROW(soon(next).result(), yoke::TerminatedWorkerError);
  EXPECT_EQ(soon(after).result(), 3);
  shut_down_in_time(*pool);
}

TEST_F(HostileWorkerTest, U2_what_waits_behind_a_worker_that_denies_its_start_goes_to_others) {
  restart({.max_workers = 1, .start_timeout = 3s});
  auto hostile = pool->submit(deny_its_start, board, true);
  board.wait_for(writing, 1);
  auto innocent = pool->submit({.priority = 1}, add_one, 1);
  EXPECT_EQ(soon(innocent).get(), 2);
  hostile.cancel(yoke::CancelMode::kill);
}

TEST_F(HostileWorkerTest, U2_a_task_that_dies_and_denies_its_start_is_lost_in_the_end) {
  restart({.max_workers = 2});
  auto hostile = pool->submit(deny_and_die, board);
  EXPECT_THROW(soon(hostile).result(), yoke::TerminatedWorkerError);
  EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
}

TEST_F(HostileWorkerTest, U5_a_worker_that_denies_its_readiness_breaks_no_pool) {
  for (int i = 0; i < 20; ++i) {
    restart({.max_workers = 1});
    auto hostile = pool->submit(deny_readiness_and_die);
    auto innocent = pool->submit(add_one, i);
    EXPECT_THROW(soon(hostile).result(), yoke::TerminatedWorkerError);
    EXPECT_EQ(soon(innocent).get(), i + 1);
  }
}

TEST_F(HostileWorkerTest, U5_no_task_speaks_for_the_initializer) {
  for (int i = 0; i < 20; ++i) {
    restart({.max_workers = 1, .initializer = yoke::initializer(do_nothing)});
    auto hostile = pool->submit(accuse_the_initializer);
    EXPECT_EQ(soon(hostile).get(), -1);
    EXPECT_EQ(soon(pool->submit(add_one, i)).get(), i + 1);
  }
}

/// The memory of arguments that is mapped in this worker.
std::vector<std::span<const char>> argument_memory() {
  std::vector<std::span<const char>> all;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("memfd:yoke-message") == std::string::npos) continue;
    const auto begin = std::stoull(line, nullptr, 16);
    all.emplace_back(reinterpret_cast<const char*>(begin),
                     std::stoull(line.substr(line.find('-') + 1), nullptr, 16) - begin);
  }
  return all;
}
std::vector<std::span<const char>> kept_memory;
/// Maps the memory of its arguments once more, for good.
std::size_t keep_arguments(const std::string& text) {
  for (const auto memory : argument_memory()) {
    void* const copy = ::mremap(const_cast<char*>(memory.data()), 0, memory.size(), MREMAP_MAYMOVE);
    if (copy != MAP_FAILED) kept_memory.emplace_back(static_cast<const char*>(copy), memory.size());
  }
  return text.size();
}
/// How much of another task's text there is in the memory of arguments that this worker has, or has kept.
long seen(const std::string&, char letter) {
  long count = 0;
  auto all = argument_memory();
  all.insert(all.end(), kept_memory.begin(), kept_memory.end());
  for (const auto memory : all) count += std::ranges::count(memory, letter);
  return count;
}

TEST_F(HostileWorkerTest, U3_no_byte_of_another_workers_task_is_seen) {
  auto one = options();
  one.max_workers = 1;
  restart(one);
  yoke::ProcessPoolExecutor other(one);
  const std::string own(200'000, 'a');
  const std::string secret(300'000, 'Z');
  soon(other.submit(length_of, secret)).get();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(soon(pool->submit(keep_arguments, own)).get(), own.size());
    EXPECT_EQ(soon(other.submit(length_of, secret)).get(), secret.size());
    EXPECT_LT(soon(pool->submit(seen, own, 'Z')).get(), 1000) << i;  // but for a byte of its own
  }
}

void give_up_rights() {
  if (::setgid(65534) != 0 || ::setuid(65534) != 0) throw std::runtime_error("setuid");
}
void change_root(const std::string& folder) {
  if (::chroot(folder.c_str()) != 0 || ::chdir("/") != 0) throw std::runtime_error("chroot");
}
double weigh_all(const yoke::SharedArray<int>& array, const std::string& constant) {
  return array[2] + static_cast<double>(constant.size());
}
yoke::SharedArray<int> make_array() {
  yoke::SharedArray<int> array(10);
  array[3] = 8;
  return array;
}

/// Shared memory of each kind reaches the workers of the pool and comes back.
void expect_shared_memory(yoke::ProcessPoolExecutor& pool) {
  const yoke::SharedArray<int> array(1000);
  array[2] = 5;
  const auto constant = yoke::broadcast(std::string(1000, 'x'));
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(soon(pool.submit(weigh_all, array, constant)).get(), 1005);
    EXPECT_EQ(soon(pool.submit(yoke::by_value([view = array.view()] { return view[2]; }))).get(), 5);
    EXPECT_EQ(soon(pool.submit([](yoke::SharedView<int> view) { return view[2]; }, array.view())).get(), 5);
    EXPECT_EQ(soon(pool.submit(make_array)).get()[3], 8);
    EXPECT_EQ(soon(pool.submit([](std::string text) { return text; }, std::string(200'000, 'x'))).get().size(),
              200'000U);
  }
}

TEST_F(HostileWorkerTest, U6_shared_memory_reaches_workers_that_gave_up_their_rights) {
  if (::getuid() != 0) GTEST_SKIP() << "only root has any";
  restart({.max_workers = 2, .initializer = yoke::initializer(give_up_rights)});
  expect_shared_memory(*pool);
}

TEST_F(HostileWorkerTest, U6_shared_memory_reaches_workers_in_a_root_of_their_own) {
  if (::getuid() != 0) GTEST_SKIP() << "only root may change it";
  std::string folder = "/tmp/root-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  restart({.max_workers = 2, .initializer = yoke::initializer(change_root, folder)});
  expect_shared_memory(*pool);
  restart(options());
  ::rmdir(folder.c_str());
}

TEST_F(HostileWorkerTest, U6_shared_memory_of_a_program_that_cannot_be_looked_into) {
  ::prctl(PR_SET_DUMPABLE, 0);
  restart({.max_workers = 2});
  expect_shared_memory(*pool);
  ::prctl(PR_SET_DUMPABLE, 1);
}

TEST_F(HostileWorkerTest, U6_what_is_held_for_a_worker_is_bounded_and_sent_again) {
  restart({.max_workers = 1});
  const auto first_of = [](const yoke::SharedArray<int>& array) { return array[0]; };
  std::vector<yoke::SharedArray<int>> all;
  for (int i = 0; i < 400; ++i) {
    all.emplace_back(10);
    all.back()[0] = i;
    ASSERT_EQ(soon(pool->submit(first_of, all.back())).get(), i);
  }
  for (int i = 0; i < 400; i += 7) ASSERT_EQ(soon(pool->submit(first_of, all[static_cast<std::size_t>(i)])).get(), i);
  const auto dies = pool->submit([] { kill_self(SIGKILL); });
  soon(dies).wait();
  for (int i = 0; i < 400; i += 7) ASSERT_EQ(soon(pool->submit(first_of, all[static_cast<std::size_t>(i)])).get(), i);
}

TEST_F(HostileWorkerTest, U6_a_worker_without_descriptors_for_a_while_has_its_memory_later) {
  restart({.max_workers = 1});
  const yoke::SharedArray<int> array(10);
  array[2] = 5;
  soon(pool->submit([] {
    const rlimit none{0, 1024};
    ::setrlimit(RLIMIT_NOFILE, &none);
  })).get();
  const auto constant = yoke::broadcast(std::string(1000, 'x'));
  EXPECT_THROW(soon(pool->submit(weigh_all, array, constant)).get(), yoke::SerializationError);
  EXPECT_THROW(soon(pool->submit(length_of, std::string(200'000, 'x'))).get(), yoke::Error);
  soon(pool->submit([] {
    const rlimit some{256, 1024};
    ::setrlimit(RLIMIT_NOFILE, &some);
  })).get();
  EXPECT_EQ(soon(pool->submit(weigh_all, array, constant)).get(), 1005);
  EXPECT_EQ(soon(pool->submit(length_of, std::string(200'000, 'x'))).get(), 200'000U);
}

TEST_F(HostileWorkerTest, U8_integers_that_bring_descriptors) {
  const std::size_t before = open_descriptors();
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 40; ++i) futures.push_back(pool->submit({.timeout = 20s}, forge_an_int_with_arrays, 32U));
  for (const auto& future : futures) {
    try {
      ADD_FAILURE() << soon(future).result();
    } catch (const yoke::SerializationError& error) {
      EXPECT_NE(std::string(error.what()).find("32 shared arrays"), std::string::npos) << error.what();
    } catch (const yoke::TerminatedWorkerError&) {  // found out before its result came
    }
  }
  EXPECT_LT(open_descriptors(), before + 60);
  expect_work();
}

TEST_F(HostileWorkerTest, U8_descriptors_that_nobody_asked_for) {
  restart({.max_workers = 1});
  const std::string text(200'000, 'x');
  for (unsigned found = 1; found <= 10; ++found) {
    soon(pool->submit(send_descriptors, 100)).wait();
    const auto found_out = [&] {  // while the pool is used: one that rests looks at nothing
      soon(pool->submit({.retries = 100}, add_one, 1)).get();
      return pool->stats().deaths_by_cause.misbehaved >= found;
    };
    wait_until(found_out, "the worker to be found out");
    EXPECT_EQ(soon(pool->submit({.retries = 100}, text_of, text.size())).get(), text);
  }
}

TEST_F(HostileWorkerTest, U8_max_result) {
  auto limited = options();
  limited.max_result = 100'000;
  restart(limited);
  EXPECT_EQ(soon(pool->submit(text_of, 90'000U)).get().size(), 90'000U);
  for (const auto length : {100'000U, 1'000'000U})
    for (const auto task : {text_of, throw_text}) {
      const auto error =
          thrown_by<yoke::SerializationError>([&] { soon(pool->submit({.name = "lengthy"}, task, length)).get(); });
      ASSERT_TRUE(error);
      for (const char* part : {"lengthy", "max_result allows (100000)"})
        EXPECT_NE(std::string(error->what()).find(part), std::string::npos) << error->what();
    }
  EXPECT_EQ(pool->stats().deaths, 0U) << "an honest worker is not to blame";
  // All items of a chunk together, though they come in parts: after a death, or where a worker has no more room.
  std::vector<int> items(100);
  std::iota(items.begin(), items.end(), 0);
  for (auto function : {long_text, long_text_or_death}) {
    auto results = pool->map({.chunksize = 100, .task = {.name = "lengthy"}}, function, items);
    std::size_t bytes = 0;
    std::size_t item = 0;
    std::size_t refused = 0;
    for (auto it = results.begin(); it != results.end(); ++it, ++item) {
      try {
        bytes += (*it).size();
      } catch (const yoke::SerializationError& error) {
        ++refused;
        for (const char* part : {"lengthy", "max_result allows (100000)"})
          EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      } catch (const yoke::TerminatedWorkerError&) {
      }
    }
    EXPECT_EQ(item, 100U);
    EXPECT_LE(bytes, 100'000U);
    EXPECT_GT(refused, 0U);
  }
  const auto caught =
      thrown_by<yoke::SerializationError>([&] { soon(pool->submit(text_without_limit, 200'000U)).get(); });
  EXPECT_NE(std::string(caught->what()).find("max_result"), std::string::npos) << caught->what();
  expect_work();
}

}  // namespace
