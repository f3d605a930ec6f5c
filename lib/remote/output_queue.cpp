#include "lib/remote/output_queue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lib/executor/callback_thread.hpp"

namespace yoke::remote {
namespace {

constexpr std::chrono::seconds last_patience{2};  // with the function, once the pool has ended

}  // namespace

void OutputQueue::add(Printed printed) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::move(printed));
  if (std::exchange(telling_, true)) return;
  post_callback([self = shared_from_this()] { self->tell_next(); });
}

void OutputQueue::close() {
  const std::lock_guard lock(mutex_);
  ends_ = Clock::now() + last_patience;
}

/// What agents sent at once, and no more: other callbacks have their turn.
void OutputQueue::tell_next() {
  std::unique_lock lock(mutex_);
  const Printed printed = std::move(waiting_.front());
  waiting_.pop_front();
  lock.unlock();
  dropped_ += tell_lines(printed);
  taken_(printed);
  lock.lock();
  telling_ = !waiting_.empty();
  if (telling_) post_callback([self = shared_from_this()] { self->tell_next(); });
  const bool last = !telling_;
  lock.unlock();
  if (!last || dropped_ == 0) return;
  call({printed.host, printed.note.rank, true,
        fmt::format("yoke: {} bytes that were printed are not shown: on_output was slower than the pool's end",
                    std::exchange(dropped_, 0))});
}

bool OutputQueue::is_late() {
  const std::lock_guard lock(mutex_);
  return ends_ && Clock::now() >= *ends_;
}

std::size_t OutputQueue::tell_lines(const Printed& printed) {
  const std::string& text = printed.note.text;
  for (std::size_t begin = 0; begin < text.size();) {
    if (is_late()) return text.size() - begin;
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    call({printed.host, printed.note.rank, printed.note.is_stderr, text.substr(begin, end - begin)});
    begin = end + 1;
  }
  return 0;
}

void OutputQueue::call(const OutputLine& line) {
  try {
    tell_(line);
  } catch (...) {
    report_error(std::current_exception());
  }
}

}  // namespace yoke::remote
