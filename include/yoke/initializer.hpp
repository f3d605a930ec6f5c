// Initializer: a packed call that every worker of a pool makes once, before its first task. Made by yoke::initializer.
//
// Immutable and cheap to copy; safe from any thread. Two are equal if they call the same function with equal packed
// arguments.
#pragma once

#include "yoke/language.hpp"

#include <memory>

#include "yoke/bytes.hpp"

namespace yoke {

struct Callable;

class YOKE_API Initializer {
 public:
  Initializer() = default;
  Initializer(const Callable& callable, const void* target, Bytes arguments)
      : call_(std::make_shared<const PackedCall>(PackedCall{&callable, target, std::move(arguments)})) {}

  explicit operator bool() const noexcept { return call_ != nullptr; }
  bool operator==(const Initializer& other) const;

  // For pools; only if there is one.
  const Callable& callable() const noexcept { return *call_->callable; }
  const void* target() const noexcept { return call_->target; }
  const Bytes& arguments() const noexcept { return call_->arguments; }

 private:
  struct PackedCall {
    const Callable* callable;
    const void* target;
    Bytes arguments;
  };
  std::shared_ptr<const PackedCall> call_;
};

}  // namespace yoke
