// The fleet's thread, and what agents say.
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
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

constexpr std::size_t most_errors_kept = 4096;  // bytes of a launcher's stderr
constexpr std::size_t most_read_at_once = std::size_t{1} << 20;
constexpr std::chrono::seconds keep_warm_for{1};
constexpr double weight_of_newest = 0.1;
constexpr std::size_t most_last_output = std::size_t{16} << 20;  // that an agent finds in its workers' pipes at the end

}  // namespace

void Fleet::run() {
  Lock lock(mutex_, std::defer_lock);
  try {
    system::warm_memory::join(*this);
    lock.lock();
    while (!finished()) keep_listening(lock);
  } catch (const std::exception& error) {
    if (!lock.owns_lock()) lock.lock();
    break_pool(fmt::format("the remote pool's thread failed: {}", error.what()));
  }
  for (const auto& link : links_) end(*link, lock);
  if (output_) output_->close();
  lock.unlock();
  blocks_.clear();
  system::warm_memory::leave(*this);
  system::warm_memory::trim({});  // nobody may be there to do it later
  lock.lock();
  thread_done_ = true;
  changed_.notify_all();
}

bool Fleet::finished() const {
  if (accepting_ && !broken_) return false;
  return std::ranges::all_of(links_,
                             [](const auto& link) { return link->phase == LinkPhase::ended && link->sent.empty(); }) &&
         (!slurm_ || slurm_->phase() == SlurmJob::Phase::ended) && (broken_ || killing_ || backlog_.size() == 0);
}

void Fleet::keep_listening(Lock& lock) {
  if (abandoned_) accepting_ = false;
  follow_slurm(lock);
  keep_time(lock);
  start_links(lock);
  stop_links(lock);
  dispatch();
  if (finished()) return;

  std::vector<pollfd> looks{{event_.get(), POLLIN, 0}};
  std::vector<Link*> of_look;
  for (const auto& link : links_) {
    if (!link->carrier) continue;
    const std::size_t queued = link->queue.bytes();
    flush(*link);
    if (link->phase == LinkPhase::starting && link->queue.bytes() < queued)
      link->acts_at = Clock::now() + link->patience;  // a program is being sent, and gets on
    // A stream that takes no more has ended or soon will have: what still comes from it is read.
    const bool writes = !link->queue.empty() && !link->write_failed;
    looks.push_back({link->carrier->from(), POLLIN, 0});
    looks.push_back({link->carrier->errors(), POLLIN, 0});
    looks.push_back({writes ? link->carrier->to() : -1, POLLOUT, 0});
    of_look.push_back(link.get());
  }
  if (slurm_) slurm_->add_to(looks);
  if (!system::warm_memory::any())
    trims_at_.reset();
  else if (!trims_at_)
    trims_at_ = Clock::now() + keep_warm_for;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_deadline() - Clock::now()).count();
  asleep_ = true;
  lock.unlock();
  if (trims_at_ && Clock::now() >= *trims_at_) {
    system::warm_memory::trim(keep_warm_for);
    trims_at_.reset();
  }
  const int ready = ::poll(looks.data(), looks.size(), static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000)));
  lock.lock();
  asleep_ = false;
  if (ready <= 0) return;
  if (looks[0].revents != 0) {
    eventfd_t count = 0;
    ::eventfd_read(event_.get(), &count);
  }
  for (std::size_t i = 0; i < of_look.size(); ++i) {
    Link& link = *of_look[i];
    if (looks[2 + 3 * i].revents != 0 && link.carrier) read_errors(link);
    if (looks[1 + 3 * i].revents != 0 && link.carrier) read(link, lock);
  }
}

Clock::time_point Fleet::next_deadline() const {
  auto next = trims_at_.value_or(Clock::time_point::max());
  next = std::min(next, starts_at_);
  if (!blocks_.empty()) next = std::min(next, trims_blocks_at_);
  if (slurm_) next = std::min(next, slurm_->next_look());
  for (const auto& link : links_) {
    if (link->phase == LinkPhase::starting || link->phase == LinkPhase::stopping) next = std::min(next, link->acts_at);
    if (link->alive() && link->phase != LinkPhase::starting)
      next = std::min({next, link->beats_at, link->heard + silence_});
  }
  return next;
}

