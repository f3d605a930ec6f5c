// A10: blocks for many small objects: none is given to two, what is not used goes back to the system.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "lib/system/block_memory.hpp"
#include "lib/system/warm_memory.hpp"
#include "tests/support/sanitized.hpp"

namespace {

using namespace yoke::system;

struct Counter final : warm_memory::Keeper {
  Counter() { warm_memory::join(*this); }
  ~Counter() override { warm_memory::leave(*this); }
  void warm_memory_came() noexcept override { ++calls; }
  int calls = 0;
};

std::size_t resident_kilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::size_t kilobytes = 0;
    if (word == "VmRSS:" && status >> kilobytes) return kilobytes;
  }
  return 0;
}

/// 160 MB in blocks of 160 bytes.
std::vector<void*> take_a_million() {
  std::vector<void*> blocks(1'000'000);
  for (void*& block : blocks) {
    block = take_block(160);
    std::memset(block, 1, 160);
  }
  return blocks;
}
void give_back(const std::vector<void*>& blocks) {
  for (void* block : blocks) give_back_block(block, 160);
}

TEST(BlockMemory, A10_no_two_share_a_byte_whatever_the_size) {
  std::mt19937 random(7);
  struct Block {
    unsigned char* memory;
    std::size_t size;
    unsigned char content;
  };
  std::vector<Block> blocks;
  const auto is_whole = [](const Block& block) {
    return std::all_of(block.memory, block.memory + block.size, [&](unsigned char c) { return c == block.content; });
  };
  for (int i = 0; i < 200'000; ++i) {
    if (!blocks.empty() && random() % 3 == 0) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      ASSERT_TRUE(is_whole(blocks.back()));
      give_back_block(blocks.back().memory, blocks.back().size);
      blocks.pop_back();
    } else {
      const std::size_t size = 1 + random() % 600;
      Block block{static_cast<unsigned char*>(take_block(size)), size, static_cast<unsigned char>(random())};
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block.memory) % 16, 0U);
      std::memset(block.memory, block.content, size);
      blocks.push_back(block);
    }
  }
  for (const Block& block : blocks) {
    ASSERT_TRUE(is_whole(block));
    give_back_block(block.memory, block.size);
  }
}

TEST(BlockMemory, A10_one_thread_takes_and_another_gives_back) {
  std::mutex mutex;
  std::vector<unsigned*> passed;
  bool over = false;
  std::thread other([&] {
    for (bool last = false; !last;) {
      std::vector<unsigned*> mine;
      {
        const std::lock_guard lock(mutex);
        last = over;
        mine.swap(passed);
      }
      for (unsigned* block : mine) {
        EXPECT_EQ(block[0], block[1]);
        give_back_block(block, 48);
      }
    }
  });
  for (unsigned i = 0; i < 300'000; ++i) {
    auto* const block = static_cast<unsigned*>(take_block(48));
    block[0] = block[1] = i;
    const std::lock_guard lock(mutex);
    passed.push_back(block);
  }
  {
    const std::lock_guard lock(mutex);
    over = true;
  }
  other.join();
}

TEST(BlockMemory, D20_a_fork_has_a_copy_that_works) {
  if (yoke_test::sanitized) GTEST_SKIP() << "a sanitizer has locks of its own, which a fork may find taken";
  std::atomic<bool> over{false};
  std::thread other([&] {
    while (!over) give_back_block(take_block(48), 48);
  });
  for (int i = 0; i < 200; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(60);  // where it would hang
      for (int n = 0; n < 100; ++n) give_back_block(take_block(48), 48);
      ::_exit(0);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }
  over = true;
  other.join();
}

TEST(BlockMemory, A10_without_a_keeper_it_goes_back_at_once) {
  if (yoke_test::sanitized) GTEST_SKIP() << "a sanitizer has memory of its own";
  give_back(take_a_million());
  const std::size_t before = resident_kilobytes();
  const auto blocks = take_a_million();
  EXPECT_GT(resident_kilobytes(), before + 150'000);
  give_back(blocks);
  EXPECT_LT(resident_kilobytes(), before + 20'000);
  EXPECT_FALSE(warm_memory::any());
}

TEST(BlockMemory, A10_a_keeper_gives_back_what_a_while_was_not_used) {
  if (yoke_test::sanitized) GTEST_SKIP() << "a sanitizer has memory of its own";
  Counter keeper;
  const std::size_t before = resident_kilobytes();
  give_back(take_a_million());
  EXPECT_EQ(keeper.calls, 1);
  EXPECT_TRUE(warm_memory::any());
  EXPECT_GT(resident_kilobytes(), before + 150'000);
  warm_memory::trim(std::chrono::seconds(1));  // used since the last time
  EXPECT_GT(resident_kilobytes(), before + 150'000);
  give_back(take_a_million());
  warm_memory::trim(std::chrono::seconds(1));
  EXPECT_GT(resident_kilobytes(), before + 150'000);
  warm_memory::trim(std::chrono::seconds(1));
  EXPECT_LT(resident_kilobytes(), before + 20'000);
  EXPECT_FALSE(warm_memory::any());
  give_back(take_a_million());
  EXPECT_TRUE(warm_memory::any());
  warm_memory::trim({});
  EXPECT_LT(resident_kilobytes(), before + 20'000);
}

}  // namespace
