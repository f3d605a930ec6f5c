// Which form tasks are packed in: a choice of the whole process, for tasks that are submitted afterwards.
//
// Tasks that take and return only numbers and enums are the same in both. Any thread.
#pragma once

#include "yoke/language.hpp"

#include <atomic>

#include "yoke/export.hpp"

namespace yoke {

enum class Serializer {
  raw,     // the default: arrays of numbers, and aggregates made of numbers only, as their bytes
  msgpack  // every member and every element as a msgpack value of its own: no padding, no layout of this machine
};

namespace detail {
YOKE_API extern std::atomic<Serializer> chosen_serializer;
}

/// Results come back in the form in which the task was sent. Spans are views of bytes in either.
inline void set_serializer(Serializer serializer) noexcept {
  detail::chosen_serializer.store(serializer, std::memory_order_relaxed);
}
inline Serializer serializer() noexcept { return detail::chosen_serializer.load(std::memory_order_relaxed); }

}  // namespace yoke
