// What became of a call that failed, as JSON for the results and as a sentence for the summary.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace yoke::tools {

/// {"type":…,"message":…} with "cause":{…} for a worker's death and "nested":{…} for an exception that holds another.
/// `hint` goes to the end of the message of a SerializationError.
void append_error_json(std::string& out, const std::exception_ptr& error, std::string_view hint);

/// "type: first line of the text".
std::string describe(const std::exception_ptr& error);

/// "SIGSEGV".
std::string signal_name(int signal);

}  // namespace yoke::tools
