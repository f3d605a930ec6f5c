#include "lib/wire/shared_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <new>
#include <random>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lib/system/fork_guard.hpp"
#include "lib/system/warm_memory.hpp"
#include "lib/wire/holding_buffer.hpp"
#include "lib/wire/large_buffer.hpp"
#include "yoke/call.hpp"
#include "yoke/callable.hpp"
#include "yoke/error.hpp"
#include "yoke/pack_buffer.hpp"
#include "yoke/process.hpp"

namespace yoke {
namespace {

struct Record {
  std::recursive_mutex mutex;  // the last handle may go under it
  std::unordered_map<std::uint64_t, std::weak_ptr<SharedMemory>> held;  // by inode
  std::vector<std::shared_ptr<SharedMemory>> kept;  // of a worker: what its parent gave it
  std::atomic<bool> used{false};
  std::atomic<std::uint64_t> departures{0};  // of memory from this process
};
Record& record() {
  static auto* const all = system::make_process_wide<Record>(system::ForkOrder::shared_memory);
  return *all;
}
[[maybe_unused]] const Record& made_at_load = record();

std::shared_ptr<SharedMemory> held_here(std::uint64_t inode) {
  const auto found = record().held.find(inode);
  return found == record().held.end() ? nullptr : found->second.lock();
}

/// Of memory that can neither shrink nor grow and that is all there; anything else could end a reader with SIGBUS.
SharedMemory::Identity identify(const system::UniqueFd& descriptor) {
  constexpr int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
  constexpr std::uint64_t block = 512;
  struct stat status{};
  const int seals = ::fcntl(descriptor.get(), F_GET_SEALS);
  if (seals < 0 || (seals & sealed) != sealed || !system::has_usual_pages(descriptor.get()) ||
      ::fstat(descriptor.get(), &status) != 0 ||
      static_cast<std::uint64_t>(status.st_blocks) * block < static_cast<std::uint64_t>(status.st_size))
    throw SerializationError("a descriptor that came for a shared array is none of a shared array");
  return {status.st_ino, static_cast<std::size_t>(status.st_size), (seals & F_SEAL_FUTURE_WRITE) != 0};
}

/// Under the record's lock: a new mapping, in place of one of the same inode that has gone.
std::shared_ptr<SharedMemory> hold(system::UniqueFd descriptor, const SharedMemory::Identity& identity) {
  auto memory = std::make_shared<SharedMemory>(std::move(descriptor), identity);
  record().used.store(true, std::memory_order_relaxed);
  record().held[identity.inode] = memory;
  return memory;
}

[[noreturn]] void throw_gone(const detail::SharedPlace& place, const char* why) {
  throw SerializationError(fmt::format("a shared array of {} bytes cannot be had: {}", place.bytes, why));
}

constexpr char not_given[] =
    "this worker was not given it. Keep a SharedArray for as long as its views are used, and let tasks have the array "
    "or its "
    "view as an argument, or the view as a capture of by_value() (where descriptors run out in a worker, it does not "
    "get it "
    "either)";

std::uint64_t random_number() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, GRND_NONBLOCK) == sizeof number && number != 0) return number;
  std::random_device device;
  return std::uint64_t{device()} << 32 | device() | 1U;
}

std::atomic<std::uint64_t> own_tree{0};

thread_local const detail::ResultScope* result_scope = nullptr;

/// Among what came with the result that this thread unpacks.
std::shared_ptr<SharedMemory> find_in_result(const detail::SharedPlace& place) {
  const Bytes& result = result_scope->result();
  if (const auto* came = dynamic_cast<const HoldingBuffer*>(result.buffer())) {
    for (const auto& [inode, memory] : came->held())
      if (inode == place.inode && memory->size() == place.bytes) return memory;
  }
  for (const auto& held : memory_of(result))  // packed by this process
    if (held.memory->place() == place) return held.memory;
  throw_gone(place, "it did not come with the result. Let a task return the SharedArray itself");
}

}  // namespace

SharedMemory::SharedMemory(system::UniqueFd descriptor, const Identity& identity)
    : descriptor_(std::move(descriptor)),
      mapping_(descriptor_.get(), identity.bytes,
               identity.constant ? system::Access::read_only : system::Access::read_write),
      identity_(identity) {}

