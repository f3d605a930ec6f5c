#include "lib/executor/callback_thread.hpp"

#include <cxxabi.h>

#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <deque>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include "lib/system/fork_guard.hpp"
#include "lib/system/thread.hpp"
#include "lib/wire/printable.hpp"
#include "yoke/error.hpp"
#include "yoke/future.hpp"

namespace yoke {
namespace {

class CallbackThread {
 public:
  explicit CallbackThread(const char* name) : name_(name) {}
  /// `get` is the function that has it. Never destroyed: futures may be resolved during static destruction.
  template <system::ForkOrder order, CallbackThread& (*get)()>
  static CallbackThread* make(const char* name) {
    auto* const made = new CallbackThread(name);
    system::hold_over_forks(order, made->mutex(), [] { get().begin_anew(); });
    return made;
  }
  std::mutex& mutex() noexcept { return mutex_; }

  /// In a fork, where the thread is not. What was to run is the parent's; the condition may have sleepers who are not
  /// here and would never be gone.
  void begin_anew() {
    new (&jobs_) std::deque<std::function<void()>>;
    new (&changed_) std::condition_variable;
    started_ = busy_ = false;
    id_ = {};
  }

  /// The job is kept where there is no thread for it now: the next one that comes tries again.
  void post(std::function<void()> job) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    try_to_start();
    changed_.notify_all();
  }
  /// Throws std::system_error where there can be no thread.
  void make_ready() {
    const std::lock_guard lock(mutex_);
    start();
  }

  void drain() {
    std::unique_lock lock(mutex_);
    if (!jobs_.empty()) try_to_start();  // they wait for a thread that could not be had
    if (!started_ || std::this_thread::get_id() == id_) return;
    changed_.wait(lock, [&] { return jobs_.empty() && !busy_; });
  }

 private:
  void start() {
    if (started_) return;
    system::start_thread(name_, [this] { run(); }).detach();
    started_ = true;
  }
  /// Where it fails, the next job that comes tries again.
  void try_to_start() noexcept {
    try {
      start();
    } catch (const std::system_error&) {
    }
  }
  /// The job ends this thread, by pthread_exit: the others go on with another one.
  void go_on_without_me() {
    report_error(
        std::make_exception_ptr(Error("it ended its thread (pthread_exit); those to come run on another one")));
    const std::lock_guard lock(mutex_);
    busy_ = started_ = false;
    id_ = {};
    if (!jobs_.empty()) try_to_start();
    changed_.notify_all();
  }
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
      } catch (const abi::__forced_unwind&) {
        if (generation == system::fork_generation()) go_on_without_me();
        throw;
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

  const char* const name_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool started_ = false;
  bool busy_ = false;
  std::thread::id id_;
};

CallbackThread& hand_over_thread();

CallbackThread& callback_thread() {
  static auto* const thread = CallbackThread::make<system::ForkOrder::callbacks, callback_thread>("yoke-callbacks");
  return *thread;
}
CallbackThread& hand_over_thread() {
  static auto* const thread = CallbackThread::make<system::ForkOrder::hand_over, hand_over_thread>("yoke-hand-over");
  return *thread;
}
[[maybe_unused]] const CallbackThread& thread_made_at_load = callback_thread();
[[maybe_unused]] const CallbackThread& hand_over_made_at_load = hand_over_thread();

struct ErrorHandler {
  std::mutex mutex;
  std::function<void(std::exception_ptr)> handler;
};
ErrorHandler& error_handler() {
  static auto* const handler = system::make_process_wide<ErrorHandler>(system::ForkOrder::error_handler);
  return *handler;
}
[[maybe_unused]] const ErrorHandler& handler_made_at_load = error_handler();

void print_error(const std::exception_ptr& error, const char* what_happened) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    const std::string text = wire::printable(wire::text_of(e), wire::Lines::one, wire::most_text);
    std::fprintf(stderr, "yoke: %s: %s\n", what_happened, text.c_str());
  } catch (...) {
    std::fprintf(stderr, "yoke: %s: something that is no std::exception\n", what_happened);
  }
}

}  // namespace

void post_callback(std::function<void()> job) { callback_thread().post(std::move(job)); }
void post_hand_over(std::function<void()> job) { hand_over_thread().post(std::move(job)); }
void require_callback_thread() { callback_thread().make_ready(); }
void require_hand_over_thread() { hand_over_thread().make_ready(); }
void drain_callbacks() {
  callback_thread().drain();
  hand_over_thread().drain();
}

void report_error(std::exception_ptr error, const char* what_happened) noexcept {
  std::function<void(std::exception_ptr)> handler;
  try {
    const std::lock_guard lock(error_handler().mutex);
    handler = error_handler().handler;
  } catch (...) {
  }
  if (!handler) return print_error(error, what_happened);
  try {
    handler(std::move(error));
  } catch (...) {
    print_error(std::current_exception(), "the error handler threw");
  }
}

void set_error_handler(std::function<void(std::exception_ptr)> handler) {
  const std::lock_guard lock(error_handler().mutex);
  error_handler().handler = std::move(handler);
}

}  // namespace yoke
