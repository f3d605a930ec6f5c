// Tally: how often each name was seen. A hash table that keeps its names in one block of memory, made for adding
// millions of short names and for merging tallies.
//
// A value type; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wordcount {

class Tally {
 public:
  struct Entry {
    std::uint64_t hash;
    std::size_t offset;  // of the name in names()
    std::size_t length;
    std::uint64_t count;
  };

  Tally();
  void add(std::string_view name, std::uint64_t count = 1);

  std::size_t size() const noexcept { return entries_.size(); }
  /// In the order in which the names were first seen.
  const std::vector<Entry>& entries() const noexcept { return entries_; }
  std::string_view name(const Entry& entry) const noexcept { return {names_.data() + entry.offset, entry.length}; }
  /// All names, one after the other, in the order of entries().
  const std::string& names() const noexcept { return names_; }

 private:
  void grow();

  std::string names_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> places_;  // a power of two of them; 0: free, otherwise 1 + index into entries_
};

}  // namespace wordcount
