// Anonymous shared memory (memfd) and its mapping (Boost.Interprocess).
//
// No name under /dev/shm or /tmp: the memory goes with its last descriptor and mapping. Memory is allocated up front,
// so that exhaustion is a std::system_error here and not a SIGBUS at a later write.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <cstddef>
#include <span>

#include "lib/system/unique_fd.hpp"

namespace yoke::system {

/// A new memfd of `size` bytes, all zero, allocated, sealed against shrinking; close-on-exec.
/// Throws std::system_error (ENOMEM, ENOSPC, EMFILE, …).
UniqueFd create_memfd(const char* name, std::size_t size);

/// Grows `fd` to `size` bytes and allocates them. Throws std::system_error.
void grow_memfd(int fd, std::size_t size);

enum class Seal {
  size,   // it stays as long as it is
  writes  // and no process can map it for writing, or write to it, from now on; the mappings there are stay writable
};
/// For good: nobody can take it back, nor seal more. What goes to another process has one of them. Throws
/// std::system_error.
void seal_memfd(int fd, Seal seal);

/// A descriptor of the same memory that is for reading alone; the same descriptor where there is no /proc. The seals
/// keep the memory from being written by who opens it anew.
UniqueFd read_only(UniqueFd fd);

/// Of pages of the usual size: such as lie in huge pages, where there may be none for a hole, can end their reader with
/// SIGBUS.
bool has_usual_pages(int fd) noexcept;

/// Gives the memory of [offset, offset + length) back to the system; it reads as zeros afterwards.
void punch_hole(int fd, std::size_t offset, std::size_t length) noexcept;

enum class Access { read_only, read_write };

/// A mapping of a memfd. Move-only; unmapped with the object. The descriptor may be closed before.
class Mapping {
 public:
  Mapping() = default;
  Mapping(int fd, std::size_t size, Access access);  // throws std::system_error

  [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(region_.get_address()); }
  [[nodiscard]] std::size_t size() const noexcept { return region_.get_size(); }
  explicit operator bool() const noexcept { return region_.get_size() != 0; }

 private:
  boost::interprocess::mapped_region region_;
};

}  // namespace yoke::system
