// Notes: what a client and whoever runs its tasks elsewhere say to each other, whatever carries it. Each struct is
// packed by its members, as msgpack that depends on no build.
//
// The client gives every function and every task a number of its own; it is answered under the task's number, once. A
// task that the client has cancelled, or given up, is not answered for.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/wire/protocol_error.hpp"
#include "yoke/codec.hpp"
#include "yoke/options.hpp"
#include "yoke/pool.hpp"
#include "yoke/stats.hpp"

namespace yoke::protocol {

using wire::ProtocolError;

inline constexpr std::uint32_t protocol_version = 2;

/// Where deployed libraries lie, for modules that are not at their path.
inline constexpr char agent_libraries_variable[] = "YOKE_AGENT_LIBRARIES";

using TaskNumber = std::uint64_t;
using FunctionNumber = std::uint32_t;

/// Bytes within a note, not copied when they are unpacked.
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

/// A note as it was packed: msgpack in the form that depends on no build. Throws SerializationError.
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
