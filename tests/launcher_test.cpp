// What a launched worker gets and does not get, and what a failed launch leaves behind.
//
// The test program is its own child: `launcher_test --report N WORDS…` writes what it finds to descriptor N.
#include "lib/system/launcher.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>

#include "lib/system/environment.hpp"
#include "lib/system/modules.hpp"

namespace {

using namespace yoke::system;

std::string status_line(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return line.substr(line.find_last_of(" \t") + 1);
  }
  return "not there";
}

std::vector<int> open_descriptors() {
  std::vector<int> open;
  for (int fd = 0; fd < 1024; ++fd) {
    if (::fcntl(fd, F_GETFD) != -1) open.push_back(fd);
  }
  return open;
}

std::string join(const std::vector<int>& numbers) {
  std::string text;
  for (const int number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text;
}

// One "name=value" a line, of what the child found.
int report(int argc, char** argv) {
  const int out = std::atoi(argv[2]);
  std::ostringstream text;
  text << "open=" << join(open_descriptors()) << '\n';
  std::array<char, 256> target{};
  [[maybe_unused]] const auto size = ::readlink("/proc/self/fd/0", target.data(), target.size() - 1);
  text << "stdin=" << target.data() << '\n';
  text << "blocked=" << status_line("SigBlk") << "\nignored=" << status_line("SigIgn") << '\n';
  text << "own group=" << (::getpgrp() == ::getpid()) << '\n';
  int death_signal = 0;
  ::prctl(PR_GET_PDEATHSIG, &death_signal);
  text << "death signal=" << death_signal << '\n';
  for (const int resource : {RLIMIT_CORE, RLIMIT_NOFILE}) {
    rlimit limit{};
    ::getrlimit(static_cast<__rlimit_resource>(resource), &limit);
    text << "limit " << resource << '=' << limit.rlim_cur << '/' << limit.rlim_max << '\n';
  }
  text << "identity=" << to_hex(main_module().identity) << '\n';
  for (int i = 3; i < argc; ++i) text << "argument=" << argv[i] << '\n';
  for (char** variable = ::environ; *variable != nullptr; ++variable) text << "variable=" << *variable << '\n';
  const std::string all = text.str();
  return ::write(out, all.data(), all.size()) == static_cast<ssize_t>(all.size()) ? 0 : 1;
}

struct Report {
  std::vector<std::pair<std::string, std::string>> lines;
  [[nodiscard]] std::vector<std::string> all(const std::string& name) const {
    std::vector<std::string> values;
    for (const auto& [key, value] : lines) {
      if (key == name) values.push_back(value);
    }
    return values;
  }
  [[nodiscard]] std::string operator[](const std::string& name) const {
    const auto values = all(name);
    return values.size() == 1 ? values[0] : std::to_string(values.size()) + " times " + name;
  }
};

struct Pipe {
  UniqueFd read_end, write_end;
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::system_category());
    read_end = above_stdio(UniqueFd(ends[0]));
    write_end = above_stdio(UniqueFd(ends[1]));
  }
  std::string read_to_end() {
    write_end.reset();
    std::string text;
    std::array<char, 4096> buffer;
    while (true) {
      const ssize_t size = ::read(read_end.get(), buffer.data(), buffer.size());
      if (size <= 0) return text;
      text.append(buffer.data(), static_cast<std::size_t>(size));
    }
  }
};

int exit_code(const ExitStatus& status) {
  return std::holds_alternative<Exited>(status) ? std::get<Exited>(status).code : -1;
}

// `spec` completed and launched as a reporting child.
Report report_of(LaunchSpec spec, const std::vector<std::string>& words = {}) {
  Pipe pipe;
  spec.executable_fd = own_executable_fd();
  spec.arguments = {"launcher_test", "--report", std::to_string(pipe.write_end.get())};
  spec.arguments.insert(spec.arguments.end(), words.begin(), words.end());
  spec.keep_fds.push_back(pipe.write_end.get());
  ProcessHandle child = launch(spec);
  std::istringstream text(pipe.read_to_end());
  EXPECT_EQ(exit_code(*child.wait_exit({})), 0);
  Report result;
  for (std::string line; std::getline(text, line);) {
    const auto equals = line.find('=');
    result.lines.emplace_back(line.substr(0, equals), line.substr(equals + 1));
  }
  return result;
}

