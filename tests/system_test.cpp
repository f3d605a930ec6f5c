// What the kernel's words and memory, and the loader's modules, promise to the rest of the library.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "lib/system/fork_guard.hpp"
#include "lib/system/futex.hpp"
#include "lib/system/memfd.hpp"
#include "lib/system/modules.hpp"
#include "lib/system/process_handle.hpp"
#include "lib/system/sha256.hpp"

namespace {

using namespace yoke::system;
using std::chrono::steady_clock;

// A child that runs `body` and ends with what it returns. ASSERT and EXPECT do not reach the parent from there.
pid_t fork_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  return child;
}

std::errc error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::system_error& error) {
    return static_cast<std::errc>(error.code().value());
  }
  return {};
}

// ---- futex

TEST(Futex, DoesNotSleepOnAnotherValue) {
  const Word word{1};
  futex_wait(word, 2, Sharing::process_private);
  const Word other{1};
  const std::array<WaitWord, 2> words{{{&word, 1, Sharing::shared}, {&other, 7, Sharing::process_private}}};
  futex_wait_any(words);
}

TEST(Futex, ReturnsAtADeadlineThatHasPassed) {
  const Word word{1};
  const std::array<WaitWord, 2> words{{{&word, 1, Sharing::shared}, {&word, 1, Sharing::shared}}};
  for (const auto deadline : {steady_clock::now(), steady_clock::time_point(), steady_clock::time_point::min()}) {
    futex_wait(word, 1, Sharing::shared, deadline);
    futex_wait_any(words, deadline);
  }
}

TEST(Futex, SleepsUntilTheDeadline) {
  const Word word{1};
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(20);
  while (steady_clock::now() < deadline) futex_wait(word, 1, Sharing::process_private, deadline);
  EXPECT_GE(steady_clock::now(), deadline);
}

TEST(Futex, WakesAThreadThatSleeps) {
  Word word{0};
  std::atomic<bool> woken{false};
  std::thread sleeper([&] {
    while (word.load() == 0) futex_wait(word, 0, Sharing::process_private);
    woken = true;
  });
  word = 1;
  futex_wake(word, INT_MAX, Sharing::process_private);
  sleeper.join();
  EXPECT_TRUE(woken);
}

TEST(Futex, WakesByEachOfManyWords) {
  for (const std::size_t which : {std::size_t{0}, std::size_t{64}, max_wait_words - 1}) {
    std::vector<Word> values(max_wait_words);
    std::vector<WaitWord> words;
    for (const Word& value : values) words.push_back({&value, 0, Sharing::shared});
    std::thread sleeper([&] {
      while (values[which].load() == 0) futex_wait_any(words);
    });
    values[which] = 1;
    futex_wake(values[which], 1, Sharing::shared);
    sleeper.join();
  }
}

TEST(Futex, WakesAnotherProcess) {
  const UniqueFd fd = create_memfd("words", 4096);
  const Mapping mapping(fd.get(), 4096, Access::read_write);
  auto* word = new (mapping.data()) Word(0);
  ProcessHandle child(fork_child([&] {
    while (word->load() == 0) futex_wait(*word, 0, Sharing::shared);
    return 3;
  }));
  *word = 1;
  futex_wake(*word, 1, Sharing::shared);
  EXPECT_EQ(std::get<Exited>(*child.wait_exit({})).code, 3);
}

// ---- memfd

constexpr std::size_t size = 1024 * 1024;

blkcnt_t allocated_bytes(int fd) {
  struct stat status{};
  EXPECT_EQ(::fstat(fd, &status), 0);
  return status.st_blocks * 512;
}

TEST(Memfd, IsZeroAllocatedAndNotInherited) {
  const UniqueFd fd = create_memfd("test", size + 100);
  EXPECT_GE(allocated_bytes(fd.get()), static_cast<blkcnt_t>(size + 100));
  EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  const Mapping mapping(fd.get(), size + 100, Access::read_only);
  EXPECT_EQ(mapping.size(), size + 100);
  EXPECT_TRUE(std::all_of(mapping.data(), mapping.data() + size + 100, [](std::byte b) { return b == std::byte{0}; }));
}

