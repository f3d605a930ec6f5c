// The loop of `yoke map`.
#include "map_job.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>
#include <utility>
#include <yoke/call.hpp>
#include <yoke/remote.hpp>

#include "call_input.hpp"
#include "error_writer.hpp"
#include "json_writer.hpp"
#include "usage.hpp"

namespace yoke::tools {
namespace {

constexpr std::size_t chunks_per_worker = 64;  // in flight, or done and waiting for their turn
constexpr std::size_t most_bytes_in_flight = 64 << 20;
constexpr std::size_t most_output_waiting = 1 << 20;
constexpr std::size_t most_failures_named = 10;
constexpr std::chrono::milliseconds look_at_hosts{500};
constexpr std::chrono::seconds trouble_told_after{3};

std::shared_ptr<Pool> make_remote_pool(const MapOptions& options, const ExecutorOptions& worker) {
#ifdef YOKE_REMOTE
  RemoteOptions remote;
  try {
    for (const std::string& place : options.places) add_hosts(remote, place);
    remote.workers_per_host = options.jobs;
    remote.worker = worker;
    remote.deploy = options.deploy;
    remote.on_output = [](OutputLine line) {
      line.is_stderr = true;  // the standard output is for results
      print_output(line);
    };
    return std::make_shared<RemotePool>(std::move(remote));
  } catch (const std::invalid_argument& error) {
    throw UsageError(std::string("--on: ") + error.what());
  }
#else
  static_cast<void>(worker);
  throw UsageError("--on " + options.places.front() + ": this build of yoke has no remote pools");
#endif
}

/// Where the calls are made.
std::shared_ptr<Pool> make_pool(const MapOptions& options) {
  ExecutorOptions pool;
  if (options.places.empty()) pool.max_workers = options.jobs;
  pool.env = options.env;
  pool.max_worker_memory = options.max_memory;
  // Each death is told with the input that it befell, so the pool need not give up over many of them.
  pool.restart_budget.deaths = std::numeric_limits<int>::max();
  return options.places.empty() ? make_process_pool(pool) : make_remote_pool(options, pool);
}

/// Whether it is the same for all inputs that are left: the pool is broken.
bool is_the_pools(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const TerminatedWorkerError&) {
    return false;
  } catch (const BrokenProcessPool&) {
    return true;
  } catch (...) {
    return false;
  }
}

int milliseconds_until(std::optional<Progress::Clock::time_point> time) {
  if (!time) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*time - Progress::Clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

}  // namespace

MapJob::MapJob(const MapOptions& options, const NamedTask& task, Signals& signals)
    : options_(options),
      task_(task),
      signals_(signals),
      inputs_(options.inputs.empty() ? Inputs::of_stdin() : Inputs(options.inputs)),
      output_(STDOUT_FILENO),
      progress_(options.progress),
      completions_(std::make_shared<Completions>()),
      task_options_{options.timeout, options.retries, {}, 0},
      pool_(make_pool(options)),
      executor_(pool_) {}

MapJob::Summary MapJob::run() {
  try {
    while (!finished() && !summary_.signal) {
      collect();
      feed();  // after it there is either no room, or no input that has been read
      wait();
    }
  } catch (const OutputClosed&) {
    summary_.output_closed = true;
  }
  progress_.wipe();
  for (const auto& [id, chunk] : chunks_) summary_.unfinished += chunk.items.size();
  const bool cut_short = summary_.signal || summary_.output_closed;
  if (!cut_short && !summary_.pool_error) tell_of_hosts(true);
  if (cut_short) signals_.restore();
  executor_.shutdown({.wait = true, .kill_workers = cut_short});
  return std::move(summary_);
}

bool MapJob::finished() const { return !reading_ && chunks_.empty() && output_.pending() == 0; }

bool MapJob::has_room() const {
  const auto workers = static_cast<std::size_t>(executor_.max_workers());
  return chunks_.size() < workers * chunks_per_worker && bytes_in_flight_ < most_bytes_in_flight &&
         output_.pending() < most_output_waiting;
}

void MapJob::stop_reading(std::exception_ptr error) {
  reading_ = false;
  summary_.input_error = std::move(error);
}

/// Gives the pool as much as there is room for, of what has been read.
void MapJob::feed() {
  while (reading_ && has_room()) {
    Chunk chunk;
    PackBuffer packed;
    if (options_.chunksize > 1) {  // an array of unknown length: its head is filled in at the end
      constexpr std::size_t head = 5;
      packed.extend(head);
    }
    const bool more = gather(chunk, packed);
    if (!chunk.items.empty()) {
      if (options_.chunksize > 1) {
        packed.data()[0] = std::byte{0xdd};  // msgpack's array32
        for (unsigned i = 0; i < 4; ++i) packed.data()[1 + i] = static_cast<std::byte>(chunk.submitted >> (24 - 8 * i));
      }
      chunk.bytes = packed.size();
      submit(std::move(chunk), packed.take());
    }
    if (inputs_.exhausted()) reading_ = false;
    if (!more) return;
  }
}

/// Takes the inputs of one chunk, packed one behind the other; false if there are no more at the moment.
bool MapJob::gather(Chunk& chunk, PackBuffer& packed) {
  while (chunk.items.size() < options_.chunksize) {
    const auto input = inputs_.next();
    if (!input) return false;
    if (options_.json_input && input->text.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      auto call = pack_call(packed, input->text, task_, options_.json_input);
      if (!call.error) ++chunk.submitted;
      chunk.items.push_back({input->number, std::move(call.shown), std::move(call.error)});
    } catch (const InvalidJson& error) {
      stop_reading(
          std::make_exception_ptr(UsageError(inputs_.place(input->number) + " is not valid JSON: " + error.what())));
      return false;
    }
  }
  return true;
}

void MapJob::submit(Chunk&& chunk, Bytes arguments) {
  const std::uint64_t id = next_id_++;
  bytes_in_flight_ += chunk.bytes;
  Chunk& place = chunks_.emplace(id, std::move(chunk)).first->second;
  if (place.submitted == 0) return completions_->add(id);
  try {
    place.future = options_.chunksize > 1 ? submit_named_chunk(executor_, task_options_, task_, std::move(arguments))
                                          : submit_named(executor_, task_options_, task_, std::move(arguments));
    place.future.add_done_callback(
        [completions = completions_, id](const Future<PackedValue>&) { completions->add(id); });
  } catch (const BrokenProcessPool&) {
    place.error = summary_.pool_error = std::current_exception();
    reading_ = false;
    completions_->add(id);
  } catch (const std::exception&) {
    place.error = std::current_exception();
    completions_->add(id);
  }
}

/// Writes the chunks whose turn has come.
void MapJob::collect() {
  for (const std::uint64_t id : completions_->take()) {
    chunks_.at(id).done = true;
    if (options_.unordered) ready_.push_back(id);
  }
  while (output_.pending() < most_output_waiting) {
    auto next = chunks_.begin();
    if (options_.unordered) {
      if (ready_.empty()) break;
      next = chunks_.find(ready_.front());
      ready_.pop_front();
    }
    if (next == chunks_.end() || !next->second.done) break;
    write(next->second);
    bytes_in_flight_ -= next->second.bytes;
    chunks_.erase(next);
  }
}

void MapJob::write(Chunk& chunk) {
  std::optional<Message> message;
  std::optional<detail::ChunkReader> reader;
  std::span<const msgpack::object> values;
  std::exception_ptr error = chunk.error;
  if (chunk.submitted > 0 && !error) {
    try {
      if (options_.chunksize > 1) {
        if (const auto failure = chunk.future.exception()) std::rethrow_exception(failure);
        reader.emplace(chunk.future.task(), chunk.submitted);
        message.emplace(reader->values());
        values = detail::unpack_array(message->object(), chunk.submitted);
      } else {
        message.emplace(chunk.future.result().bytes.view());
        values = {&message->object(), 1};
      }
    } catch (...) {
      error = std::current_exception();
    }
  }
  std::size_t index = 0;  // among those submitted
  for (const auto& item : chunk.items) {
    if (item.error) {
      write_item(item, item.error, nullptr);
      continue;
    }
    const auto own = error ? error : reader ? reader->error(index) : nullptr;
    write_item(item, own, own ? nullptr : &values[index]);
    ++index;
  }
}

void MapJob::write_item(const Item& item, const std::exception_ptr& error, const msgpack::object* value) {
  std::string& out = output_.buffer();
  ++summary_.done;
  out += R"({"input":)";
  out += item.shown;
  if (error) {
    write_error(item, error);
  } else {
    const std::size_t after_input = out.size();
    try {
      out += R"(,"value":)";
      append_json(out, *value);
    } catch (const std::length_error&) {
      out.resize(after_input);
      write_error(item, std::current_exception());
    }
  }
  out += "}\n";
}

void MapJob::write_error(const Item& item, const std::exception_ptr& error) {
  constexpr std::string_view hint =
      "inputs are passed as strings; if the task takes something else, give them as JSON with --json-input";
  output_.buffer() += R"(,"error":)";
  append_error_json(output_.buffer(), error, options_.json_input ? std::string_view() : hint);
  ++summary_.failed;
  if (is_the_pools(error)) {
    if (!summary_.pool_error) summary_.pool_error = error;
  } else if (summary_.first_failed.size() < most_failures_named) {
    summary_.first_failed.push_back({inputs_.place(item.number), describe(error)});
  } else {
    ++summary_.more_failed;
  }
}

Progress::Count MapJob::count() const {
  return {summary_.done, summary_.failed, inputs_.total(), executor_.stats().deaths};
}

/// A line, once, for each host that does not serve and says why, and for a queue that lets it wait. Not at once: a host
/// that turned the first try away may let the next one in.
void MapJob::tell_of_hosts(bool at_end) {
#ifdef YOKE_REMOTE
  const auto* const remote = dynamic_cast<const RemotePool*>(pool_.get());
  if (!remote) return;
  const auto now = Progress::Clock::now();
  for (const HostInfo& host : remote->hosts()) {
    if (host.trouble.empty()) continue;
    auto& since = troubled_.try_emplace(host.name, now).first->second;
    if (!since || (!at_end && host.state != HostState::ended && now - *since < trouble_told_after)) continue;
    since.reset();
    std::string line = host.trouble;
    for (std::size_t at = 0; (at = line.find('\n', at)) != std::string::npos;)
      line.replace(at, std::min(line.find_first_not_of(" \n", at), line.size()) - at, at + 1 < line.size() ? "; " : "");
    progress_.wipe();
    fmt::print(stderr, "yoke map: {}{}\n", host.name == "slurm" ? "slurm: " : "", line);
  }
#else
  static_cast<void>(at_end);
#endif
}

/// Sleeps until there is something to do, and takes what has come: inputs, completions, room for output, a signal.
void MapJob::wait() {
  if (finished()) return;
  const bool room = has_room();
  const bool wants_input = reading_ && room && inputs_.descriptor() >= 0;
  auto until = progress_.next();
  // A host tells how many workers it has once it serves, or why it does not, and nothing else would wake this thread
  // then.
  if (!options_.places.empty()) {
    tell_of_hosts(false);
    const auto look = Progress::Clock::now() + look_at_hosts;
    until = until ? std::min(*until, look) : look;
  }
  enum { signal, completion, output, input };
  std::array<pollfd, 4> looks{{{signals_.descriptor(), POLLIN, 0},
                               {completions_->descriptor(), POLLIN, 0},
                               {output_.descriptor(), static_cast<short>(output_.pending() > 0 ? POLLOUT : 0), 0},
                               {wants_input ? inputs_.descriptor() : -1, POLLIN, 0}}};
  const int ready = ::poll(looks.data(), looks.size(), milliseconds_until(until));
  if (ready > 0 && looks[signal].revents != 0) {
    summary_.signal = signals_.take();
    if (summary_.signal) output_.write_some();
    return;
  }
  if (ready > 0 && looks[output].revents != 0) {
    if (output_.pending() == 0) throw OutputClosed();
    if (::isatty(output_.descriptor()) == 1) progress_.wipe();
    output_.write_some();
  }
  if (ready > 0 && looks[input].revents != 0) {
    try {
      inputs_.read_more();
    } catch (const std::exception&) {
      stop_reading(std::current_exception());
    }
    if (inputs_.exhausted()) reading_ = false;
  }
  const auto time = progress_.next();
  if (time && Progress::Clock::now() >= *time) progress_.show(count());
}

}  // namespace yoke::tools
