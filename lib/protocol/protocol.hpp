// Protocol: what the heads of frames say. Each struct is packed by its members, as msgpack that depends on no build.
//
// The client gives every function and every task a number of its own; the agent answers under the task's number, once.
// A task that the client has cancelled, or given up, is not answered for.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/wire/frame.hpp"
#include "yoke/codec.hpp"
#include "yoke/options.hpp"
#include "yoke/pool.hpp"
#include "yoke/stats.hpp"

namespace yoke::wire {

enum class FrameType : std::uint8_t {
  // the client's
  hello = 1,  // how the agent is to work: the first frame
  module = 2,  // a module that functions lie in
  function = 3,  // a function that tasks will name by its number
  tasks = 4,
  large_task = 5,  // one; its arguments are the payload
  cancel = 6,
  resize = 7,
  stop = 8,
  keep_block = 9,  // constant memory that tasks will name by its number: the payload
  drop_block = 10,
  output_taken = 11,
  // the agent's
  welcome = 65,  // what the agent is: its first frame
  results = 66,
  large_result = 67,  // one; its value is the payload
  started = 68,
  cancelled = 69,
  output = 70,
  state = 71,
  farewell = 72,  // its last, after it was stopped
  // of both
  heartbeat = 129
};

}  // namespace yoke::wire

