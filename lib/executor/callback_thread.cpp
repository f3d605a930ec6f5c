#include "lib/executor/callback_thread.hpp"

#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <deque>
#include <mutex>
#include <new>
#include <thread>

#include "lib/system/fork_guard.hpp"
#include "lib/system/thread.hpp"
#include "lib/wire/printable.hpp"
#include "yoke/future.hpp"

namespace yoke {
namespace {

class CallbackThread {
 public:
  std::mutex& mutex() noexcept { return mutex_; }

  /// In a fork, where the thread is not. What was to run is the parent's; the condition may have sleepers who are not here
  /// and would never be gone.
  void begin_anew() {
    new (&jobs_) std::deque<std::function<void()>>;
    new (&changed_) std::condition_variable;
    started_ = busy_ = false;
    id_ = {};
  }

  void post(std::function<void()> job) {
    const std::lock_guard lock(mutex_);
    if (!started_) {
      system::start_thread("yoke-callbacks", [this] { run(); }).detach();
      started_ = true;
    }
    jobs_.push_back(std::move(job));
    changed_.notify_all();
  }

  void drain() {
    std::unique_lock lock(mutex_);
    if (!started_ || std::this_thread::get_id() == id_) return;
    changed_.wait(lock, [&] { return jobs_.empty() && !busy_; });
  }

 private:
  void run() {
    const unsigned generation = system::fork_generation();
    std::unique_lock lock(mutex_);
    id_ = std::this_thread::get_id();
    for (;;) {
      changed_.wait(lock, [&] { return !jobs_.empty(); });
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      busy_ = true;
      lock.unlock();
      try {
        job();
      } catch (...) {
        report_error(std::current_exception());
      }
      job = nullptr;  // what it holds goes before drain() returns
      if (generation != system::fork_generation()) return;  // the job forked, and this is the fork
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool started_ = false;
  bool busy_ = false;
  std::thread::id id_;
};

CallbackThread& callback_thread() {
  static auto* const thread = [] {
    auto* const made = new CallbackThread;  // never destroyed: futures may be resolved during static destruction
    system::hold_over_forks(system::ForkOrder::callbacks, made->mutex(), [] { callback_thread().begin_anew(); });
    return made;
  }();
  return *thread;
}
[[maybe_unused]] const CallbackThread& thread_made_at_load = callback_thread();

struct ErrorHandler {
  std::mutex mutex;
  std::function<void(std::exception_ptr)> handler;
};
ErrorHandler& error_handler() {
  static auto* const handler = system::make_process_wide<ErrorHandler>(system::ForkOrder::error_handler);
  return *handler;
}
[[maybe_unused]] const ErrorHandler& handler_made_at_load = error_handler();

void print_error(const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    const std::string text = wire::printable(e.what(), wire::Lines::one, wire::most_text);
    std::fprintf(stderr, "yoke: a callback of a future threw: %s\n", text.c_str());
  } catch (...) {
    std::fprintf(stderr, "yoke: a callback of a future threw something that is no std::exception\n");
  }
}

}  // namespace

void post_callback(std::function<void()> job) { callback_thread().post(std::move(job)); }
void drain_callbacks() { callback_thread().drain(); }

void report_error(std::exception_ptr error) noexcept {
  std::function<void(std::exception_ptr)> handler;
  try {
    const std::lock_guard lock(error_handler().mutex);
    handler = error_handler().handler;
  } catch (...) {
  }
  if (!handler) return print_error(error);
  try {
    handler(std::move(error));
  } catch (...) {
    print_error(std::current_exception());
  }
}

void set_error_handler(std::function<void(std::exception_ptr)> handler) {
  const std::lock_guard lock(error_handler().mutex);
  error_handler().handler = std::move(handler);
}

}  // namespace yoke
