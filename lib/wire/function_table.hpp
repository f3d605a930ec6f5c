// References to functions that mean the same in parent and worker: (number of the module, offset in it) in one word.
//
// The parent numbers modules in the order in which it first refers to them; the program itself is number 1. It tells a
// worker about a module before the first reference into it. The worker finds a module by its identity, and opens it by
// its path if it is not loaded yet.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "lib/system/modules.hpp"

namespace yoke::wire {

using FunctionReference = std::uint64_t;  // 0: none

constexpr std::uint32_t module_number(FunctionReference reference) {
  return static_cast<std::uint32_t>(reference >> 48);
}
constexpr std::uint64_t offset_in_module(FunctionReference reference) {
  return reference & ((std::uint64_t{1} << 48) - 1);
}

/// Of code in this process. Any thread. Throws yoke::Error if no module holds the address.
FunctionReference refer_to(const void* function);

/// Numbers of modules that had the same path: versions of one plug-in. A process can open only one of them by that
/// path.
std::vector<std::uint32_t> other_versions(std::uint32_t number);

/// A module that references speak of, as a control message's body.
std::vector<std::byte> describe_module(std::uint32_t number);

/// The worker's half. One thread.
class FunctionResolver {
 public:
  FunctionResolver();
  /// Learns of a module. What is wrong with it is told when a function of it is asked for.
  void add_module(std::uint32_t number, std::span<const std::byte> description);
  bool knows(std::uint32_t number) const { return number < modules_.size() && modules_[number].known; }
  /// Throws yoke::Error that says which module is missing or differs.
  const void* resolve(FunctionReference reference);

 private:
  struct KnownModule {
    bool known = false;
    std::uintptr_t base = 0;
    std::string trouble;  // why it cannot be used; empty: it can
  };
  std::vector<KnownModule> modules_;
  std::unordered_map<FunctionReference, const void*> resolved_;
  FunctionReference last_ = 0;
  const void* last_address_ = nullptr;
};

}  // namespace yoke::wire
