// G1: nlohmann's JSON crosses, as the msgpack values that it is.
#include <cstdint>
#include <limits>
#include <map>
#include <string>

#include "tests/codecs/round_trip.hpp"
#include "tests/support/pool_fixture.hpp"
#include "yoke/codecs/nlohmann_json.hpp"

namespace {

using namespace yoke_test;
using nlohmann::json;
using nlohmann::ordered_json;

TEST(JsonCodec, G1_every_kind_of_value) {
  for (const json& value : {json(), json(true), json(0), json(-1), json(std::numeric_limits<std::uint64_t>::max()),
                            json(std::numeric_limits<std::int64_t>::min()), json(2.0), json(0.1), json(""),
                            json(std::string("with\0zero", 9)), json::array(), json::object(), json::binary({1, 2, 0}),
                            json::parse(R"({"a": [1, 2.5, {"b": null}], "": [[], {}], "c": "text"})")}) {
    const json back = round_trip(value);
    EXPECT_EQ(back, value) << value;
    EXPECT_EQ(back.is_number_float(), value.is_number_float()) << value;
  }
  EXPECT_EQ(round_trip(ordered_json::parse(R"({"z": 1, "a": 2})")).dump(), R"({"z":1,"a":2})");
}

TEST(JsonCodec, G1_what_cannot_cross_is_refused) {
  json deep = json::array();
  for (int i = 0; i < 600; ++i) deep = json::array({deep});
  EXPECT_THROW(packed(deep), yoke::SerializationError);
  EXPECT_THROW(packed(json::binary({1}, 7)), yoke::SerializationError);
}

TEST(JsonCodec, G8_what_is_no_json_is_refused) {
  EXPECT_THROW(unpacked<json>(packed(std::map<int, int>{{1, 2}})), yoke::SerializationError);
  yoke::PackBuffer buffer;
  yoke::Packer packer(buffer);
  packer.pack_ext(1, 5);
  packer.pack_ext_body("x", 1);
  EXPECT_THROW(unpacked<json>(buffer.take()), yoke::SerializationError);
  expect_damage_is_harmless(json::parse(R"({"a": [1, 2.5, {"b": null}], "c": "text"})"));
}

class JsonCodecTest : public HouseTest {};

TEST_F(JsonCodecTest, G1_through_a_worker) {
  yoke::ProcessPoolExecutor pool(1);
  auto added = pool.submit(
      [](json value) {
        value["sum"] = value["a"].get<int>() + value["b"].get<int>();
        return value;
      },
      json{{"a", 1}, {"b", 2}});
  EXPECT_EQ(soon(added).get().at("sum"), 3);
}

}  // namespace
