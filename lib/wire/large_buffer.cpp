#include "lib/wire/large_buffer.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "lib/system/fork_guard.hpp"
#include "lib/system/warm_store.hpp"

namespace yoke {
namespace {

system::WarmStore<LargeBuffer::Memory>& warm() {
  static auto& store = system::WarmStore<LargeBuffer::Memory>::make();
  return store;
}
[[maybe_unused]] const system::WarmStore<LargeBuffer::Memory>& made_at_load = warm();

bool is_own(const LargeBuffer::Memory& memory) noexcept {
  return memory.generation == system::fork_generation() && memory.fd.is_own();
}

/// Lent memory is free once no descriptor of lend() is open anywhere: each has a lock, which goes with the last of it.
bool is_free(LargeBuffer::Memory& memory) noexcept {
  if (!is_own(memory)) return false;
  if (!memory.lent) return true;
  if (::flock(memory.fd.get(), LOCK_EX | LOCK_NB) != 0) return false;
  ::flock(memory.fd.get(), LOCK_UN);
  memory.lent = false;
  return true;
}

LargeBuffer::Memory take_memory(std::size_t size) {
  if (auto memory = warm().take(size, is_free)) return std::move(*memory);
  constexpr std::size_t step = 64 * 1024;
  const std::size_t rounded = (size + step - 1) / step * step;
  LargeBuffer::Memory memory;
  memory.fd = system::create_memfd("yoke-message", rounded);
  memory.mapping = system::Mapping(memory.fd.get(), rounded, system::Access::read_write);
  system::seal_memfd(memory.fd.get(), system::Seal::writes);  // this process keeps its mapping
  static std::atomic<std::uint64_t> last{0};
  memory.number = ++last;
  memory.generation = system::fork_generation();
  return memory;
}

void give_back(LargeBuffer::Memory memory) noexcept {
  if (is_own(memory) && !memory.given_away) warm().give_back(std::move(memory));
}

}  // namespace

LargeBuffer::~LargeBuffer() {
  if (memory_.fd) give_back(std::move(memory_));
}

system::UniqueFd LargeBuffer::lend() {
  // A descriptor of its own kind, not a duplicate: only so can its lock be told from this process's.
  const std::string path = "/proc/thread-self/fd/" + std::to_string(memory_.fd.get());
  system::UniqueFd lent(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!lent) {  // no /proc, as after a chroot
    lent.reset(::fcntl(memory_.fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    memory_.given_away = static_cast<bool>(lent);
    if (lent) return lent;
  } else {
    lent = system::above_stdio(std::move(lent));
  }
  if (!lent || ::flock(lent.get(), LOCK_SH | LOCK_NB) != 0)
    throw std::system_error(errno, std::system_category(), "handing over the memory of a result");
  memory_.lent = true;
  return lent;
}

std::span<detail::HeldMemory> memory_of(const Bytes& arguments) {
  const auto* buffer = dynamic_cast<const LargeBuffer*>(arguments.buffer());
  if (!buffer) return {};
  return const_cast<LargeBuffer*>(buffer)->held();
}

void LargeBuffer::let_go_from(std::size_t at) noexcept {
  held_.erase(std::remove_if(held_.begin(), held_.end(), [&](const auto& each) { return each.at >= at; }), held_.end());
}

void LargeBuffer::reserve(std::size_t capacity, std::size_t keep) {
  if (!data_ && capacity <= sizeof near_) {
    data_ = near_;
    capacity_ = sizeof near_;
    return;
  }
  if (for_ == For::this_process || capacity <= memfd_threshold) {
    system::WarmBytes bigger(capacity);
    if (keep != 0) std::memcpy(bigger.data(), data_, keep);
    heap_ = std::move(bigger);
    data_ = heap_.data();
    capacity_ = heap_.size();
    return;
  }
  Memory bigger = take_memory(capacity);
  if (keep != 0) std::memcpy(bigger.mapping.data(), data_, keep);
  std::swap(memory_, bigger);
  if (bigger.fd) give_back(std::move(bigger));
  heap_ = {};
  data_ = memory_.mapping.data();
  capacity_ = memory_.mapping.size();
}

}  // namespace yoke
