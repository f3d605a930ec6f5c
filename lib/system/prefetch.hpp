// A hint to the processor: fetch this cache line now, to write to it soon.
//
// A line that another core has read or written last takes a hundred nanoseconds or more to come, and a fence waits for
// it. Who knows which line is next asks for it one task ahead.
#pragma once

namespace yoke::system {

inline void prefetch_to_write(const void* line) noexcept { __builtin_prefetch(line, 1, 3); }
inline void prefetch_to_read(const void* line) noexcept { __builtin_prefetch(line, 0, 3); }

}  // namespace yoke::system
