// The compiled half of map: chunks, their sizes and their order.
#include "yoke/map.hpp"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <utility>

namespace yoke::detail {
namespace {

constexpr std::size_t chunks_per_worker = 16;  // so that uneven chunks still share the work evenly
constexpr double longest_chunk_ns = 20e6;
constexpr std::size_t most_items =
    1 << 23;  // in a chunk, whatever was asked for: a slot has so many bits for where it goes on

/// Items in a chunk when the caller leaves it to us.
std::size_t automatic_chunk(std::size_t items, int workers, std::uint32_t mean_ns) {
  const std::size_t even = items / (static_cast<std::size_t>(workers) * chunks_per_worker);
  if (mean_ns == 0) return std::max<std::size_t>(even, 1);
  return std::clamp<std::size_t>(even, 1,
                                 std::max<std::size_t>(1, static_cast<std::size_t>(longest_chunk_ns / mean_ns)));
}

/// Null: nothing. The end of the thread goes on.
template <class F>
std::exception_ptr thrown_by(const F& call) {
  try {
    call();
  } catch (const abi::__forced_unwind&) {
    throw;
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

class ChunkTask final : public Task {
 public:
  using Task::Task;
};

}  // namespace

struct MapRun::State {
  std::function<void(TaskPtr)> send;
  const Callable* callable;
  const void* target;
  ChunkSource source;
  MapOptions options;
  std::size_t chunk_size = 1;
  Deadline deadline;
  bool exhausted = false;
  std::size_t in_flight = 0;         // items submitted and not yet taken
  std::deque<Chunk> chunks;          // ordered: those not handed out, in order
  std::vector<Chunk> unordered;      // unordered: those not handed out, by the number that `completed` tells
  std::vector<std::size_t> unused;   // of these numbers
  CompletionQueue completed;
};

MapRun::MapRun(std::function<void(TaskPtr)> send, const Callable& callable, const void* target, ChunkSource source,
               MapOptions options, std::optional<std::size_t> items, int workers)
    : state_(std::make_unique<State>()) {
  if (options.chunksize && *options.chunksize == 0) throw std::invalid_argument("chunksize must be at least 1");
  if (options.buffersize && *options.buffersize == 0) throw std::invalid_argument("buffersize must be at least 1");
  State& s = *state_;
  s.send = std::move(send);
  s.callable = &callable;
  s.target = target;
  s.source = std::move(source);
  s.options = std::move(options);
  s.chunk_size = std::min(
      most_items, s.options.chunksize.value_or(
                      items ? automatic_chunk(*items, workers, callable.mean_ns.load(std::memory_order_relaxed)) : 1));
  if (s.options.timeout) s.deadline = deadline_after(*s.options.timeout);
  try {
    fill();
  } catch (...) {
    cancel_all();  // a chunk could not be read or packed: the caller gets no results to destroy
    throw;
  }
}

MapRun::~MapRun() { cancel_all(); }

void MapRun::cancel_all() noexcept {
  for (auto* chunks : {&state_->unordered}) {
    for (auto& chunk : *chunks)
      if (chunk.task && !chunk.task->done()) chunk.task->cancel(CancelMode::if_not_started);
  }
  // the last first: what is started meanwhile is what would have been needed next
  for (auto chunk = state_->chunks.rbegin(); chunk != state_->chunks.rend(); ++chunk)
    if (!chunk->task->done()) chunk->task->cancel(CancelMode::if_not_started);
}

/// Submits chunks for as long as there are items, and room for them.
void MapRun::fill() {
  State& s = *state_;
  while (!s.exhausted) {
    std::size_t most = s.chunk_size;
    if (s.options.buffersize) {
      if (s.in_flight >= *s.options.buffersize) return;
      most = std::min(most, *s.options.buffersize - s.in_flight);
    }
    PackBuffer packed;
    Fetched fetched;
    const std::exception_ptr error = thrown_by([&] { s.source(packed, most, fetched); });
    s.exhausted = fetched.at_end;
    if (fetched.count != 0)
      submit(boost::intrusive_ptr<Task>(new ChunkTask(*s.callable, s.target, packed.take())), fetched.count);
    if (error) std::rethrow_exception(error);
  }
}

void MapRun::submit(boost::intrusive_ptr<Task> task, std::size_t count) {
  State& s = *state_;
  const TaskOptions& options = s.options.task;
  if (options.timeout || options.retries != 0 || !options.name.empty() || options.priority != 0)
    task->set_options(options);
  try {
    s.send(task);
  } catch (...) {
    s.exhausted = true;  // nobody would take what else there is
    throw;
  }
  s.in_flight += count;
  if (s.options.ordered) {
    s.chunks.push_back({std::move(task), count});
    return;
  }
  if (s.unused.empty()) {
    s.unused.push_back(s.unordered.size());
    s.unordered.emplace_back();
  }
  s.completed.add(task, s.unused.back());
  s.unordered[s.unused.back()] = {std::move(task), count};
  s.unused.pop_back();
}

std::optional<MapRun::Chunk> MapRun::next() {
  State& s = *state_;
  if (s.options.ordered) {
    if (s.chunks.empty()) return std::nullopt;
    Chunk chunk = std::move(s.chunks.front());
    s.chunks.pop_front();
    return chunk;
  }
  if (s.completed.remaining() == 0) return std::nullopt;
  const auto index = s.completed.next(s.deadline);
  if (!index) throw TimeoutError("the results of a map were not done in time");
  s.unused.push_back(*index);
  return std::exchange(s.unordered[*index], Chunk());
}

void MapRun::await(const Chunk& chunk) const {
  const Task& task = *chunk.task;
  task.wait(state_->deadline);
  if (!task.done()) throw TimeoutError(fmt::format("a result of the map of '{}' was not done in time", task.name()));
  if (task.cancelled()) throw_cancelled(task);
  if (!task.has_value()) std::rethrow_exception(task.make_exception());
  const std::uint32_t mean = std::max<std::uint32_t>(task.elapsed_ns / static_cast<std::uint32_t>(chunk.count), 1);
  const_cast<Callable*>(state_->callable)->mean_ns.store(mean, std::memory_order_relaxed);
}

std::exception_ptr MapRun::taken(std::size_t items) {
  State& s = *state_;
  s.in_flight -= items;
  const std::exception_ptr error = thrown_by([&] { fill(); });
  // Whether there is a next() item is known only when it is asked for once more.
  if (error && s.in_flight == 0 && thrown_by([&] { fill(); })) s.exhausted |= s.in_flight == 0;
  return error;
}

}  // namespace yoke::detail
