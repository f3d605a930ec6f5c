// The fleet's thread, and what agents say.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lib/executor/callback_thread.hpp"
#include "lib/pool/failure.hpp"
#include "lib/remote/fleet.hpp"
#include "lib/system/modules.hpp"
#include "lib/wire/printable.hpp"
#include "yoke/call.hpp"

namespace yoke::remote {

using namespace protocol;

namespace {

constexpr std::size_t most_read_at_once = std::size_t{1} << 20;
constexpr std::chrono::seconds keep_warm_for{1};
constexpr std::chrono::milliseconds time_for_last_words{200};  // for a launcher to end after its stream has

}  // namespace

void Fleet::run() {
  const auto is_finished = [&] {
    const Lock lock(mutex_);
    return finished();
  };
  try {
    system::warm_memory::join(*this);
    while (!is_finished()) keep_listening();
  } catch (const std::exception& error) {
    const Lock lock(mutex_);
    break_pool(fmt::format("the remote pool's thread failed: {}", error.what()));
  }
  for (const auto& link : links_) end(*link);
  if (output_) output_->close();
  blocks_.clear();
  system::warm_memory::leave(*this);
  system::warm_memory::trim({});  // nobody may be there to do it later
  const Lock lock(mutex_);
  thread_done_ = true;
  changed_.notify_all();
}

bool Fleet::finished() const {
  if (admission_.accepts()) return false;
  return std::ranges::all_of(
             links_, [](const auto& link) { return link->phase() == LinkPhase::ended && link->tasks().empty(); }) &&
         (!slurm_ || slurm_->phase() == SlurmJob::Phase::ended) && (admission_.gives_up() || backlog_.empty());
}

/// One round: does what is due, sleeps until there is more, and reads what has come.
void Fleet::keep_listening() {
  if (Clock::now() >= trims_blocks_at_) {
    blocks_.trim();
    trims_blocks_at_ = Clock::now() + options_.heartbeat;
  }
  Listening listening;
  if (!prepare(listening)) return;
  if (trims_at_ && Clock::now() >= *trims_at_) {
    system::warm_memory::trim(keep_warm_for);
    trims_at_.reset();
  }
  static_cast<void>(listening.poller.wait(listening.until));
  {
    const Lock lock(mutex_);
    asleep_ = false;
  }
  if (listening.poller.is_ready(listening.event)) event_.clear();
  for (const auto& [link, from, errors] : listening.streams) {
    if (listening.poller.is_ready(errors) && link->alive()) link->read_errors();
    if (listening.poller.is_ready(from) && link->alive()) read(*link);
  }
}

/// Does what is due, and says what to sleep on: from here to there nothing changes unseen. False: there is nothing more
/// to do ever.
bool Fleet::prepare(Listening& listening) {
  Lock lock(mutex_);
  if (detached_) admission_.close();
  follow_slurm();
  for (;;) {
    const auto now = Clock::now();
    beat(now);
    ask_to_stop(now);
    const Step step = next_step(now);
    if (step.kind == Step::Kind::none) break;
    lock.unlock();
    carry_out(step);
    lock.lock();
  }
  dispatch();
  if (finished()) return false;
  system::Poller& poller = listening.poller;
  listening.event = poller.add_reader(event_.get());
  for (const auto& link : links_) {
    if (!link->alive()) continue;
    link->flush();
    listening.streams.push_back({link.get(), poller.add_reader(link->from()), poller.add_reader(link->errors_from())});
    // A stream that takes no more has ended or soon will have: what still comes from it is read.
    if (link->wants_to_write()) poller.add_writer(link->to());
  }
  if (slurm_) slurm_->add_to(poller);
  if (!system::warm_memory::any())
    trims_at_.reset();
  else if (!trims_at_)
    trims_at_ = Clock::now() + keep_warm_for;
  listening.until = next_deadline(Clock::now());
  asleep_ = true;
  return true;
}

Clock::time_point Fleet::next_deadline(Clock::time_point now) {
  auto next = trims_at_.value_or(Clock::time_point::max());
  if (needs_agents()) {
    const NextStart start = next_to_start(now);
    next = std::min(next, start.host ? now : start.at);
  }
  if (!blocks_.empty()) next = std::min(next, trims_blocks_at_);
  if (slurm_) next = std::min(next, slurm_->next_look());
  for (const auto& link : links_) next = std::min(next, link->next_deadline(silence_));
  return next;
}

/// What an agent has sent. Reads, and makes memory for what is large, without the lock.
void Fleet::read(Link& link) {
  auto came = Link::Read::bytes;
  try {
    for (std::size_t total = 0; total < most_read_at_once;) {
      came = link.read_some(total);
      if (came != Link::Read::bytes) break;
      for (Frame frame; link.next_frame(frame);) {
        const Lock lock(mutex_);
        handle(link, frame);
      }
      if (link.asks_for_program()) {
        const Lock lock(mutex_);
        link.send_program(deployment_->archive);
      }
    }
  } catch (const std::exception& error) {
    return lose(link, error.what());
  }
  const bool ended = came == Link::Read::end;
  if (link.said_farewell() || (ended && link.phase() == LinkPhase::stopping))
    end(link, time_for_last_words);
  else if (ended)
    lose(link, "the stream ended", time_for_last_words);
}

void Fleet::handle(Link& link, const Frame& frame) {
  if (link.phase() == LinkPhase::starting && frame.type != FrameType::welcome)
    throw ProtocolError("the agent's first frame is no welcome");
  switch (frame.type) {
    case FrameType::welcome: return take_welcome(link, unpack_note<Welcome>(frame.head));
    case FrameType::results: {
      const Message message(frame.head);
      for (const Object& item : detail::unpack_array(message.object())) {
        const auto note = unpack_value<ResultNote>(item);
        take_result(link, note, Bytes(note.bytes.bytes));
      }
      return;
    }
    case FrameType::large_result: {
      const Message message(frame.head);
      return take_result(link, unpack_value<ResultNote>(message.object()), frame.payload, frame.trouble);
    }
    case FrameType::started:
      for (const TaskNumber number : unpack_note<StartedNote>(frame.head).numbers) link.set_started(number);
      return;
    case FrameType::cancelled: return take_cancelled(link, unpack_note<CancelledNote>(frame.head));
    case FrameType::output: return take_output(link, unpack_note<OutputNote>(frame.head));
    case FrameType::state: return take_state(link, unpack_note<StateNote>(frame.head));
    case FrameType::farewell:
      if (link.phase() != LinkPhase::stopping) throw ProtocolError("a farewell that nobody has asked for");
      return link.set_farewell();
    case FrameType::heartbeat: return;
    default: throw ProtocolError(fmt::format("a frame of type {} is none of an agent's", static_cast<int>(frame.type)));
  }
}

void Fleet::take_welcome(Link& link, const Welcome& note) {
  if (link.phase() != LinkPhase::starting) throw ProtocolError("a second welcome");
  link.set_hopeless(note.version != protocol_version);
  if (link.is_hopeless())
    throw ProtocolError(
        fmt::format("the agent speaks version {} of the protocol, this program version {}: put the same "
                    "build of the program there, or set deploy",
                    note.version, protocol_version));
  const auto now = Clock::now();
  link.welcomed(note, note.identity == system::home_module().identity, now, now + options_.heartbeat);
  send_hello(link);
  dispatch();
  changed_.notify_all();
}

void Fleet::take_cancelled(Link& link, const CancelledNote& note) {
  if (const auto asked = cancels_.find(note.number); asked != cancels_.end()) {
    asked->second = note.cancelled;
    changed_.notify_all();
    return;
  }
  // Asked for by shutdown, which does not wait, or by one that gave up waiting.
  const Link::Sent* const found = link.find(note.number);
  if (!note.cancelled || !found) return;
  if (found->task->resolve_cancelled()) ++counts_.cancelled;
  link.erase(note.number);
}

void Fleet::take_state(Link& link, StateNote note) {
  for (auto& worker : note.stats.workers)
    worker.task = wire::printable(worker.task, wire::Lines::one, wire::most_words);
  link.set_stats(std::move(note.stats));
  link.set_hopeless(!note.broken.empty());
  if (link.is_hopeless()) throw Error(wire::printable(note.broken, wire::Lines::several, wire::most_text));
}

/// `trouble`: why the result could not be read.
void Fleet::take_result(Link& link, const ResultNote& note, Bytes bytes, const std::string& trouble) {
  const Link::Sent* const found = link.find(note.number);
  if (!found) return;  // cancelled meanwhile, or given up
  const TaskPtr task = found->task;
  Outcome outcome =
      trouble.empty()
          ? outcome_of(link, *task, note, std::move(bytes))
          : pool::failed(
                failure_of({FailureKind::serialization, "its result cannot be had: " + trouble, {}}, link.host().name));
  link.erase(note.number);
  task->pool_word = 0;
  task->set_worker_pid(note.pid);
  task->elapsed_ns = note.elapsed_ns;
  const bool well = outcome.kind == Outcome::Kind::value && !outcome.failure;
  if (task->resolve(std::move(outcome))) ++(well ? counts_.done : counts_.failed);
  if (cancels_.contains(note.number)) changed_.notify_all();
}

Outcome Fleet::outcome_of(Link& link, const Task& task, const ResultNote& note, Bytes bytes) {
  const std::string& host = link.host().name;
  if (note.kind == ResultKind::failure) {
    auto failure = unpack_note<FailureNote>(bytes.view());
    if (failure.kind == FailureKind::no_block)
      for (const auto& held : memory_of(task.arguments())) link.forget_block(blocks_.number_of(*held.memory));
    return pool::failed(failure_of(std::move(failure), host));
  }
  if (const auto& most = options_.worker.max_result; most && bytes.size() > *most)  // the agent should have seen to it
    return pool::failed(failure_of(
        {FailureKind::serialization,
         fmt::format("what it returned, or threw, has {} bytes, more than max_result allows ({})", bytes.size(), *most),
         {}},
        host));
  Outcome outcome;
  if (note.kind == ResultKind::exception) outcome.kind = Outcome::Kind::exception;
  outcome.bytes = std::move(bytes);
  wire::LostItems::Items lost;
  for (const LostItemNote& item : note.lost)
    lost.emplace(item.item, failure_of(unpack_note<FailureNote>(item.failure.bytes), host));
  if (!lost.empty()) outcome.failure = std::make_shared<wire::LostItems>(std::move(lost));
  run_times_.add(static_cast<double>(note.elapsed_ns));
  return outcome;
}

void Fleet::take_output(Link& link, OutputNote note) {
  if (!output_) return;
  if (!link.hold_output(note.text.size())) {
    if (link.phase() == LinkPhase::stopping) return;
    throw ProtocolError("it sends more output than it was asked for");
  }
  output_->add({link.index(), link.token(), link.host().name, std::move(note)});
}

/// On the callback thread.
void Fleet::output_taken(const Printed& printed) {
  const Lock lock(mutex_);
  Link& link = *links_.at(printed.link);
  if (link.token() != printed.token) return;  // of an agent that is gone
  if (link.let_go_output(printed.note.text.size())) wake();
}

}  // namespace yoke::remote
