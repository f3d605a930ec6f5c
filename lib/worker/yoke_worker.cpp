// yoke-worker: the program of a worker whose parent is a host that is not linked to yoke, such as an interpreter with
// an extension module. Opens the shared object that brought yoke into the host, named by its argument, which does the
// rest.
//
// Linked to nothing of yoke: what is in the shared object is the only copy. So all it shares with it is the layout of
// the segment, in which it leaves word if it cannot begin.
#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "lib/channel/layout.hpp"
#include "lib/worker/worker_process.hpp"

namespace {

using yoke::channel::Segment;

/// To the parent, for its error; on stderr if that is not to be had.
[[noreturn]] void fail(const std::string& reason) {
  const char* bootstrap = std::getenv(yoke::worker::bootstrap_variable);
  const int descriptor = bootstrap ? std::atoi(bootstrap) : -1;
  void* const memory = ::mmap(nullptr, sizeof(Segment), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  auto* const segment = memory == MAP_FAILED ? nullptr : static_cast<Segment*>(memory);
  if (segment && segment->bootstrap.version == yoke::channel::layout_version) {
    auto& box = segment->black_box;
    const std::size_t length = std::min(reason.size(), sizeof box.reason);
    std::memcpy(box.reason, reason.data(), length);
    box.reason_length.store(static_cast<std::uint32_t>(length), std::memory_order_release);
  } else {
    std::fprintf(stderr, "yoke-worker: %s\n", reason.c_str());
  }
  std::_Exit(yoke::worker::exit_start_failed);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || !::secure_getenv(yoke::worker::bootstrap_variable)) {
    std::fprintf(stderr, "yoke-worker is started by yoke, in programs that are not linked to it, and by nobody else\n");
    return 2;
  }
  void* const home = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!home) fail(std::string("yoke-worker cannot open what brought yoke into the program: ") + dlerror());
  const auto work = reinterpret_cast<void (*)()>(dlsym(home, "yoke_worker_main"));
  if (!work)
    fail(std::string(argv[1]) +
         " has no function yoke_worker_main: link the whole of libyoke.a into it "
         "(-Wl,--undefined=yoke_worker_main), or the shared library, and do not hide it");
  work();
}
