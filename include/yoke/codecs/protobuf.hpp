// Codec for Protocol Buffers' messages: every class that protoc makes crosses in its own wire format.
#pragma once

#include "yoke/language.hpp"

#include <google/protobuf/message_lite.h>

#include <climits>
#include <concepts>
#include <string>

#include "yoke/codec.hpp"

namespace yoke {

template <std::derived_from<google::protobuf::MessageLite> M>
struct Codec<M> {
  static void pack(Packer& packer, const M& message) {
    check_complete(message);
    const std::size_t size = message.ByteSizeLong();
    if (size > INT_MAX)
      throw SerializationError("a message of type '" + message.GetTypeName() + "' of more than 2 GiB cannot be packed");
    packer.pack_bin(static_cast<std::uint32_t>(size));
    std::byte* const place = packer.buffer().extend(size);
    if (size != 0 && !message.SerializePartialToArray(place, static_cast<int>(size)))
      throw SerializationError("a message of type '" + message.GetTypeName() + "' cannot be packed");
  }
  static M unpack(const Object& object) {
    if (object.type != msgpack::type::BIN || object.via.bin.size > INT_MAX)
      detail::throw_mismatch("the bytes of a protobuf message", object);
    M message;
    if (!message.ParsePartialFromArray(object.via.bin.ptr, static_cast<int>(object.via.bin.size)))
      throw SerializationError("bytes that are no message of type '" + message.GetTypeName() + "'");
    check_complete(message);
    return message;
  }

 private:
  /// Before protobuf does, which would also print it.
  static void check_complete(const M& message) {
    if (!message.IsInitialized())
      throw SerializationError("a message of type '" + message.GetTypeName() +
                               "' lacks required fields: " + message.InitializationErrorString());
  }
};

}  // namespace yoke
