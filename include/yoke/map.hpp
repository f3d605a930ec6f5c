// map: a function over ranges, in chunks. MapResults is the input range of what comes back.
//
// Items are packed when they are fetched: at the call of map, or, with buffersize, as results are taken. An item's
// exception is thrown when it is dereferenced, and iteration may go on after it. So is the TerminatedWorkerError of an
// item whose worker died: the others of its chunk go on elsewhere. Destroying the results cancels what no worker has
// started.
//
// What a range throws is thrown by map, or, where it is read lazily, by ++ of the iterator, which has then moved on all
// the same: the items fetched before are there, and the range is asked again. It is over when it throws twice with
// nothing fetched meanwhile.
#pragma once

#include "yoke/language.hpp"

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <ranges>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "yoke/future.hpp"
#include "yoke/pool.hpp"
#include "yoke/task_type.hpp"

namespace yoke {
namespace wire {
class LostItems;  // both lib/wire/chunk.hpp
class JoinedBuffer;
}  // namespace wire
namespace detail {

/// Packs the exception in flight, as the worker's side does for a task that threw.
YOKE_API void pack_current_exception(PackBuffer& out, Phase phase);
YOKE_API std::exception_ptr unpack_exception(std::span<const std::byte> packed, int worker_pid,
                                             const std::string& task_name);
YOKE_API std::exception_ptr unpack_exception_object(const Object& packed, int worker_pid, const std::string& task_name);

/// Collects the results of one chunk in the worker: values in order, and which items threw what.
class YOKE_API ChunkResult {
 public:
  static constexpr std::uint32_t packed_values = UINT32_MAX;
  /// `value_size`: of plain values; packed_values if each is packed as msgpack.
  ChunkResult(Call& call, std::uint64_t count, std::uint32_t value_size);
  void item_threw(std::size_t index, Phase phase);  // in a catch block
  /// After each item, whose value is in the call's result. False: the others are left for later.
  bool item_done();
  /// The same of one whose value, if it has one, is the last `size` bytes of the result, as they are.
  template <std::size_t size>
  bool value_done() {
    const bool last = done_ + 1 + call_.first_item() == count_;  // the result comes at once
    if (last || errors_.size() != kept_errors_ || !call_.keep_value<size>(out().data() + kept_)) return item_done();
    ++done_;
    kept_ += size;
    return true;
  }
  void finish();

 private:
  PackBuffer& out() const noexcept { return call_.result(); }
  Call& call_;
  std::uint64_t count_;
  std::uint32_t value_size_;
  std::size_t start_;
  std::uint64_t done_ = 0;
  PackBuffer errors_;
  std::uint32_t error_count_ = 0;
  std::size_t kept_ = 0;  // of the call's result, and of errors_: what keep_item() has been given
  std::size_t kept_errors_ = 0;
};

/// The same in the caller, of a task that has a value. Throws SerializationError if it is no chunk of `count` items.
class YOKE_API ChunkReader {
 public:
  ChunkReader(const Task& task, std::size_t count);
  /// The message with which that item came: that of another says nothing of its shared memory.
  const Bytes& message(std::size_t index) const;
  bool all_have_values() const noexcept { return !errors_ && !lost_; }
  /// Null if the item returned a value.
  std::exception_ptr error(std::size_t index) const;
  std::span<const std::byte> values() const noexcept { return values_; }
  /// One of plain values of that size, which is not 0.
  std::span<const std::byte> value(std::size_t index, std::size_t size) const {
    if (values_.size() / size <= index) throw_wrong_message_size(values_.size(), (index + 1) * size);
    return values_.subspan(index * size, size);
  }

 private:
  const Task& task_;
  std::span<const std::byte> values_;
  std::optional<Message> errors_;
  std::unordered_map<std::uint64_t, const Object*> by_item_;
  const wire::LostItems* lost_ = nullptr;
  const wire::JoinedBuffer* joined_ = nullptr;  // if the value came in parts
};

/// Items that were fetched for one chunk.
struct Fetched {
  std::size_t count = 0;
  bool at_end = false;  // there are no more
};
/// Fetches up to `most` items, and packs them as the arguments of one chunk. What it throws is of the item after those.
using ChunkSource = std::function<void(PackBuffer&, std::size_t most, Fetched&)>;

/// The chunks of one map: submits them, and hands them back as their turn comes. One thread at a time.
class YOKE_API MapRun {
 public:
  struct Chunk {
    boost::intrusive_ptr<Task> task;
    std::size_t count = 0;
  };
  MapRun(std::function<void(TaskPtr)> send, const Callable& callable, const void* target, ChunkSource source,
         MapOptions options, std::optional<std::size_t> items, int workers);
  ~MapRun();  // cancels what has not started
  MapRun(const MapRun&) = delete;
  MapRun& operator=(const MapRun&) = delete;
  /// The next chunk, done or not; empty when there is none left.
  std::optional<Chunk> next();
  /// Waits for the chunk; throws TimeoutError, or what made all of it fail: a pool that broke, or was shut down.
  void await(const Chunk& chunk) const;
  /// The items of that chunk have been taken: as many more may be fetched. Returns what that threw: those that were
  /// fetched before it are there for next().
  std::exception_ptr taken(std::size_t items);

