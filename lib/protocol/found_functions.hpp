// FoundFunctions: the client's functions, as an agent has found them in its own process, by the client's numbers.
//
// One thread. One that is not found is kept with the reason, which its tasks are refused with.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "lib/protocol/notes.hpp"
#include "lib/wire/function_table.hpp"
#include "yoke/call.hpp"

namespace yoke::protocol {

struct FoundFunction {
  std::unique_ptr<Callable> callable;
  const void* target = nullptr;
  std::string trouble;  // why it was not found; empty: it was
};

class FoundFunctions {
 public:
  /// Throws ProtocolError.
  void add_module(const ModuleNote& note);
  /// `same_build`: as the client; otherwise there are named tasks alone.
  void add(const FunctionNote& note, bool same_build);
  /// Null if nothing was told of it. Valid until it is added again.
  const FoundFunction* find(FunctionNumber number) const;

 private:
  std::string look_for(const FunctionNote& note, bool same_build, FoundFunction& function);

  wire::FunctionResolver resolver_;
  std::unordered_map<FunctionNumber, FoundFunction> functions_;
};

}  // namespace yoke::protocol
