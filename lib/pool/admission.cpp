#include "lib/pool/admission.hpp"

#include <utility>

#include "lib/pool/failure.hpp"

namespace yoke::pool {

void Admission::check() const {
  if (broken_) std::rethrow_exception(broken_->make(""));
  if (closed()) throw ShutdownExecutorError("the executor is shut down and takes no more tasks");
}

void Admission::close() noexcept {
  if (state_ == State::open) state_ = State::draining;
}

bool Admission::kill() noexcept { return std::exchange(state_, State::killing) != State::killing; }

bool Admission::break_with(std::shared_ptr<const Failure> failure) noexcept {
  if (broken_) return false;
  broken_ = std::move(failure);
  return true;
}

std::shared_ptr<const Failure> Admission::failure_of_killed() {
  return std::make_shared<TextFailure<ShutdownExecutorError>>(
      "it was not finished when the executor was shut down with kill_workers");
}

}  // namespace yoke::pool
