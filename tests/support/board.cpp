#include "tests/support/board.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <ctime>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>

namespace yoke_test {
namespace {

using Word = std::atomic<std::uint32_t>;

// Ends a test that would hang. Nothing is measured by it.
constexpr std::chrono::seconds hang_guard{60};

struct Mapped {
  std::mutex mutex;
  std::map<int, Word*> boards;  // by serial
};
Mapped& mapped() {
  static auto* all = new Mapped;
  return *all;
}

std::size_t bytes_of(const Board& board) { return board.size * sizeof(Word); }

Word* map_memory(const Board& board, int fd) {
  void* memory = ::mmap(nullptr, bytes_of(board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::system_category(), "mmap of a board");
  return static_cast<Word*>(memory);
}

Word& word_of(const Board& board, unsigned word) {
  Mapped& all = mapped();
  const std::lock_guard lock(all.mutex);
  Word*& words = all.boards[board.serial];
  if (!words) {
    const std::string path = "/proc/" + std::to_string(board.pid) + "/fd/" + std::to_string(board.fd);
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::system_category(), path);
    words = map_memory(board, fd);
    ::close(fd);
  }
  if (word >= board.size) throw std::out_of_range("the board has fewer words");
  return words[word];
}

}  // namespace

std::uint32_t Board::add(unsigned word, std::uint32_t amount) const {
  Word& w = word_of(*this, word);
  const std::uint32_t value = w.fetch_add(amount) + amount;
  ::syscall(SYS_futex, &w, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  return value;
}

std::uint32_t Board::get(unsigned word) const { return word_of(*this, word).load(); }

void Board::wait_for(unsigned word, std::uint32_t value) const {
  const Word& w = word_of(*this, word);
  const auto give_up = std::chrono::steady_clock::now() + hang_guard;
  for (std::uint32_t seen = w.load(); seen < value; seen = w.load()) {
    if (std::chrono::steady_clock::now() > give_up)
      throw std::runtime_error("waited too long for word " + std::to_string(word) + " to be " + std::to_string(value) +
                               ": it is " + std::to_string(seen));
    const timespec second{1, 0};
    ::syscall(SYS_futex, &w, FUTEX_WAIT, seen, &second, nullptr, 0);
  }
}

Board put_up_board(unsigned size) {
  static std::atomic<int> serial{0};
  const Board board{::getpid(), ::memfd_create("test-board", MFD_CLOEXEC), ++serial, size};
  if (board.fd < 0 || ::ftruncate(board.fd, static_cast<off_t>(bytes_of(board))) != 0)
    throw std::system_error(errno, std::system_category(), "memory of a board");
  const std::lock_guard lock(mapped().mutex);
  mapped().boards[board.serial] = map_memory(board, board.fd);
  return board;
}

void take_down(const Board& board) {
  const std::lock_guard lock(mapped().mutex);
  ::munmap(mapped().boards.at(board.serial), bytes_of(board));
  mapped().boards.erase(board.serial);
  ::close(board.fd);
}

}  // namespace yoke_test
