// YOKE_TASK(fn): gives a function a name by which the command line and pools on other machines can call it.
//
// At namespace scope, once for each function, in an executable or a shared library:
//
//   int count_lines(const std::string& path);
//   YOKE_TASK(count_lines)
//
// Arguments and result of a named task are always msgpack: an array of the arguments, and the value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "yoke/callable.hpp"
#include "yoke/executor.hpp"
#include "yoke/future.hpp"
#include "yoke/version.hpp"

namespace yoke {

/// A task by name. Lives as long as the module that registered it.
struct NamedTask {
  const char* name;
  const char* version;  // YOKE_VERSION that the module was compiled with
  std::size_t parameters;
  const char* signature;  // as the compiler spells the function's type, mangled
  Callable* callable;
};

/// All tasks registered in this process, in order of registration.
YOKE_API std::vector<const NamedTask*> named_tasks();

/// A value as packed msgpack, kept packed: the result of a named task called without its types.
struct PackedValue {
  Bytes bytes;
};

/// Calls a named task with packed arguments: a msgpack array of exactly `task.parameters` values. The bytes of the
/// result are one msgpack value. The module that registered the task must stay loaded until the future is done.
YOKE_API Future<PackedValue> submit_named(Executor& executor, const TaskOptions& options, const NamedTask& task,
                                          Bytes arguments);

namespace detail {

template <>
inline PackedValue unpack_result<PackedValue>(std::span<const std::byte> in) {
  return {Bytes(in)};
}

YOKE_API void register_task(const NamedTask* task);
YOKE_API void forget_task(const NamedTask* task);

template <auto Function>
struct NamedTrampoline {
  using F = std::remove_pointer_t<decltype(Function)>;
  using Type = TaskType<std::add_pointer_t<F>>;
  using Result = std::remove_cvref_t<typename Signature<F>::Result>;
  using Declared = typename Signature<F>::Parameters;
  using Arguments = typename Declared::Tuple;

  static void trampoline(Call& call) {
    const Message message(call.arguments());
    Arguments arguments = Values<Arguments>::unpack_object(message.object());
    call.enter(Phase::run);
    Packer packer(call.result());
    if constexpr (std::is_void_v<Result>) {
      invoke(arguments, std::make_index_sequence<std::tuple_size_v<Arguments>>());
      call.enter(Phase::encode);
      packer.pack_nil();
    } else {
      auto&& result = invoke(arguments, std::make_index_sequence<std::tuple_size_v<Arguments>>());
      call.enter(Phase::encode);
      pack_value<Result>(packer, result);
    }
    call.publish();
  }
  template <std::size_t... I>
  static decltype(auto) invoke(Arguments& arguments, std::index_sequence<I...>) {
    return Type::call(*Function, Declared(), std::get<I>(arguments)...);
  }
  static inline Callable callable{&trampoline, &typeid(F)};
};

/// Registers on construction, forgets on destruction (dlclose).
class TaskRegistration {
 public:
  explicit TaskRegistration(const NamedTask& task) : task_(task) { register_task(&task_); }
  ~TaskRegistration() { forget_task(&task_); }
  TaskRegistration(const TaskRegistration&) = delete;
  TaskRegistration& operator=(const TaskRegistration&) = delete;

 private:
  NamedTask task_;
};

}  // namespace detail
}  // namespace yoke

#define YOKE_TASK(function)                                                                                     \
  namespace {                                                                                                   \
  const ::yoke::detail::TaskRegistration yoke_task_##function(                                                  \
      {#function, YOKE_VERSION,                                                                                 \
       std::tuple_size_v<typename ::yoke::detail::NamedTrampoline<&function>::Arguments>,                       \
       typeid(function).name(), &::yoke::detail::NamedTrampoline<&function>::callable});                        \
  }
