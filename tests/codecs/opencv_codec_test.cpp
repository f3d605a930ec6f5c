// G1: cv::Mat crosses, as one block.
#include <algorithm>
#include <opencv2/core.hpp>
#include <tuple>
#include <vector>

#include "tests/codecs/round_trip.hpp"
#include "tests/support/pool_fixture.hpp"
#include "yoke/codecs/opencv.hpp"

namespace {

using namespace yoke_test;

cv::Mat numbered(int rows, int columns, int type) {
  cv::Mat image(rows, columns, type);
  for (std::size_t i = 0; i < image.total() * image.elemSize(); ++i) image.data[i] = static_cast<unsigned char>(i);
  return image;
}
bool same(const cv::Mat& a, const cv::Mat& b) {
  if (a.type() != b.type() || a.dims != b.dims) return false;
  for (int i = 0; i < a.dims; ++i)
    if (a.size[i] != b.size[i]) return false;
  const cv::Mat x = a.clone();
  const cv::Mat y = b.clone();
  return std::equal(x.data, x.data + x.total() * x.elemSize(), y.data);
}

TEST(OpencvCodec, G1_images_of_every_kind) {
  for (const cv::Mat& image : {cv::Mat(), numbered(3, 5, CV_8UC3), numbered(4, 4, CV_64F), numbered(1, 7, CV_16SC(5)),
                               cv::Mat(0, 5, CV_8U), numbered(600, 800, CV_8UC3)})
    EXPECT_TRUE(same(round_trip(image), image)) << image.size;
  const cv::Mat block({2, 3, 4}, CV_32F, cv::Scalar(1.5));
  EXPECT_TRUE(same(round_trip(block), block));
}

TEST(OpencvCodec, G1_a_part_of_an_image_crosses_alone) {
  const cv::Mat image = numbered(100, 100, CV_8UC3);
  const cv::Mat part = image(cv::Rect(10, 20, 30, 5));
  EXPECT_TRUE(same(round_trip(part), part));
  EXPECT_LT(packed(part).size(), 30U * 5U * 3U + 60U);
}

TEST(OpencvCodec, G8_another_size_is_refused) {
  using Parts = std::tuple<int, std::vector<int>, std::vector<unsigned char>>;
  const std::vector<unsigned char> twelve(12, 1);
  EXPECT_NO_THROW(unpacked<cv::Mat>(packed(Parts(CV_8UC3, {2, 2}, twelve))));
  for (const auto& sizes : std::vector<std::vector<int>>{{2, 3}, {2}, {-2, -2}, {1 << 30, 1 << 30}, {0, 1 << 30}, {}})
    EXPECT_THROW(unpacked<cv::Mat>(packed(Parts(CV_8UC3, sizes, twelve))), yoke::SerializationError);
  EXPECT_THROW(unpacked<cv::Mat>(packed(Parts(1 << 20, {2, 2}, twelve))), yoke::SerializationError);
  EXPECT_THROW(unpacked<cv::Mat>(packed(Parts(CV_8UC3, std::vector<int>(40, 1), twelve))), yoke::SerializationError);
  expect_damage_is_harmless(numbered(3, 3, CV_8UC3));
}

class OpencvCodecTest : public HouseTest {};

TEST_F(OpencvCodecTest, G1_through_a_worker) {
  yoke::ProcessPoolExecutor pool(1);
  const cv::Mat image = numbered(50, 60, CV_8UC3);
  auto turned = pool.submit([](const cv::Mat& m) -> cv::Mat { return m.t(); }, image);
  EXPECT_TRUE(same(soon(turned).get(), image.t()));
}

}  // namespace
