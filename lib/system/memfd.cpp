// memfd calls, and the mapping by Boost.Interprocess with its errors turned into std::system_error.
#include "lib/system/memfd.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <atomic>
#include <boost/interprocess/detail/os_file_functions.hpp>
#include <boost/interprocess/exceptions.hpp>
#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

#include "lib/system/memory_pressure.hpp"
#include "lib/system/warm_memory.hpp"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace yoke::system {
namespace {

[[noreturn]] void throw_errno(int error, const char* what) {
  throw std::system_error(error, std::system_category(), what);
}

std::size_t size_of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) throw_errno(errno, "fstat of a memfd");
  return static_cast<std::size_t>(status.st_size);
}

// Where memory runs out, fallocate does not fail: the kernel kills a process. So what can be foreseen is refused. A
// look costs as much as to fill a megabyte; so one allows for a part of what it found, whoever takes it and in whatever
// pieces.
void check_available(std::size_t size) {
  constexpr std::uint64_t most_without_a_look = 64 * 1024 * 1024;
  constexpr std::uint64_t part = 8;
  constexpr std::uint64_t reserve = 4 * 1024 * 1024;  // page tables and the like
  static std::atomic<std::int64_t> allowed{0};
  if (static_cast<std::int64_t>(std::min<std::uint64_t>(size, INT64_MAX)) <= allowed.load(std::memory_order_relaxed)) {
    allowed.fetch_sub(static_cast<std::int64_t>(size), std::memory_order_relaxed);
    return;
  }
  const auto available = available_memory();
  if (!available) return;
  const std::uint64_t room = *available - std::min(*available, reserve + size / 100);
  if (size > room) throw_errno(ENOMEM, "allocating a memfd's memory");
  allowed.store(static_cast<std::int64_t>(std::min(most_without_a_look, (room - size) / part)),
                std::memory_order_relaxed);
}

// What mapped_region's constructor asks for.
struct MappableFd {
  int fd;
  [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const {
    return boost::interprocess::ipcdetail::mapping_handle_from_file_handle(fd);
  }
};

boost::interprocess::mapped_region map(int fd, std::size_t size, Access access) {
  if (size == 0) throw_errno(EINVAL, "mmap of a memfd");  // zero would mean "all of it" to mapped_region
  const auto mode = access == Access::read_only ? boost::interprocess::read_only : boost::interprocess::read_write;
  try {
    return {MappableFd{fd}, mode, 0, size};
  } catch (const boost::interprocess::interprocess_exception& error) {
    throw_errno(error.get_native_error(), "mmap of a memfd");
  }
}

UniqueFd make_memfd(const char* name, std::size_t size) {
  // Kernels before 6.3 do not know MFD_NOEXEC_SEAL, later ones may be set up to refuse a memfd without it.
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
  if (!fd && errno == EINVAL) fd.reset(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) throw_errno(errno, "memfd_create");
  fd = above_stdio(std::move(fd));
  grow_memfd(fd.get(), size);
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) throw_errno(errno, "sealing a memfd");
  return fd;
}

}  // namespace

UniqueFd create_memfd(const char* name, std::size_t size) {
  try {
    return make_memfd(name, size);
  } catch (const std::system_error&) {
    warm_memory::trim({});  // what is kept for the next use may be what is missing
    return make_memfd(name, size);
  }
}

void grow_memfd(int fd, std::size_t size) {
  // A signal interrupts fallocate and undoes what it did; in small steps a profiler's timer cannot hold it up for ever.
  constexpr std::size_t step = 256 * 1024;
  // Beyond RLIMIT_FSIZE the kernel would send SIGXFSZ, which kills.
  rlimit file_size{};
  if (::getrlimit(RLIMIT_FSIZE, &file_size) == 0 && size > file_size.rlim_cur) throw_errno(EFBIG, "growing a memfd");
  const std::size_t old_size = size_of(fd);
  if (size > old_size) check_available(size - old_size);
  for (std::size_t at = old_size; at < size;) {
    const std::size_t length = std::min(step, size - at);
    if (::fallocate(fd, 0, static_cast<off_t>(at), static_cast<off_t>(length)) == 0) {
      at += length;
    } else if (errno != EINTR) {
      const int error = errno;
      punch_hole(fd, old_size, at - old_size);
      throw_errno(error, "allocating a memfd's memory");
    }
  }
}

void seal_memfd(int fd, Seal seal) {
  const int more = seal == Seal::writes ? F_SEAL_FUTURE_WRITE : 0;
  if (::fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL | more) != 0)
    throw_errno(errno, "sealing a memfd");
}

UniqueFd read_only(UniqueFd fd) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  UniqueFd opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return opened ? above_stdio(std::move(opened)) : std::move(fd);
}

bool has_usual_pages(int fd) noexcept {
  constexpr long tmpfs = 0x01021994;
  struct statfs system{};
  return ::fstatfs(fd, &system) == 0 && system.f_type == tmpfs;
}

void punch_hole(int fd, std::size_t offset, std::size_t length) noexcept {
  if (length == 0) return;
  while (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(length)) != 0 &&
         errno == EINTR) {
  }
}

Mapping::Mapping(int fd, std::size_t size, Access access) : region_(map(fd, size, access)) {}

}  // namespace yoke::system
