// Reads files and counts their identifiers.
#include "count_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <system_error>

#include "parser.hpp"

namespace wordcount {
namespace {

/// Reads the whole file into `content`, whose memory is used again.
void read_file(const std::string& path, std::string& content) {
  constexpr std::size_t step = 1 << 16;
  const auto fail = [&path](int error) {
    throw std::system_error(error, std::generic_category(), "cannot read " + path);
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(errno);
  std::size_t size = 0;
  for (;;) {
    content.resize(size + step);
    const ssize_t got = ::read(fd, content.data() + size, step);
    if (got < 0 && errno == EINTR) continue;
    const int error = got < 0 ? errno : 0;
    if (got <= 0) ::close(fd);
    if (error != 0) fail(error);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  content.resize(size);
}

}  // namespace

FileCount count_file(const std::string& path) {
  std::string content;
  read_file(path, content);
  Tally tally;
  FileCount result;
  result.identifiers = count_identifiers(content, tally);
  result.bytes = content.size();
  for (const auto& entry : tally.entries()) result.counts.emplace(tally.name(entry), entry.count);
  return result;
}

BatchCount count_files(const std::vector<std::string>& paths) {
  BatchCount result;
  Tally tally;
  std::string content;
  for (const auto& path : paths) {
    try {
      read_file(path, content);
    } catch (const std::system_error& error) {
      result.unreadable.push_back({path, error.code().message()});
      continue;
    }
    result.identifiers += count_identifiers(content, tally);
    result.bytes += content.size();
    ++result.files;
  }
  result.names = tally.names();
  for (const auto& entry : tally.entries()) {
    result.lengths.push_back(entry.length);
    result.counts.push_back(entry.count);
  }
  return result;
}

void merge(const BatchCount& batch, Tally& tally) {
  std::string_view names = batch.names;
  for (std::size_t i = 0; i < batch.counts.size(); ++i) {
    tally.add(names.substr(0, batch.lengths[i]), batch.counts[i]);
    names.remove_prefix(batch.lengths[i]);
  }
}

}  // namespace wordcount
