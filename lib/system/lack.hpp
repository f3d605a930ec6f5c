// What a process may lack now and have later: descriptors, memory, processes.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace yoke::system {

inline bool may_pass(const std::error_code& error) noexcept {
  constexpr std::array lacks{EMFILE, ENFILE, EAGAIN, ENOMEM, ENOBUFS, ENOSPC, ETXTBSY};
  return error.category() == std::system_category() && std::ranges::find(lacks, error.value()) != lacks.end();
}

}  // namespace yoke::system
