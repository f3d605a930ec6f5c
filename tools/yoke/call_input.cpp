// JSON text to msgpack, by way of nlohmann's tree.
#include "call_input.hpp"

#include <fmt/format.h>

#include <bit>
#include <nlohmann/json.hpp>
#include <yoke/codec.hpp>

#include "json_writer.hpp"

namespace yoke::tools {
namespace {

using Json = nlohmann::ordered_json;
constexpr int deepest = 500;

Json parse(const std::string& text) {
  try {
    return Json::parse(text);
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

std::uint32_t size_of(const Json& json) {
  if (json.size() > UINT32_MAX) throw SerializationError("the JSON value has too many elements");
  return static_cast<std::uint32_t>(json.size());
}

/// As a float in any case: msgpack's packer would make an integer of 2.0.
void pack_float(Packer& packer, double value) {
  std::byte* out = packer.buffer().extend(1 + sizeof value);
  const auto bits = std::bit_cast<std::uint64_t>(value);
  out[0] = std::byte{0xcb};
  for (unsigned i = 0; i < sizeof value; ++i) out[1 + i] = static_cast<std::byte>(bits >> (56 - 8 * i));
}

void pack(Packer& packer, const Json& json, int depth) {
  if (depth > deepest) throw SerializationError(fmt::format("the JSON value nests deeper than {}", deepest));
  switch (json.type()) {
    case Json::value_t::null:
    case Json::value_t::discarded: packer.pack_nil(); break;
    case Json::value_t::boolean: pack_value(packer, json.get<bool>()); break;
    case Json::value_t::number_integer: pack_value(packer, json.get<std::int64_t>()); break;
    case Json::value_t::number_unsigned: pack_value(packer, json.get<std::uint64_t>()); break;
    case Json::value_t::number_float: pack_float(packer, json.get<double>()); break;
    case Json::value_t::string: pack_value(packer, json.get_ref<const std::string&>()); break;
    case Json::value_t::binary: break;  // not in JSON text
    case Json::value_t::array:
      packer.pack_array(size_of(json));
      for (const auto& item : json) pack(packer, item, depth + 1);
      break;
    case Json::value_t::object:
      packer.pack_map(size_of(json));
      for (const auto& item : json.items()) {
        pack_value(packer, item.key());
        pack(packer, item.value(), depth + 1);
      }
      break;
  }
}

void pack_json_call(Packer& packer, const Json& json, const NamedTask& task) {
  if (task.parameters == 1) {
    packer.pack_array(1);
    pack(packer, json, 0);
    return;
  }
  if (!json.is_array() || json.size() != task.parameters)
    throw SerializationError(fmt::format("{} takes {} arguments: give a JSON array of {} values; this is {}", task.name,
                                         task.parameters, task.parameters,
                                         json.is_array() ? fmt::format("an array of {}", json.size())
                                                         : fmt::format("no array, but: {}", json.type_name())));
  pack(packer, json, 0);
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