SharedMemory::~SharedMemory() {
  record().departures.fetch_add(1, std::memory_order_release);  // before it is unmapped
  const std::lock_guard lock(record().mutex);
  const auto found = record().held.find(identity_.inode);
  if (found != record().held.end() && found->second.expired()) record().held.erase(found);
  if (identity_.constant) system::warm_memory::tell_keepers();  // pools look at what they gave to their workers
}

detail::SharedPlace SharedMemory::place() const noexcept { return {tree(), identity_.inode, mapping_.size()}; }

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
  descriptor = system::read_only(std::move(descriptor));
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
    if (this_worker::is_worker()) kept_value_ = value;
  }
  if (*value_type_ != type) throw SerializationError("a broadcast value is asked for as another type than its own");
  return value;
}

void SharedMemory::set_value(const std::shared_ptr<const void>& value, const std::type_info& type) noexcept {
  value_ = value;
  value_type_ = &type;
}

std::uint64_t SharedMemory::tree() noexcept {
  std::uint64_t tree = own_tree.load(std::memory_order_relaxed);
  if (tree != 0) return tree;
  const std::uint64_t drawn = random_number();
  return own_tree.compare_exchange_strong(tree, drawn, std::memory_order_relaxed) ? drawn : tree;
}

void SharedMemory::join_tree(std::uint64_t tree) noexcept { own_tree.store(tree, std::memory_order_relaxed); }

std::shared_ptr<SharedMemory> SharedMemory::find_here(const detail::SharedPlace& place) noexcept {
  if (place.bytes == 0 || !record().used.load(std::memory_order_relaxed) || place.tree != tree()) return nullptr;
  const std::lock_guard lock(record().mutex);
  auto memory = held_here(place.inode);
  return memory && memory->size() == place.bytes ? memory : nullptr;
}

std::shared_ptr<SharedMemory> SharedMemory::find(const detail::SharedPlace& place) {
  if (result_scope) return find_in_result(place);
  if (auto memory = find_here(place)) return memory;
  if (place.tree != tree())
    throw_gone(place, "there is on another machine, or in another program. Pass it the array itself");
  if (this_worker::is_worker()) throw_gone(place, not_given);
  throw_gone(
      place,
      "this process does not hold it, or no more. Keep a SharedArray for as long as its views are used, and let a task "
      "return the SharedArray, not a view of it");
}

std::shared_ptr<SharedMemory> SharedMemory::adopt(system::UniqueFd descriptor, const detail::SharedPlace& spoken_of,
                                                  const std::function<bool(std::uint64_t)>& was_given) {
  const Identity identity = identify(descriptor);
  if (identity.inode != spoken_of.inode || identity.bytes != spoken_of.bytes || identity.bytes == 0)
    throw SerializationError("a descriptor came for a shared array that the result does not speak of");
  {
    const std::lock_guard lock(record().mutex);
    if (auto memory = held_here(identity.inode)) {
      if (was_given(identity.inode)) return memory;
      throw SerializationError("a shared array came that its sender was never given");
    }
    if (!identity.constant) return hold(std::move(descriptor), identity);
  }
  // Who made it may have kept a way to write to it.
  std::vector<std::byte> content(identity.bytes);
  for (std::size_t done = 0; done < content.size();) {
    const ssize_t n = ::pread(descriptor.get(), content.data() + done, content.size() - done, static_cast<off_t>(done));
    if (n <= 0) throw std::system_error(errno, std::system_category(), "copying constant memory");
    done += static_cast<std::size_t>(n);
  }
  return create_constant(content);
}

void SharedMemory::keep(system::UniqueFd descriptor) {
  const Identity identity = identify(descriptor);
  const std::lock_guard lock(record().mutex);
  auto memory = held_here(identity.inode);
  if (!memory) memory = hold(std::move(descriptor), identity);
  if (std::ranges::find(record().kept, memory) == record().kept.end()) record().kept.push_back(std::move(memory));
}

void SharedMemory::drop(std::uint64_t inode) noexcept {
  std::shared_ptr<SharedMemory> last;  // its value's destructor is the user's: it goes without the lock
  const std::lock_guard lock(record().mutex);
  const auto found = std::ranges::find(record().kept, inode, &SharedMemory::inode);
  if (found == record().kept.end()) return;
  last = std::move(*found);
  record().kept.erase(found);
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
    throw SerializationError(
        fmt::format("a shared array of {} bytes cannot be one of elements of {} bytes", memory.size(), element_size));
  return memory.size() / element_size;
}