 private:
  void fill();
  void submit(boost::intrusive_ptr<Task> task, std::size_t count);
  void cancel_all() noexcept;
  struct State;
  std::unique_ptr<State> state_;
};

/// Runs one callable over the items of a chunk.
template <class F, class... A>
struct ChunkType : TaskType<F, A...> {
  using Base = TaskType<F, A...>;
  using All = typename Base::All;
  using Result = typename Base::Result;
  static constexpr std::size_t head_size = 3 * sizeof(std::uint64_t);
  static constexpr bool plain_result = [] {
    if constexpr (std::is_void_v<Result>)
      return true;
    else
      return is_plain<Result>();
  }();

  static void run_item(Call& call, All& all, ChunkResult& chunk, std::size_t index, ResultForm form = {}) {
    Phase phase = Phase::run;
    [[maybe_unused]] const std::size_t before = call.result().size();
    try {
      if constexpr (std::is_void_v<Result>) {
        Base::invoke(call.target(), all);
      } else {
        auto&& result = Base::invoke(call.target(), all);
        phase = Phase::encode;
        form.in_array = true;
        pack_result<Result>(call, result, form);
      }
    } catch (...) {
      call.result().truncate(before);
      pack_failed_item(call, chunk, index, phase, form);
    }
  }
  /// In a catch block: something of the right size in the value's place, and the exception aside.
  static void pack_failed_item(Call& call, ChunkResult& chunk, std::size_t index, Phase phase, ResultForm form) {
    if (has_plain_values(form)) {
      if constexpr (!std::is_void_v<Result>) std::memset(call.result().extend(sizeof(Result)), 0, sizeof(Result));
    } else {
      Packer(call.result()).pack_nil();
    }
    chunk.item_threw(index, phase);
  }
  /// No values at all are plain ones, in either form.
  static bool has_plain_values(ResultForm form) { return plain_result && (std::is_void_v<Result> || !form.objects); }

  /// Of the values in a result of that form.
  static std::uint32_t value_size(ResultForm form) {
    if (!has_plain_values(form)) return ChunkResult::packed_values;
    if constexpr (std::is_void_v<Result> || !plain_result)
      return 0;
    else
      return sizeof(Result);
  }

  /// Arguments: the number of items, of the first in its map, and value_size(), then all values of each item, the
  /// callable's own state first.
  static std::span<const std::byte> take_count(std::span<const std::byte> in, std::uint64_t& count) {
    if (in.size() < head_size) throw_wrong_message_size(in.size(), head_size);
    std::memcpy(&count, in.data(), sizeof count);
    return in.subspan(head_size);
  }

  static void trampoline(Call& call) {
    std::uint64_t count = 0;
    const auto body = take_count(call.arguments(), count);
    ChunkResult chunk(call, count, value_size({}));
    if constexpr (Values<All>::plain) {
      constexpr std::size_t size = Values<All>::plain_size;
      if (size != 0 && body.size() / size != count) throw_wrong_message_size(body.size(), size * count);
      call.enter(Phase::run);
      for (std::size_t i = call.first_item(); i < count; ++i) {
        All all = Values<All>::unpack_plain(body.subspan(i * size, size));
        run_item(call, all, chunk, i);
        if (!done(chunk)) break;
      }
    } else {
      run_items(call, body, count, chunk, {});
    }
    finish(call, chunk);
  }
  static void object_trampoline(Call& call) {
    std::uint64_t count = 0;
    const auto body = take_count(call.arguments(), count);
    const ResultForm form{.objects = true};
    ChunkResult chunk(call, count, value_size(form));
    run_items(call, body, count, chunk, form);
    finish(call, chunk);
  }
  static void run_items(Call& call, std::span<const std::byte> body, std::uint64_t count, ChunkResult& chunk,
                        const ResultForm form) {
    const Message message(body);
    const auto items = unpack_array(message.object(), count);
    for (std::size_t i = call.first_item(); i < count; ++i) {
      std::optional<All> all;
      ResultForm of_item = form;
      call.enter(Phase::decode);
      try {
        all.emplace(Values<All>::unpack_object(items[i], of_item));
      } catch (...) {
        pack_failed_item(call, chunk, i, Phase::decode, form);
      }
      if (all) {
        call.enter(Phase::run);
        run_item(call, *all, chunk, i, of_item);
        all.reset();  // what an argument's destructor does is of its item
      }
      if (!chunk.item_done()) break;
    }
  }
  static bool done(ChunkResult& chunk) {
    if constexpr (std::is_void_v<Result>)
      return chunk.value_done<0>();
    else if constexpr (plain_result)
      return chunk.value_done<sizeof(Result)>();
    else
      return chunk.item_done();
  }
  static void finish(Call& call, ChunkResult& chunk) {
    call.enter(Phase::encode);
    chunk.finish();
    call.publish();
  }
  static inline Callable callable{.trampoline = &trampoline, .type = &typeid(F), .chunk = true};
  static inline Callable object_callable{
      .trampoline = &object_trampoline, .type = &typeid(F), .objects = true, .chunk = true};
  static const Callable& callable_for([[maybe_unused]] const std::optional<ObjectForm>& form) {
    if constexpr (Base::has_object_form)
      if (form) return object_callable;
    return callable;
  }
};

}  // namespace detail

/// Moving it leaves its iterators valid. One that was moved from has no results: begin() throws
/// std::future_error(no_state).
template <class R>
class MapResults {
  class Reading;

