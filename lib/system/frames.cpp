#include "lib/system/frames.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>

#include <algorithm>
#include <string_view>

#include "lib/system/modules.hpp"
#include "lib/system/symbols.hpp"

namespace yoke::system {
namespace {

/// Where it is in this process; null if its module is not loaded here. All frames that are calls tell the address
/// behind the call, which may be another line's, or after a call that does not return another function's.
const void* address_of(const Frame& frame, bool is_call) {
  const bool of_program = frame.module == "/";
  if (frame.module.empty() || (of_program && !program_is_ours())) return nullptr;
  const auto base = base_of(of_program ? std::string() : frame.module);
  return base ? reinterpret_cast<const void*>(*base + frame.offset - (is_call ? 1 : 0)) : nullptr;
}

std::string describe_unknown(const Frame& frame) {
  if (frame.module.empty()) return fmt::format("{:#x}", frame.offset);
  return fmt::format("{}+{:#x}", frame.module == "/" ? "yoke-worker" : frame.module, frame.offset);
}

bool is_terminate_handler(std::string_view frame) {
  return frame.starts_with("yoke::worker::") && frame.find("handle_terminate") != std::string_view::npos;
}

/// The library's own frames below the task's function.
bool is_below_task(std::string_view frame) {
  const std::string_view function = frame.substr(0, frame.find('(', 1));
  for (const std::string_view own : {"yoke::detail::", "yoke::worker::", "std::__invoke", "4yoke6detail"})
    if (function.find(own) != std::string_view::npos) return true;
  return false;
}

}  // namespace

Frame frame_of(const void* address) {
  Frame frame{reinterpret_cast<std::uintptr_t>(address), {}};
  dl_find_object object;
  if (_dl_find_object(const_cast<void*>(address), &object) == 0 && object.dlfo_link_map) {
    frame.offset -= object.dlfo_link_map->l_addr;
    frame.module = object.dlfo_link_map->l_name[0] != 0 ? object.dlfo_link_map->l_name : "/";
  }
  return frame;
}

std::size_t first_of_program(std::span<const Frame> frames) {
  const auto is_system = [](const Frame& frame) {
    const std::string_view name = std::string_view(frame.module).substr(frame.module.find_last_of('/') + 1);
    if (frame.module.empty()) return true;
    for (const std::string_view own :
         {"libc.so", "libm.so", "libpthread.so", "libstdc++.so", "libc++.so", "libgcc_s.so", "ld-linux", "libyoke.so"})
      if (name.starts_with(own)) return true;
    return false;
  };
  return static_cast<std::size_t>(std::find_if_not(frames.begin(), frames.end(), is_system) - frames.begin());
}

std::vector<std::string> describe_frames(const std::vector<Frame>& frames, bool innermost_is_a_call) {
  std::vector<std::string> described;
  for (const Frame& frame : frames) {
    const void* const address = address_of(frame, innermost_is_a_call || &frame != &frames.front());
    std::string text = address ? describe_code(address) : describe_unknown(frame);
    if (is_terminate_handler(text)) {
      described.clear();
      continue;
    }
    if (is_below_task(text)) {
      // The task's function may have been inlined into the library's.
      if (&frame == &frames.front()) text = describe_inlined_code(address);
      if (described.empty() && !text.empty() && !is_below_task(text)) described.push_back(std::move(text));
      break;
    }
    described.push_back(std::move(text));
  }
  return described;
}

}  // namespace yoke::system
