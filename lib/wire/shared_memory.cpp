#include "lib/wire/shared_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <new>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "yoke/error.hpp"
#include "yoke/pack_buffer.hpp"
#include "yoke/process.hpp"

namespace yoke {
namespace {

struct Kept {
  std::shared_ptr<SharedMemory> memory;
  bool used;  // since the last trim
};

struct Record {
  std::recursive_mutex mutex;  // the last handle may go under it
  std::unordered_map<std::uint64_t, std::weak_ptr<SharedMemory>> held;  // by inode
  std::vector<Kept> kept;
  std::atomic<std::size_t> kept_count{0};
};
Record& record() {
  static Record* all = new Record;  // never destroyed: arrays may be static objects
  return *all;
}

std::shared_ptr<SharedMemory> held_here(std::uint64_t inode) {
  const auto found = record().held.find(inode);
  return found == record().held.end() ? nullptr : found->second.lock();
}

struct Identity {
  std::uint64_t inode;
  std::size_t bytes;
};

/// Of memory that can neither shrink nor grow and that is all there; anything else could end a reader with SIGBUS.
Identity identify(const system::UniqueFd& descriptor) {
  constexpr int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
  constexpr std::uint64_t block = 512;
  struct stat status {};
  const int seals = ::fcntl(descriptor.get(), F_GET_SEALS);
  if (seals < 0 || (seals & sealed) != sealed || ::fstat(descriptor.get(), &status) != 0 ||
      static_cast<std::uint64_t>(status.st_blocks) * block < static_cast<std::uint64_t>(status.st_size))
    throw SerializationError("a descriptor that came for a shared array is none of a shared array");
  return {status.st_ino, static_cast<std::size_t>(status.st_size)};
}

/// Under the record's lock: a new mapping, in place of one of the same inode that has gone.
std::shared_ptr<SharedMemory> hold(system::UniqueFd descriptor, const Identity& identity) {
  auto memory = std::make_shared<SharedMemory>(std::move(descriptor), identity.inode, identity.bytes);
  record().held[identity.inode] = memory;
  return memory;
}

[[noreturn]] void throw_gone(const detail::SharedPlace& place, const char* why) {
  throw SerializationError(fmt::format("a shared array of {} bytes cannot be had from process {}: {}", place.bytes,
                                       place.pid, why));
}

std::shared_ptr<SharedMemory> open(const detail::SharedPlace& place) {
  const std::string path = fmt::format("/proc/{}/fd/{}", place.pid, place.descriptor);
  system::UniqueFd descriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!descriptor && errno == ENOENT)
    throw_gone(place, "it is held there no more. Keep a SharedArray for as long as its views are used");
  if (!descriptor) throw_gone(place, std::system_category().message(errno).c_str());
  descriptor = system::above_stdio(std::move(descriptor));
  const Identity found = identify(descriptor);
  if (found.inode != place.inode || found.bytes != place.bytes)
    throw_gone(place, "it is held there no more. Keep a SharedArray for as long as its views are used");
  return hold(std::move(descriptor), found);
}

/// For the tasks to come, where it would cost a mapping each time; and for the views of this one.
void keep(const std::shared_ptr<SharedMemory>& memory) {
  for (Kept& kept : record().kept)
    if (kept.memory == memory) {
      kept.used = true;
      return;
    }
  record().kept.push_back({memory, true});
  record().kept_count.store(record().kept.size(), std::memory_order_relaxed);
}

}  // namespace

SharedMemory::SharedMemory(system::UniqueFd descriptor, std::uint64_t inode, std::size_t bytes)
    : descriptor_(std::move(descriptor)),
      mapping_(descriptor_.get(), bytes, system::Access::read_write),
      inode_(inode) {}

SharedMemory::~SharedMemory() {
  const std::lock_guard lock(record().mutex);
  const auto found = record().held.find(inode_);
  if (found != record().held.end() && found->second.expired()) record().held.erase(found);
}

detail::SharedPlace SharedMemory::place() const noexcept {
  return {static_cast<std::int32_t>(::getpid()), descriptor_.get(), inode_, mapping_.size()};
}

std::shared_ptr<SharedMemory> SharedMemory::create(std::size_t bytes) {
  system::UniqueFd descriptor = system::create_memfd("yoke-shared", bytes);
  if (::fcntl(descriptor.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL) != 0)
    throw std::system_error(errno, std::system_category(), "sealing a shared array");
  const Identity identity = identify(descriptor);
  const std::lock_guard lock(record().mutex);
  return hold(std::move(descriptor), identity);
}

std::shared_ptr<SharedMemory> SharedMemory::find(const detail::SharedPlace& place) {
  const std::lock_guard lock(record().mutex);
  auto memory = held_here(place.inode);
  if (memory && memory->size() != place.bytes) throw_gone(place, "there is another one in its place");
  if (memory && !this_worker::is_worker()) return memory;
  if (!memory) {
    if (place.pid == ::getpid())
      throw_gone(place, "this process holds it no more. Keep a SharedArray for as long as its views are used");
    if (!this_worker::is_worker())
      throw_gone(place, "this process does not hold it. Let a task return the SharedArray, not a view of it");
    memory = open(place);
  }
  keep(memory);
  return memory;
}

std::shared_ptr<SharedMemory> SharedMemory::adopt(system::UniqueFd descriptor) {
  const Identity identity = identify(descriptor);
  const std::lock_guard lock(record().mutex);
  if (auto memory = held_here(identity.inode)) return memory;
  return hold(std::move(descriptor), identity);
}

bool SharedMemory::has_kept() noexcept { return record().kept_count.load(std::memory_order_relaxed) != 0; }

void SharedMemory::trim_kept() noexcept {
  const std::lock_guard lock(record().mutex);
  std::erase_if(record().kept, [](Kept& kept) { return !std::exchange(kept.used, false); });
  record().kept_count.store(record().kept.size(), std::memory_order_relaxed);
}

namespace detail {

std::shared_ptr<SharedMemory> make_shared_memory(std::size_t count, std::size_t element_size) {
  if (count > PTRDIFF_MAX / element_size) throw std::bad_array_new_length();
  return count == 0 ? nullptr : SharedMemory::create(count * element_size);
}

std::byte* data_of(const SharedMemory& memory) noexcept { return memory.data(); }
SharedPlace place_of(const SharedMemory& memory) noexcept { return memory.place(); }

std::size_t count_of(const SharedMemory& memory, std::size_t element_size) {
  if (memory.size() % element_size != 0)
    throw SerializationError(fmt::format("a shared array of {} bytes cannot be one of elements of {} bytes",
                                         memory.size(), element_size));
  return memory.size() / element_size;
}

void pack_shared_memory(Packer& packer, const std::shared_ptr<SharedMemory>& memory) {
  const SharedPlace place = memory ? memory->place() : SharedPlace{};
  pack_value(packer, place);
  if (memory) packer.buffer().hold(memory);
}

std::shared_ptr<SharedMemory> unpack_shared_memory(const Object& object) {
  const auto place = unpack_value<SharedPlace>(object);
  return place.bytes == 0 ? nullptr : SharedMemory::find(place);
}

std::byte* address_of(const SharedPlace& place) {
  return place.bytes == 0 ? nullptr : SharedMemory::find(place)->data();
}

}  // namespace detail
}  // namespace yoke
