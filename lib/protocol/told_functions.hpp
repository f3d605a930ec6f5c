// ToldFunctions: a client's functions, as far pools are told of them: under a number each, with the modules that they
// lie in. The other half of found_functions.hpp.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "lib/protocol/notes.hpp"
#include "yoke/pool.hpp"

namespace yoke::protocol {

struct ToldFunction {
  FunctionNote note;
  std::vector<std::uint32_t> modules;  // that it lies in, beside the program
};

class ToldFunctions {
 public:
  /// Throws yoke::Error if no other process can find it.
  FunctionNumber number_of(const Callable& callable, const void* target);
  const ToldFunction& at(FunctionNumber number) const { return functions_.at(number); }

 private:
  std::vector<ToldFunction> functions_;
  std::unordered_map<const void*, std::unordered_map<const void*, FunctionNumber>> numbers_;  // by callable and target
  std::uint64_t loads_ = 0;  // when numbers_ was true
};

/// Whether it is a named task, which every build of the program has.
bool has_name(const Task& task);

/// What other processes find a module by.
ModuleNote module_note(std::uint32_t module);

}  // namespace yoke::protocol
