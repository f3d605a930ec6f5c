// The executors: the typed faces of pools.
#include "yoke/executor.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <string_view>

#include "lib/executor/callback_thread.hpp"
#include "lib/executor/end_of_program.hpp"
#include "lib/local/local_pool.hpp"
#include "lib/pool/all_pools.hpp"
#include "lib/pool/in_process_pool.hpp"
#include "lib/system/rights.hpp"
#include "yoke/named_task.hpp"
#include "yoke/parallel_for.hpp"

namespace yoke {
namespace {

/// Of events for the user's observer, on the callback thread.
pool::EventSink sink_of(const std::shared_ptr<Observer>& observer) {
  if (!observer) return {};
  return [observer](pool::PoolEvent event) {
    try {
      post_callback([observer, event = std::move(event)] { observer->on_event(event.to_event()); });
    } catch (...) {  // no memory or no thread for it
      report_error(std::current_exception());
    }
  };
}

bool in_process_wanted() { return system::own_variable("YOKE_IN_PROCESS") == "1"; }

}  // namespace

std::shared_ptr<Pool> make_process_pool(const ExecutorOptions& options) {
  if (in_process_wanted()) return make_in_process_pool(options);
  finish_pools_at_exit();
  return local::LocalPool::make(options, sink_of(options.observer));
}

std::shared_ptr<Pool> make_in_process_pool(const ExecutorOptions& options) {
  auto pool = std::make_shared<pool::InProcessPool>(options, sink_of(options.observer));
  pool::remember_pool(pool, pool::AtEnd::leave);
  return pool;
}

void detail::throw_no_pool() { throw Error("this executor has no pool: it was moved from, or never had one"); }

void Executor::send(TaskPtr task) {
  detail::pool_of(pool_);
  task->set_pool(pool_);
  pool_->submit(std::move(task));
}

ProcessPoolExecutor::ProcessPoolExecutor(ExecutorOptions options) : Executor(make_process_pool(options)) {}

ProcessPoolExecutor::ProcessPoolExecutor(int max_workers)
    : ProcessPoolExecutor(ExecutorOptions{.max_workers = max_workers}) {}

ProcessPoolExecutor& ProcessPoolExecutor::operator=(ProcessPoolExecutor&& other) noexcept {
  std::swap(pool_, other.pool_);  // the other's destructor shuts down what was here
  return *this;
}

ProcessPoolExecutor::~ProcessPoolExecutor() {
  if (pool_) pool_->shutdown({.wait = true});
}

bool Initializer::operator==(const Initializer& other) const {
  if (call_ == other.call_) return true;
  if (!call_ || !other.call_) return false;
  if (call_->callable != other.call_->callable || call_->target != other.call_->target) return false;
  const auto mine = call_->arguments.view();
  const auto theirs = other.call_->arguments.view();
  return mine.size() == theirs.size() && std::equal(mine.begin(), mine.end(), theirs.begin());
}

Future<PackedValue> submit_named(Executor& executor, const TaskOptions& options, const NamedTask& task,
                                 Bytes arguments) {
  boost::intrusive_ptr<detail::TaskOf<PackedValue>> call(
      new detail::TaskOf<PackedValue>(*task.callable, nullptr, std::move(arguments)));
  TaskOptions named = options;
  if (named.name.empty()) named.name = task.name;
  call->set_options(std::move(named));
  executor.send(call);
  return Future<PackedValue>(std::move(call));
}

void detail::throw_loop_from(std::int64_t first) {
  throw std::invalid_argument(fmt::format(
      "a loop from {} to a 64-bit unsigned number has no type for its index: convert both ends to std::int64_t",
      first));
}

}  // namespace yoke
