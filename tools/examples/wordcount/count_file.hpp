// The tasks of the example: what runs in a worker.
//
// A file that cannot be read is a std::system_error of count_file, and an entry among the unreadable of count_files.
#pragma once

#include <cstdint>
#include <map>
#include <msgpack.hpp>
#include <string>
#include <vector>

#include "tally.hpp"

namespace wordcount {

struct FileCount {
  std::uint64_t bytes = 0;
  std::uint64_t identifiers = 0;
  std::map<std::string, std::uint64_t> counts;
  MSGPACK_DEFINE_MAP(bytes, identifiers, counts)
};

/// The identifiers of one file. Named for the command line: `yoke map libwordcount.so:count_file FILE...`
FileCount count_file(const std::string& path);

struct Unreadable {
  std::string path;
  std::string reason;
};

/// The counts of several files together, in a form that is quick to pack, unpack and merge.
struct BatchCount {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t identifiers = 0;
  std::string names;                   // one after the other
  std::vector<std::uint64_t> lengths;  // of each
  std::vector<std::uint64_t> counts;   // of each
  std::vector<Unreadable> unreadable;
};

BatchCount count_files(const std::vector<std::string>& paths);

/// Adds the counts of a batch to those of others.
void merge(const BatchCount& batch, Tally& tally);

}  // namespace wordcount
