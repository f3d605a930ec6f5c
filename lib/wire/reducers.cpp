// The reducers that this process knows, of its own and of its parent's, and the form in which tasks are packed.
#include "lib/wire/reducers.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "lib/system/fork_guard.hpp"
#include "lib/system/symbols.hpp"
#include "yoke/error.hpp"
#include "yoke/serializer.hpp"

namespace yoke {
namespace {

/// The same reducer has one id, whichever executors have it. Nothing is ever forgotten: there are as many as the
/// program has places that add one.
struct Registry {
  std::mutex mutex;
  std::unordered_map<std::uint64_t, const detail::Reducer*> by_id;
  std::unordered_map<const detail::Reducer*, std::uint64_t> ids;
  std::uint32_t made = 0;
};
Registry& registry() {
  static auto* const all = system::make_process_wide<Registry>(system::ForkOrder::reducers);
  return *all;
}
[[maybe_unused]] const Registry& made_at_load = registry();

/// The process's own pid is part of the ids that it gives: a worker also knows those of its parent.
std::uint64_t id_of(const detail::Reducer* reducer) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  if (const auto known = all.ids.find(reducer); known != all.ids.end()) return known->second;
  const std::uint64_t id = static_cast<std::uint64_t>(::getpid()) << 32 | ++all.made;
  all.by_id.emplace(id, reducer);
  all.ids.emplace(reducer, id);
  return id;
}

void learn(const detail::Reducer* reducer, std::uint64_t id) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.by_id.insert_or_assign(id, reducer);
  all.ids.insert_or_assign(reducer, id);
}

const detail::Reducer* find(std::uint64_t id) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto found = all.by_id.find(id);
  return found == all.by_id.end() ? nullptr : found->second;
}

}  // namespace

void Reducers::add(const detail::Reducer* reducer) {
  const Entry entry{reducer, id_of(reducer)};
  for (Entry& present : entries_) {
    if (*present.reducer->type != *reducer->type) continue;
    present = entry;
    return;
  }
  entries_.push_back(entry);
}

const Reducers::Entry* Reducers::find(const std::type_info& type) const noexcept {
  for (const Entry& entry : entries_)
    if (*entry.reducer->type == type) return &entry;
  return nullptr;
}

bool Reducers::operator==(const Reducers& other) const {
  return std::ranges::is_permutation(entries_, other.entries_, {}, &Entry::id, &Entry::id);
}

namespace detail {

std::atomic<Serializer> chosen_serializer{Serializer::raw};

bool has_reducer(const Reducers& reducers, const std::type_info& type) noexcept { return reducers.find(type); }

bool pack_reduced(Packer& packer, const std::type_info& type, const void* value) {
  const Reducers::Entry* entry = packer.reducers()->find(type);
  if (!entry) return false;
  const Packer::Level level(packer);
  packer.pack_array(2);
  packer.pack_ext(sizeof entry->id, reduced_type);
  packer.pack_ext_body(reinterpret_cast<const char*>(&entry->id), sizeof entry->id);
  entry->reducer->pack(packer, value);
  return true;
}

ErasedFunction find_unpacking(const Object& object, const std::type_info& type) {
  std::uint64_t id = 0;
  if (object.via.ext.size != sizeof id) throw_mismatch("a value that a reducer packed", object);
  std::memcpy(&id, object.via.ext.data(), sizeof id);
  const Reducer* reducer = yoke::find(id);
  if (!reducer || *reducer->type != type)
    throw SerializationError(fmt::format(
        "a value of type '{}' was packed by a reducer that {}: the task was packed for an executor with other reducers",
        system::demangle(type.name()),
        reducer ? fmt::format("is for '{}'", system::demangle(reducer->type->name()))
                : "this process was not told of"));
  return reducer->unpack;
}

void throw_no_reducer(const std::type_info& type) {
  throw SerializationError(
      fmt::format("values of type '{0}' are packed by reducers only, and this executor has none for it: add one to its "
                  "ExecutorOptions, .job_reducers for arguments and .result_reducers for results: "
                  "yoke::Reducers().add<{0}>(pack_fn, "
                  "unpack_fn)",
                  system::demangle(type.name())));
}

void throw_reduced_span(const std::type_info& type) {
  throw SerializationError(fmt::format(
      "a span is a view of its elements' bytes, and this executor has a reducer for '{}': take a std::vector instead",
      system::demangle(type.name())));
}

}  // namespace detail

namespace wire {
namespace {

struct Head {
  std::uint64_t jobs;
  std::uint64_t results;
};
struct Entry {
  FunctionReference itself;
  std::uint64_t id;
};
static_assert(sizeof(Head) == 16 && sizeof(Entry) == 16);  // what follows stays aligned

template <class T>
T take(std::span<const std::byte>& message) {
  if (message.size() < sizeof(T)) throw Error("the description of the executor's reducers is damaged");
  T value;
  std::memcpy(&value, message.data(), sizeof value);
  message = message.subspan(sizeof value);
  return value;
}

}  // namespace

std::vector<FunctionReference> references_of(const Reducers& reducers) {
  std::vector<FunctionReference> all;
  for (const auto& [reducer, id] : reducers.entries())
    all.push_back(refer_to(reinterpret_cast<const void*>(reducer->itself)));
  return all;
}

void describe_reducers(PackBuffer& out, const Reducers& jobs, const Reducers& results) {
  const auto append = [&](const auto& value) { std::memcpy(out.extend(sizeof value), &value, sizeof value); };
  append(Head{jobs.entries().size(), results.entries().size()});
  for (const Reducers* reducers : {&jobs, &results})
    for (const auto& [reducer, id] : reducers->entries())
      append(Entry{refer_to(reinterpret_cast<const void*>(reducer->itself)), id});
}

Reducers learn_reducers(std::span<const std::byte>& message,
                        const std::function<const void*(FunctionReference)>& resolve) {
  const auto head = take<Head>(message);
  Reducers results;
  for (std::uint64_t i = 0; i < head.jobs + head.results; ++i) {
    const auto entry = take<Entry>(message);
    const auto itself = reinterpret_cast<const detail::Reducer* (*)()>(const_cast<void*>(resolve(entry.itself)));
    learn(itself(), entry.id);
    if (i >= head.jobs) results.add(itself());
  }
  return results;
}

}  // namespace wire
}  // namespace yoke
