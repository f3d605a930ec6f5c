// An ordinary program in an ordinary place: places_program MODE. Tells on stdout what it found.
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "yoke/yoke.hpp"

namespace {

void say(const std::string& text) {
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}
int add_one(int value) { return value + 1; }

std::vector<std::string> files;  // that main was given
bool clock_stands_still = false;

constexpr unsigned hang_guard = 60;  // seconds; SIGALRM ends a fork that hangs

/// In a fork: exit code 0, or the number of the first check that failed.
class Checks {
 public:
  void is(bool right) {
    ++number_;
    if (!right && failed_ == 0) failed_ = number_;
  }
  template <class F>
  void is_refused(F&& call) {
    try {
      call();
      is(false);
    } catch (const yoke::BrokenProcessPool&) {
      is(true);
    }
  }
  int failed() const { return failed_; }

 private:
  int number_ = 0;
  int failed_ = 0;
};

/// Forks, and returns what `body` returned in the fork, 200 where it hung, 201 where it died otherwise.
template <class F>
int in_fork(F&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(hang_guard);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  return WTERMSIG(status) == SIGALRM ? 200 : 201;
}

/// What a program has of a pool when it forks.
struct Before {
  yoke::ProcessPoolExecutor& pool;
  yoke::Future<int> done;                     // and not looked at
  yoke::Future<int> unfinished;
  std::vector<yoke::Future<int>> both{done, unfinished};
  yoke::AsCompleted<int> completing = yoke::as_completed(both);
  yoke::SharedArray<int> array = yoke::SharedArray<int>(10);
};

/// Every public call on what is the parent's: each answers at once.
void use_parents(Before& parent, Checks& check) {
  check.is_refused([&] { parent.pool.submit(add_one, 1); });
  check.is_refused([&] { parent.pool.resize(2); });
  check.is_refused([&] { static_cast<void>(parent.pool.stats()); });
  check.is_refused([&] { static_cast<void>(parent.pool.max_workers()); });
  check.is_refused([&] { static_cast<void>(parent.pool.map(add_one, std::vector{1, 2, 3})); });
  check.is(!parent.unfinished.running() && !parent.unfinished.cancel(yoke::CancelMode::kill));
  check.is_refused([&] { parent.unfinished.wait(); });
  check.is_refused([&] { parent.unfinished.wait_for(std::chrono::hours(1)); });
  check.is_refused([&] { static_cast<void>(parent.unfinished.result()); });
  check.is_refused([&] { std::rethrow_exception(parent.unfinished.exception()); });
  check.is_refused([&] {
    auto copy = parent.unfinished;
    copy.get();
  });
  std::size_t seen = 0;
  for (auto future : parent.completing) seen += future.done() ? 1 : 0;
  check.is(seen == 2);
  check.is(yoke::wait(parent.both).done.size() == 2);
  check.is(parent.done.get() == 8);
  parent.array[0] = 5;
  check.is(parent.array[0] == 5);
  parent.pool.pause();
  parent.pool.unpause();
  parent.pool.shutdown();
  parent.pool.shutdown({.kill_workers = true});
}

/// And a pool of its own works wholly.
void use_own(Before& parent, Checks& check) {
  yoke::ProcessPoolExecutor own(2);
  auto task = own.submit(add_one, 41);
  std::promise<int> called;
  task.add_done_callback([&](yoke::Future<int> done) { called.set_value(done.get()); });
  check.is(called.get_future().get() == 42);
  std::promise<void> told;
  parent.unfinished.add_done_callback([&](const yoke::Future<int>&) { told.set_value(); });
  told.get_future().wait();  // what is lost is done
  int sum = 0;
  for (const int value : own.map(add_one, std::vector{1, 2, 3})) sum += value;
  check.is(sum == 9);
  std::vector<yoke::Future<int>> some{own.submit(add_one, 1), own.submit(add_one, 2)};
  int completed = 0;
  for (auto future : yoke::as_completed(some)) completed += future.get();
  check.is(completed == 5);
  own.submit([](yoke::SharedArray<int> numbers) { numbers[1] = 7; }, parent.array).get();
  check.is(parent.array[1] == 7);
  auto reusable = yoke::get_reusable_executor({.max_workers = 1});
  check.is(reusable.submit(add_one, 5).get() == 6);
}

/// Threads that submit, wait, make pools and attach callbacks until it is destroyed.
class Load {
 public:
  explicit Load(yoke::ProcessPoolExecutor& pool) {
    for (int i = 0; i < 6; ++i)
      threads_.emplace_back([this, &pool, i] {
        for (int n = 0; !over_; ++n) {
          auto future = pool.submit(add_one, n);
          if (i % 2 == 0)
            future.add_done_callback([](const yoke::Future<int>& done) { static_cast<void>(done.done()); });
          if (i < 3 && future.get() != n + 1) std::abort();
          if (i == 3) static_cast<void>(pool.stats());
          if (i == 4) yoke::get_reusable_executor({.max_workers = 1 + n % 2}).submit(add_one, n).get();
          if (i == 5) yoke::ProcessPoolExecutor(1).submit(add_one, n).get();
        }
      });
  }
  ~Load() {
    over_ = true;
    for (auto& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> over_{false};
  std::vector<std::thread> threads_;
};

int hang() {
  for (;;) ::pause();
}

Before prepare(yoke::ProcessPoolExecutor& pool) {
  auto done = pool.submit(add_one, 7);
  done.wait();
  auto unfinished = pool.submit(hang);
  while (!unfinished.running()) std::this_thread::yield();
  return {pool, done, unfinished};
}

/// I13: YOKE_TEST_FORKS forks while other threads do all that can be done; each uses its parent's pool and one of its
/// own, and one in five forks once more.
int forks() {
  const char* wanted = std::getenv("YOKE_TEST_FORKS");
  const int forks = wanted ? std::atoi(wanted) : 30;
  yoke::ProcessPoolExecutor pool(3);
  Before parent = prepare(pool);
  const auto use_all = [&] {
    Checks check;
    use_parents(parent, check);
    use_own(parent, check);
    return check.failed();
  };
  {
    const Load load(pool);
    for (int i = 0; i < forks; ++i) {
      const int failed = in_fork([&] {
        if (i % 5 == 0)
          if (const int again = in_fork(use_all); again != 0) return 100 + again;
        return use_all();
      });
      if (failed != 0) say("fork " + std::to_string(i) + ": " + std::to_string(failed));
    }
  }
  parent.unfinished.cancel(yoke::CancelMode::kill);
  say("over");
  return 0;
}

/// I13: a callback forks; its fork uses pools, and ends when the callback does.
int fork_in_callback() {
  yoke::ProcessPoolExecutor pool(2);
  Before parent = prepare(pool);
  std::promise<int> ended;
  parent.done.add_done_callback([&](const yoke::Future<int>&) {
    const int failed = in_fork([&] {
      Checks check;
      use_parents(parent, check);
      use_own(parent, check);
      return check.failed();
    });
    const pid_t returning = ::fork();
    if (returning == 0) {
      ::alarm(hang_guard);
      return;
    }
    int status = 0;
    ::waitpid(returning, &status, 0);
    ended.set_value(failed != 0 ? failed : status);
  });
  say("ended with " + std::to_string(ended.get_future().get()));
  parent.unfinished.cancel(yoke::CancelMode::kill);
  return 0;
}

/// I13: a fork leaves main with work pending in a pool of its own.
int fork_at_exit() {
  yoke::ProcessPoolExecutor pool(1);
  pool.submit(add_one, 1).get();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(hang_guard);
    static yoke::Executor own(yoke::make_process_pool({.max_workers = 1}));
    for (int i = 0; i < 2; ++i)
      own.submit([](int number) { say("done " + std::to_string(number)); }, i)
          .add_done_callback([](const yoke::Future<void>&) { say("called"); });
    std::exit(3);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  say("the fork ended with " + std::to_string(WEXITSTATUS(status)));
  return 0;
}

/// I13: the same with the bare system call, of which no library is told.
int bare_fork() {
  yoke::ProcessPoolExecutor pool(1);
  Before parent = prepare(pool);
  const pid_t child = ::_Fork();
  if (child == 0) {
    ::alarm(hang_guard);
    Checks check;
    check.is_refused([&] { parent.pool.submit(add_one, 1); });
    check.is_refused([&] { parent.unfinished.wait(); });
    ::_exit(check.failed());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  say("the fork ended with " + std::to_string(status));
  parent.unfinished.cancel(yoke::CancelMode::kill);
  return 0;
}

/// I15: the environment changes all the time while workers start and callbacks make pools. No thread of the library's
/// own may read it then.
int environment() {
  yoke::ProcessPoolExecutor pool({.max_workers = 2, .max_tasks_per_worker = 1});
  std::atomic<int> called{0};
  std::vector<yoke::Future<int>> tasks;
  constexpr int all = 60;
  for (int n = 0; n < all; ++n) {
    tasks.push_back(pool.submit(add_one, n));
    tasks.back().add_done_callback([&called](const yoke::Future<int>&) {
      if (called++ % 20 == 0) yoke::ProcessPoolExecutor(1).submit(add_one, 1).get();
    });
  }
  for (int n = 0; called < all; ++n) {
    ::clearenv();
    for (int i = 0; i < 30; ++i) ::setenv(("NAME" + std::to_string(i)).c_str(), std::to_string(n).c_str(), 1);
  }
  say("over");
  return 0;
}

std::string value_of(const std::string& name) {
  const char* const value = std::getenv(name.c_str());
  return value ? value : "(none)";
}

/// I15: whose environment a worker gets.
int environment_of_workers() {
  ::setenv("YOKE_TEST_VALUE", "before", 1);
  yoke::ProcessPoolExecutor pool({.max_workers = 2, .max_tasks_per_worker = 1});
  say(pool.submit(value_of, "YOKE_TEST_VALUE").get());
  ::setenv("YOKE_TEST_VALUE", "after", 1);
  while (!pool.stats().workers.empty()) std::this_thread::yield();
  say(pool.submit(value_of, "YOKE_TEST_VALUE").get());
  ::unsetenv("YOKE_TEST_VALUE");
  while (!pool.stats().workers.empty()) std::this_thread::yield();
  say(pool.submit(value_of, "YOKE_TEST_VALUE").get());
  return 0;
}

/// I16: at a terminal, under `stty tostop`. Nothing of it stops a worker, or what a task starts.
int terminal() {
  termios settings{};
  ::tcgetattr(STDOUT_FILENO, &settings);
  settings.c_lflag |= TOSTOP;
  ::tcsetattr(STDOUT_FILENO, TCSANOW, &settings);
  yoke::ProcessPoolExecutor pool(1);
  pool.submit(say, "a task prints").get();
  pool.submit([] { return std::system("echo what a task starts prints; stty sane <&1; echo and sets"); }).get();
  say("opened by a worker: " + std::to_string(pool.submit([] { return ::open("/dev/tty", O_RDWR) >= 0; }).get()));
  say("read by a shell: " + std::to_string(pool.submit([] { return std::system("read line </dev/tty") == 0; }).get()));
  say("group: " +
      std::to_string(pool.submit([] { return ::getpgrp() == ::getpid() && ::getsid(0) != ::getpid(); }).get()));
  return 0;
}

/// I22: what Linux keeps for each thread, changed after the first task.
int thread_properties() {
  yoke::ProcessPoolExecutor pool(1);
  pool.submit(add_one, 1).get();
  ::setpriority(PRIO_PROCESS, 0, 7);
  sched_param none{};
  ::sched_setscheduler(0, SCHED_BATCH, &none);
  constexpr int idle_class = 3 << 13;
  ::syscall(SYS_ioprio_set, 1, 0, idle_class);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const bool can_drop = ::prctl(PR_CAPBSET_DROP, CAP_SYS_TIME, 0, 0, 0) == 0;
  cpu_set_t one{};
  CPU_SET(::sched_getcpu(), &one);
  ::sched_setaffinity(0, sizeof one, &one);
  pool.resize(2);
  auto first = pool.submit(hang);
  const auto state = [] {
    cpu_set_t processors{};
    ::sched_getaffinity(0, sizeof processors, &processors);
    return std::to_string(::getpriority(PRIO_PROCESS, 0)) + " " + std::to_string(::sched_getscheduler(0)) + " " +
           std::to_string(::syscall(SYS_ioprio_get, 1, 0)) + " " +
           std::to_string(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) + " " +
           std::to_string(::prctl(PR_CAPBSET_READ, CAP_SYS_TIME, 0, 0, 0)) + " " +
           std::to_string(CPU_COUNT(&processors));
  };
  const std::string told = pool.submit(state).get();
  first.cancel(yoke::CancelMode::kill);
  say(told == state() ? "as the program" : "not as the program: " + told + " and " + state());
  say(can_drop == (::prctl(PR_CAPBSET_READ, CAP_SYS_TIME, 0, 0, 0) == 0) ? "told right" : "told wrong");
  return 0;
}

/// I21: main has ended by pthread_exit, and the program goes on without.
int main_ends() {
  static yoke::ProcessPoolExecutor pool(1);
  std::thread([main = ::pthread_self()] {
    ::pthread_join(main, nullptr);
    try {
      say("task " + std::to_string(pool.submit(add_one, 1).get()));
      say("long " +
          std::to_string(
              pool.submit([](const std::string& text) { return text + "x"; }, std::string(1 << 20, 'y')).get().size()));
      try {
        pool.submit([] { std::abort(); }).get();
      } catch (const yoke::BrokenProcessPool& error) {
        say(std::string(error.what()).find("SIGABRT") != std::string::npos ? "death" : error.what());
      }
    } catch (const std::exception& error) {
      say(error.what());
    }
    std::exit(0);
  }).detach();
  ::pthread_exit(nullptr);
}

/// I21: all descriptors are closed while a task runs, and the numbers are then the program's.
int descriptors_closed() {
  auto* const pool = new yoke::ProcessPoolExecutor(1);
  int ends[2]{};
  if (::pipe(ends) != 0) return 1;
  const int gate = ::fcntl(ends[0], F_DUPFD, 100);
  const int opens = ::fcntl(ends[1], F_DUPFD, 101);
  const std::string path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(gate);
  auto task = pool->submit(
      [](const std::string& pipe) {
        char byte = 0;
        return static_cast<int>(::read(::open(pipe.c_str(), O_RDONLY), &byte, 1)) + 41;
      },
      path);
  while (!task.running()) std::this_thread::yield();
  const int worker = pool->stats().workers.at(0).pid;
  for (int fd = 3; fd < 100; ++fd) ::close(fd);
  std::vector<int> own;  // of the program, under the same numbers
  while (own.empty() || own.back() < 60) own.push_back(::open("/dev/null", O_RDONLY));
  if (::write(opens, "x", 1) != 1) return 1;
  say("task " + std::to_string(task.get()));
  const int after = pool->submit([] { return static_cast<int>(::getpid()); }).get();
  say(after == worker ? "the same worker" : "another worker");
  say("long " +
      std::to_string(
          pool->submit([](const std::string& text) { return text + "x"; }, std::string(1 << 20, 'y')).get().size()));
  pool->resize(2);
  auto one = pool->submit([] { std::this_thread::sleep_for(std::chrono::milliseconds(300)); });
  say("two " + std::to_string(pool->submit(add_one, 1).get()));
  one.get();
  pool->shutdown();
  int lost = 0;
  for (const int fd : own) lost += ::fcntl(fd, F_GETFD) < 0 ? 1 : 0;
  say("closed of the program's " + std::to_string(lost));
  delete pool;
  return 0;
}

/// I21: a library in front of libc lets all clocks stand still.
int clock_stands() {
  clock_stands_still = true;
  yoke::ProcessPoolExecutor pool(1);
  try {
    pool.submit(yoke::TaskOptions{.timeout = std::chrono::milliseconds(50)}, hang).get();
  } catch (const yoke::TimeoutError&) {
    say("timed out");
  }
  auto unfinished = pool.submit(hang);
  say(unfinished.wait_for(std::chrono::milliseconds(20)) == std::future_status::timeout ? "waited" : "done");
  pool.shutdown({.kill_workers = true});
  return 0;
}

[[gnu::noinline]] void die_here() {
  volatile int* nowhere = nullptr;
  *nowhere = 1;
}

/// I21: where the program was started by naming the loader, and has left its folder.
int crash_elsewhere() {
  if (::chdir("/") != 0) return 1;
  yoke::ProcessPoolExecutor pool(1);
  try {
    pool.submit(die_here).get();
  } catch (const yoke::BrokenProcessPool& error) {
    say(std::string(error.what()).find("die_here") != std::string::npos ? "blamed die_here" : error.what());
  }
  return 0;
}

/// I14: a plug-in that works with pools while it is opened and closed: argv names it. With a pool used before, or
/// without.
int loading() {
  if (files.size() > 1) yoke::ProcessPoolExecutor(1).submit(add_one, 1).get();
  ::setenv("YOKE_TEST_OPENS_PLUG_IN", "1", 1);
  void* const plug_in = ::dlopen(files.front().c_str(), RTLD_NOW);
  if (!plug_in) say(::dlerror());
  say(std::to_string(reinterpret_cast<int (*)()>(::dlsym(plug_in, "answer"))()));
  ::dlclose(plug_in);
  say(::dlopen(files.front().c_str(), RTLD_NOW | RTLD_NOLOAD) ? "still open" : "closed");
  return 0;
}

/// I14: a plug-in that is closed and opened again in another version: argv names the files.
int plug_ins() {
  yoke::ProcessPoolExecutor pool(1);
  pool.submit(add_one, 1).get();
  const auto same = std::filesystem::temp_directory_path() / ("yoke-plug-in." + std::to_string(::getpid()));
  for (const std::string& file : files) {
    std::filesystem::copy_file(file, same, std::filesystem::copy_options::overwrite_existing);
    for (const std::string& name : {file, same.string()}) {
      void* const plug_in = ::dlopen(name.c_str(), RTLD_NOW);
      if (!plug_in) say(::dlerror());
      auto* const answer = reinterpret_cast<int (*)()>(::dlsym(plug_in, "answer"));
      const int here = answer();
      for (int i = 0; i < 2; ++i) {
        try {
          say("here " + std::to_string(here) + ", in a worker " + std::to_string(pool.submit(answer).get()));
        } catch (const std::exception& error) {
          say(error.what());
        }
      }
      ::dlclose(plug_in);
    }
    // What takes its place under its name is another file, or the same one with other content.
    if (&file == &files.front()) std::filesystem::remove(same);
  }
  std::filesystem::remove(same);
  return 0;
}

}  // namespace

/// In place of libc's, as of a library that fakes time.
extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  if (!clock_stands_still) return static_cast<int>(::syscall(SYS_clock_gettime, clock, now));
  *now = {1000, 0};
  return 0;
}

int main(int argc, char** argv) {
  const std::map<std::string, int (*)()> modes{{"forks", forks},
                                               {"fork_in_callback", fork_in_callback},
                                               {"fork_at_exit", fork_at_exit},
                                               {"bare_fork", bare_fork},
                                               {"environment", environment},
                                               {"environment_of_workers", environment_of_workers},
                                               {"terminal", terminal},
                                               {"thread_properties", thread_properties},
                                               {"main_ends", main_ends},
                                               {"descriptors_closed", descriptors_closed},
                                               {"clock_stands", clock_stands},
                                               {"crash_elsewhere", crash_elsewhere},
                                               {"plug_ins", plug_ins},
                                               {"loading", loading}};
  if (argc > 2) files.assign(argv + 2, argv + argc);
  return argc > 1 && modes.contains(argv[1]) ? modes.at(argv[1])() : 64;
}
