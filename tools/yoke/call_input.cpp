// JSON text to msgpack, by way of nlohmann's tree.
#include "call_input.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <yoke/codec.hpp>
#include <yoke/codecs/nlohmann_json.hpp>

#include "json_writer.hpp"

namespace yoke::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr int deepest = 500;  // what can be packed

Json parse(const std::string& text) {
  try {
    return Json::parse(text, [](int depth, Json::parse_event_t, Json&) {
      if (depth > deepest) throw InvalidJson(fmt::format("it nests deeper than {}", deepest));
      return true;
    });
  } catch (const Json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ..."
    std::string reason = error.what();
    if (const auto column = reason.find("column "); column != std::string::npos)
      reason.erase(0, column);
    else if (const auto end = reason.find("] "); end != std::string::npos)
      reason.erase(0, end + 2);
    throw InvalidJson(reason);
  }
}

void pack_json_call(Packer& packer, const Json& json, const NamedTask& task) {
  if (task.parameters == 1) {
    packer.pack_array(1);
    pack_value(packer, json);
    return;
  }
  if (!json.is_array() || json.size() != task.parameters)
    throw SerializationError(fmt::format("{} takes {} arguments: give a JSON array of {} values; this is {}", task.name,
                                         task.parameters, task.parameters,
                                         json.is_array() ? fmt::format("an array of {}", json.size())
                                                         : fmt::format("no array, but: {}", json.type_name())));
  pack_value(packer, json);
}

}  // namespace

PackedCall pack_call(PackBuffer& out, const std::string& text, const NamedTask& task, bool json) {
  const std::size_t before = out.size();
  Packer packer(out);
  PackedCall call;
  if (!json) {
    packer.pack_array(1);
    pack_value(packer, text);
    append_json_string(call.shown, text);
    return call;
  }
  const Json value = parse(text);
  call.shown = value.dump();
  try {
    pack_json_call(packer, value, task);
  } catch (const SerializationError&) {
    out.truncate(before);
    call.error = std::current_exception();
  }
  return call;
}

}  // namespace yoke::tools
