// Link: the client's end of one agent: its carrier, its stream, and the tasks that the agent has.
//
// Owned by a Fleet, used under its lock; the carrier is started and ended by the fleet's thread alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "lib/protocol/blocks.hpp"
#include "lib/protocol/protocol.hpp"
#include "lib/remote/carrier.hpp"
#include "lib/wire/frame.hpp"
#include "yoke/remote.hpp"

namespace yoke::remote {

enum class LinkPhase {
  waiting,   // for its launch
  starting,  // launched; the agent has not spoken yet
  serving,   // takes tasks
  stopping,  // asked to end
  ended      // for good
};

struct Link {
  struct Sent {
    TaskPtr task;
    bool started = false;  // as the agent told
  };

  Link(std::size_t place, Host its_host) : index(place), host(std::move(its_host)) {}

  bool alive() const noexcept { return carrier != nullptr; }
  bool may_serve() const noexcept { return phase != LinkPhase::stopping && phase != LinkPhase::ended; }

  const std::size_t index;
  const Host host;
  std::optional<int> processors;  // that Slurm has granted there
  LinkPhase phase = LinkPhase::waiting;
  Clock::time_point acts_at{};   // when the phase is over, or the next try is due
  Clock::time_point heard{};     // last byte from the agent
  Clock::time_point beats_at{};  // next heartbeat to it
  std::string trouble;           // why it was lost or could not be started last
  bool hopeless = false;         // another try would end in the same way

  // Its starts. Counts are since it served well, or since the pool began.
  Clock::time_point launched{};
  Clock::duration patience{};                   // with this start, until the agent speaks
  std::optional<Clock::duration> start_took{};  // from a launch to the agent's first word, when it came last
  Clock::time_point serves_since{};
  Clock::time_point missed_since{};  // when it was lost, or its first start failed
  int failures = 0;                  // of starts
  int refusals = 0;  // of them in a row: the launcher ended with that exit code, and none of a broken connection
  int refusal = 0;

  std::vector<std::string> command;
  std::string token;
  bool may_need_program = false;  // it has not been sent, nor has the agent spoken
  std::unique_ptr<Carrier> carrier;
  wire::FrameReader reader{protocol::is_frame_type};
  wire::FrameQueue queue;
  protocol::Batch batch;  // tasks for the next frame
  std::string errors;  // the end of what came on stderr
  bool write_failed = false;
  bool said_farewell = false;
  protocol::Welcome welcome;
  bool same_build = false;

  std::unordered_map<protocol::TaskNumber, Sent> sent;
  int workers = 0;
  std::vector<bool> knows_function;
  std::vector<bool> knows_module;
  std::unordered_map<protocol::BlockNumber, std::weak_ptr<SharedMemory>> blocks;  // that the agent keeps
  std::size_t output_held = 0;  // bytes that on_output has not taken
  std::size_t output_taken = 0;  // bytes that it has, and the agent has not been told of
  Stats stats;  // of the agent, as it told last
  Stats stats_before;  // of those before it: counts alone
};

}  // namespace yoke::remote
