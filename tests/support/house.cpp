#include "tests/support/house.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <typeinfo>

extern "C" [[gnu::weak]] void __sanitizer_set_report_fd(void* fd);  // where a sanitizer is linked

namespace yoke_test {
namespace {

namespace fs = std::filesystem;

constexpr char mark[] = "YOKE_TEST_RUN";
constexpr std::chrono::seconds clean_up_guard{10};

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string first_line(const fs::path& path) {
  std::string text = read_file(path);
  return text.substr(0, text.find('\n'));
}

std::string excess(const char* what, const Counted& now, const Counted& before) {
  std::string text;
  for (const auto& [name, count] : now) {
    const auto was = before.find(name);
    const int more = count - (was == before.end() ? 0 : was->second);
    if (more > 0) text += std::string(what) + " left: " + name + " (" + std::to_string(more) + ")\n";
  }
  return text;
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

Counted descriptors() {
  Counted all;
  DIR* directory = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] == '.' || std::atoi(entry->d_name) == ::dirfd(directory)) continue;
    char target[512];
    const ssize_t length = ::readlinkat(::dirfd(directory), entry->d_name, target, sizeof target);
    std::string name(target, length < 0 ? 0 : static_cast<std::size_t>(length));
    for (const char* kind : {"pipe:", "socket:"})  // not which
      if (name.starts_with(kind)) name = kind;
    ++all[name];
  }
  ::closedir(directory);
  return all;
}

Counted threads() {
  Counted all;
  for (const auto& entry : fs::directory_iterator("/proc/self/task")) {
    const std::string name = first_line(entry.path() / "comm");
    if (!name.empty()) ++all[name];
  }
  return all;
}

Counted shared_memory() {
  Counted all;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    for (const char* place : {"/memfd:", "/dev/shm/"})
      if (const auto at = line.find(place); at != std::string::npos) ++all[line.substr(at)];
  return all;
}

Counted shm_names() {
  Counted all;
  for (const char* folder : {"/dev/shm", "/tmp"}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      const std::string name = entry.path().filename();
      if (name.find("yoke-seg") != std::string::npos || (folder == std::string("/dev/shm") && name.starts_with("yoke")))
        ++all[entry.path()];
    }
  }
  return all;
}

std::size_t private_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::stoul(line.substr(8)) * 1024;
  return 0;
}

void mark_descendants() { ::setenv(mark, std::to_string(::getpid()).c_str(), 1); }

std::vector<std::string> descendants(int but) {
  const std::string wanted = std::string(mark) + "=" + std::to_string(::getpid()) + '\0';
  std::vector<std::string> all;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (!is_number(pid) || pid == std::to_string(::getpid()) || pid == std::to_string(but)) continue;
    if (read_file(entry.path() / "environ").find(wanted) != std::string::npos)
      all.push_back(pid + " (" + first_line(entry.path() / "comm") + ")");
  }
  return all;
}

bool has_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

std::string Belongings::beyond(const Belongings& before) const {
  return excess("descriptor", descriptors, before.descriptors) + excess("thread", threads, before.threads) +
         excess("memory", shared_memory, before.shared_memory) + excess("name", shm_names, before.shm_names);
}

Belongings look_around() { return {descriptors(), threads(), shared_memory(), shm_names()}; }

std::string wait_until_clean(const Belongings& before) {
  const auto give_up = std::chrono::steady_clock::now() + clean_up_guard;
  for (;;) {
    std::string trouble = look_around().beyond(before);
    if (has_children()) trouble += "a child process or a zombie is left\n";
    for (const auto& process : descendants()) trouble += "process left: " + process + "\n";
    if (trouble.empty() || std::chrono::steady_clock::now() > give_up) return trouble;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

namespace {

const StderrCapture* active = nullptr;

/// A test program that ends in the middle of a test says why.
[[noreturn]] void tell_why() {
  if (active) {
    const std::string text = active->text();
    ::dup2(active->real_stderr(), 2);
    if (::write(2, text.data(), text.size()) < 0) ::_exit(1);
  }
  try {
    if (std::current_exception()) throw;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "std::terminate: %s: %s\n", typeid(error).name(), error.what());
  } catch (...) {
  }
  std::abort();
}

}  // namespace

StderrCapture::StderrCapture()
    : real_(::fcntl(2, F_DUPFD_CLOEXEC, 3)), taken_(::memfd_create("test-stderr", MFD_CLOEXEC)) {
  ::fcntl(taken_, F_SETFL, O_APPEND);
  ::dup2(taken_, 2);
  active = this;
  std::set_terminate(tell_why);
  if (__sanitizer_set_report_fd) __sanitizer_set_report_fd(reinterpret_cast<void*>(static_cast<std::intptr_t>(real_)));
}

StderrCapture::~StderrCapture() {
  active = nullptr;
  ::dup2(real_, 2);
  if (__sanitizer_set_report_fd) __sanitizer_set_report_fd(reinterpret_cast<void*>(std::intptr_t{2}));
  ::close(taken_);
  ::close(real_);
}

std::string StderrCapture::text() const {
  std::string all;
  char part[4096];
  for (ssize_t n = 0; (n = ::pread(taken_, part, sizeof part, static_cast<off_t>(all.size()))) > 0;)
    all.append(part, static_cast<std::size_t>(n));
  return all;
}

}  // namespace yoke_test