namespace yoke::protocol {

using wire::Frame;
using wire::FrameQueue;
using wire::FrameReader;
using wire::FrameType;
using wire::ProtocolError;

bool is_frame_type(FrameType type);

inline constexpr std::uint32_t protocol_version = 2;

/// Bytes of its workers' output that an agent sends before it must hear that they were taken.
inline constexpr std::size_t output_window = 256 * 1024;

/// In the agent's environment until it begins: the token of its marker.
inline constexpr char agent_variable[] = "YOKE_AGENT";
/// Where deployed libraries lie, for modules that are not at their path.
inline constexpr char agent_libraries_variable[] = "YOKE_AGENT_LIBRARIES";

/// What the agent writes before its first frame.
std::string marker_of(const std::string& token);

using TaskNumber = std::uint64_t;
using FunctionNumber = std::uint32_t;

/// Bytes within a head, not copied when they are unpacked.
struct Blob {
  std::span<const std::byte> bytes;
};

struct InitialCall {
  FunctionNumber function = 0;
  std::vector<std::uint8_t> arguments;
};

/// Of one worker, and of what it sends; bytes.
struct Bounds {
  std::optional<std::uint64_t> recycle_worker_memory;
  std::optional<std::uint64_t> max_worker_memory;
  std::optional<std::uint64_t> max_result;
};
/// What of ExecutorOptions an agent's pool needs.
struct WorkerSettings {
  std::optional<int> max_workers;
  std::optional<std::int64_t> timeout_ms;
  std::map<std::string, std::string> env;
  std::optional<int> inner_max_num_threads;
  std::uint8_t on_crash = 0;
  int restart_deaths = 0;
  std::int64_t restart_within_s = 0;
  std::optional<int> max_tasks_per_worker;
  Bounds bounds;
  Limits limits;
  bool new_privileges = false;
  int spare_workers = 0;
  bool spawn_eagerly = false;
  std::int64_t start_timeout_ms = 0;
  std::int64_t kill_grace_ms = 0;
};
WorkerSettings settings_of(const ExecutorOptions& options);
ExecutorOptions options_of(const WorkerSettings& settings);

struct Hello {
  std::uint32_t version = protocol_version;
  std::int64_t heartbeat_ms = 0;
  std::int64_t silence_ms = 0;  // that the agent bears: silence_of_agent
  bool forward_output = false;
  std::vector<std::uint8_t> identity;  // of the client's program
  WorkerSettings settings;
  std::optional<InitialCall> initializer;  // its function is told next, and the pool made then
};

struct Welcome {
  std::uint32_t version = protocol_version;
  std::vector<std::uint8_t> identity;  // of the agent's program
  std::string host;  // as the machine calls itself
  int pid = 0;
  int workers = 0;
  int cores = 0;
  std::uint64_t memory = 0;  // bytes of the machine
};

/// How long a side hears nothing before it takes the other for lost, so that a cut of `lease` loses nothing: what was
/// sent during a cut TCP sends again at times that double, so up to as long after its end as it lasted. The client
/// waits longer: when it gives a task to another host, the agent that had it has killed its workers.
std::chrono::milliseconds silence_of_agent(std::chrono::milliseconds lease, std::chrono::milliseconds heartbeat);
std::chrono::milliseconds silence_of_client(std::chrono::milliseconds lease, std::chrono::milliseconds heartbeat);

struct ModuleNote {
  std::uint32_t number = 0;
  std::vector<std::uint8_t> description;
};

struct FunctionNote {
  FunctionNumber number = 0;
  std::uint64_t trampoline = 0;  // references as between parent and worker; of a named task, to find its library
  std::uint64_t target = 0;
  std::string task;  // of a named task
  bool chunk = false;  // calls for many items
};

/// What is not usual about a task.
struct TaskTerms {
  std::optional<std::int64_t> timeout_ms;
  int retries = 0;
  int priority = 0;
};

/// Where arguments speak of a block, which the agent keeps.
struct PlaceNote {
  std::uint64_t at = 0;  // byte of the arguments
  std::uint64_t block = 0;
};

struct TaskNote {
  TaskNumber number = 0;
  FunctionNumber function = 0;
  std::optional<TaskTerms> terms;
  std::vector<PlaceNote> places;
  Blob arguments;  // empty where they are the payload
};

enum class ResultKind : std::uint8_t { value, exception, failure };

/// An item of a chunk that was lost with its worker, beside the values of the others.
struct LostItemNote {
  std::uint64_t item = 0;
  Blob failure;  // a FailureNote
};

struct ResultNote {
  TaskNumber number = 0;
  ResultKind kind = ResultKind::value;
  int pid = 0;
  std::uint32_t elapsed_ns = 0;
  Blob bytes;  // value or exception as they were packed; a FailureNote
  std::vector<LostItemNote> lost{};  // of a chunk with a value
};

enum class FailureKind : std::uint8_t {
  deaths,
  timeout,
  broken,
  shutdown,
  serialization,
  other,
  no_block  // the host had no room for a block that the task names
};

struct FailureNote {
  FailureKind kind = FailureKind::other;
  std::string text;
  std::vector<WorkerDeath> deaths;
};
FailureNote describe_failure(const std::exception_ptr& error, std::vector<WorkerDeath> deaths);
/// With the task's name, and the host's, in the error.
std::shared_ptr<const Failure> failure_of(FailureNote note, const std::string& host);

struct CancelNote {
  TaskNumber number = 0;
  bool kill = false;
};
struct CancelledNote {
  TaskNumber number = 0;
  bool cancelled = false;
};
struct StartedNote {
  std::vector<TaskNumber> numbers;
};
struct StopNote {
  bool kill = false;
};
struct OutputNote {
  int rank = 0;
  bool is_stderr = false;
  std::string text;  // whole lines, or the rest of one
};
struct OutputTakenNote {
  std::uint64_t bytes = 0;  // of text; the agent may send as many more
};
struct StateNote {
  Stats stats;
  std::string broken;  // why the agent's pool cannot go on; empty: it can
};
struct BlockNote {
  std::uint64_t number = 0;
};

// On the wire: msgpack in the form that depends on no build.
template <class T>
void push_note(FrameQueue& queue, FrameType type, const T& note, Bytes payload = {}) {
  PackBuffer head;
  Packer packer(head, Packer::Arrays::elements);
  pack_value(packer, note);
  queue.push(type, head.view(), std::move(payload));
}

/// Notes that travel together in one frame, as an array.
class Batch {
 public:
  template <class T>
  void add(const T& note) {
    Packer packer(items_, Packer::Arrays::elements);
    pack_value(packer, note);
    ++count_;
  }
  bool empty() const noexcept { return count_ == 0; }
  std::size_t bytes() const noexcept { return items_.size(); }
  /// As a frame; the batch is empty afterwards.
  void push_to(FrameQueue& queue, FrameType type);
  void clear() noexcept;

 private:
  PackBuffer items_;
  std::uint32_t count_ = 0;
};
inline constexpr std::size_t most_batch_bytes = 32 * 1024;
inline constexpr std::size_t large_bytes = 64 * 1024;  // arguments and results from here on travel as payloads

/// Throws SerializationError.
template <class T>
T unpack_note(std::span<const std::byte> head);

}  // namespace yoke::protocol

template <>
struct yoke::Codec<yoke::protocol::Blob> {
  static void pack(Packer& packer, const protocol::Blob& blob) {
    const auto size = static_cast<std::uint32_t>(blob.bytes.size());
    packer.pack_bin(size);
    if (size != 0) packer.pack_bin_body(reinterpret_cast<const char*>(blob.bytes.data()), size);
  }
  static protocol::Blob unpack(const Object& object) {
    if (object.type != msgpack::type::BIN) detail::throw_mismatch("bytes", object);
    return {std::as_bytes(std::span(object.via.bin.ptr, object.via.bin.size))};
  }
};
