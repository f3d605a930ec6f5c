// What a test must leave as it found it: processes, descriptors, threads, memory files, names, and a silent stderr.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace yoke_test {

using Counted = std::map<std::string, int>;

Counted descriptors();    // by what they refer to
Counted threads();        // by name
Counted shared_memory();  // mapped memfds and files of /dev/shm, by name
Counted shm_names();      // the library's names under /dev/shm and /tmp
std::size_t private_memory();  // bytes resident of heap and stacks

/// Living processes that this program or its descendants started, whoever is their parent now: "pid (name)". Not `but`:
/// whoever looks at a dying process may have to take its memory down, gigabytes, in its place.
std::vector<std::string> descendants(int but = 0);
/// True if this process has a child, living or not reaped.
bool has_children();
/// The processes of that list are marked by this program's environment, from now on.
void mark_descendants();

struct Belongings {
  Counted descriptors, threads, shared_memory, shm_names;
  /// What is more than there was, as text; empty if nothing is.
  std::string beyond(const Belongings& before) const;
};
Belongings look_around();

/// Waits until nothing is left beyond `before` and no process lives; the trouble as text if that does not come about.
std::string wait_until_clean(const Belongings& before);

/// Takes what this process and its workers write to stderr.
class StderrCapture {
 public:
  StderrCapture();
  ~StderrCapture();
  StderrCapture(const StderrCapture&) = delete;
  StderrCapture& operator=(const StderrCapture&) = delete;
  std::string text() const;
  int real_stderr() const noexcept { return real_; }

 private:
  int real_;
  int taken_;
};

}  // namespace yoke_test
