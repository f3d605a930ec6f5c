// The standard output of `yoke map`: whole lines go in, and leave when there is room, so that a slow reader holds up
// the results and nothing else.
//
// Nothing here blocks except on files and terminals. One thread.
#pragma once

#include <cstddef>
#include <string>

namespace yoke::tools {

/// The reader of the output has gone, or there never was one.
struct OutputClosed {};

class Output {
 public:
  explicit Output(int descriptor);

  /// To append to.
  std::string& buffer() noexcept { return buffer_; }
  std::size_t pending() const noexcept { return buffer_.size() - written_; }
  int descriptor() const noexcept { return descriptor_; }
  /// Writes what there is room for. Throws OutputClosed, or std::system_error.
  void write_some();

 private:
  bool has_room() const;

  int descriptor_;
  bool is_file_;
  std::string buffer_;
  std::size_t written_ = 0;
};

}  // namespace yoke::tools