bool has_children() { return ::waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD; }

TEST(Launch, HandsOverExactlyTheDescriptorsToKeep) {
  const UniqueFd inherited(::open("/dev/null", O_RDONLY));  // neither close-on-exec nor to be kept
  const UniqueFd kept(::open("/dev/null", O_RDONLY));
  const UniqueFd kept_cloexec(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  LaunchSpec spec;
  spec.keep_fds = {kept.get(), kept_cloexec.get()};
  const Report child = report_of(spec);
  std::istringstream open(child["open"]);
  std::vector<int> above_stdio;
  for (std::string number; std::getline(open, number, ',');) {
    if (std::stoi(number) > 2) above_stdio.push_back(std::stoi(number));
  }
  // The third is the pipe that the report came by.
  EXPECT_EQ(above_stdio.size(), 3U) << child["open"];
  EXPECT_EQ(std::count(above_stdio.begin(), above_stdio.end(), kept.get()), 1);
  EXPECT_EQ(std::count(above_stdio.begin(), above_stdio.end(), kept_cloexec.get()), 1);
  EXPECT_EQ(::fcntl(kept_cloexec.get(), F_GETFD), FD_CLOEXEC) << "the parent's own flag has changed";
}

TEST(Launch, ClearsMaskAndDispositionsButIgnoresInterrupts) {
  ::signal(SIGUSR1, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t some, before;
  ::sigemptyset(&some);
  ::sigaddset(&some, SIGTERM);
  ::sigaddset(&some, SIGRTMIN + 3);
  ::pthread_sigmask(SIG_BLOCK, &some, &before);
  const Report child = report_of({});
  sigset_t after;
  ::pthread_sigmask(SIG_SETMASK, &before, &after);
  EXPECT_EQ(std::stoull(child["blocked"], nullptr, 16), 0U);
  EXPECT_EQ(std::stoull(child["ignored"], nullptr, 16), 1ULL << (SIGINT - 1));
  EXPECT_TRUE(::sigismember(&after, SIGTERM)) << "the parent's mask has changed";
  EXPECT_FALSE(::sigismember(&after, SIGUSR2)) << "the parent's mask has changed";
  EXPECT_EQ(::signal(SIGUSR1, SIG_DFL), SIG_IGN) << "the parent's disposition has changed";
  EXPECT_EQ(::signal(SIGPIPE, SIG_DFL), SIG_IGN) << "the parent's disposition has changed";
}

TEST(Launch, GivesAGroupAndADeathSignal) {
  const Report child = report_of({});
  EXPECT_EQ(child["own group"], "1");
  EXPECT_EQ(child["death signal"], std::to_string(SIGKILL));
}

TEST(Launch, GivesAnEmptyStdinWhateverTheParentHas) {
  const UniqueFd saved(::fcntl(0, F_DUPFD_CLOEXEC, 3));
  ::dup2(own_executable_fd(), 0);
  const Report other_file = report_of({});
  ::close(0);
  const Report none = report_of({});
  EXPECT_EQ(::fcntl(0, F_GETFD), -1) << "the parent has got a stdin";
  ::dup2(saved.get(), 0);
  EXPECT_EQ(other_file["stdin"], "/dev/null");
  EXPECT_EQ(none["stdin"], "/dev/null");
}

TEST(Launch, KeepsArgumentsExactly) {
  const std::vector<std::string> words = {"two words",   "",  "\"quoted\"", "it's",  "$HOME `id` $(id) *",
                                          "back\\slash", " ", "--flag=a b", "Grüße", std::string(100'000, 'x')};
  EXPECT_EQ(report_of({}, words).all("argument"), words);
}

TEST(Launch, GivesTheEnvironmentAndNothingElse) {
  LaunchSpec spec;
  spec.environment = {"ONE=1", "EMPTY=", "SPACES= a b ", "EQUALS=a=b"};
  EXPECT_EQ(report_of(spec).all("variable"), spec.environment);
  EXPECT_TRUE(report_of({}).all("variable").empty());
}

TEST(Launch, SetsLimitsUpToTheHardLimit) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  LaunchSpec spec;
  spec.limits = {{RLIMIT_CORE, 0}, {RLIMIT_NOFILE, RLIM_INFINITY}};
  const Report child = report_of(spec);
  EXPECT_EQ(child["limit " + std::to_string(RLIMIT_CORE)], "0/0");
  const auto most = std::to_string(files.rlim_max);
  EXPECT_EQ(child["limit " + std::to_string(RLIMIT_NOFILE)], most + "/" + most);
}

TEST(Launch, RunsTheSameProgram) { EXPECT_EQ(report_of({})["identity"], to_hex(main_module().identity)); }

// Calls launch, which must throw; no child and no descriptor may be left.
std::system_error failure_of(const LaunchSpec& spec) {
  const auto before = open_descriptors();
  try {
    const ProcessHandle child = launch(spec);
    child.signal(SIGKILL);
    ADD_FAILURE() << "launched";
  } catch (const std::system_error& error) {
    EXPECT_FALSE(has_children()) << "a zombie is left";
    EXPECT_EQ(open_descriptors(), before);
    return error;
  }
  return std::system_error(std::error_code());
}

TEST(FailedLaunch, SaysThatTheFileIsNoProgram) {
  const UniqueFd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  LaunchSpec spec;
  spec.executable_fd = file.get();
  spec.arguments = {"status"};
  const auto error = failure_of(spec);
  EXPECT_EQ(error.code(), std::errc::permission_denied);
  EXPECT_NE(std::strstr(error.what(), "exec"), nullptr) << error.what();
}

TEST(FailedLaunch, IsReportedAlsoWhereTheParentHasNoStdin) {
  const UniqueFd saved(::fcntl(0, F_DUPFD_CLOEXEC, 3));
  const UniqueFd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  LaunchSpec spec;
  spec.executable_fd = file.get();
  spec.arguments = {"status"};
  ::close(0);
  const auto error = failure_of(spec);
  ::dup2(saved.get(), 0);
  EXPECT_EQ(error.code(), std::errc::permission_denied);
}

TEST(FailedLaunch, LeavesNothingEachTime) {
  const UniqueFd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  LaunchSpec spec;
  spec.executable_fd = file.get();
  spec.arguments = {"status"};
  for (int i = 0; i < 200; ++i) {
    EXPECT_THROW(launch(spec), std::system_error);
    ASSERT_FALSE(has_children());
  }
}

TEST(FailedLaunch, NamesTheStep) {
  LaunchSpec spec;
  spec.executable_fd = own_executable_fd();
  spec.arguments = {"launcher_test", "--report", "2"};
  spec.keep_fds = {999};
  const auto descriptor = failure_of(spec);
  EXPECT_EQ(descriptor.code(), std::errc::bad_file_descriptor);
  EXPECT_NE(std::strstr(descriptor.what(), "keeping a descriptor"), nullptr) << descriptor.what();
  spec.keep_fds = {};
  spec.limits = {{12345, 1}};
  const auto limit = failure_of(spec);
  EXPECT_EQ(limit.code(), std::errc::invalid_argument);
  EXPECT_NE(std::strstr(limit.what(), "limits"), nullptr) << limit.what();
}

TEST(FailedLaunch, RefusesWhatCannotArrive) {
  LaunchSpec spec;
  spec.executable_fd = own_executable_fd();
  EXPECT_EQ(failure_of(spec).code(), std::errc::invalid_argument);  // no argv[0]
  spec.arguments = {"launcher_test", std::string("cut\0off", 7)};
  EXPECT_EQ(failure_of(spec).code(), std::errc::invalid_argument);
  spec.arguments = {"launcher_test"};
  spec.keep_fds = {0};
  EXPECT_EQ(failure_of(spec).code(), std::errc::bad_file_descriptor);
}

TEST(Launch, WorksFromManyThreadsAtOnce) {
  constexpr int threads = 8;
  constexpr int launches = 20;
  const UniqueFd shell(::open("/bin/sh", O_RDONLY | O_CLOEXEC));
  std::atomic<int> right{0};
  std::vector<std::thread> running;
  for (int thread = 0; thread < threads; ++thread) {
    running.emplace_back([&, thread] {
      for (int i = 0; i < launches; ++i) {
        const int code = thread * launches + i;
        LaunchSpec spec;
        spec.executable_fd = shell.get();
        spec.arguments = {"sh", "-c", "exit " + std::to_string(code)};
        if (exit_code(*launch(spec).wait_exit({})) == code) ++right;
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  EXPECT_EQ(right, threads * launches);
  EXPECT_FALSE(has_children());
}

TEST(Launch, LetsTheChildDieWithTheThreadThatLaunched) {
  const UniqueFd cat(::open("/bin/sleep", O_RDONLY | O_CLOEXEC));
  ProcessHandle child;
  std::thread([&] {
    LaunchSpec spec;
    spec.executable_fd = cat.get();
    spec.arguments = {"sleep", "1000000"};
    child = launch(spec);
  }).join();
  const ExitStatus status = *child.wait_exit({});
  ASSERT_TRUE(std::holds_alternative<Signaled>(status));
  EXPECT_EQ(std::get<Signaled>(status).signal, SIGKILL);
}

TEST(OwnProgram, IsTheFileThatRuns) {
  struct stat running{}, opened{};
  ASSERT_EQ(::stat("/proc/self/exe", &running), 0);
  ASSERT_EQ(::fstat(own_executable_fd(), &opened), 0);
  EXPECT_EQ(running.st_ino, opened.st_ino);
  EXPECT_EQ(::fcntl(own_executable_fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(own_executable_fd(), own_executable_fd());
}

TEST(OwnProgram, IsFoundAgainWhenItsNumberBecameAnotherFiles) {
  const int number = own_executable_fd();
  const UniqueFd other(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::dup2(other.get(), number), number);
  EXPECT_NE(own_executable_fd(), number);
  EXPECT_EQ(report_of({})["own group"], "1");
  ::close(number);
}

std::vector<std::string> arguments_of_main;

TEST(OwnProgram, KnowsItsArguments) { EXPECT_EQ(own_arguments(), arguments_of_main); }

TEST(ChildEnvironment, SetsAndUnsets) {
  ::setenv("YOKE_TEST_OLD", "old", 1);
  ::setenv("YOKE_TEST_OLDER", "older", 1);
  ::setenv("YOKE_TEST_GONE", "gone", 1);
  look_at_environment();
  const auto environment = child_environment({{"YOKE_TEST_OLD", "new"}, {"YOKE_TEST_NEW", ""}}, {"YOKE_TEST_GONE"});
  const auto count = [&](const char* variable) {
    return std::count(environment.begin(), environment.end(), std::string(variable));
  };
  EXPECT_EQ(count("YOKE_TEST_OLD=new"), 1);
  EXPECT_EQ(count("YOKE_TEST_OLD=old"), 0);
  EXPECT_EQ(count("YOKE_TEST_OLDER=older"), 1);
  EXPECT_EQ(count("YOKE_TEST_NEW="), 1);
  EXPECT_EQ(count("YOKE_TEST_GONE=gone"), 0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2 && std::strcmp(argv[1], "--report") == 0) ::_exit(report(argc, argv));
  arguments_of_main.assign(argv, argv + argc);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
