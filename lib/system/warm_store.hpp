// WarmStore: a few pieces of memory that are kept for the next use (see warm_memory.hpp). Thread-safe.
//
// A piece has a size() in bytes. A store is a static object that is never destroyed: what uses it may outlive static
// objects.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "lib/system/fork_guard.hpp"
#include "lib/system/memory_pressure.hpp"
#include "lib/system/warm_memory.hpp"
#include "yoke/clock.hpp"

namespace yoke::system {

template <class Piece>
class WarmStore final : public warm_memory::Store {
 public:
  static WarmStore& make() {
    auto* const made = new WarmStore;
    hold_over_forks(ForkOrder::warm_memory, made->mutex_);
    warm_memory::enlist(*made);
    return *made;
  }

  /// The smallest one that is large enough, not far too large, and `usable(Piece&)`; empty if there is none.
  template <class Usable>
  std::optional<Piece> take(std::size_t size, const Usable& usable) {
    const std::lock_guard lock(mutex_);
    auto best = entries_.end();
    for (auto it = entries_.begin(); it != entries_.end(); ++it)
      if (it->piece.size() >= size && it->piece.size() / most_beyond <= size &&
          (best == entries_.end() || it->piece.size() < best->piece.size()) && usable(it->piece))
        best = it;
    if (best == entries_.end()) return {};
    Piece piece = std::move(best->piece);
    entries_.erase(best);
    return piece;
  }

  /// Kept if there is room and somebody who will see to it that it goes.
  void give_back(Piece piece) noexcept {
    if (!warm_memory::has_keeper()) return;
    try {
      if (keep(std::move(piece))) warm_memory::tell_keepers();
    } catch (const std::exception&) {
      // no room to remember it: it goes back to the system
    }
  }

  bool empty() noexcept override {
    const std::lock_guard lock(mutex_);
    return entries_.empty();
  }
  void trim(std::chrono::steady_clock::duration age) noexcept override {
    const auto before = Clock::now() - age;
    const std::lock_guard lock(mutex_);
    std::erase_if(entries_, [&](const Entry& entry) { return entry.since <= before; });
  }

 private:
  static constexpr std::size_t most_entries = 4;
  static constexpr std::size_t most_beyond = 2;  // times what is asked for: all of it stays in use with the piece
  struct Entry {
    Piece piece;
    std::chrono::steady_clock::time_point since;
  };

  /// True if it is the only one. Of too many the smallest goes, which costs least to have anew; of too large ones the
  /// oldest.
  bool keep(Piece piece) {
    std::vector<Entry> gone;  // once the lock is given back
    const std::size_t most_bytes = memory_share();
    const std::lock_guard lock(mutex_);
    entries_.push_back({std::move(piece), Clock::now()});
    const auto give_up = [&](auto entry) {
      gone.push_back(std::move(*entry));
      entries_.erase(entry);
    };
    if (entries_.size() > most_entries)
      give_up(std::ranges::min_element(entries_, {}, [](const Entry& entry) { return entry.piece.size(); }));
    std::size_t bytes = 0;
    for (const auto& entry : entries_) bytes += entry.piece.size();
    while (bytes > most_bytes) {
      bytes -= entries_.front().piece.size();
      give_up(entries_.begin());
    }
    return entries_.size() == 1;
  }

  std::mutex mutex_;
  std::vector<Entry> entries_;  // oldest first
};

}  // namespace yoke::system
