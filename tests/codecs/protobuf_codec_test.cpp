// G1: Protocol Buffers' messages cross. With the messages that the library brings.
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <vector>

#include "tests/codecs/round_trip.hpp"
#include "tests/support/pool_fixture.hpp"
#include "yoke/codecs/protobuf.hpp"

namespace {

using namespace yoke_test;
using google::protobuf::ListValue;
using google::protobuf::Struct;
using google::protobuf::Timestamp;
using google::protobuf::UninterpretedOption;

Timestamp at(std::int64_t seconds) {
  Timestamp time;
  time.set_seconds(seconds);
  time.set_nanos(5);
  return time;
}
Struct table() {
  Struct all;
  (*all.mutable_fields())["with\0zero"].set_string_value("x");
  auto* list = (*all.mutable_fields())["list"].mutable_list_value();
  for (int i = 0; i < 10; ++i) list->add_values()->set_number_value(i);
  return all;
}

TEST(ProtobufCodec, G1_messages) {
  EXPECT_EQ(round_trip(at(7)).seconds(), 7);
  EXPECT_EQ(round_trip(at(7)).nanos(), 5);
  EXPECT_EQ(round_trip(Timestamp()).seconds(), 0);
  EXPECT_EQ(round_trip(table()).DebugString(), table().DebugString());
  EXPECT_EQ(round_trip(std::vector<Timestamp>{at(1), at(2)}).at(1).seconds(), 2);
}

TEST(ProtobufCodec, G1_a_message_without_its_required_fields_is_refused_in_silence) {
  UninterpretedOption::NamePart part;
  testing::internal::CaptureStderr();
  EXPECT_THROW(packed(part), yoke::SerializationError);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  part.set_name_part("x");
  part.set_is_extension(true);
  EXPECT_EQ(round_trip(part).name_part(), "x");
}

TEST(ProtobufCodec, G8_other_bytes_are_refused) {
  EXPECT_THROW(unpacked<Timestamp>(packed(std::string("text"))), yoke::SerializationError);
  yoke::PackBuffer buffer;
  yoke::Packer packer(buffer);
  packer.pack_bin(3);
  packer.pack_bin_body("\xff\xff\xff", 3);
  EXPECT_THROW(unpacked<Timestamp>(buffer.take()), yoke::SerializationError);
  expect_damage_is_harmless(at(1'000'000));  // texts that are no UTF-8 protobuf itself would print
}

class ProtobufCodecTest : public HouseTest {};

TEST_F(ProtobufCodecTest, G1_through_a_worker) {
  yoke::ProcessPoolExecutor pool(1);
  auto later = pool.submit(
      [](Timestamp time, int seconds) {
        time.set_seconds(time.seconds() + seconds);
        return time;
      },
      at(40), 2);
  EXPECT_EQ(soon(later).get().seconds(), 42);
}

}  // namespace
