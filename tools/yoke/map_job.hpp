// One run of `yoke map`: reads inputs, keeps the pool busy with a bounded number of them, writes results in order.
//
// One thread does it all, around one poll(): it is never blocked by a slow input, a slow task or a slow reader of the
// output, and a signal ends it at once.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>
#include <yoke/executor.hpp>
#include <yoke/named_task.hpp>

#include "commands.hpp"
#include "completions.hpp"
#include "inputs.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "signals.hpp"

namespace yoke::tools {

class MapJob {
 public:
  struct Failed {
    std::string input;   // "line 7"
    std::string reason;  // "type: text"
  };
  struct Summary {
    std::uint64_t done = 0;  // results written, those of failed inputs included
    std::uint64_t failed = 0;
    std::vector<Failed> first_failed;  // as many as are worth printing; none of those that the pool's error befell
    std::uint64_t more_failed = 0;     // beside these
    std::uint64_t unfinished = 0;      // given to the pool, and dropped
    std::exception_ptr input_error;    // why the inputs after those were not read
    std::exception_ptr pool_error;     // why the pool took no more
    std::optional<int> signal;         // that ended it
    bool output_closed = false;
  };

  MapJob(const MapOptions& options, const NamedTask& task, Signals& signals);
  Summary run();

 private:
  struct Item {
    std::uint64_t number;
    std::string shown;
    std::exception_ptr error;  // it was no call, and was not submitted
  };
  struct Chunk {
    std::vector<Item> items;
    std::size_t submitted = 0;  // of the items
    std::size_t bytes = 0;
    Future<PackedValue> future;
    std::exception_ptr error;  // the pool did not take it
    bool done = false;
  };

  void feed();
  bool gather(Chunk& chunk, PackBuffer& packed);
  void submit(Chunk&& chunk, Bytes arguments);
  bool has_room() const;
  void collect();
  void write(Chunk& chunk);
  void write_item(const Item& item, const std::exception_ptr& error, const msgpack::object* value);
  void write_error(const Item& item, const std::exception_ptr& error);
  bool finished() const;
  void wait();
  void tell_of_hosts(bool at_end);
  void stop_reading(std::exception_ptr error);
  Progress::Count count() const;

  const MapOptions& options_;
  const NamedTask& task_;
  Signals& signals_;
  Inputs inputs_;
  Output output_;
  Progress progress_;
  std::shared_ptr<Completions> completions_;
  TaskOptions task_options_;
  std::shared_ptr<Pool> pool_;
  Executor executor_;
  std::map<std::string, std::optional<Progress::Clock::time_point>>
      troubled_;  // hosts, since when; empty: it has been told
  std::map<std::uint64_t, Chunk> chunks_;  // those not yet written
  std::deque<std::uint64_t> ready_;        // done and not yet written, in the order of their completion
  std::uint64_t next_id_ = 0;
  std::size_t bytes_in_flight_ = 0;
  bool reading_ = true;
  Summary summary_;
};

}  // namespace yoke::tools
