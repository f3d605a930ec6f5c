// A hint to the processor inside a spin loop.
#pragma once

namespace yoke::system {

inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace yoke::system
