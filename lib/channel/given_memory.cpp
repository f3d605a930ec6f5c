#include "lib/channel/given_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "lib/system/memory_pressure.hpp"
#include "yoke/error.hpp"

namespace yoke::channel {
namespace {

constexpr std::size_t step = 64 * 1024;      // sizes of pieces
constexpr std::size_t most_beyond = 2;       // times what is asked for: all of a piece stays in use with it

/// The one that was used the longest time ago, of those that no task needs.
template <class Entry>
auto oldest_free(std::vector<Entry>& entries, std::uint64_t tail) noexcept {
  auto oldest = entries.end();
  for (auto it = entries.begin(); it != entries.end(); ++it)
    if (it->position < tail && (oldest == entries.end() || it->used < oldest->used)) oldest = it;
  return oldest;
}

}  // namespace

GivenMemory::Piece* GivenMemory::free_piece(std::size_t size, std::uint64_t tail) noexcept {
  Piece* best = nullptr;
  for (Piece& piece : pieces_) {
    if (piece.position >= tail || piece.doubtful) continue;
    const std::size_t room = piece.mapping.size();
    if (room >= size && room / most_beyond <= size && (!best || room < best->mapping.size())) best = &piece;
  }
  return best;
}

bool GivenMemory::drop(std::vector<Piece>::iterator piece) noexcept {
  if (!socket_.send(ControlKind::drop_memory, piece->number)) return false;
  pieces_.erase(piece);
  return true;
}

/// For one piece more.
bool GivenMemory::make_room(std::size_t size, std::uint64_t tail) noexcept {
  std::size_t bytes = size;
  for (const Piece& piece : pieces_) bytes += piece.mapping.size();
  while (pieces_.size() >= most_pieces || bytes > system::memory_share()) {
    const auto oldest = oldest_free(pieces_, tail);
    if (oldest == pieces_.end()) return pieces_.size() < most_pieces;
    const std::size_t room = oldest->mapping.size();
    if (!drop(oldest)) return false;
    bytes -= room;
  }
  return true;
}

GivenMemory::Gave GivenMemory::put(std::span<const std::byte> content, std::uint64_t position, std::uint64_t tail,
                                   std::uint64_t& number) {
  Piece* piece = free_piece(content.size(), tail);
  if (!piece) {
    const std::size_t size = (content.size() + step - 1) / step * step;
    if (oldest_free(pieces_, tail) == pieces_.end() && pieces_.size() >= most_pieces) return Gave::all_in_use;
    if (!make_room(size, tail)) return Gave::not_taken;
    system::UniqueFd memory = system::create_memfd("yoke-message", size);
    system::Mapping mapping(memory.get(), size, system::Access::read_write);
    system::seal_memfd(memory.get(), system::Seal::writes);  // this process keeps its mapping
    memory = system::read_only(std::move(memory));
    pieces_.reserve(pieces_.size() + 1);
    if (!socket_.send(ControlKind::memory, ++last_number_, {}, memory.get())) return Gave::not_taken;
    piece = &pieces_.emplace_back(Piece{last_number_, std::move(mapping), 0, {}});
  }
  std::memcpy(piece->mapping.data(), content.data(), content.size());
  piece->position = position;
  piece->used = Clock::now();
  number = piece->number;
  return Gave::yes;
}

bool GivenMemory::make_room_for_shared(std::uint64_t tail) noexcept {
  while (shared_.size() >= most_shared) {
    const auto oldest = oldest_free(shared_, tail);
    if (oldest == shared_.end()) return true;  // its tasks need more at once
    if (!socket_.send(ControlKind::drop_shared, oldest->inode)) return false;
    shared_.erase(oldest);
  }
  return true;
}

GivenMemory::Gave GivenMemory::share(std::span<const detail::HeldMemory> held, std::uint64_t position,
                                     std::uint64_t tail) {
  const auto now = Clock::now();
  std::size_t sent = 0;
  for (const auto& [memory, at] : held) {
    auto entry = std::ranges::find(shared_, memory->inode(), &Shared::inode);
    const bool is_new = entry == shared_.end();
    if (is_new || entry->doubtful) {
      if (++sent > most_shared_by_task)
        throw SerializationError(
            fmt::format("a task speaks of more than {} shared arrays that its worker does not have, which "
                        "cannot be sent at once",
                        most_shared_by_task));
      if (is_new && !make_room_for_shared(tail)) return Gave::not_taken;
      if (is_new) shared_.reserve(shared_.size() + 1);  // what is sent is written down
      if (!socket_.send(ControlKind::shared, memory->inode(), {}, memory->descriptor())) return Gave::not_taken;
      if (is_new) shared_.push_back({memory->inode(), memory, memory->constant(), position, now});
      entry = is_new ? std::prev(shared_.end()) : entry;
    }
    entry->doubtful = false;
    entry->position = position;
    entry->used = now;
  }
  return Gave::yes;
}

void GivenMemory::doubt() noexcept {
  for (Piece& piece : pieces_) piece.doubtful = true;
  for (Shared& shared : shared_) shared.doubtful = true;
}

bool GivenMemory::needs_trim() const noexcept {
  return !pieces_.empty() ||
         std::ranges::any_of(shared_, [](const Shared& shared) { return !shared.constant || shared.memory.expired(); });
}

bool GivenMemory::trim(Clock::duration age, std::uint64_t tail) noexcept {
  const auto before = Clock::now() - age;
  const std::uint16_t told = socket_.count();
  std::erase_if(pieces_, [&](const Piece& piece) {
    return piece.position < tail && piece.used <= before && socket_.send(ControlKind::drop_memory, piece.number);
  });
  std::erase_if(shared_, [&](const Shared& shared) {
    const bool unused = shared.memory.expired() || (!shared.constant && shared.used <= before);
    return shared.position < tail && unused && socket_.send(ControlKind::drop_shared, shared.inode);
  });
  return socket_.count() != told;
}

}  // namespace yoke::channel
