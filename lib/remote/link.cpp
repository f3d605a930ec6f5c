#include "lib/remote/link.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <utility>

#include "lib/remote/agent_command.hpp"
#include "lib/remote/deployment.hpp"
#include "lib/wire/printable.hpp"

namespace yoke::remote {

using namespace protocol;

namespace {

constexpr std::size_t most_errors_kept = 4096;  // bytes of a launcher's stderr
constexpr std::size_t most_last_output = std::size_t{16} << 20;  // that an agent finds in its workers' pipes at the end

/// The last lines of what something else wrote, indented.
std::string last_lines(const std::string& written) {
  constexpr std::size_t most = 5;
  std::string text = written;
  std::erase(text, '\r');
  text = wire::printable(text, wire::Lines::several);
  std::size_t begin = text.find_last_not_of(" \r\n");
  if (begin == std::string::npos) return {};
  const std::string trimmed = text.substr(0, begin + 1);
  begin = trimmed.size();
  for (std::size_t lines = 0; lines < most && begin != std::string::npos && begin != 0; ++lines)
    begin = trimmed.rfind('\n', begin - 1);
  std::string shown = trimmed.substr(begin == std::string::npos ? 0 : begin);
  for (std::size_t at = 0; (at = shown.find('\n', at)) != std::string::npos; at += 3) shown.replace(at, 1, "\n  ");
  return shown.starts_with('\n') ? shown : "\n  " + shown;
}

/// Adds what agents alone can count.
void add_counts(Stats& to, const Stats& of) {
  for (const auto count : {&Stats::retried, &Stats::deaths, &Stats::started}) to.*count += of.*count;
  for (const auto cause :
       {&DeathCounts::crashed, &DeathCounts::killed, &DeathCounts::exited, &DeathCounts::out_of_memory,
        &DeathCounts::over_memory_limit, &DeathCounts::misbehaved, &DeathCounts::timed_out, &DeathCounts::cancelled})
    to.deaths_by_cause.*cause += of.deaths_by_cause.*cause;
}

HostState state_of(LinkPhase phase) {
  switch (phase) {
    case LinkPhase::waiting:
    case LinkPhase::lost: return HostState::waiting;
    case LinkPhase::starting: return HostState::starting;
    case LinkPhase::serving: return HostState::serving;
    case LinkPhase::stopping:
    case LinkPhase::ended: break;
  }
  return HostState::ended;
}

}  // namespace

Link::Link(std::size_t index, Host host, std::optional<int> processors)
    : index_(index), host_(std::move(host)), processors_(processors) {}

bool Link::is_hopeful(Clock::time_point now, Clock::duration reconnect_for) const {
  return may_serve() && (serves() || record_.is_hopeful(now, reconnect_for));
}

const Link::Sent* Link::find(TaskNumber number) const {
  const auto found = tasks_.find(number);
  return found == tasks_.end() ? nullptr : &found->second;
}

HostView Link::host_view() const {
  return {serves() && !write_failed_, same_build_, workers_, tasks_.size(), queue_.bytes()};
}

StartView Link::start_view() const {
  if (phase_ == LinkPhase::waiting) return {StartView::Phase::waiting, acts_at_, record_.failures()};
  if (phase_ == LinkPhase::starting) return {StartView::Phase::starting, record_.begun(), record_.failures()};
  return {};
}

HostInfo Link::info() const {
  return {host_.name, state_of(phase_), serves() ? workers_ : 0, static_cast<int>(tasks_.size()),
          serves() ? std::string() : trouble_};
}

void Link::add_stats(Stats& to) const {
  for (const auto& [number, sent] : tasks_) to.running += sent.started && !sent.task->done();
  add_counts(to, stats_before_);
  add_counts(to, stats_);
  if (!serves()) return;
  for (WorkerInfo worker : stats_.workers) {
    worker.host = host_.name;
    to.workers.push_back(std::move(worker));
  }
}

Link::Overdue Link::overdue(Clock::time_point now, Clock::duration silence) const {
  if (!alive()) return Overdue::nothing;
  if (phase_ == LinkPhase::starting) return now >= acts_at_ ? Overdue::first_word : Overdue::nothing;
  if (phase_ == LinkPhase::stopping && now >= acts_at_) return Overdue::farewell;
  return now - heard_ >= silence ? Overdue::any_word : Overdue::nothing;
}

Clock::time_point Link::next_deadline(Clock::duration silence) const {
  auto next = Clock::time_point::max();
  if (phase_ == LinkPhase::starting || phase_ == LinkPhase::stopping) next = acts_at_;
  if (alive() && phase_ != LinkPhase::starting) next = std::min({next, beats_at_, heard_ + silence});
  return next;
}

void Link::change([[maybe_unused]] std::initializer_list<LinkPhase> from, LinkPhase to) noexcept {
  assert(std::ranges::find(from, phase_) != from.end());
  phase_ = to;
}

void Link::start(Clock::time_point now, Clock::duration start_timeout) {
  assert(!carrier_ && tasks_.empty());
  change({LinkPhase::waiting}, LinkPhase::starting);
  record_.begin(now, start_timeout);
  acts_at_ = now + record_.patience();
  errors_.clear();
  write_failed_ = false;
}

void Link::started(Started start) {
  change({LinkPhase::starting}, LinkPhase::starting);
  command_ = std::move(start.command);
  token_ = std::move(start.token);
  reader_ = FrameReader(is_frame_type, marker_of(token_), start.most_payload);
  output_held_ = output_taken_ = 0;
  may_need_program_ = start.may_need_program;
  carrier_ = std::move(start.carrier);
}

void Link::welcomed(const Welcome& note, bool same_build, Clock::time_point now, Clock::time_point beats_at) {
  change({LinkPhase::starting}, LinkPhase::serving);
  welcome_ = note;
  welcome_.host = wire::printable(note.host, wire::Lines::one, wire::most_words);
  same_build_ = same_build;
  record_.served_from(now);
  beats_at_ = beats_at;
}

void Link::stop(bool kill, Clock::time_point most) {
  change({LinkPhase::serving}, LinkPhase::stopping);
  acts_at_ = most;
  push_batch();
  push_note(queue_, FrameType::stop, StopNote{kill});
}

Link::Loss Link::let_go() {
  Loss loss{std::move(carrier_), serves(), {}};
  if (phase_ == LinkPhase::stopping)
    change({LinkPhase::stopping}, LinkPhase::ended);
  else
    change({LinkPhase::starting, LinkPhase::serving}, LinkPhase::lost);
  acts_at_ = Clock::time_point::max();
  return loss;
}

void Link::try_again_at(Clock::time_point when) {
  change({LinkPhase::lost}, LinkPhase::waiting);
  acts_at_ = when;
}

std::unique_ptr<system::PipedProcess> Link::end() {
  phase_ = LinkPhase::ended;
  return std::move(carrier_);
}

void Link::explain(const std::string& why, const Loss& loss) {
  trouble_ = fmt::format("host {}: {}", host_.name, why);
  if (!command_.empty())
    trouble_ += fmt::format("\n  {}: {}", quote(command_),
                            loss.status    ? "ended with " + system::describe(*loss.status)
                            : loss.carrier ? "killed"
                                           : "not started");
  std::string said = last_lines(errors_);
  if (!reader_.marker_seen() && said.empty()) said = last_lines(reader_.banner());
  trouble_ += said;
}

void Link::record(const Loss& loss, Clock::time_point now) {
  if (loss.served) return record_.lost(now);
  record_.failed(now, loss.status);
  if (cannot_run(loss.status)) hopeless_ = true;
}

Link::Tasks Link::take_back() {
  batch_.clear();
  queue_ = FrameQueue();
  knows_function_.clear();
  knows_module_.clear();
  blocks_.clear();
  add_counts(stats_before_, std::exchange(stats_, {}));
  return drop_tasks();
}

Link::Tasks Link::drop_tasks() { return std::exchange(tasks_, {}); }

void Link::introduce(FunctionNumber function, const ToldFunctions& functions) {
  if (knows_function_.size() <= function) knows_function_.resize(function + 1);
  if (knows_function_[function]) return;
  push_batch();
  const ToldFunction& told = functions.at(function);
  for (const std::uint32_t module : told.modules) {
    if (knows_module_.size() <= module) knows_module_.resize(module + 1);
    if (knows_module_[module]) continue;
    push_note(queue_, FrameType::module, module_note(module));
    knows_module_[module] = true;
  }
  push_note(queue_, FrameType::function, told.note);
  knows_function_[function] = true;
}

void Link::tell_block(BlockNumber number, const std::shared_ptr<SharedMemory>& block) {
  if (blocks_.contains(number)) return;
  push_batch();
  push_note(queue_, FrameType::keep_block, BlockNote{number}, payload_of(block));
  blocks_.emplace(number, block);
}

/// Tells the agent which blocks no task will name any more.
void Link::drop_blocks() {
  std::erase_if(blocks_, [&](const auto& item) {
    if (!item.second.expired()) return false;
    push_note(queue_, FrameType::drop_block, BlockNote{item.first});
    return true;
  });
}

void Link::send_task(TaskNote note, TaskPtr task) {
  const Bytes& arguments = task->arguments();
  if (arguments.size() >= large_bytes) {
    push_batch();
    push_note(queue_, FrameType::large_task, note, arguments);
  } else {
    note.arguments.bytes = arguments.view();
    batch_.add(note);
    if (batch_.bytes() >= most_batch_bytes) push_batch();
  }
  tasks_.emplace(note.number, Sent{std::move(task), false});
}

void Link::send_cancel(TaskNumber number, bool kill) {
  push_batch();  // the task before its cancel
  push_note(queue_, FrameType::cancel, CancelNote{number, kill});
}

void Link::send_program(const Bytes& program) {
  may_need_program_ = false;
  queue_.push_bytes(program);
}

void Link::send_workers(int workers) {
  workers_ = workers;
  push_note(queue_, FrameType::resize, workers_);
}

void Link::beat(Clock::time_point now, Clock::duration every) {
  if (!alive() || phase_ == LinkPhase::starting || now < beats_at_) return;
  push_batch();
  drop_blocks();
  queue_.push(FrameType::heartbeat, {});
  beats_at_ = now + every;
}

void Link::flush() {
  if (!carrier_ || write_failed_) return;
  push_batch();
  if (queue_.empty()) return;
  const std::size_t before = queue_.bytes();
  try {
    queue_.write_some(carrier_->to());
  } catch (const std::exception&) {
    write_failed_ = true;  // why, the fleet's thread reads
  }
  // Before its first word the agent is sent nothing but the program: that start gets on.
  if (phase_ == LinkPhase::starting && queue_.bytes() < before) acts_at_ = Clock::now() + record_.patience();
}

void Link::set_started(TaskNumber number) {
  if (const auto found = tasks_.find(number); found != tasks_.end()) found->second.started = true;
}

bool Link::hold_output(std::size_t bytes) {
  if (output_held_ + bytes > output_window + most_last_output) return false;
  output_held_ += bytes;
  return true;
}

bool Link::let_go_output(std::size_t bytes) {
  output_held_ -= bytes;
  output_taken_ += bytes;
  if (output_taken_ < output_window / 4 || !alive()) return false;
  push_note(queue_, FrameType::output_taken, OutputTakenNote{std::exchange(output_taken_, 0)});
  return true;
}

Link::Read Link::read_some(std::size_t& total) {
  const auto room = reader_.room();
  const ssize_t size = ::read(carrier_->from(), room.data(), room.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return Read::nothing;
  if (size <= 0) return Read::end;
  reader_.filled(static_cast<std::size_t>(size));
  total += static_cast<std::size_t>(size);
  heard_ = Clock::now();
  return Read::bytes;
}

bool Link::next_frame(wire::Frame& frame) {
  if (!reader_.next(frame)) return false;
  may_need_program_ = false;
  return true;
}

bool Link::asks_for_program() const { return may_need_program_ && reader_.has_seen(need_of(token_)); }

void Link::read_errors(system::PipedProcess& carrier) {
  std::array<char, 4096> bytes;
  const ssize_t size = ::read(carrier.errors(), bytes.data(), bytes.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return carrier.close_errors();
  errors_.append(bytes.data(), static_cast<std::size_t>(size));
  if (errors_.size() > most_errors_kept) errors_.erase(0, errors_.size() - most_errors_kept);
}

void Link::see_end(Loss& loss, Clock::time_point deadline) {
  system::PipedProcess& carrier = *loss.carrier;
  carrier.close_to();
  carrier.reap(deadline);
  loss.status = carrier.try_reap();
  while (carrier.errors() >= 0) {
    const std::size_t before = errors_.size();
    read_errors(carrier);
    if (errors_.size() == before) break;
  }
}

}  // namespace yoke::remote
