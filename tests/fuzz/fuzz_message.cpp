// Fuzzer: messages, exceptions and chunks that a worker may have made up. The first byte says what the caller takes
// them for, the second how many items it expects in a chunk, the others are the message.
//
// Run by hand: build/tests/fuzz/fuzz_message -max_total_time=600 NEW_INPUTS_FOLDER tests/fuzz/corpus/message
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/unpack.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  yoke_fuzz::Input input(data, size);
  const unsigned as = input.take<std::uint8_t>();
  const std::size_t count = input.take<std::uint8_t>();
  yoke_fuzz::unpack(input.bytes(size), as, count);
  return 0;
}
