#include "lib/wire/large_buffer.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <vector>

#include "lib/system/warm_memory.hpp"

namespace yoke {
namespace {

struct Warm {
  LargeBuffer::Memory memory;
  std::chrono::steady_clock::time_point since;
};

constexpr std::size_t max_warm_entries = 4;
constexpr std::size_t max_warm_bytes = std::size_t{512} << 20;

struct WarmMemory final : system::warm_memory::Store {
  std::mutex mutex;
  std::vector<Warm> entries;

  bool empty() noexcept override {
    const std::lock_guard lock(mutex);
    return entries.empty();
  }
  void trim(std::chrono::steady_clock::duration age) noexcept override {
    const auto before = std::chrono::steady_clock::now() - age;
    const std::lock_guard lock(mutex);
    std::erase_if(entries, [&](const Warm& entry) { return entry.since <= before; });
  }
};
WarmMemory& warm() {
  static WarmMemory* memory = [] {
    auto* const made = new WarmMemory;  // never destroyed: buffers may outlive static objects
    system::warm_memory::enlist(*made);
    return made;
  }();
  return *memory;
}

LargeBuffer::Memory take_memory(std::size_t size) {
  {
    const std::lock_guard lock(warm().mutex);
    auto& entries = warm().entries;
    auto best = entries.end();
    for (auto it = entries.begin(); it != entries.end(); ++it)
      if (it->memory.mapping.size() >= size &&
          (best == entries.end() || it->memory.mapping.size() < best->memory.mapping.size()))
        best = it;
    if (best != entries.end()) {
      LargeBuffer::Memory memory = std::move(best->memory);
      entries.erase(best);
      return memory;
    }
  }
  constexpr std::size_t step = 64 * 1024;
  const std::size_t rounded = (size + step - 1) / step * step;
  LargeBuffer::Memory memory;
  memory.fd = system::create_memfd("yoke-message", rounded);
  memory.mapping = system::Mapping(memory.fd.get(), rounded, system::Access::read_write);
  system::seal_future_writes(memory.fd.get());  // workers read it; this process keeps its mapping
  static std::atomic<std::uint64_t> last{0};
  memory.number = ++last;
  return memory;
}

/// True if it is kept, and is the only one.
bool keep(LargeBuffer::Memory& memory) {
  const std::lock_guard lock(warm().mutex);
  auto& entries = warm().entries;
  std::size_t bytes = memory.mapping.size();
  for (const auto& entry : entries) bytes += entry.memory.mapping.size();
  if (entries.size() >= max_warm_entries || bytes > max_warm_bytes) return false;
  entries.push_back({std::move(memory), std::chrono::steady_clock::now()});
  return entries.size() == 1;
}

void give_back(LargeBuffer::Memory memory) noexcept {
  if (!system::warm_memory::has_keeper()) return;
  try {
    if (keep(memory)) system::warm_memory::tell_keepers();
  } catch (const std::exception&) {
    // no room to remember it: it goes back to the system
  }
}

}  // namespace

LargeBuffer::~LargeBuffer() {
  if (memory_.fd) give_back(std::move(memory_));
}

void LargeBuffer::reserve(std::size_t capacity, std::size_t keep) {
  if (capacity <= memfd_threshold) {
    auto bigger = std::make_unique_for_overwrite<std::byte[]>(capacity);
    if (keep != 0) std::memcpy(bigger.get(), data_, keep);
    heap_ = std::move(bigger);
    data_ = heap_.get();
    capacity_ = capacity;
    return;
  }
  Memory bigger = take_memory(capacity);
  if (keep != 0) std::memcpy(bigger.mapping.data(), data_, keep);
  std::swap(memory_, bigger);
  if (bigger.fd) give_back(std::move(bigger));
  heap_.reset();
  data_ = memory_.mapping.data();
  capacity_ = memory_.mapping.size();
}

}  // namespace yoke
