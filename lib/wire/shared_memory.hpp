// SharedMemory: a memfd that several processes have mapped for writing, and this process's record of those it holds.
//
// A process finds the memory of a message by its descriptor in the process that packed it (/proc/PID/fd/N), or, of a
// result, by the descriptor that came with it. It is known by its inode, which nobody else has while it is held. The record
// and reference counts are thread-safe. In a worker, memory stays mapped for a second or two after its last task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "lib/system/memfd.hpp"
#include "lib/system/unique_fd.hpp"
#include "yoke/shared_array.hpp"

namespace yoke {

class SharedMemory {
 public:
  /// All zero, allocated, never to change its size. Throws std::system_error.
  static std::shared_ptr<SharedMemory> create(std::size_t bytes);
  /// What a message speaks of. Throws SerializationError if it cannot be had.
  static std::shared_ptr<SharedMemory> find(const detail::SharedPlace& place);
  /// What came with a result. Throws SerializationError if it is no memory made by create().
  static std::shared_ptr<SharedMemory> adopt(system::UniqueFd descriptor);

  /// Of a worker: it has memory mapped that no handle holds, for the next task.
  static bool has_kept() noexcept;
  /// Gives back what no task has asked for since the last call.
  static void trim_kept() noexcept;

  SharedMemory(system::UniqueFd descriptor, std::uint64_t inode, std::size_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  std::byte* data() const noexcept { return mapping_.data(); }
  std::size_t size() const noexcept { return mapping_.size(); }
  int descriptor() const noexcept { return descriptor_.get(); }
  detail::SharedPlace place() const noexcept;

 private:
  system::UniqueFd descriptor_;
  system::Mapping mapping_;
  std::uint64_t inode_;
};

}  // namespace yoke
