// G1: Eigen's dense types cross, as one block.
#include <Eigen/Dense>
#include <complex>

#include "tests/codecs/round_trip.hpp"
#include "tests/support/pool_fixture.hpp"
#include "yoke/codecs/eigen.hpp"

namespace {

using namespace yoke_test;
using Eigen::MatrixXd;

MatrixXd numbered(Eigen::Index rows, Eigen::Index columns) {
  MatrixXd matrix(rows, columns);
  for (Eigen::Index i = 0; i < matrix.size(); ++i) matrix.data()[i] = 0.5 * static_cast<double>(i);
  return matrix;
}
template <class Dense>
void expect_same(const Dense& dense) {
  for (const auto arrays : {yoke::Packer::Arrays::bytes, yoke::Packer::Arrays::elements}) {
    const Dense back = round_trip(dense, arrays);
    ASSERT_EQ(back.rows(), dense.rows());
    ASSERT_EQ(back.cols(), dense.cols());
    EXPECT_TRUE((back.array() == dense.array()).all());
  }
}

TEST(EigenCodec, G1_matrices_vectors_and_arrays) {
  expect_same(numbered(3, 4));
  expect_same(numbered(0, 4));
  expect_same(MatrixXd());
  expect_same(Eigen::VectorXi(Eigen::VectorXi::LinSpaced(5, 1, 5)));
  expect_same(Eigen::RowVector3f(1, 2, 3));
  expect_same(Eigen::Matrix4d(Eigen::Matrix4d::Identity()));
  expect_same(Eigen::ArrayXXf(Eigen::ArrayXXf::Constant(2, 3, 0.5F)));
  expect_same(Eigen::Matrix<double, Eigen::Dynamic, 2, Eigen::RowMajor>(numbered(4, 2)));
  expect_same(Eigen::Matrix<int, Eigen::Dynamic, Eigen::Dynamic, 0, 3, 3>(Eigen::Matrix2i::Identity()));
  expect_same(Eigen::MatrixXcd(numbered(2, 2).cast<std::complex<double>>()));
}

TEST(EigenCodec, G1_coefficients_are_one_block) {
  const MatrixXd matrix = numbered(100, 100);
  EXPECT_LT(packed(matrix).size(), 100 * 100 * sizeof(double) + 40);
}

TEST(EigenCodec, G8_another_size_is_refused) {
  const auto bytes = packed(numbered(3, 3));
  EXPECT_THROW(unpacked<Eigen::Matrix2d>(bytes), yoke::SerializationError);
  EXPECT_THROW(unpacked<Eigen::VectorXd>(bytes), yoke::SerializationError);
  EXPECT_THROW((unpacked<Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, 0, 2, 2>>(bytes)),
               yoke::SerializationError);
  EXPECT_THROW(unpacked<Eigen::Matrix3f>(bytes), yoke::SerializationError);
  expect_damage_is_harmless(numbered(2, 3));
}

class EigenCodecTest : public HouseTest {};

TEST_F(EigenCodecTest, G1_through_a_worker) {
  yoke::ProcessPoolExecutor pool(1);
  const MatrixXd a = numbered(200, 200);
  auto product = pool.submit([](const MatrixXd& x, const Eigen::VectorXd& y) -> Eigen::VectorXd { return x * y; }, a,
                             a.col(1) * 2.0);
  EXPECT_EQ(soon(product).get(), a * (a.col(1) * 2.0));
}

}  // namespace