/// What an agent has sent. Reads, and makes memory for what is large, without the lock.
void Fleet::read(Link& link, Lock& lock) {
  std::string trouble;
  bool ended = false;
  for (std::size_t total = 0; total < most_read_at_once && !ended;) {
    lock.unlock();
    ssize_t size = -1;
    try {
      const auto room = link.reader.room();
      size = ::read(link.carrier->from(), room.data(), room.size());
      if (size > 0) link.reader.filled(static_cast<std::size_t>(size));
    } catch (const std::exception& error) {
      trouble = error.what();
    }
    const int code = errno;
    lock.lock();
    if (!trouble.empty()) break;
    if (size < 0 && (code == EAGAIN || code == EINTR)) break;
    if (size <= 0) {
      ended = true;
      break;
    }
    total += static_cast<std::size_t>(size);
    link.heard = Clock::now();
    try {
      Frame frame;
      for (;;) {
        lock.unlock();
        bool whole = false;
        try {
          whole = link.reader.next(frame);
        } catch (...) {
          lock.lock();
          throw;
        }
        lock.lock();
        if (!whole) break;
        handle(link, frame);
        link.may_need_program = false;
      }
      if (link.may_need_program) send_program(link);
    } catch (const std::exception& error) {
      trouble = error.what();
      break;
    }
  }
  if (!trouble.empty())
    lose(link, trouble, lock);
  else if (link.said_farewell || (ended && link.phase == LinkPhase::stopping))
    end(link, lock, time_for_last_words);
  else if (ended)
    lose(link, "the stream ended", lock, time_for_last_words);
}

/// Where the host said that it needs it.
void Fleet::send_program(Link& link) {
  if (!link.reader.has_seen(need_of(link.token))) return;
  link.may_need_program = false;
  link.queue.push_bytes(deployment_->archive);
}

void Fleet::read_errors(Link& link) {
  std::array<char, 4096> bytes;
  const ssize_t size = ::read(link.carrier->errors(), bytes.data(), bytes.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return link.carrier->close_errors();
  link.errors.append(bytes.data(), static_cast<std::size_t>(size));
  if (link.errors.size() > most_errors_kept) link.errors.erase(0, link.errors.size() - most_errors_kept);
}

void Fleet::handle(Link& link, const Frame& frame) {
  if (link.phase == LinkPhase::starting && frame.type != FrameType::welcome)
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
      for (const TaskNumber number : unpack_note<StartedNote>(frame.head).numbers)
        if (const auto found = link.sent.find(number); found != link.sent.end()) found->second.started = true;
      return;
    case FrameType::cancelled: {
      const auto note = unpack_note<CancelledNote>(frame.head);
      if (const auto asked = cancels_.find(note.number); asked != cancels_.end()) {
        asked->second = note.cancelled;
        changed_.notify_all();
        return;
      }
      const auto found =
          link.sent.find(note.number);  // by shutdown, which does not wait, or by one that gave up waiting
      if (!note.cancelled || found == link.sent.end()) return;
      if (found->second.task->resolve_cancelled()) ++counts_.cancelled;
      link.sent.erase(found);
      return;
    }
    case FrameType::output: return take_output(link, unpack_note<OutputNote>(frame.head));
    case FrameType::state: {
      auto note = unpack_note<StateNote>(frame.head);
      for (auto& worker : note.stats.workers)
        worker.task = wire::printable(worker.task, wire::Lines::one, wire::most_words);
      link.stats = std::move(note.stats);
      link.hopeless = !note.broken.empty();
      if (link.hopeless) throw Error(wire::printable(note.broken, wire::Lines::several, wire::most_text));
      return;
    }
    case FrameType::farewell:
      if (link.phase != LinkPhase::stopping) throw ProtocolError("a farewell that nobody has asked for");
      link.said_farewell = true;
      return;
    case FrameType::heartbeat: return;
    default: throw ProtocolError(fmt::format("a frame of type {} is none of an agent's", static_cast<int>(frame.type)));
  }
}

