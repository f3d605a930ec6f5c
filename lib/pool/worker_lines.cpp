#include "lib/pool/worker_lines.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "lib/system/pipe.hpp"

namespace yoke::pool {
namespace {

constexpr std::size_t read_size = 16 * 1024;
constexpr std::size_t longest_line = 64 * 1024;  // then it is told in pieces

}  // namespace

std::array<int, 2> WorkerLines::descriptors_of(int rank) {
  const std::lock_guard lock(mutex_);
  std::array<int, 2> descriptors{-1, -1};
  for (const bool is_stderr : {false, true}) {
    auto found =
        std::ranges::find_if(pipes_, [&](const Pipe& p) { return p.rank == rank && p.is_stderr == is_stderr; });
    if (found == pipes_.end()) {
      auto [read_end, write_end] = system::make_pipe();
      system::set_nonblocking(read_end);
      pipes_.push_back({std::move(read_end), std::move(write_end), rank, is_stderr, {}});
      found = pipes_.end() - 1;
      changed_();
    }
    descriptors[is_stderr ? 1 : 0] = found->write_end.get();
  }
  return descriptors;
}

void WorkerLines::add_to(system::Poller& poller) {
  const std::lock_guard lock(mutex_);
  for (Pipe& pipe : pipes_)
    pipe.ticket = on_the_way_ < window_ ? poller.add_reader(pipe.read_end.get()) : system::Poller::none;
}

void WorkerLines::read(const system::Poller& poller, const Tell& tell) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < pipes_.size() && on_the_way_ < window_; ++i) {
    const std::size_t which = (first_ + i) % pipes_.size();
    if (!poller.is_ready(pipes_[which].ticket)) continue;
    read(pipes_[which], tell);
    if (on_the_way_ >= window_) first_ = which + 1;
  }
}

void WorkerLines::taken(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  on_the_way_ -= std::min(on_the_way_, bytes);
}

void WorkerLines::finish(const Tell& tell) {
  const std::lock_guard lock(mutex_);
  for (Pipe& pipe : pipes_) {
    const int capacity = ::fcntl(pipe.read_end.get(), F_GETPIPE_SZ);
    for (int left = std::max(capacity, 0); left > 0 && read(pipe, tell); left -= static_cast<int>(read_size)) {
    }
    if (!pipe.begun.empty()) send(pipe, std::move(pipe.begun), tell);
  }
  pipes_.clear();
}

/// False if there is nothing to read.
bool WorkerLines::read(Pipe& pipe, const Tell& tell) {
  std::array<char, read_size> bytes;
  const ssize_t size = ::read(pipe.read_end.get(), bytes.data(), bytes.size());
  if (size <= 0) return false;
  pipe.begun.append(bytes.data(), static_cast<std::size_t>(size));
  const std::size_t last = pipe.begun.rfind('\n');
  const std::size_t whole = last != std::string::npos           ? last + 1
                            : pipe.begun.size() >= longest_line ? pipe.begun.size()
                                                                : 0;
  if (whole == 0) return true;
  send(pipe, pipe.begun.substr(0, whole), tell);
  pipe.begun.erase(0, whole);
  return true;
}

void WorkerLines::send(const Pipe& pipe, std::string text, const Tell& tell) {
  on_the_way_ += text.size();
  tell(pipe.rank, pipe.is_stderr, std::move(text));
}

}  // namespace yoke::pool
