// One input of `yoke map`: the text that was given, as the packed arguments of a call.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <yoke/named_task.hpp>
#include <yoke/pack_buffer.hpp>

namespace yoke::tools {

/// The text is no JSON. what() says what is wrong with it.
class InvalidJson : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct PackedCall {
  std::string shown;         // the input as JSON, for the result
  std::exception_ptr error;  // it cannot be a call of this task: SerializationError; nothing was packed
};

/// Packs the arguments of one call, an array, at the end of `out`. Throws InvalidJson.
/// json: the text is a JSON value; an array gives all arguments of a task with several, any other value is the one
/// argument. Otherwise the text itself is the one argument.
PackedCall pack_call(PackBuffer& out, const std::string& text, const NamedTask& task, bool json);

}  // namespace yoke::tools
