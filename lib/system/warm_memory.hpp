// Memory that is kept for a moment after its use, since fresh pages cost more than what is done with them; and who sees
// to it that it goes back.
//
// A store keeps memory only while there is a keeper. It tells of the first that it keeps, which wakes the keepers; a
// keeper calls trim() every now and then for as long as any() is true. Thread-safe.
#pragma once

#include <chrono>

namespace yoke::system::warm_memory {

/// Something that keeps memory. A static object that is never destroyed.
class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  virtual bool empty() noexcept = 0;
  /// Gives back what was not used for `age`, or, of a store that does not count time, since the last call.
  virtual void trim(std::chrono::steady_clock::duration age) noexcept = 0;

 protected:
  ~Store() = default;

 private:
  friend bool any() noexcept;
  friend void trim(std::chrono::steady_clock::duration age) noexcept;
  friend void enlist(Store& store) noexcept;
  Store* next_ = nullptr;
};
/// From now on keepers look at it. Once it is wholly constructed: they look from other threads, at once.
void enlist(Store& store) noexcept;

/// Someone who will call trim().
class Keeper {
 public:
  virtual ~Keeper() = default;
  /// There is memory to be trimmed. Called by any thread under any lock: it may only wake another.
  virtual void warm_memory_came() noexcept = 0;
};
void join(Keeper& keeper);
void leave(Keeper& keeper) noexcept;

/// For stores: whether memory may be kept.
bool has_keeper() noexcept;
/// By a store that was empty.
void tell_keepers() noexcept;

/// For keepers.
bool any() noexcept;
void trim(std::chrono::steady_clock::duration age) noexcept;

}  // namespace yoke::system::warm_memory
