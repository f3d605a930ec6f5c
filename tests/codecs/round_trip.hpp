// Packs, unpacks and damages values of one type, without a pool.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <exception>
#include <random>
#include <vector>

#include "yoke/yoke.hpp"

namespace yoke_test {

template <class T>
yoke::Bytes packed(const T& value, yoke::Packer::Arrays arrays = yoke::Packer::Arrays::bytes) {
  yoke::PackBuffer buffer;
  yoke::Packer packer(buffer, arrays);
  yoke::pack_value<T>(packer, value);
  return buffer.take();
}
template <class T>
T unpacked(const yoke::Bytes& bytes) {
  const yoke::Message message(bytes.view());
  return yoke::unpack_value<T>(message.object());
}
template <class T>
T round_trip(const T& value, yoke::Packer::Arrays arrays = yoke::Packer::Arrays::bytes) {
  return unpacked<T>(packed(value, arrays));
}

/// Messages with some bytes changed are refused by an exception of the standard kind, or read.
template <class T>
void expect_damage_is_harmless(const T& value, unsigned seed = 1) {
  const auto good = packed(value);
  std::mt19937 random(seed);
  for (int i = 0; i < 5'000; ++i) {
    std::vector<std::byte> bytes(good.view().begin(), good.view().end());
    for (unsigned k = 0; k <= random() % 4; ++k) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    try {
      unpacked<T>(yoke::Bytes(bytes));
    } catch (const std::exception&) {
    }
  }
}

}  // namespace yoke_test
