#include "lib/system/block_memory.hpp"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <utility>

#include "lib/system/fork_guard.hpp"
#include "lib/system/large_pages.hpp"
#include "lib/system/warm_memory.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define YOKE_BLOCKS_OF_THE_HEAP
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define YOKE_BLOCKS_OF_THE_HEAP  // whose use after free it sees
#endif
#endif

namespace yoke::system {
namespace {

constexpr std::size_t slab_size = 2 * 1024 * 1024;
constexpr std::size_t step = 16;
#ifdef YOKE_BLOCKS_OF_THE_HEAP
constexpr std::size_t largest = 0;
#else
constexpr std::size_t largest = 256;  // a fork locks each size: more locks at once than 64 stop ThreadSanitizer
#endif
constexpr std::size_t most_warm = 256;  // slabs

struct FreeBlock {
  FreeBlock* next;
};

/// The head of 2 MB of blocks, aligned to its size, so that a block's address tells its slab.
struct Slab {
  Slab* previous;           // of those with room, or, `next` alone, of the empty ones
  Slab* next;
  FreeBlock* free;          // given back
  std::size_t never_taken;  // offset of the first block that never was
  std::size_t in_use;       // blocks
};
constexpr std::size_t first_block = (sizeof(Slab) + 63) / 64 * 64;

Slab* make_slab() {
  void* const room = ::mmap(nullptr, 2 * slab_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) throw std::bad_alloc();
  auto* const begin = static_cast<std::byte*>(room);
  const std::size_t before = (slab_size - reinterpret_cast<std::uintptr_t>(begin) % slab_size) % slab_size;
  if (before != 0) ::munmap(begin, before);
  ::munmap(begin + before + slab_size, slab_size - before);
  return reinterpret_cast<Slab*>(begin + before);
}

/// Of all sizes together.
std::atomic<std::size_t> warm_slabs{0};

/// All slabs of one size of block. A slab is full (in no list), has room (in a list of those), or is empty (in
/// another).
class Slabs {
 public:
  void* take(std::size_t size) {
    const std::lock_guard lock(mutex_);
    if (!with_room_) add();
    Slab& slab = *with_room_;
    void* block = slab.free;
    if (block) {
      slab.free = slab.free->next;
    } else {
      block = reinterpret_cast<std::byte*>(&slab) + slab.never_taken;
      slab.never_taken += size;
    }
    ++slab.in_use;
    if (is_full(slab, size)) unlink(slab);
    return block;
  }

  /// True if a slab more is warm, the first one of all.
  bool give_back(void* block, std::size_t size) noexcept {
    const std::lock_guard lock(mutex_);
    auto& slab = *reinterpret_cast<Slab*>(reinterpret_cast<std::uintptr_t>(block) & ~(std::uintptr_t{slab_size} - 1));
    const bool was_full = is_full(slab, size);
    slab.free = new (block) FreeBlock{slab.free};
    if (was_full) link(slab);
    if (--slab.in_use != 0) return false;
    unlink(slab);
    if (empty_ && (!warm_memory::has_keeper() || warm_slabs.load(std::memory_order_relaxed) >= most_warm)) {
      remove(slab);
      return false;
    }
    slab.next = empty_;
    empty_ = &slab;
    return slab.next && warm_slabs.fetch_add(1, std::memory_order_relaxed) == 0;
  }

  /// All empty ones but one, if `at_once`, else those that were empty at each moment since the last call.
  void trim(bool at_once) noexcept {
    const std::lock_guard lock(mutex_);
    std::size_t count = 0;
    for (const Slab* slab = empty_; slab; slab = slab->next) ++count;
    if (count == 0) return;
    if (at_once) fewest_empty_ = count;
    for (std::size_t unused = std::min(fewest_empty_, count - 1); unused != 0; --unused) {
      Slab& slab = *empty_;
      empty_ = slab.next;
      remove(slab);
      warm_slabs.fetch_sub(1, std::memory_order_relaxed);
      --count;
    }
    fewest_empty_ = count;
  }

  std::mutex& mutex() noexcept { return mutex_; }

 private:
  static bool is_full(const Slab& slab, std::size_t size) { return !slab.free && slab.never_taken + size > slab_size; }

  void add() {
    Slab* slab = empty_;
    if (slab) {
      empty_ = slab->next;
      if (empty_) warm_slabs.fetch_sub(1, std::memory_order_relaxed);
      if (fewest_empty_ != 0) --fewest_empty_;
    } else {
      slab = make_slab();
      if (count_++ != 0) use_large_pages(slab, slab_size);
    }
    *slab = {nullptr, nullptr, nullptr, first_block, 0};
    link(*slab);
  }
  void remove(Slab& slab) noexcept {
    --count_;
    ::munmap(&slab, slab_size);
  }
  void link(Slab& slab) noexcept {
    slab.previous = nullptr;
    slab.next = with_room_;
    if (with_room_) with_room_->previous = &slab;
    with_room_ = &slab;
  }
  void unlink(Slab& slab) noexcept {
    (slab.previous ? slab.previous->next : with_room_) = slab.next;
    if (slab.next) slab.next->previous = slab.previous;
  }

  std::mutex mutex_;
  Slab* with_room_ = nullptr;
  Slab* empty_ = nullptr;
  std::size_t count_ = 0;
  std::size_t fewest_empty_ = 0;  // since the last trim
};

class Blocks final : public warm_memory::Store {
 public:
  Slabs& of(std::size_t number) { return slabs_[number]; }
  bool empty() noexcept override { return warm_slabs.load(std::memory_order_relaxed) == 0; }
  void trim(std::chrono::steady_clock::duration age) noexcept override {
    for (Slabs& slabs : slabs_) slabs.trim(age == age.zero());
  }
  void hold_over_forks() {
    for (Slabs& slabs : slabs_) system::hold_over_forks(ForkOrder::blocks, slabs.mutex());
  }

 private:
  std::array<Slabs, largest / step + 1> slabs_;
};
Blocks& blocks() {
  static Blocks* const all = [] {
    auto* const made = new Blocks;  // never destroyed: static objects may hold blocks
    made->hold_over_forks();
    warm_memory::enlist(*made);
    return made;
  }();
  return *all;
}
[[maybe_unused]] const Blocks& made_at_load = blocks();

/// Blocks of sizes up to 16, 32, … have the numbers 0, 1, …
std::size_t number_of(std::size_t size) { return (size - 1) / step; }

}  // namespace

void* take_block(std::size_t size) {
  if (size > largest) return ::operator new(size);
  const std::size_t number = number_of(size);
  return blocks().of(number).take((number + 1) * step);
}

void give_back_block(void* block, std::size_t size) noexcept {
  if (size > largest) return ::operator delete(block);
  const std::size_t number = number_of(size);
  if (blocks().of(number).give_back(block, (number + 1) * step)) warm_memory::tell_keepers();
}

}  // namespace yoke::system
