// YOKE_TASK(fn): gives a function a name by which the command line and pools on other machines can call it.
//
// At namespace scope, once for each function, in an executable or a shared library:
//
//   int count_lines(const std::string& path);
//   YOKE_TASK(count_lines)
//
// Arguments and result of a named task are always msgpack: an array of the arguments, and the value.
#pragma once

#include "yoke/language.hpp"

#include <string>
#include <string_view>
#include <vector>

#include "yoke/executor.hpp"
#include "yoke/future.hpp"
#include "yoke/join.hpp"
#include "yoke/map.hpp"
#include "yoke/task_type.hpp"
#include "yoke/version.hpp"

namespace yoke {

/// A task by name. Lives as long as the module that registered it. Members are only ever added at the end, so that
/// `version` can be read of a module compiled with other headers.
struct NamedTask {
  const char* name;
  const char* version;  // YOKE_VERSION that the module was compiled with
  std::size_t parameters;
  const char* signature;  // as the compiler spells the function's type, mangled
  Callable* callable;
  Callable* chunk_callable;  // the same for many calls in one task
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

/// Many calls in one task. `arguments`: a msgpack array of as many arrays of arguments. The result is for
/// detail::ChunkReader, whose values() are one msgpack array; a call that threw does not keep the others from running.
inline Future<PackedValue> submit_named_chunk(Executor& executor, const TaskOptions& options, const NamedTask& task,
                                              Bytes arguments);

namespace detail {

template <>
inline PackedValue unpack_result<PackedValue>(const Bytes& in, bool) {
  return {in};
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
    Phase phase = Phase::decode;
    run_one(call, arguments, phase);
    call.publish();
  }
  static void chunk_trampoline(Call& call) {
    const Message message(call.arguments());
    const auto items = unpack_array(message.object());
    ChunkResult chunk(call, items.size(), ChunkResult::packed_values);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::size_t before = call.result().size();
      Phase phase = Phase::decode;
      call.enter(phase);
      try {
        Arguments arguments = Values<Arguments>::unpack_object(items[i]);
        run_one(call, arguments, phase);
      } catch (...) {
        call.result().truncate(before);
        Packer(call.result()).pack_nil();
        chunk.item_threw(i, phase);
      }
      chunk.item_done();
    }
    call.enter(Phase::encode);
    chunk.finish();
    call.publish();
  }
  static void run_one(Call& call, Arguments& arguments, Phase& phase) {
    const auto enter = [&](Phase next) { call.enter(phase = next); };
    enter(Phase::run);
    Packer packer(call.result(), Packer::Arrays::elements);
    if constexpr (std::is_void_v<Result>) {
      invoke(arguments, std::make_index_sequence<std::tuple_size_v<Arguments>>());
      enter(Phase::encode);
      packer.pack_nil();
    } else {
      auto&& result = invoke(arguments, std::make_index_sequence<std::tuple_size_v<Arguments>>());
      enter(Phase::encode);
      pack_value<Result>(packer, result);
    }
  }
  template <std::size_t... I>
  static decltype(auto) invoke(Arguments& arguments, std::index_sequence<I...>) {
    return Type::call(*Function, Declared(), std::get<I>(arguments)...);
  }
  static inline Callable callable{&trampoline, &typeid(F)};
  static inline Callable chunk_callable{&chunk_trampoline, &typeid(F)};
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

inline Future<PackedValue> submit_named_chunk(Executor& executor, const TaskOptions& options, const NamedTask& task,
                                              Bytes arguments) {
  boost::intrusive_ptr<detail::TaskOf<PackedValue>> chunk(
      new detail::TaskOf<PackedValue>(*task.chunk_callable, nullptr, std::move(arguments)));
  TaskOptions named = options;
  if (named.name.empty()) named.name = task.name;
  chunk->set_options(std::move(named));
  executor.send(chunk);
  return Future<PackedValue>(std::move(chunk));
}

}  // namespace yoke

#define YOKE_TASK(function)                                                                                        \
  namespace {                                                                                                      \
  const ::yoke::detail::TaskRegistration YOKE_JOIN(yoke_task_, __COUNTER__)(                                       \
      {#function, YOKE_VERSION, std::tuple_size_v<typename ::yoke::detail::NamedTrampoline<&function>::Arguments>, \
       typeid(function).name(), &::yoke::detail::NamedTrampoline<&function>::callable,                             \
       &::yoke::detail::NamedTrampoline<&function>::chunk_callable});                                              \
  }
