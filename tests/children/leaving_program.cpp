// A program that ends with a pool in some state: leaving_program MODE. Tells on stdout what it found.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "yoke/yoke.hpp"

namespace {

int add_one(int value) { return value + 1; }
void say_late(int milliseconds, const std::string& text) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}
[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}
void say(const std::string& text) { say_late(0, text); }

/// What a pool said that is made before main, if the test asks for one.
const std::string said_before_main = []() -> std::string {
  if (!std::getenv("YOKE_TEST_POOL_BEFORE_MAIN")) return "";
  try {
    yoke::ProcessPoolExecutor pool(1);
    pool.submit(say, "too early");
    return "a task";
  } catch (const yoke::BrokenProcessPool& error) {
    return error.what();
  }
}();
int before_main() {
  say(said_before_main);
  return 0;
}
/// Made in each of its workers too.
const std::unique_ptr<yoke::ProcessPoolExecutor> early_pool =
    std::getenv("YOKE_TEST_POOL_BEFORE_MAIN")
        ? std::make_unique<yoke::ProcessPoolExecutor>(yoke::ExecutorOptions{.max_workers = 2, .spawn_eagerly = true})
        : nullptr;
int at_namespace_scope() {
  const int six =
      early_pool->submit([](int x) { return early_pool->submit([](int y) { return y + 1; }, x).get() + 1; }, 4).get();
  say(std::to_string(six));
  early_pool->submit(say_late, 20, "at its end");
  return 0;
}

struct AtEnd {
  std::function<void()> act;
  ~AtEnd() {
    if (act) act();
  }
};
AtEnd at_end;  // constructed before any pool: its destructor runs after theirs
std::optional<yoke::ProcessPoolExecutor> static_pool;

/// main returns while tasks run and wait.
int pending() {
  static yoke::Executor pool(yoke::make_process_pool({.max_workers = 2}));
  for (int i = 0; i < 6; ++i) pool.submit(say_late, 20, "done " + std::to_string(i));
  return 0;
}

/// The same with a callback.
int callback() {
  static yoke::Executor pool(yoke::make_process_pool({.max_workers = 1}));
  pool.submit(add_one, 41).add_done_callback([](const auto& done) {
    say("called with " + std::to_string(done.result()));
  });
  return 0;
}

int exit_from_thread() {
  static yoke::Executor pool(yoke::make_process_pool({.max_workers = 2}));
  for (int i = 0; i < 4; ++i) pool.submit(say_late, 20, "done " + std::to_string(i));
  std::thread([] { std::exit(7); }).detach();
  for (;;) ::pause();
}

int exit_from_callback() {
  static yoke::Executor pool(yoke::make_process_pool({.max_workers = 2}));
  pool.submit(add_one, 1).add_done_callback([](const auto&) { std::exit(7); });
  for (;;) ::pause();
}

int static_executor() {
  static_pool.emplace(2);
  for (int i = 0; i < 4; ++i) static_pool->submit(say_late, 20, "done " + std::to_string(i));
  return 0;
}

int submit_at_end() {
  static auto& pool = *new yoke::Executor(yoke::make_process_pool({.max_workers = 1}));
  pool.submit(add_one, 1).get();
  at_end.act = [] {
    try {
      pool.submit(add_one, 1);
      say("submitted");
    } catch (const yoke::ShutdownExecutorError&) {
      say("refused");
    }
  };
  return 0;
}

/// A static object's destructor asks for a result.
int result_at_end() {
  static auto& pool = *new yoke::Executor(yoke::make_process_pool({.max_workers = 1}));
  static auto& future = *new yoke::Future<std::string>();
  const auto text = [](int n) { return std::string(static_cast<std::size_t>(n), 'x'); };
  pool.submit(text, 1).get();  // this thread has unpacked before
  future = pool.submit(text, 3);
  at_end.act = [] { say(future.get()); };
  return 0;
}