 public:
  explicit MapResults(std::unique_ptr<detail::MapRun> run) : reading_(std::make_unique<Reading>(std::move(run))) {}

  class iterator {
   public:
    using value_type = R;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;
    iterator() = default;
    explicit iterator(Reading* reading) : reading_(reading) {}
    /// Waits for the item; throws what it threw, TimeoutError, or what befell its worker.
    R operator*() const { return reading_->current(); }
    iterator& operator++() {
      reading_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return reading_->at_end(); }

   private:
    Reading* reading_ = nullptr;
  };
  iterator begin() {
    if (!reading_) detail::throw_no_state();
    reading_->begin();
    return iterator(reading_.get());
  }
  std::default_sentinel_t end() const { return {}; }

  /// All results; throws the first exception.
  auto get() {
    if constexpr (std::is_void_v<R>) {
      for (auto it = begin(); it != end(); ++it) *it;
    } else {
      std::vector<R> all;
      for (auto it = begin(); it != end(); ++it) all.push_back(*it);
      return all;
    }
  }

 private:
  /// Where the iterators are, which are all at the same item.
  class Reading {
   public:
    explicit Reading(std::unique_ptr<detail::MapRun> run) : run_(std::move(run)) {}
    void begin() {
      if (!started_) next_chunk();
      started_ = true;
    }
    R current() {
      if (!reader_) {
        run_->await(*chunk_);
        reader_.emplace(*chunk_->task, chunk_->count);
      }
      if (!reader_->all_have_values())
        if (auto error = reader_->error(index_)) std::rethrow_exception(error);
      if constexpr (std::is_void_v<R>) {
        return;
      } else {
        if constexpr (detail::is_plain<R>())
          if (plain_values()) return detail::unpack_plain_result<R>(reader_->value(index_, sizeof(R)));
        if (!message_) message_.emplace(reader_->values());
        try {
          const detail::ResultScope scope(reader_->message(index_));
          return unpack_value<R>(detail::unpack_array(message_->object(), chunk_->count)[index_]);
        } catch (...) {
          detail::throw_serialization_error("a result", "unpacked");
        }
      }
    }
    void advance() {
      if (++index_ == chunk_->count) next_chunk();
    }
    bool at_end() const { return !chunk_; }

   private:
    bool plain_values() const {
      if constexpr (std::is_void_v<R>)
        return true;
      else
        return detail::is_plain<R>() && !chunk_->task->callable().objects;
    }
    void next_chunk() {
      message_.reset();
      reader_.reset();
      const std::size_t taken = chunk_ ? chunk_->count : 0;
      chunk_.reset();
      index_ = 0;
      const std::exception_ptr error = taken == 0 ? nullptr : run_->taken(taken);
      chunk_ = run_->next();
      if (error) std::rethrow_exception(error);
    }

    std::unique_ptr<detail::MapRun> run_;
    bool started_ = false;
    std::optional<detail::MapRun::Chunk> chunk_;
    std::size_t index_ = 0;
    std::optional<detail::ChunkReader> reader_;
    std::optional<Message> message_;
  };

