// Submits the batches, takes their counts in the order in which they come.
#include "job.hpp"

#include <yoke/yoke.hpp>

namespace wordcount {
namespace {

using Pending = std::vector<yoke::Future<BatchCount>>;

void add(BatchCount batch, Counts& counts) {
  counts.files += batch.files;
  counts.bytes += batch.bytes;
  counts.identifiers += batch.identifiers;
  merge(batch, counts.tally);
  for (auto& file : batch.unreadable) counts.unreadable.push_back(std::move(file));
}

/// The batch of a future, by the task that they share.
const Batch& batch_of(const yoke::Future<BatchCount>& future, const Pending& futures,
                      const std::vector<Batch>& batches) {
  for (std::size_t i = 0; i < futures.size(); ++i)
    if (&futures[i].task() == &future.task()) return batches[i];
  throw std::logic_error("a future that was not submitted");
}

/// Counts what can be counted; returns the files of the batches that failed, each as a batch of its own.
std::vector<Batch> count_once(yoke::ProcessPoolExecutor& pool, const std::vector<Batch>& batches, Counts& counts) {
  Pending futures;
  for (const auto& batch : batches) futures.push_back(pool.submit(count_files, batch));
  std::vector<Batch> again;
  const auto failed = [&](const Batch& batch, bool killed, const char* report) {
    if (batch.size() > 1)
      for (const auto& path : batch) again.push_back({path});
    else
      counts.lost.push_back({batch.front(), killed, report});
  };
  for (auto future : yoke::as_completed(futures)) {
    try {
      add(future.result(), counts);
    } catch (const yoke::TerminatedWorkerError& error) {
      failed(batch_of(future, futures, batches), true, error.what());
    } catch (const std::exception& error) {
      failed(batch_of(future, futures, batches), false, error.what());
    }
  }
  return again;
}

}  // namespace

Counts count_all(const std::vector<Batch>& batches, int workers) {
  Counts counts;
  const auto begin = std::chrono::steady_clock::now();
  yoke::ProcessPoolExecutor pool(workers);
  const auto again = count_once(pool, batches, counts);
  if (!again.empty()) count_once(pool, again, counts);
  counts.seconds = std::chrono::steady_clock::now() - begin;
  return counts;
}

}  // namespace wordcount