TEST(Memfd, CannotShrink) {
  const UniqueFd fd = create_memfd("test", size);
  EXPECT_EQ(::ftruncate(fd.get(), 0), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(Memfd, GrowsAndKeepsItsContent) {
  const UniqueFd fd = create_memfd("test", size);
  const Mapping before(fd.get(), size, Access::read_write);
  before.data()[size - 1] = std::byte{7};
  grow_memfd(fd.get(), 3 * size);
  grow_memfd(fd.get(), size);  // no smaller
  const Mapping after(fd.get(), 3 * size, Access::read_only);
  EXPECT_EQ(after.data()[size - 1], std::byte{7});
  EXPECT_EQ(after.data()[3 * size - 1], std::byte{0});
  EXPECT_GE(allocated_bytes(fd.get()), static_cast<blkcnt_t>(3 * size));
}

TEST(Memfd, SharesWhatIsWrittenAndUnmapsByMove) {
  UniqueFd fd = create_memfd("test", size);
  Mapping first(fd.get(), size, Access::read_write);
  const Mapping second(fd.get(), size, Access::read_only);
  fd.reset();
  first.data()[5] = std::byte{9};
  EXPECT_EQ(second.data()[5], std::byte{9});
  Mapping moved = std::move(first);
  EXPECT_EQ(moved.data()[5], std::byte{9});
  EXPECT_FALSE(Mapping());
}

TEST(Memfd, CannotBeWrittenAnewAfterTheSeal) {
  const UniqueFd fd = create_memfd("test", size);
  const Mapping earlier(fd.get(), size, Access::read_write);
  seal_memfd(fd.get(), Seal::writes);
  EXPECT_EQ(error_of([&] { Mapping(fd.get(), size, Access::read_write); }), std::errc::operation_not_permitted);
  EXPECT_EQ(::pwrite(fd.get(), "x", 1, 0), -1);
  earlier.data()[0] = std::byte{4};
  EXPECT_EQ(Mapping(fd.get(), size, Access::read_only).data()[0], std::byte{4});
}

TEST(Memfd, GivesMemoryBack) {
  const UniqueFd fd = create_memfd("test", size);
  const Mapping mapping(fd.get(), size, Access::read_write);
  std::memset(mapping.data(), 1, size);
  punch_hole(fd.get(), size / 2, size / 2);
  EXPECT_LT(allocated_bytes(fd.get()), static_cast<blkcnt_t>(size));
  EXPECT_EQ(mapping.data()[size / 2 - 1], std::byte{1});
  EXPECT_EQ(mapping.data()[size - 1], std::byte{0});
}

TEST(Memfd, ThrowsWhereThereIsNotEnough) {
  EXPECT_EQ(error_of([] { create_memfd("test", std::size_t{1} << 50); }), std::errc::not_enough_memory);
  EXPECT_EQ(error_of([] { Mapping(-1, size, Access::read_only); }), std::errc::bad_file_descriptor);
  // A limit on the size of files applies to memfds too, by a signal that kills.
  ProcessHandle child(fork_child([] {
    const rlimit small{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &small);
    return error_of([] { create_memfd("test", size); }) == std::errc::file_too_large ? 0 : 1;
  }));
  EXPECT_EQ(std::get<Exited>(*child.wait_exit({})).code, 0);
}

TEST(Memfd, NeverTakesTheNumberOfAStandardStream) {
  ProcessHandle child(fork_child([] {
    for (int fd = 0; fd <= 2; ++fd) ::close(fd);
    return create_memfd("test", 4096).get();
  }));
  EXPECT_GT(std::get<Exited>(*child.wait_exit({})).code, 2);
}

// ---- modules

int some_function() { return 1; }

TEST(Modules, PlaceAFunctionInTheProgram) {
  const auto address = reinterpret_cast<std::uintptr_t>(&some_function);
  const auto module = module_of(reinterpret_cast<const void*>(address));
  ASSERT_TRUE(module);
  EXPECT_TRUE(module->is_executable);
  EXPECT_EQ(module->path, std::filesystem::read_symlink("/proc/self/exe"));
  EXPECT_TRUE(is_code(module->base, address - module->base));
  EXPECT_EQ(module->identity, main_module().identity);
  EXPECT_EQ(module->base, main_module().base);
  EXPECT_FALSE(is_code(module->base + 1, address - module->base));
}

TEST(Modules, PlaceAFunctionInALibrary) {
  const auto library = module_of(::stdout);
  ASSERT_TRUE(library);
  EXPECT_FALSE(library->is_executable);
  EXPECT_NE(library->identity, main_module().identity);
  const auto found = find_loaded(library->identity);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->base, library->base);
  EXPECT_EQ(found->path, library->path);
}

TEST(OwnPid, is_that_of_a_fork_too) {
  EXPECT_EQ(own_pid(), ::getpid());
  const pid_t child = fork_child([] { return own_pid() == ::getpid() ? 0 : 1; });
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Modules, DoNotTakeDataForCode) {
  static int data = 0;
  const auto module = module_of(&data);
  ASSERT_TRUE(module);
  EXPECT_FALSE(is_code(module->base, reinterpret_cast<std::uintptr_t>(&data) - module->base));
  EXPECT_FALSE(is_code(module->base, ~std::uint64_t{0}));
}

TEST(Modules, AreNotFoundOutsideOfAll) {
  int on_stack = 0;
  EXPECT_FALSE(module_of(&on_stack));
  EXPECT_FALSE(module_of(nullptr));
  EXPECT_FALSE(find_loaded({}));
  EXPECT_FALSE(find_loaded({1, 2, 3}));
}

TEST(Modules, AreWrittenInHex) {
  EXPECT_EQ(to_hex({0x00, 0x0f, 0xa0, 0xff}), "000fa0ff");
  EXPECT_FALSE(main_module().identity.empty());
  EXPECT_LE(main_module().identity.size(), 32U);
}

TEST(Sha256, is_what_the_standard_says) {
  const auto of = [](const std::string& text) { return sha256(std::as_bytes(std::span(text))); };
  EXPECT_EQ(of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(of(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
