// The machine that the figures are of, and how busy others keep it.
#pragma once

#include <chrono>
#include <string>

namespace yoke::bench {

/// "2 x Intel(R) …, Linux 6.1.0, g++ 12.2.0, load 0.31"
std::string describe_machine();

/// The share of all processors' time that other programs used, from construction on. Time of children counts as own
/// once they were waited for.
class OthersLoad {
 public:
  OthersLoad();
  [[nodiscard]] double share() const;  // 0 to 1

 private:
  double busy_, total_, own_;
};

/// Waits until others have used less than a twentieth of the machine for a second, but no longer than `patience`.
void wait_for_calm(std::chrono::seconds patience);

}  // namespace yoke::bench
