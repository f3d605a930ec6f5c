// UniqueFd: a file descriptor that one object owns and closes.
//
// Move-only. Not thread-safe; hand it over by move. -1 means that it holds nothing.
//
// A program may close all descriptors behind the library's back (closefrom, to become a daemon), and then have the
// number for a file of its own. So the file is remembered, and what is not it any more is not closed. Whoever waits
// long between having a descriptor and using it asks is_own() before.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace yoke::system {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd), file_(file_at(fd)) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)), file_(other.file_) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this == &other) return *this;
    reset();
    fd_ = std::exchange(other.fd_, -1);
    file_ = other.file_;
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  /// It is open, and the file that it was. Files that have no inode of their own (eventfd, pidfd before Linux 6.9) are
  /// one.
  [[nodiscard]] bool is_own() const noexcept { return fd_ >= 0 && (file_.inode == 0 || file_at(fd_) == file_); }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept {
    if (is_own()) ::close(fd_);
    fd_ = fd;
    file_ = file_at(fd);
  }

 private:
  struct File {
    dev_t device = 0;
    ino_t inode = 0;  // 0: not known, or not open
    bool operator==(const File&) const = default;
  };
  static File file_at(int fd) noexcept {
    struct stat status{};
    if (fd < 0 || ::fstat(fd, &status) != 0) return {};
    return {status.st_dev, status.st_ino};
  }

  int fd_ = -1;
  File file_;
};

/// The same file under a number above stderr's, close-on-exec: a program that runs with stdin, stdout or stderr closed
/// gets those numbers for the next file it opens, and would print into it. Throws std::system_error.
inline UniqueFd above_stdio(UniqueFd fd) {
  if (fd.get() > STDERR_FILENO) return fd;
  UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!moved) throw std::system_error(errno, std::system_category(), "moving a descriptor above stderr");
  return moved;
}

}  // namespace yoke::system
