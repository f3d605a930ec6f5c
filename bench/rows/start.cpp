// S9, S10: a cold pool's first result, also with much memory resident in the parent.
#include <sys/mman.h>

#include <cstring>
#include <new>

#include "bench/peers/own_copy.hpp"
#include "bench/row.hpp"
#include "bench/rows/first_result.hpp"

namespace yoke::bench {
namespace {

Row measure_cold(const Effort& effort) {
  Row row{.id = "S9",
          .what = "first result, cold pool, one worker",
          .unit = "ms",
          .better = Better::lower,
          .reach = {Reach::Of::ratio, 2},
          .peers = {{"posix_spawn until exit", {}}}};
  for (int turn = 0; turn < std::max(effort.repetitions, effort.times(50)); ++turn) {
    row.ours.samples.push_back(milliseconds_to_first_result());
    row.peers[0].samples.push_back(seconds_of_exiting_copy() * 1e3);
  }
  return row;
}

class ResidentMemory {
 public:
  explicit ResidentMemory(std::size_t size)
      : size_(size), data_(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (data_ == MAP_FAILED) throw std::bad_alloc();
    ::madvise(data_, size_, MADV_NOHUGEPAGE);  // page tables as large as they get
    std::memset(data_, 1, size_);
  }
  ~ResidentMemory() { ::munmap(data_, size_); }
  ResidentMemory(const ResidentMemory&) = delete;
  ResidentMemory& operator=(const ResidentMemory&) = delete;

 private:
  std::size_t size_;
  void* data_;
};

Row measure_large_parent(const Effort& effort) {
  Row row{.id = "S10",
          .what = "the same with 4 GB resident in the parent",
          .unit = "ms",
          .better = Better::lower,
          .reach = {Reach::Of::ratio, 1.5},
          .peers = {{"S9", {}}}};
  const int count = std::max(effort.repetitions, effort.times(30));
  for (int turn = 0; turn < count; ++turn) row.peers[0].samples.push_back(milliseconds_to_first_result());
  const ResidentMemory memory(std::size_t{4} << 30);
  for (int turn = 0; turn < count; ++turn) row.ours.samples.push_back(milliseconds_to_first_result());
  return row;
}

}  // namespace

std::vector<Measurement> start_rows() { return {{"S9", measure_cold}, {"S10", measure_large_parent, false}}; }

}  // namespace yoke::bench