  std::unique_ptr<Reading> reading_;
};

namespace detail {

template <class R>
std::optional<std::size_t> known_size(R& range) {
  if constexpr (std::ranges::sized_range<R>)
    return std::ranges::size(range);
  else if constexpr (std::ranges::forward_range<R> && std::ranges::common_range<R>)  // so it is not endless
    return static_cast<std::size_t>(std::ranges::distance(range));
  else
    return std::nullopt;
}

/// Starts a map of `f` over the zipped ranges. Ranges given as lvalues are referred to, and must outlive a lazy map.
template <class F, class... Ranges>
auto start_map(std::function<void(TaskPtr)> send, const Pool& pool, const MapOptions& options, F&& f,
               Ranges&&... ranges) {
  using C = CallableType<F>;
  using Type = ChunkType<C, std::ranges::range_reference_t<Ranges>...>;
  const C callable = f;
  // The ranges, and a cursor into each, live as long as the source.
  auto inputs = std::make_shared<std::tuple<Ranges...>>(std::forward<Ranges>(ranges)...);
  std::optional<std::size_t> items;
  const bool sized = std::apply(
      [&](auto&... range) {
        const auto count = [&](const std::optional<std::size_t>& size) {
          if (size) items = std::min(items.value_or(*size), *size);
          return size.has_value();
        };
        return (count(known_size(range)) && ...);
      },
      *inputs);
  if (!sized || options.buffersize) items.reset();
  auto cursors = std::apply([](auto&... range) { return std::make_tuple(std::ranges::begin(range)...); }, *inputs);
  std::optional<ObjectForm> form = Type::form_for(pool);
  ChunkSource source = [inputs, cursors = std::make_shared<decltype(cursors)>(std::move(cursors)), callable, form,
                        reducers = pool.job_reducers(), steps = sizeof...(Ranges),
                        fetched = std::uint64_t{0}](PackBuffer& out, std::size_t most, Fetched& all) mutable {
    if (form && form->reducers) form->reducers = &reducers;  // a copy: the pool may be replaced meanwhile
    constexpr auto index = std::index_sequence_for<Ranges...>();
    // `steps`: cursors that are at the next item. One that throws is asked again, and the others stay in step.
    const auto step = [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((I < steps ? void() : (++std::get<I>(*cursors), void(++steps))), ...);
    };
    const auto at_end = [&]<std::size_t... I>(std::index_sequence<I...>) {
      return ((std::get<I>(*cursors) == std::ranges::end(std::get<I>(*inputs))) || ...);
    };
    // The head is written last, and, before msgpack items, the head of a msgpack array of 32-bit length.
    const bool plain = Values<typename Type::All>::plain && !form;
    constexpr std::size_t head = Type::head_size;
    out.extend(head + (plain ? 0 : 5));
    std::size_t whole = out.size();
    const auto finish = [&] {
      const std::uint64_t words[] = {all.count, fetched, Type::value_size({.objects = form.has_value()})};
      static_assert(sizeof words == head);
      std::memcpy(out.data(), words, head);
      fetched += all.count;
      if (plain) return;
      out.data()[head] = std::byte{0xdd};
      for (unsigned i = 0; i < 4; ++i) out.data()[head + 1 + i] = static_cast<std::byte>(all.count >> (24 - 8 * i));
    };
    try {
      while (all.count < most) {
        step(index);
        all.at_end = at_end(index);
        if (all.at_end) break;
        [&]<std::size_t... I>(std::index_sequence<I...>) {
          Type::pack_arguments(out, form ? &*form : nullptr, callable, *std::get<I>(*cursors)...);
        }(index);
        steps = 0;
        whole = out.size();
        ++all.count;
      }
    } catch (...) {
      out.truncate(whole);
      finish();
      throw;
    }
    finish();
  };
  return MapResults<typename Type::Result>(std::make_unique<MapRun>(std::move(send), Type::callable_for(form),
                                                                    Type::Cross::target(callable), std::move(source),
                                                                    options, items, pool.max_workers()));
}

/// Whether there can be a map of an F over these ranges.
template <class F, class... Ranges>
constexpr bool is_map() {
  if constexpr (sizeof...(Ranges) > 0 && (std::ranges::input_range<Ranges> && ...))
    return is_task<CallableType<F>, std::ranges::range_reference_t<Ranges>...>();
  else
    return false;
}
/// Does not compile, and says why there is none.
template <class F, class... Ranges>
constexpr auto refuse_map() {
  constexpr bool ranges = (std::ranges::input_range<Ranges> && ...);
  static_assert(sizeof...(Ranges) > 0, "yoke: map needs at least one range");
  static_assert(
      ranges,
      "yoke: map takes the function, and then ranges, an item of each for a call: for one call there is submit()");
  if constexpr (sizeof...(Ranges) > 0 && ranges)
    refuse_task<CallableType<F>, std::ranges::range_reference_t<Ranges>...>();
}

}  // namespace detail
}  // namespace yoke
