// The hash table behind Tally: open addressing, linear probing, at most half full.
#include "tally.hpp"

#include <cstring>

namespace wordcount {
namespace {

std::uint64_t hash_of(std::string_view name) noexcept {
  constexpr std::uint64_t multiplier = 0x9e3779b97f4a7c15;
  std::uint64_t hash = name.size() * multiplier;
  const auto mix = [&hash](std::uint64_t word) {
    hash = (hash ^ word) * multiplier;
    hash ^= hash >> 32;
  };
  const char* at = name.data();
  std::size_t left = name.size();
  for (; left >= sizeof(std::uint64_t); left -= sizeof(std::uint64_t), at += sizeof(std::uint64_t)) {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    mix(word);
  }
  if (left > 0) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, left);
    mix(word);
  }
  return hash;
}

}  // namespace

Tally::Tally() : places_(1024) {}

void Tally::add(std::string_view name, std::uint64_t count) {
  const std::uint64_t hash = hash_of(name);
  const std::size_t mask = places_.size() - 1;
  std::size_t place = hash & mask;
  for (; places_[place] != 0; place = (place + 1) & mask) {
    Entry& entry = entries_[places_[place] - 1];
    if (entry.hash == hash && this->name(entry) == name) {
      entry.count += count;
      return;
    }
  }
  entries_.push_back({hash, names_.size(), name.size(), count});
  names_.append(name);
  places_[place] = static_cast<std::uint32_t>(entries_.size());
  if (entries_.size() * 2 > places_.size()) grow();
}

void Tally::grow() {
  std::vector<std::uint32_t> places(places_.size() * 4);
  const std::size_t mask = places.size() - 1;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    std::size_t place = entries_[i].hash & mask;
    while (places[place] != 0) place = (place + 1) & mask;
    places[place] = static_cast<std::uint32_t>(i + 1);
  }
  places_ = std::move(places);
}

}  // namespace wordcount
