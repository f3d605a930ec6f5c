#include "lib/wire/shared_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <new>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lib/system/fork_guard.hpp"
#include "yoke/error.hpp"
#include "yoke/pack_buffer.hpp"
#include "yoke/process.hpp"

namespace yoke {
namespace {

struct Kept {
  std::shared_ptr<SharedMemory> memory;
  detail::SharedPlace origin;
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

/// Of memory that can neither shrink nor grow and that is all there; anything else could end a reader with SIGBUS.
SharedMemory::Identity identify(const system::UniqueFd& descriptor) {
  constexpr int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
  constexpr std::uint64_t block = 512;
  struct stat status {};
  const int seals = ::fcntl(descriptor.get(), F_GET_SEALS);
  if (seals < 0 || (seals & sealed) != sealed || ::fstat(descriptor.get(), &status) != 0 ||
      static_cast<std::uint64_t>(status.st_blocks) * block < static_cast<std::uint64_t>(status.st_size))
    throw SerializationError("a descriptor that came for a shared array is none of a shared array");
  return {status.st_ino, static_cast<std::size_t>(status.st_size), (seals & F_SEAL_FUTURE_WRITE) != 0};
}

/// Under the record's lock: a new mapping, in place of one of the same inode that has gone.
std::shared_ptr<SharedMemory> hold(system::UniqueFd descriptor, const SharedMemory::Identity& identity,
                                   std::int32_t origin = ::getpid()) {
  auto memory = std::make_shared<SharedMemory>(std::move(descriptor), identity, origin);
  record().held[identity.inode] = memory;
  return memory;
}

[[noreturn]] void throw_gone(const detail::SharedPlace& place, const char* why) {
  throw SerializationError(fmt::format("a shared array of {} bytes cannot be had from process {}: {}", place.bytes,
                                       place.pid, why));
}

std::string path_of(const detail::SharedPlace& place) {
  return fmt::format("/proc/{}/fd/{}", place.pid, place.descriptor);
}

constexpr char held_no_more[] =
    "it is held there no more, or there is on another machine. Keep a SharedArray for as long as its views are used, and pass "
    "the array itself to other machines";

std::shared_ptr<SharedMemory> open(const detail::SharedPlace& place) {
  const std::string path = path_of(place);
  system::UniqueFd descriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!descriptor && errno == ENOENT) throw_gone(place, held_no_more);
  if (!descriptor) throw_gone(place, std::system_category().message(errno).c_str());
  descriptor = system::above_stdio(std::move(descriptor));
  const SharedMemory::Identity found = identify(descriptor);
  if (found.inode != place.inode || found.bytes != place.bytes) throw_gone(place, held_no_more);
  return hold(std::move(descriptor), found, place.pid);
}

/// For the tasks to come, where it would cost a mapping each time; and for the views of this one.
void keep(const std::shared_ptr<SharedMemory>& memory, const detail::SharedPlace& origin) {
  for (Kept& kept : record().kept)
    if (kept.memory == memory) {
      kept.used = true;
      return;
    }
  record().kept.push_back({memory, origin, true});
  record().kept_count.store(record().kept.size(), std::memory_order_relaxed);
}

bool is_still_held(const detail::SharedPlace& origin) {
  struct stat status {};
  return ::stat(path_of(origin).c_str(), &status) == 0 && status.st_ino == origin.inode;
}

}  // namespace

SharedMemory::SharedMemory(system::UniqueFd descriptor, const Identity& identity, std::int32_t origin)
    : descriptor_(std::move(descriptor)),
      mapping_(descriptor_.get(), identity.bytes,
               identity.constant ? system::Access::read_only : system::Access::read_write),
      identity_(identity),
      origin_(origin) {}

SharedMemory::~SharedMemory() {
  const std::lock_guard lock(record().mutex);
  const auto found = record().held.find(identity_.inode);
  if (found != record().held.end() && found->second.expired()) record().held.erase(found);
}

detail::SharedPlace SharedMemory::place() const noexcept {
  return {system::own_pid(), descriptor_.get(), identity_.inode, mapping_.size()};
}

std::shared_ptr<SharedMemory> SharedMemory::create(std::size_t bytes) {
  system::UniqueFd descriptor = system::create_memfd("yoke-shared", bytes);
  system::seal_memfd(descriptor.get(), system::Seal::size);
  const Identity identity = identify(descriptor);
  const std::lock_guard lock(record().mutex);
  return hold(std::move(descriptor), identity);
}

std::shared_ptr<SharedMemory> SharedMemory::create_constant(std::span<const std::byte> content) {
  system::UniqueFd descriptor = system::create_memfd("yoke-shared", content.size());
  {
    const system::Mapping filled(descriptor.get(), content.size(), system::Access::read_write);
    std::memcpy(filled.data(), content.data(), content.size());
  }
  system::seal_memfd(descriptor.get(), system::Seal::writes);
  const Identity identity = identify(descriptor);
  const std::lock_guard lock(record().mutex);
  return hold(std::move(descriptor), identity);
}

std::shared_ptr<const void> SharedMemory::value(const std::type_info& type, detail::UnpackConstant unpack) {
  const std::lock_guard lock(value_mutex_);
  auto value = value_.lock();
  if (!value) {
    value = unpack(view());
    set_value(value, type);
    if (this_worker::is_worker()) {
      kept_value_ = value;
      keeps_value_ = true;
    }
  }
  if (*value_type_ != type) throw SerializationError("a broadcast value is asked for as another type than its own");
  return value;
}

void SharedMemory::set_value(const std::shared_ptr<const void>& value, const std::type_info& type) noexcept {
  value_ = value;
  value_type_ = &type;
}

std::shared_ptr<SharedMemory> SharedMemory::find(const detail::SharedPlace& place) {
  const std::lock_guard lock(record().mutex);
  for (Kept& kept : record().kept)
    if (kept.origin == place) {
      kept.used = true;
      return kept.memory;
    }
  auto memory = held_here(place.inode);
  if (memory && memory->size() != place.bytes) throw_gone(place, "there is another one in its place");
  if (memory && !this_worker::is_worker()) return memory;
  // On another machine the same inode is another's.
  if (memory && place.pid != memory->origin() && place.pid != ::getpid() && !is_still_held(place)) throw_gone(place, held_no_more);
  if (!memory) {
    if (place.pid == ::getpid())
      throw_gone(place, "this process holds it no more. Keep a SharedArray for as long as its views are used");
    if (!this_worker::is_worker())
      throw_gone(place, "this process does not hold it. Let a task return the SharedArray, not a view of it");
    memory = open(place);
  }
  keep(memory, place);
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
  std::erase_if(record().kept, [](Kept& kept) {
    if (std::exchange(kept.used, false)) return false;
    return !kept.memory->keeps_value() || !is_still_held(kept.origin);  // what was unpacked is not to be unpacked again
  });
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
  packer.pack_bin(sizeof place);
  packer.pack_bin_body(reinterpret_cast<const char*>(&place), sizeof place);
  if (memory) packer.buffer().hold(memory, packer.buffer().size() - sizeof place);
}

std::shared_ptr<SharedMemory> unpack_shared_memory(const Object& object) {
  SharedPlace place;
  if (object.type != msgpack::type::BIN || object.via.bin.size != sizeof place) throw_mismatch("a shared array", object);
  std::memcpy(&place, object.via.bin.ptr, sizeof place);
  return place.bytes == 0 ? nullptr : SharedMemory::find(place);
}

std::byte* address_of(const SharedPlace& place) {
  return place.bytes == 0 ? nullptr : SharedMemory::find(place)->data();
}

std::shared_ptr<SharedMemory> make_constant(PackBuffer& packed, const std::shared_ptr<const void>& value,
                                            const std::type_info& type) {
  if (!packed.held().empty())
    throw SerializationError("a broadcast value cannot hold a SharedArray or another broadcast value: pass it beside this one");
  auto memory = SharedMemory::create_constant(packed.view());
  memory->set_value(value, type);
  return memory;
}

std::shared_ptr<const void> constant_in(SharedMemory& memory, const std::type_info& type, UnpackConstant unpack) {
  return memory.value(type, unpack);
}

}  // namespace detail

void shared_place::write(std::span<std::byte> message, std::size_t at, const detail::SharedPlace& place) {
  if (message.size() < size || at > message.size() - size)
    throw SerializationError("a message has no place for shared memory where it should be");
  std::memcpy(message.data() + at, &place, size);
}

}  // namespace yoke