int crash_pending() {
  static yoke::Executor pool(yoke::make_process_pool({.max_workers = 2}));
  for (int i = 0; i < 10; ++i) pool.submit(die);
  return 0;
}

int quick() {
  static yoke::Executor pool(yoke::make_process_pool({.max_workers = 2}));
  pool.submit(say_late, 60'000, "late");
  std::quick_exit(3);
}

int reusable() {
  auto executor = yoke::get_reusable_executor({.max_workers = 2});
  for (int i = 0; i < 4; ++i) executor.submit(say_late, 20, "done " + std::to_string(i));
  return 0;
}

int nested_reusable(int value) {  // E11: a worker that ends with a pool of its own
  return yoke::get_reusable_executor({.max_workers = 1}).submit(add_one, value).get();
}
int nested() {
  auto executor = yoke::get_reusable_executor({.max_workers = 2});
  say(std::to_string(executor.submit(nested_reusable, 41).get()));
  return 0;
}

/// C13: its file is replaced while it runs, then deleted.
int replaced() {
  const std::string path = std::string(::program_invocation_name);
  yoke::ProcessPoolExecutor pool({.max_workers = 1, .max_tasks_per_worker = 1});
  say(std::to_string(pool.submit(add_one, 1).get()));
  ::unlink(path.c_str());
  std::ofstream(path) << "#!/bin/false\n";
  say(std::to_string(pool.submit(add_one, 2).get()));
  ::unlink(path.c_str());
  say(std::to_string(pool.submit(add_one, 3).get()));
  return 0;
}

/// D15: Ctrl-C, which its whole process group gets while its pool is idle.
int interrupted() {
  sigset_t wanted;
  ::sigemptyset(&wanted);
  ::sigaddset(&wanted, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
  yoke::ProcessPoolExecutor pool(1);
  const int before = pool.submit(::getpid).get();
  say("ready");
  int signal = 0;
  ::sigwait(&wanted, &signal);
  say("interrupted");
  say(pool.submit(::getpid).get() == before ? "the same worker" : "another worker");
  say("deaths " + std::to_string(pool.stats().deaths));
  return 0;
}

/// D20: forks while it has a pool. The fork cannot use it, and ends without disturbing it.
int forks() {
  yoke::ProcessPoolExecutor pool(2);
  pool.submit(add_one, 1).get();
  auto unfinished = pool.submit([] {
    for (;;) ::pause();
  });
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      unfinished.wait();
    } catch (const yoke::BrokenProcessPool&) {
      say("the fork does not wait");
    }
    try {
      pool.submit(add_one, 1);
      say("the fork submitted");
    } catch (const yoke::BrokenProcessPool&) {
      say("the fork was refused");
    }
    yoke::ProcessPoolExecutor own(1);
    say("the fork's own pool says " + std::to_string(own.submit(add_one, 9).get()));
    own.shutdown();
    std::exit(5);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  say("the fork ended with " + std::to_string(WEXITSTATUS(status)));
  unfinished.cancel(yoke::CancelMode::kill);
  say(std::to_string(pool.submit(add_one, 41).get()));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, int (*)()> modes{{"before_main", before_main},
                                               {"at_namespace_scope", at_namespace_scope},
                                               {"pending", pending},
                                               {"callback", callback},
                                               {"exit_from_thread", exit_from_thread},
                                               {"exit_from_callback", exit_from_callback},
                                               {"static_executor", static_executor},
                                               {"submit_at_end", submit_at_end},
                                               {"result_at_end", result_at_end},
                                               {"crash_pending", crash_pending},
                                               {"quick", quick},
                                               {"reusable", reusable},
                                               {"nested", nested},
                                               {"replaced", replaced},
                                               {"interrupted", interrupted},
                                               {"forks", forks}};
  const auto mode = modes.find(argc > 1 ? argv[1] : "");
  return mode == modes.end() ? 99 : mode->second();
}
