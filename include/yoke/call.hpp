// Call: the worker's side of one task, as its trampoline sees it.
//
// Lives on the worker's stack for the length of the task; only the thread that runs the task uses it.
#pragma once

#include "yoke/language.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <msgpack.hpp>
#include <span>
#include <typeinfo>

#include "yoke/codec.hpp"
#include "yoke/pack_buffer.hpp"
#include "yoke/pool.hpp"

namespace yoke {

/// A message unpacked into objects; strings and arrays of numbers stay views into the message.
class YOKE_API Message {
 public:
  /// Throws SerializationError if the bytes are no message, or claim more than they are.
  explicit Message(std::span<const std::byte> bytes);
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message();
  const Object& object() const noexcept { return object_; }

 private:
  std::unique_ptr<msgpack::zone> zone_;  // reused by the thread
  Object object_;
};

namespace detail {

/// While a result is unpacked by this thread, what it says of shared memory is looked for among what came with it, and
/// nowhere else: it may say anything.
class YOKE_API ResultScope {
 public:
  explicit ResultScope(const Bytes& result) noexcept;
  ~ResultScope();
  ResultScope(const ResultScope&) = delete;
  ResultScope& operator=(const ResultScope&) = delete;
  const Bytes& result() const noexcept { return *result_; }

 private:
  const Bytes* result_;
  const ResultScope* outer_;
};

}  // namespace detail

class YOKE_API Call {
 public:
  /// Where keep_value() keeps values, and counts them. Null: nowhere.
  struct Keeping {
    std::byte* next = nullptr;
    std::byte* end = nullptr;
    std::atomic<std::uint64_t>* items = nullptr;
    const std::atomic<unsigned>* process = nullptr;  // which one this is: a fork of the worker keeps nothing
    unsigned generation = 0;
  };

  Call(std::span<const std::byte> arguments, const void* target, PackBuffer& result, std::atomic<std::uint8_t>& phase,
       const Reducers* result_reducers = nullptr)
      : arguments_(arguments),
        target_(target),
        result_(result),
        phase_(phase),
        result_reducers_(result_reducers && !result_reducers->empty() ? result_reducers : nullptr) {}
  virtual ~Call();

  std::span<const std::byte> arguments() const noexcept { return arguments_; }
  const void* target() const noexcept { return target_; }
  PackBuffer& result() const noexcept { return result_; }
  const Reducers* result_reducers() const noexcept { return result_reducers_; }  // null: there are none
  void enter(Phase phase) noexcept { phase_.store(static_cast<std::uint8_t>(phase), std::memory_order_relaxed); }
  /// Hands the packed result over to the caller of the task, before the arguments are destroyed.
  virtual void publish() = 0;

  // Of a chunk of items, which may be cut short: see lib/wire/chunk.hpp.
  std::uint64_t first_item() const noexcept { return first_item_; }  // those before it are done
  virtual void begin_items(std::uint32_t value_size);
  /// What an item brought, kept where this process's end does not reach it. False: there is no room for another.
  virtual bool keep_item(std::span<const std::byte> value, std::span<const std::byte> error);
  /// The same of an item that has brought a plain value and no error, where that costs no call; false: keep_item() is
  /// to be asked.
  template <std::size_t size>
  bool keep_value(const std::byte* value) noexcept {
    if (!keeping_.items || static_cast<std::size_t>(keeping_.end - keeping_.next) < size) return false;
    if (keeping_.process->load(std::memory_order_relaxed) != keeping_.generation) return false;
    if constexpr (size != 0) std::memcpy(keeping_.next, value, size);
    keeping_.next += size;
    keeping_.items->store(keeping_.items->load(std::memory_order_relaxed) + 1, std::memory_order_release);
    return true;
  }
  /// The result that is published next is of some items only; the others are left to a further call.
  void leave_rest() noexcept { leaves_rest_ = true; }

 protected:
  void begin_at(std::uint64_t item) noexcept { first_item_ = item; }
  bool leaves_rest() const noexcept { return leaves_rest_; }
  void keep_values_at(const Keeping& keeping) noexcept { keeping_ = keeping; }

 private:
  std::span<const std::byte> arguments_;
  const void* target_;
  PackBuffer& result_;
  std::atomic<std::uint8_t>& phase_;
  const Reducers* result_reducers_;
  std::uint64_t first_item_ = 0;
  bool leaves_rest_ = false;
  Keeping keeping_;
};

}  // namespace yoke
