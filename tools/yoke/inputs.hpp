// The inputs of `yoke map`, one after the other: arguments, or the lines of stdin, read only as they are asked for.
//
// Never blocks, if read_more() is called when descriptor() is readable. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace yoke::tools {

struct InputText {
  std::string text;          // a line without its newline; the last one may have had none
  std::uint64_t number = 0;  // from 1
};

class Inputs {
 public:
  explicit Inputs(std::vector<std::string> arguments);
  static Inputs of_stdin();

  /// The next one that is here.
  std::optional<InputText> next();
  /// There will be no next one.
  bool exhausted() const noexcept;
  /// Where more comes from; -1 if all is here.
  int descriptor() const noexcept { return at_end_ ? -1 : descriptor_; }
  /// Reads once. Throws std::system_error, and UsageError for a line of more than 1 GB.
  void read_more();
  /// How many there are in all, if that is known.
  std::optional<std::uint64_t> total() const;
  /// "line 7", "argument 7".
  std::string place(std::uint64_t number) const;

 private:
  Inputs() = default;

  int descriptor_ = -1;
  bool at_end_ = true;
  std::uint64_t given_ = 0;
  std::vector<std::string> arguments_;
  std::string buffer_;        // of stdin
  std::size_t begin_ = 0;     // of the next line in it
  std::size_t searched_ = 0;  // up to here there is no newline
};

}  // namespace yoke::tools