void Fleet::take_welcome(Link& link, const Welcome& note) {
  if (link.phase != LinkPhase::starting) throw ProtocolError("a second welcome");
  link.hopeless = note.version != protocol_version;
  if (link.hopeless)
    throw ProtocolError(
        fmt::format("the agent speaks version {} of the protocol, this program version {}: put the same "
                    "build of the program there, or set deploy",
                    note.version, protocol_version));
  link.welcome = note;
  link.welcome.host = wire::printable(note.host, wire::Lines::one, wire::most_words);
  link.same_build = note.identity == system::home_module().identity;
  link.phase = LinkPhase::serving;
  link.serves_since = Clock::now();
  link.start_took = link.serves_since - link.launched;
  link.beats_at = link.serves_since + options_.heartbeat;
  greet(link);
  dispatch();
  changed_.notify_all();
}

/// `trouble`: why the result could not be read.
void Fleet::take_result(Link& link, const ResultNote& note, Bytes bytes, const std::string& trouble) {
  const auto found = link.sent.find(note.number);
  if (found == link.sent.end()) return;  // cancelled meanwhile, or given up
  const TaskPtr task = found->second.task;
  Outcome outcome;
  if (!trouble.empty()) {
    outcome = pool::failed(
        failure_of({FailureKind::serialization, "its result cannot be had: " + trouble, {}}, link.host.name));
  } else if (note.kind == ResultKind::failure) {
    auto failure = unpack_note<FailureNote>(bytes.view());
    if (failure.kind == FailureKind::no_block)
      for (const auto& held : memory_of(task->arguments())) link.blocks.erase(blocks_.number_of(*held.memory));
    outcome = pool::failed(failure_of(std::move(failure), link.host.name));
  } else if (options_.worker.max_result &&
             bytes.size() > *options_.worker.max_result) {  // the agent should have seen to it
    outcome = pool::failed(
        failure_of({FailureKind::serialization,
                    fmt::format("what it returned, or threw, has {} bytes, more than max_result allows ({})",
                                bytes.size(), *options_.worker.max_result),
                    {}},
                   link.host.name));
  } else {
    if (note.kind == ResultKind::exception) outcome.kind = Outcome::Kind::exception;
    outcome.bytes = std::move(bytes);
    wire::LostItems::Items lost;
    for (const LostItemNote& item : note.lost)
      lost.emplace(item.item, failure_of(unpack_note<FailureNote>(item.failure.bytes), link.host.name));
    if (!lost.empty()) outcome.failure = std::make_shared<wire::LostItems>(std::move(lost));
    mean_task_ns_ +=
        (mean_task_ns_ == 0 ? 1 : weight_of_newest) * (static_cast<double>(note.elapsed_ns) - mean_task_ns_);
  }
  link.sent.erase(found);
  task->pool_word = 0;
  task->set_worker_pid(note.pid);
  task->elapsed_ns = note.elapsed_ns;
  const bool well = outcome.kind == Outcome::Kind::value && !outcome.failure;
  if (task->resolve(std::move(outcome))) ++(well ? counts_.done : counts_.failed);
  if (cancels_.contains(note.number)) changed_.notify_all();
}

void Fleet::take_output(Link& link, OutputNote note) {
  if (!output_) return;
  link.output_held += note.text.size();
  if (link.output_held > output_window + most_last_output) {
    link.output_held -= note.text.size();
    if (link.phase == LinkPhase::stopping) return;
    throw ProtocolError("it sends more output than it was asked for");
  }
  output_->add({link.index, link.token, link.host.name, std::move(note)});
}

/// On the callback thread.
void Fleet::output_taken(const Printed& printed) {
  const Lock lock(mutex_);
  Link& link = *links_.at(printed.link);
  if (link.token != printed.token) return;  // of an agent that is gone
  link.output_held -= printed.note.text.size();
  link.output_taken += printed.note.text.size();
  if (link.output_taken < output_window / 4 || !link.alive()) return;
  push_note(link.queue, FrameType::output_taken, OutputTakenNote{std::exchange(link.output_taken, 0)});
  wake();
}

}  // namespace yoke::remote
