#include "lib/wire/throw_place.hpp"

#include <cxxabi.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/stacktrace/safe_dump_to.hpp>
#include <cstring>
#include <typeinfo>

#include "yoke/export.hpp"

namespace yoke::wire {
namespace {

struct Throw {
  const void* object = nullptr;
  const std::type_info* type = nullptr;
  std::array<const void*, most_frames_of_a_throw> frames{};  // up to the first null
};

std::atomic<bool> noting{false};
thread_local std::array<Throw, 4> last_throws;  // one may be thrown while another is handled
thread_local std::size_t next_throw = 0;

}  // namespace

void note_throws() noexcept { noting.store(true, std::memory_order_relaxed); }

void forget_throws() noexcept {
  if (next_throw == 0) return;
  last_throws = {};
  next_throw = 0;
}

void end_if_thread_exits(void (*end)()) {
  // Such an unwinding has no type of C++'s. The first member of the runtime's record, as its ABI has it, says whether
  // anything is caught.
  void* caught = nullptr;
  std::memcpy(&caught, abi::__cxa_get_globals(), sizeof caught);
  if (!caught || abi::__cxa_current_exception_type()) return;
  try {
    throw;
  } catch (const abi::__forced_unwind&) {
    end();
    throw;
  } catch (...) {
  }
}

std::vector<system::Frame> throw_place(const std::exception_ptr& error) {
  const void* object = nullptr;
  static_assert(sizeof error == sizeof object, "libstdc++'s exception_ptr is the address of what was thrown");
  std::memcpy(&object, &error, sizeof object);
  std::vector<system::Frame> place;
  const auto found = std::find_if(last_throws.begin(), last_throws.end(), [&](const Throw& t) {
    return t.object == object && t.type && *t.type == *error.__cxa_exception_type();
  });
  if (!object || found == last_throws.end()) return place;
  for (const void* address : found->frames) {
    if (!address) break;
    place.push_back(system::frame_of(address));
  }
  return place;
}

}  // namespace yoke::wire

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define YOKE_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define YOKE_SANITIZED
#endif
#endif

#ifndef YOKE_SANITIZED

extern "C" YOKE_API __attribute__((weak, noreturn)) void __cxa_throw(void* object, std::type_info* type,
                                                                     void (*destroy)(void*)) {
  using CxaThrow = void (*)(void*, std::type_info*, void (*)(void*));
  static std::atomic<CxaThrow> known{nullptr};  // no guarded constant: one that a fork finds half made is never made
  CxaThrow next = known.load(std::memory_order_relaxed);
  if (!next) known.store(next = reinterpret_cast<CxaThrow>(dlsym(RTLD_NEXT, "__cxa_throw")), std::memory_order_relaxed);
  if (!next) std::terminate();  // the runtime lies before this library in the search: then nobody comes here
  if (yoke::wire::noting.load(std::memory_order_relaxed)) {
    for (auto& old : yoke::wire::last_throws)
      if (old.object == object) old = {};  // its memory is used again
    auto& noted = yoke::wire::last_throws[yoke::wire::next_throw++ % yoke::wire::last_throws.size()];
    noted = {object, type, {}};
    boost::stacktrace::safe_dump_to(1, noted.frames.data(), sizeof noted.frames);  // 1: this function
  }
  next(object, type, destroy);
  __builtin_unreachable();
}

#endif
