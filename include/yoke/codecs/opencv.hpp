// Codec for cv::Mat, of any type and number of dimensions: its elements cross as one block of bytes. A part of a larger
// image crosses alone; the copy is continuous.
#pragma once

#include "yoke/language.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <opencv2/core/mat.hpp>
#include <vector>

#include "yoke/codec.hpp"

namespace yoke {

template <>
struct Codec<cv::Mat> {
  static void pack(Packer& packer, const cv::Mat& image) {
    packer.pack_array(3);
    packer.pack(image.type());
    packer.pack_array(static_cast<std::uint32_t>(image.dims));
    for (int i = 0; i < image.dims; ++i) packer.pack(image.size[i]);
    const cv::Mat block = image.isContinuous() ? image : image.clone();
    detail::pack_plain(packer, block.data, block.total() * block.elemSize());
  }
  static cv::Mat unpack(const Object& object) {
    const auto items = detail::unpack_array(object, 3);
    const int type = unpack_value<int>(items[0]);
    const auto sizes = unpack_value<std::vector<int>>(items[1]);
    if ((type & ~CV_MAT_TYPE_MASK) != 0 || sizes.size() > most_dimensions || sizes.size() == 1)
      detail::throw_mismatch("an image", object);
    const auto element = static_cast<std::size_t>(CV_ELEM_SIZE(type));
    const auto bytes = detail::unpack_plain(items[2], element);
    std::size_t elements = sizes.empty() ? 0 : 1;
    for (const int size : sizes) {
      if (size < 0 || (elements != 0 && static_cast<std::size_t>(size) > bytes.size() / elements))
        detail::throw_mismatch("an image of that size", object);
      elements *= static_cast<std::size_t>(size);
    }
    if (elements * element != bytes.size()) detail::throw_mismatch("an image of that size", object);
    if (sizes.empty()) return {};
    cv::Mat image(sizes, type);
    if (!bytes.empty()) std::memcpy(image.data, bytes.data(), bytes.size());
    return image;
  }

 private:
  static constexpr std::size_t most_dimensions = 32;  // OpenCV's own limit, which its C++ headers do not name
};

}  // namespace yoke