void pack_shared_memory(Packer& packer, const std::shared_ptr<SharedMemory>& memory) {
  const SharedPlace place = memory ? memory->place() : SharedPlace{};
  packer.pack_bin(sizeof place);
  packer.pack_bin_body(reinterpret_cast<const char*>(&place), sizeof place);
  if (memory) packer.buffer().hold(memory, packer.buffer().size() - sizeof place);
}

std::shared_ptr<SharedMemory> unpack_shared_memory(const Object& object, SharedKind kind) {
  const SharedPlace place = unpack_shared_place(object);
  if (place.bytes == 0) return nullptr;
  auto memory = SharedMemory::find(place);
  if (kind == SharedKind::constant && !memory->constant())
    throw SerializationError("a shared array, which others may write to, came for a broadcast value");
  // Arrays of arguments may be constant, where they came from another machine.
  if (kind == SharedKind::array && memory->constant() && result_scope)
    throw SerializationError("constant memory, which nobody may write to, came for a shared array");
  return memory;
}

void find_again(FoundPlace& found, const SharedPlace& place) {
  found.departures = nullptr;  // if it throws
  const std::uint64_t seen = record().departures.load(std::memory_order_acquire);
  found.data = address_of(place);
  found.place = place;
  found.departures_seen = seen;
  found.departures = &record().departures;
}

std::byte* address_of(const SharedPlace& place) {
  if (place.bytes == 0) return nullptr;
  const auto memory = SharedMemory::find(place);
  if (memory->constant() && !this_worker::is_worker())
    throw_gone(place, "it is none, but memory that nobody may write to");
  return memory->data();
}

void pack_shared_place(Packer& packer, const SharedPlace& place) {
  if (const auto memory = SharedMemory::find_here(place)) return pack_shared_memory(packer, memory);
  packer.pack_bin(sizeof place);
  packer.pack_bin_body(reinterpret_cast<const char*>(&place), sizeof place);
}

SharedPlace unpack_shared_place(const Object& object) {
  SharedPlace place;
  if (object.type != msgpack::type::BIN || object.via.bin.size != sizeof place)
    throw_mismatch("a shared array", object);
  std::memcpy(&place, object.via.bin.ptr, sizeof place);
  return place;
}

void hold_captured_views(PackBuffer& out, std::size_t begin, std::span<const std::byte> captures) {
  for (std::size_t at = 0; at + sizeof(SharedPlace) <= captures.size(); at += alignof(SharedPlace)) {
    SharedPlace place;
    std::memcpy(&place, captures.data() + at, sizeof place);
    auto memory = SharedMemory::find_here(place);
    if (!memory) continue;
    // Where it lies in the message the form of the message decides.
    const auto packed = out.view().subspan(begin);
    const auto bytes = captures.subspan(at, sizeof place);
    const auto found = std::search(packed.begin(), packed.end(), bytes.begin(), bytes.end());
    out.hold(std::move(memory), begin + static_cast<std::size_t>(found - packed.begin()));
  }
}

ResultScope::ResultScope(const Bytes& result) noexcept : result_(&result), outer_(std::exchange(result_scope, this)) {}
ResultScope::~ResultScope() { result_scope = outer_; }

std::shared_ptr<SharedMemory> make_constant(PackBuffer& packed, const std::shared_ptr<const void>& value,
                                            const std::type_info& type) {
  if (!packed.held().empty())
    throw SerializationError(
        "a broadcast value cannot hold a SharedArray or another broadcast value: pass it beside this one");
  auto memory = SharedMemory::create_constant(packed.view());
  memory->set_value(value, type);
  return memory;
}

std::shared_ptr<const void> constant_in(SharedMemory& memory, const std::type_info& type, UnpackConstant unpack) {
  return memory.value(type, unpack);
}

}  // namespace detail

detail::SharedPlace shared_place::read(std::span<const std::byte> message, std::size_t at) {
  detail::SharedPlace place;
  if (message.size() < size || at > message.size() - size)
    throw SerializationError("a message has no place for shared memory where it should be");
  std::memcpy(&place, message.data() + at, size);
  return place;
}

void shared_place::write(std::span<std::byte> message, std::size_t at, const detail::SharedPlace& place) {
  if (message.size() < size || at > message.size() - size)
    throw SerializationError("a message has no place for shared memory where it should be");
  std::memcpy(message.data() + at, &place, size);
}

}  // namespace yoke
