// G7: by_value refuses what looks like a captured pointer, and nothing else.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <thread>

#include "yoke/yoke.hpp"

namespace {

int at_home = 1;                       // in the program's data
std::array<int, 1 << 20> much_at_home;  // in its zeroed data, most of which lies beyond the mapped file

/// What by_value says; empty if it lets the lambda pass.
template <class F>
std::string complaint(F f) {
  try {
    yoke::by_value(f);
  } catch (const yoke::SerializationError& error) {
    return error.what();
  }
  return {};
}
void expect_complaint(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos)
      << "expected: " << part << "\nfound: " << (text.empty() ? "nothing" : text);
}

TEST(Captures, G7_references_and_pointers_are_refused) {
  int local = 1;
  int* const pointer = &local;
  expect_complaint(complaint([&local] { return local; }), "at byte 0, which looks like a pointer or a reference to");
  expect_complaint(complaint([&local] { return local; }), "stack");
  expect_complaint(complaint([pointer] { return *pointer; }), "stack");
  std::int64_t first = 5;
  expect_complaint(complaint([first, pointer] { return *pointer + first; }), "at byte 8");
  const std::array<const int*, 3> all{nullptr, nullptr, pointer};
  expect_complaint(complaint([all] { return all[2]; }), "at byte 16");
  expect_complaint(complaint([pointer] { return pointer; }), "or pass it as an argument");
  expect_complaint(complaint([pointer] { return pointer; }), "yoke::by_value_unchecked()");
}

TEST(Captures, G7_it_says_what_they_point_to) {
  const auto small = std::make_unique<int>(1);
  expect_complaint(complaint([p = small.get()] { return *p; }), "heap");
  for (int* const data : {&at_home, &much_at_home[much_at_home.size() / 2]})
    expect_complaint(complaint([data] { return *data; }), "code or data of ");
  int (*const code)(const char*) = std::atoi;
  expect_complaint(complaint([code] { return code("1"); }), "code or data of ");
  int local = 0;
  std::string told;
  std::thread([&] { told = complaint([&local] { return local; }); }).join();
  EXPECT_FALSE(told.empty());
  EXPECT_EQ(told.find("this thread's stack"), std::string::npos) << told;
  std::thread([&] {
    int own = 0;
    told = complaint([&own] { return own; });
  }).join();
  expect_complaint(told, "this thread's stack");
}

TEST(Captures, G7_values_pass) {
  EXPECT_EQ(complaint([] { return 1; }), "");
  for (const std::int64_t number : {std::int64_t{0}, std::int64_t{1}, std::int64_t{-1}, std::int64_t{4} << 20,
                                    std::int64_t{5'000'000'000}, std::numeric_limits<std::int64_t>::max()})
    EXPECT_EQ(complaint([number] { return number; }), "") << number;
  for (const double number : {0.0, 1.0, -1.5, 1e-300, 1e300})
    EXPECT_EQ(complaint([number] { return number; }), "") << number;
  int* const none = nullptr;
  EXPECT_EQ(complaint([none] { return none; }), "");
  const std::array<char, 16> text{"abcdefghijklmno"};
  EXPECT_EQ(complaint([text] { return text[0]; }), "");
  bool flag = true;
  int count = 3;
  float ratio = 0.5F;
  EXPECT_EQ(complaint([flag, count, ratio] { return flag ? count : static_cast<int>(ratio); }), "");
}

/// As a program that is linked with -no-pie lies, and its heap behind it.
TEST(Captures, G7_numbers_pass_where_the_program_lies_low) {
  void* const low = reinterpret_cast<void*>(std::uintptr_t{0x5000000});
  void* const mapped = ::mmap(low, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (mapped != low) GTEST_SKIP() << "something else is there";
  const int self = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::mmap(low, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, self, 0), low);
  ::close(self);
  for (std::size_t number = 0x5000000; number < 0x5001000; number += 77)
    ASSERT_EQ(complaint([number] { return number; }), "") << number;
  ::munmap(low, 4096);
}

/// What the stack held before lies between the captures: addresses, as a rule.
TEST(Captures, G7_padding_is_no_capture) {
  struct Gap {
    std::int64_t first;
    char second;
  };
  alignas(Gap) std::array<std::byte, sizeof(Gap)> memory;
  const auto address = reinterpret_cast<std::uintptr_t>(&at_home);
  std::memcpy(memory.data() + sizeof(std::int64_t), &address, sizeof address);
  Gap* const gap = new (memory.data()) Gap;
  gap->first = 1;
  gap->second = 'x';
  EXPECT_EQ(complaint([g = *gap] { return g.second; }), "");
}

TEST(Captures, G7_the_check_can_be_passed_by) {
  int local = 7;
  yoke::ProcessPoolExecutor pool(1);
  const auto address = reinterpret_cast<std::uintptr_t>(&local);
  const auto number = yoke::by_value_unchecked([address](std::uintptr_t n) { return address + n; });
  EXPECT_EQ(pool.submit(number, 1).get(), address + 1);
}

TEST(Captures, G7_memory_that_is_gone_is_no_pointer) {
  void* const page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  const auto address = reinterpret_cast<std::uintptr_t>(page) + 8;
  EXPECT_NE(complaint([address] { return address; }), "");
  ASSERT_EQ(::munmap(page, 4096), 0);
  EXPECT_EQ(complaint([address] { return address; }), "");
}

}  // namespace
