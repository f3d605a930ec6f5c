// SharedMemory: a memfd that several processes have mapped, and this process's record of those it holds. Most can be
// written by all; constant memory is filled when it is made, and nobody can write to it afterwards. It may stand for a
// value, which is unpacked once in a process (Broadcast).
//
// Memory that a message speaks of reaches another process as a descriptor over the control socket, before the message.
// There it is known by its inode, which nobody else has while it is held. A worker keeps what its parent gave it until
// the parent takes it back (channel/given_memory.hpp); all else goes with its last handle. The record and reference
// counts are thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <typeinfo>

#include "lib/system/memfd.hpp"
#include "lib/system/unique_fd.hpp"
#include "yoke/shared_array.hpp"

namespace yoke {

class SharedMemory {
 public:
  /// All zero, allocated, never to change its size. Throws std::system_error.
  static std::shared_ptr<SharedMemory> create(std::size_t bytes);
  /// Constant, a copy of `content`, which is not empty. Throws std::system_error.
  static std::shared_ptr<SharedMemory> create_constant(std::span<const std::byte> content);
  /// What a message speaks of. Throws SerializationError if it cannot be had.
  static std::shared_ptr<SharedMemory> find(const detail::SharedPlace& place);
  /// The same, or null, also where it was never held.
  static std::shared_ptr<SharedMemory> find_here(const detail::SharedPlace& place) noexcept;
  /// What came with a result. `was_given`: whether who sent it was given the memory of that inode, or sent it before;
  /// what this process holds is nobody else's to send. Throws SerializationError if it is none of create() and
  /// create_constant(); of the latter it makes a copy, which nobody can change. Throws std::system_error.
  static std::shared_ptr<SharedMemory> adopt(system::UniqueFd descriptor, const detail::SharedPlace& spoken_of,
                                             const std::function<bool(std::uint64_t inode)>& was_given);

  /// Of a worker: what its parent gives it, and takes back. Throws SerializationError, std::system_error.
  static void keep(system::UniqueFd descriptor);
  static void drop(std::uint64_t inode) noexcept;

  /// A number that this program, its workers and theirs have in common, and no other program: in a place, it tells
  /// memory that can be had from that of another machine.
  static std::uint64_t tree() noexcept;
  /// Of a worker, before all else.
  static void join_tree(std::uint64_t tree) noexcept;

  struct Identity {
    std::uint64_t inode;
    std::size_t bytes;
    bool constant;
  };
  SharedMemory(system::UniqueFd descriptor, const Identity& identity);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  /// Of constant memory not to be written to.
  std::byte* data() const noexcept { return mapping_.data(); }
  std::size_t size() const noexcept { return mapping_.size(); }
  std::span<const std::byte> view() const noexcept { return {data(), size()}; }
  bool constant() const noexcept { return identity_.constant; }
  int descriptor() const noexcept { return descriptor_.get(); }
  std::uint64_t inode() const noexcept { return identity_.inode; }
  detail::SharedPlace place() const noexcept;

  /// What constant memory stands for: unpacked once, and in a worker kept with it; elsewhere there for as long as a
  /// handle is.
  std::shared_ptr<const void> value(const std::type_info& type, detail::UnpackConstant unpack);
  void set_value(const std::shared_ptr<const void>& value,
                 const std::type_info& type) noexcept;  // before others know of it

 private:
  system::UniqueFd descriptor_;
  system::Mapping mapping_;
  Identity identity_;
  std::mutex value_mutex_;  // held while it is unpacked
  std::weak_ptr<const void> value_;
  std::shared_ptr<const void> kept_value_;
  const std::type_info* value_type_ = nullptr;
};

/// How a message speaks of memory, within the packed values.
namespace shared_place {
inline constexpr std::size_t size = sizeof(detail::SharedPlace);
/// Throws SerializationError where there is none.
detail::SharedPlace read(std::span<const std::byte> message, std::size_t at);
void write(std::span<std::byte> message, std::size_t at, const detail::SharedPlace& place);
}  // namespace shared_place

}  // namespace yoke
