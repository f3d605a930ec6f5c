// Codecs for Eigen's dense matrices, vectors and arrays: the coefficients cross as one block of bytes.
//
// Expressions (a.transpose() * b) become matrices by the parameter's type, as everywhere.
#pragma once

#include "yoke/language.hpp"

#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <span>

#include "yoke/codec.hpp"

namespace yoke {
namespace detail {

template <class Dense>
struct EigenCodec {
  using Scalar = typename Dense::Scalar;
  static void pack(Packer& packer, const Dense& dense) {
    packer.pack_array(3);
    packer.pack(static_cast<std::int64_t>(dense.rows()));
    packer.pack(static_cast<std::int64_t>(dense.cols()));
    pack_block<Scalar>(packer, {dense.data(), static_cast<std::size_t>(dense.size())});
  }
  static Dense unpack(const Object& object) {
    const auto items = unpack_array(object, 3);
    const auto rows = unpack_value<std::uint32_t>(items[0]);
    const auto columns = unpack_value<std::uint32_t>(items[1]);
    const auto fits = [](int fixed, int most, std::uint32_t size) {
      return fixed != Eigen::Dynamic ? size == static_cast<std::uint32_t>(fixed)
                                     : most == Eigen::Dynamic || size <= static_cast<std::uint32_t>(most);
    };
    if (!fits(Dense::RowsAtCompileTime, Dense::MaxRowsAtCompileTime, rows) ||
        !fits(Dense::ColsAtCompileTime, Dense::MaxColsAtCompileTime, columns) ||
        block_size<Scalar>(items[2]) != std::uint64_t{rows} * columns)
      throw_mismatch("a matrix of that size", object);
    Dense dense;
    dense.resize(rows, columns);
    unpack_block<Scalar>(items[2], {dense.data(), static_cast<std::size_t>(dense.size())});
    return dense;
  }
};

}  // namespace detail

template <class Scalar, int Rows, int Columns, int Options, int MaxRows, int MaxColumns>
struct Codec<Eigen::Matrix<Scalar, Rows, Columns, Options, MaxRows, MaxColumns>>
    : detail::EigenCodec<Eigen::Matrix<Scalar, Rows, Columns, Options, MaxRows, MaxColumns>> {};
template <class Scalar, int Rows, int Columns, int Options, int MaxRows, int MaxColumns>
struct Codec<Eigen::Array<Scalar, Rows, Columns, Options, MaxRows, MaxColumns>>
    : detail::EigenCodec<Eigen::Array<Scalar, Rows, Columns, Options, MaxRows, MaxColumns>> {};

}  // namespace yoke
