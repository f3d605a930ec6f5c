// Messages: msgpack parsed with limits, and the pieces that codecs are made of.
#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <vector>

#include "lib/system/environment.hpp"
#include "lib/system/large_pages.hpp"
#include "lib/wire/message_walk.hpp"
#include "yoke/call.hpp"
#include "yoke/codec.hpp"

namespace yoke {
namespace {

constexpr std::size_t short_message = 256;  // bytes; what it claims, within its own length, costs 2 MB at most

/// Checks that a message is whole before anything is allocated for it: afterwards what it claims to hold it does hold,
/// so that unpacking takes memory in proportion to its length.
struct DepthVisitor : msgpack::null_visitor {
  explicit DepthVisitor(std::size_t most = detail::max_depth) : max_depth(most) {}
  std::size_t max_depth;
  std::size_t depth = 0;
  bool start_array(std::uint32_t) { return ++depth <= max_depth; }
  bool end_array() { return depth-- > 0; }
  bool start_map(std::uint32_t) { return ++depth <= max_depth; }
  bool end_map() { return depth-- > 0; }
};

struct NumberVisitor : msgpack::null_visitor {
  std::optional<std::uint64_t> number;
  bool visit_positive_integer(std::uint64_t value) {
    number = value;
    return true;
  }
  bool start_array(std::uint32_t) { return false; }
  bool start_map(std::uint32_t) { return false; }
};

/// A static object's destructor may still unpack on a thread whose own objects are destroyed.
thread_local bool thread_is_ending = false;
struct SpareZones {
  std::vector<std::unique_ptr<msgpack::zone>> zones;
  ~SpareZones() { thread_is_ending = true; }
};
thread_local SpareZones spare;

/// Not on the library's own threads: what is destroyed with a thread is enlisted under the loader's lock, which a
/// thread may hold that waits for one of these, in a constructor of a plug-in that it opens.
bool keeps_spare_zones() noexcept { return !thread_is_ending && !system::on_own_thread(); }

std::unique_ptr<msgpack::zone> take_zone() {
  if (!keeps_spare_zones() || spare.zones.empty()) return std::make_unique<msgpack::zone>(2048);
  auto zone = std::move(spare.zones.back());
  spare.zones.pop_back();
  return zone;
}

const char* type_name(msgpack::type::object_type type) {
  switch (type) {
    case msgpack::type::NIL: return "nil";
    case msgpack::type::BOOLEAN: return "a boolean";
    case msgpack::type::POSITIVE_INTEGER:
    case msgpack::type::NEGATIVE_INTEGER: return "an integer";
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64: return "a floating-point number";
    case msgpack::type::STR: return "a string";
    case msgpack::type::BIN: return "bytes";
    case msgpack::type::ARRAY: return "an array";
    case msgpack::type::MAP: return "a map";
    case msgpack::type::EXT: return "an extension value";
  }
  return "an unknown value";
}

}  // namespace

bool wire::MessageWalk::pass() {
  if (at_end()) return false;
  DepthVisitor check(depth_);
  std::size_t end = at_;
  if (!msgpack::parse(reinterpret_cast<const char*>(bytes_.data()), bytes_.size(), end, check)) return false;
  at_ = end;
  return true;
}

std::optional<std::uint64_t> wire::MessageWalk::pass_number() {
  if (at_end()) return std::nullopt;
  NumberVisitor found;
  std::size_t end = at_;
  if (!msgpack::parse(reinterpret_cast<const char*>(bytes_.data()), bytes_.size(), end, found)) return std::nullopt;
  if (found.number) at_ = end;
  return found.number;
}

Message::Message(std::span<const std::byte> bytes) : zone_(take_zone()) {
  const char* data = reinterpret_cast<const char*>(bytes.data());
  try {
    const std::size_t size = bytes.size();
    std::size_t end = 0;
    if (size > short_message) {
      DepthVisitor check;
      if (!msgpack::parse(data, size, end, check)) end = 0;
    }
    if (size <= short_message || end == size) {
      end = 0;
      bool referenced = false;
      object_ = msgpack::unpack(
          *zone_, data, size, end, referenced, [](msgpack::type::object_type, std::size_t, void*) { return true; },
          nullptr, msgpack::unpack_limit(size, size, size, size, size, detail::max_depth));
    }
    if (end != size) throw SerializationError("a packed message is nested too deeply or is followed by something else");
  } catch (const msgpack::unpack_error& error) {
    throw SerializationError(fmt::format("a packed message of {} bytes is damaged: {}", bytes.size(), error.what()));
  }
}

Message::~Message() {
  if (!zone_ || !keeps_spare_zones() || spare.zones.size() >= 4) return;
  zone_->clear();
  spare.zones.push_back(std::move(zone_));
}

Call::~Call() = default;
void Call::begin_items(std::uint32_t) {}
bool Call::keep_item(std::span<const std::byte>, std::span<const std::byte>) { return true; }

namespace detail {

void pack_text(Packer& packer, std::string_view text) {
  if (text.size() > UINT32_MAX) throw SerializationError("a string of more than 4 GiB cannot be packed");
  packer.pack_str(static_cast<std::uint32_t>(text.size()));
  packer.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
}

void pack_real(Packer& packer, double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  std::byte* at = packer.buffer().extend(9);
  at[0] = std::byte{0xcb};
  for (unsigned i = 0; i < 8; ++i) at[1 + i] = static_cast<std::byte>(bits >> (56 - 8 * i));
}

std::byte* pack_plain(Packer& packer, const void* data, std::size_t bytes) {
  // bin 32 in all cases, so that the place of the elements is known before the head is written
  constexpr std::size_t head = 5;
  PackBuffer& out = packer.buffer();
  const std::size_t unpadded = out.size() + head + 1;
  const std::size_t padding = (plain_alignment - unpadded % plain_alignment) % plain_alignment;
  const std::size_t length = 1 + padding + bytes;
  if (length > UINT32_MAX) throw SerializationError("an array of more than 4 GiB cannot be packed: use several");
  packer.pack_bin(UINT32_MAX);  // writes the 5-byte form
  std::byte* at = out.extend(length);
  for (unsigned i = 0; i < 4; ++i) at[static_cast<int>(i) - 4] = static_cast<std::byte>(length >> (24 - 8 * i));
  at[0] = static_cast<std::byte>(padding);
  std::memset(at + 1, 0, padding);
  if (data && bytes != 0) std::memcpy(at + 1 + padding, data, bytes);
  return at + 1 + padding;
}

std::span<const std::byte> unpack_plain(const Object& object, std::size_t element_size) {
  if (object.type != msgpack::type::BIN) throw_mismatch("an array of numbers", object);
  const auto all = std::as_bytes(std::span(object.via.bin.ptr, object.via.bin.size));
  if (all.empty() || static_cast<std::size_t>(all[0]) >= all.size()) throw_mismatch("an array of numbers", object);
  const auto elements = all.subspan(1 + static_cast<std::size_t>(all[0]));
  if (elements.size() % element_size != 0) throw_mismatch("an array of elements of another size", object);
  return elements;
}

void throw_nested_too_deeply() {
  throw SerializationError(
      fmt::format("values nest deeper than {} levels: send a chain or a tree as a sequence of its nodes", max_depth));
}

void throw_colliding_keys(std::size_t keys) {
  throw SerializationError(
      fmt::format("too many of the first {} keys of an unordered container fall into one bucket: they may "
                  "have been chosen for it; a type of the program's own needs a better hash",
                  keys));
}

void throw_mismatch(const char* expected, const Object& object) {
  throw SerializationError(fmt::format("expected {}, found {}", expected, type_name(object.type)));
}

std::span<const Object> unpack_array(const Object& object, std::optional<std::size_t> size) {
  if (object.type != msgpack::type::ARRAY) throw_mismatch("an array", object);
  if (size && object.via.array.size != *size)
    throw SerializationError(
        fmt::format("expected an array of {} values, found one of {}", *size, object.via.array.size));
  return {object.via.array.ptr, object.via.array.size};
}

std::string_view unpack_string(const Object& object) {
  if (object.type != msgpack::type::STR) throw_mismatch("a string", object);
  return {object.via.str.ptr, object.via.str.size};
}

void use_large_pages(void* memory, std::size_t bytes) noexcept { system::use_large_pages(memory, bytes); }

void throw_wrong_message_size(std::size_t got, std::size_t expected) {
  throw SerializationError(fmt::format("a packed message has {} bytes where {} were expected", got, expected));
}

}  // namespace detail
}  // namespace yoke
