// What is put together of the parts of a chunk, each of which may be anything. Without a process.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <tuple>

#include "lib/pool/failure.hpp"
#include "lib/wire/chunk.hpp"
#include "yoke/map.hpp"

namespace {

using namespace yoke;
using wire::ChunkPart;
using wire::ChunkParts;
using Added = wire::ChunkParts::Added;

constexpr wire::ChunkArguments plain{.count = 4, .number = 0, .value_size = sizeof(std::uint32_t)};
constexpr wire::ChunkArguments packed{.count = 4, .number = 0, .value_size = wire::packed_values};

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }
ChunkPart part(std::uint64_t items, std::uint32_t value_size, const std::string& values, std::uint32_t error_count = 0,
               const std::string& errors = {}) {
  return {.items = items,
          .value_size = value_size,
          .error_count = error_count,
          .values = bytes_of(values),
          .errors = bytes_of(errors),
          .memory = {}};
}
/// The values, behind the head.
std::string values_of(const ChunkParts& parts) {
  const Outcome outcome = parts.join();
  wire::ChunkHead head{};
  const auto all = outcome.bytes.view();
  std::memcpy(&head, all.data(), sizeof head);
  const auto values = all.subspan(sizeof head, head.errors_at - sizeof head);
  return {reinterpret_cast<const char*>(values.data()), values.size()};
}
std::shared_ptr<const Failure> failure() { return std::make_shared<pool::TextFailure<Error>>("lost"); }

TEST(ChunkParts, C9_a_part_of_other_values_than_the_type_has_is_refused_alone) {
  ChunkParts parts(plain);
  const std::string one = "1234";
  EXPECT_EQ(parts.add(part(1, 4, one)), Added::yes);
  const std::tuple<std::uint64_t, std::uint32_t, std::string> all_wrong[] = {{1, 2, "12"},
                                                                             {1, 4, "123"},
                                                                             {1, 4, "12345"},
                                                                             {2, 4, one},
                                                                             {4, 4, "1234123412341234"},
                                                                             {1, 0, ""},
                                                                             {1, wire::packed_values, "1"},
                                                                             {UINT64_MAX, 4, one}};
  for (const auto& [items, size, values] : all_wrong) EXPECT_EQ(parts.add(part(items, size, values)), Added::no);
  EXPECT_EQ(parts.next(), 1U);
  EXPECT_EQ(parts.add(part(3, 4, "abcdefghijkl")), Added::yes);
  EXPECT_EQ(values_of(parts), "1234abcdefghijkl");
}

TEST(ChunkParts, C9_packed_values_are_whole_and_as_many_as_they_are_said_to_be) {
  ChunkParts parts(packed);
  EXPECT_EQ(parts.add(part(2, wire::packed_values, "\x01\xa1x")), Added::yes);
  const std::string deep(600, '\x91');
  for (const std::string& wrong : {std::string(), std::string("\x01\x02"), std::string("\xc1"), std::string("\xa2x"),
                                   std::string("\xdb\xff\xff\xff\xff"), std::string("\xdd\xff\xff\xff\xff"), deep,
                                   deep + "\x01", std::string("\x92\x01")})
    EXPECT_EQ(parts.add(part(1, wire::packed_values, wrong)), Added::no) << wrong.size();
  const std::string deepest = std::string(510, '\x91') + '\x90';
  EXPECT_EQ(parts.add(part(1, wire::packed_values, '\x91' + deepest)), Added::no)
      << "in the array of all it is one more";
  EXPECT_EQ(parts.add(part(1, wire::packed_values, deepest)), Added::yes);
  EXPECT_EQ(parts.add(part(1, wire::packed_values, "\x04")), Added::yes);
  ASSERT_TRUE(parts.complete());
  const std::string values = values_of(parts);
  EXPECT_EQ(detail::unpack_array(Message(bytes_of(values)).object()).size(), 4U);
}

TEST(ChunkParts, C9_errors_are_of_the_items_of_their_part) {
  ChunkParts parts(plain);
  const std::string zero(4, '\0');
  EXPECT_EQ(parts.add(part(1, 4, zero, 1, std::string("\x00\xc0", 2))), Added::yes);
  for (const std::string& wrong : {std::string("\x00\xc0", 2), std::string("\x02\xc0"), std::string("\xff\xc0"),
                                   std::string("\x01"), std::string("\x01\xc1"), std::string("\x01\xc0\xc0"),
                                   std::string("\xa1x\xc0"), std::string("\x91\x01\xc0"), std::string()})
    EXPECT_EQ(parts.add(part(1, 4, zero, 1, wrong)), Added::no);
  EXPECT_EQ(parts.add(part(1, 4, zero, UINT32_MAX, "\x01\xc0")), Added::no);
  EXPECT_EQ(parts.add(part(1, 4, zero, 0, "\x01\xc0")), Added::no);
  EXPECT_EQ(parts.add(part(1, 4, zero, 1, "\x01\xc0")), Added::yes);
}

TEST(ChunkParts, U8_all_together_have_no_more_than_max_result) {
  ChunkParts parts({.count = 100, .number = 0, .value_size = wire::packed_values}, 100);
  const std::string value = "\xd9\x28" + std::string(40, 'x');
  EXPECT_EQ(parts.add(part(1, wire::packed_values, value)), Added::yes);
  EXPECT_EQ(parts.add(part(1, wire::packed_values, value)), Added::too_long);
  EXPECT_EQ(parts.next(), 1U);
  EXPECT_GT(parts.bytes(), 100U);
}

TEST(ChunkParts, B12_the_rest_is_lost_at_once_unless_it_is_too_long_to_tell) {
  ChunkParts parts(plain);
  EXPECT_EQ(parts.add(part(1, 4, "1234")), Added::yes);
  EXPECT_TRUE(parts.lose_rest(failure()));
  EXPECT_TRUE(parts.complete());
  EXPECT_EQ(values_of(parts), "1234" + std::string(12, '\0'));
  const Outcome joined = parts.join();
  const auto* lost = dynamic_cast<const wire::LostItems*>(joined.failure.get());
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->items().size(), 3U);
  ChunkParts many({.count = 1'000'000, .number = 0, .value_size = 4});
  EXPECT_FALSE(many.lose_rest(failure()));
  EXPECT_EQ(many.next(), 0U);
}

}  // namespace
