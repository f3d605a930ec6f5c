// OutputQueue: what workers printed, on its way to the user's function, which may be slower than they are.
//
// An agent reads from its workers only as far as what it sent before was taken (output_window): so a worker waits for
// the function as in a shell's pipeline, results do not, and little is held here. Any thread; the function is called on
// the callback thread, line by line.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "lib/protocol/notes.hpp"
#include "yoke/remote.hpp"

namespace yoke::remote {

/// Of one agent, as it sent it.
struct Printed {
  std::size_t link = 0;
  std::string token;  // of the agent
  std::string host;
  protocol::OutputNote note;
};

class OutputQueue : public std::enable_shared_from_this<OutputQueue> {
 public:
  using Tell = std::function<void(const OutputLine&)>;
  using Taken = std::function<void(const Printed&)>;  // on the callback thread, when all its lines were told

  OutputQueue(Tell tell, Taken taken) : tell_(std::move(tell)), taken_(std::move(taken)) {}

  void add(Printed printed);
  /// Nothing more will come. What has not been told a little later is dropped, so that nobody waits for it at exit.
  void close();

 private:
  void tell_next();
  /// Returns how many bytes of it were not told.
  std::size_t tell_lines(const Printed& printed);
  bool is_late();
  void call(const OutputLine& line);

  const Tell tell_;
  const Taken taken_;
  std::mutex mutex_;  // guards all below
  std::deque<Printed> waiting_;
  bool telling_ = false;  // a callback is on its way
  std::optional<Clock::time_point> ends_;
  std::size_t dropped_ = 0;  // bytes; of the callback thread alone
};

}  // namespace yoke::remote
