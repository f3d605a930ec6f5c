// Fuzzer: a parent whose worker writes what it likes into their segment and into their socket, before the parent looks
// and while it does.
//
// The input is a list of steps of both sides, played in turn by this thread, and a list of words that a second thread
// writes meanwhile, over and over. Whatever comes of it, a result is the right task's, is delivered once, and leaves no
// descriptor behind; sanitizers look after the rest.
//
// Run by hand: build/tests/fuzz/fuzz_hostile_worker -max_total_time=600 NEW_INPUTS_FOLDER
// tests/fuzz/corpus/hostile_worker
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <optional>
#include <thread>
#include <vector>

#include "lib/channel/parent_channel.hpp"
#include "lib/channel/slot.hpp"
#include "lib/system/warm_memory.hpp"
#include "lib/wire/shared_memory.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/unpack.hpp"
#include "yoke/yoke.hpp"

namespace {

using namespace yoke;
using namespace yoke::channel;
using yoke_fuzz::Input;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

void nothing(Call&) {}
Callable callable{&nothing, &typeid(void)};

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

/// One that a worker may hand over in place of its result's memory.
system::UniqueFd strange_descriptor(Input& input) {
  const auto memfd = [](off_t size) {
    system::UniqueFd fd(::memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    require(::ftruncate(fd.get(), size) == 0, "a memfd is to be had");
    return fd;
  };
  switch (input.below(8)) {
    case 0: {
      const auto content = input.bytes(input.take<std::uint8_t>());
      auto fd = memfd(0);
      require(::pwrite(fd.get(), content.data(), content.size(), 0) >= 0, "a memfd can be written");
      return fd;
    }
    case 1: return memfd(static_cast<off_t>(input.take<std::uint16_t>()));
    case 2: return memfd(off_t{1} << 40);  // takes no memory until it is read
    case 3: return system::UniqueFd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    case 4: return system::UniqueFd(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
    case 5: return system::UniqueFd(::open("/", O_PATH | O_CLOEXEC));
    case 6: {
      const auto fd = memfd(4096);
      return system::UniqueFd(::open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_WRONLY | O_CLOEXEC));
    }
    default: {
      int ends[2];
      require(::pipe2(ends, O_CLOEXEC) == 0, "a pipe is to be had");
      const std::size_t kept = input.below(2);
      ::close(ends[1 - kept]);
      return system::UniqueFd(ends[kept]);
    }
  }
}

class Play {
 public:
  explicit Play(Input input) : input_(input) {
    socket_.reset(::fcntl(parent_.worker_socket(), F_DUPFD_CLOEXEC, 3));
    parent_.close_worker_ends();
  }
  ~Play() {
    stop_.store(true);
    if (meanwhile_.joinable()) meanwhile_.join();
  }
  Play(const Play&) = delete;
  Play& operator=(const Play&) = delete;

  void run() {
    write_meanwhile();
    while (!input_.empty()) {
      switch (input_.below(12)) {
        case 0:
        case 1: push(); break;
        case 2:
        case 3: publish(); break;
        case 4: scribble(); break;
        case 5: send(); break;
        case 6: take_back(); break;
        case 7: look_around(); break;
        case 8: ring(); break;
        default: collect(); break;
      }
    }
    while (collect()) {
    }
    look_around();
  }

 private:
  // The worker.

  Segment& segment() { return *reinterpret_cast<Segment*>(memory_.data()); }

  /// A place that the parent reads, as an offset into the segment.
  std::size_t place() {
    const auto offset_of = [&](const auto& member) {
      return static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&member) - memory_.data());
    };
    const std::uint64_t position = parent_.first_uncollected() + input_.below(4);
    const std::size_t within = input_.take<std::uint8_t>();
    switch (input_.below(7)) {
      case 0: return offset_of(segment().tasks[position % slot_count]) + within % sizeof(TaskSlot);
      case 1: return offset_of(segment().status) + within % sizeof(WorkerStatus);
      case 2: return offset_of(segment().black_box) + input_.take<std::uint16_t>() % sizeof(BlackBox);
      case 3: return input_.take<std::uint16_t>() % offset_of(segment().tasks[0]);  // bells, life, status
      case 4: return input_.take<std::uint32_t>() % sizeof(Segment);
      default: return offset_of(segment().results[position % slot_count]) + within % sizeof(ResultSlot);
    }
  }

  void write_meanwhile() {
    struct Change {
      std::atomic<std::uint32_t>* word;
      std::uint32_t value;
    };
    std::vector<Change> changes;
    for (auto count = input_.below(9); count != 0; --count) {
      auto* word = reinterpret_cast<std::atomic<std::uint32_t>*>(memory_.data() + place() / 4 * 4);
      changes.push_back({word, input_.take<std::uint32_t>()});
    }
    if (changes.empty()) return;
    const bool talks = input_.below(8) == 0;
    meanwhile_ = std::thread([this, changes, talks] {
      while (!stop_.load(std::memory_order_relaxed)) {
        for (const Change& change : changes) change.word->store(change.value, std::memory_order_relaxed);
        if (talks) send_control(socket_.get(), ControlKind::module, 1, {});
      }
    });
  }

  void publish() {
    const std::uint64_t position = parent_.first_uncollected() + (input_.below(8) == 0 ? input_.below(4) : 0);
    ResultSlot& slot = segment().results[position % slot_count];
    slot.place = static_cast<Place>(input_.below(4));
    slot.kind = static_cast<ResultKind>(input_.below(3));
    slot.elapsed_ns = input_.take<std::uint32_t>();
    const std::uint32_t claimed = slot.elapsed_ns >> 29;
    slot.shared = claimed;
    for (std::uint32_t i = claimed == 0 ? 0 : slot.elapsed_ns & 7; i != 0; --i) {  // as many as were said, or not
      const auto descriptor = strange_descriptor(input_);
      const int sent = i == 1 ? SharedMemory::find(array_.view().place)->descriptor() : descriptor.get();
      send_control(socket_.get(), ControlKind::shared, position, {}, sent);
    }
    switch (slot.place) {
      case Place::slot: {
        const auto content = input_.bytes(input_.below(ResultSlot::inline_capacity + 1));
        if (!content.empty()) std::memcpy(slot.content, content.data(), content.size());
        slot.length = input_.number(content.size());
        break;
      }
      case Place::arena: {
        const auto content = input_.bytes(input_.take<std::uint8_t>());
        if (!content.empty()) std::memcpy(segment().result_arena, content.data(), content.size());
        slot.length = input_.number(content.size());
        slot.where = input_.number(arena_size - content.size());
        break;
      }
      default: {
        const auto descriptor = strange_descriptor(input_);
        slot.length = input_.number(input_.take<std::uint8_t>());
        send_control(socket_.get(), ControlKind::memory, input_.number(position), {}, descriptor.get());
      }
    }
    const std::size_t lie = input_.below(8);
    const std::uint64_t length = const_cast<volatile std::uint64_t&>(slot.length);  // the other thread may change it
    const auto inside = slot.place == Place::slot ? std::min<std::uint64_t>(length, ResultSlot::inline_capacity) : 0;
    if (lie != 7)
      slot.seal = result_seal(position, slot.length, slot.where, slot.place, slot.kind, claimed,
                              std::span(slot.content, inside));
    slot.sequence.store(lie == 0 ? input_.number(position) : published(position), std::memory_order_release);
  }

  void scribble() {
    const std::size_t at = place();
    const std::size_t most = std::min<std::size_t>(sizeof(Segment) - at, input_.take<std::uint16_t>());
    if (input_.below(4) == 0) {
      std::memset(memory_.data() + at, static_cast<int>(input_.take<std::uint8_t>()), most);
      return;
    }
    const auto content = input_.bytes(most);
    if (!content.empty()) std::memcpy(memory_.data() + at, content.data(), content.size());
  }

  /// A message of any bytes with several descriptors.
  void send() {
    const auto first = strange_descriptor(input_);
    const int descriptors[3] = {first.get(), first.get(), first.get()};
    const std::size_t size = (1 + input_.below(3)) * sizeof(int);
    ControlHead head{static_cast<ControlKind>(input_.below(4)), static_cast<std::uint32_t>(input_.number(0)),
                     parent_.first_uncollected()};
    const auto body = input_.bytes(input_.take<std::uint8_t>());
    iovec parts[2] = {{&head, input_.below(2) == 0 ? sizeof head : input_.below(sizeof head)},
                      {const_cast<std::byte*>(body.data()), body.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof descriptors)] = {};
    message.msg_control = ancillary;
    message.msg_controllen = CMSG_SPACE(size);
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(rights), descriptors, size);
    ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  // The parent.

  void push() {
    constexpr std::size_t lengths[] = {0, 8, TaskSlot::inline_capacity + 1, 5000, longest_in_arena + 1};
    const std::string text(lengths[input_.below(20) % (input_.below(8) == 0 ? 5 : 3)], 'x');
    const TaskPtr task(new detail::TaskOf<void>(callable, nullptr, Bytes(std::as_bytes(std::span(text)))));
    if (parent_.push(*task, 1, 0, 0) == ParentChannel::Push::done) given_.push_back(task);
  }

  void take_back() {
    const std::uint64_t position = parent_.first_uncollected() + input_.below(4);
    if (position >= parent_.next_position() || !parent_.task_at(position)) return;
    if (parent_.revoke(position)) given_[position].reset();
  }

  bool collect() {
    ParentChannel::Collected result;
    const std::size_t before = parent_.outstanding();
    if (!parent_.collect(result)) return false;
    require(parent_.outstanding() + 1 == before, "a result is one task's");
    require(result.position < given_.size() && result.task && result.task == given_[result.position],
            "a result is the task's at its position, and comes once");
    given_[result.position].reset();
    if (!result.damage.empty()) return true;
    try {
      yoke_fuzz::unpack(result.outcome.bytes.view(),
                        result.outcome.kind == Outcome::Kind::exception ? 8 : result.elapsed_ns, 3);
    } catch (const SerializationError&) {  // its memory ends before its length
    }
    return true;
  }

  void look_around() {
    const LastWords words = parent_.last_words();
    require(words.frames.size() <= BlackBox::max_frames && words.reason.size() <= sizeof(BlackBox::reason),
            "last words are no longer than their box");
    parent_.ready();
    parent_.crashed();
    parent_.phase();
    const auto now = std::chrono::steady_clock::now();
    const auto since = [now](std::int64_t told) { return now.time_since_epoch() - std::chrono::nanoseconds(told); };
    require(since(parent_.heartbeat_ns()) <= now.time_since_epoch(), "a heartbeat is no earlier than the clock");
    for (std::uint64_t p = parent_.first_uncollected(); p != parent_.next_position(); ++p) {
      parent_.started(p);
      parent_.lost(p);
      if (const auto told = parent_.started_ns(p))
        require(since(*told) <= now.time_since_epoch(), "no task began before the clock");
    }
    parent_.damaged();
    const TaskPtr oldest = parent_.oldest();
    require(!oldest == (parent_.outstanding() == 0), "there is an oldest task if there is one");
  }

  void ring() {
    parent_.ring();
    parent_.arm_leader_bell(0);
    parent_.leader_bell().wait_word();
    parent_.leader_bell().disarm();
    parent_.watchdog_bell().arm();
    parent_.watchdog_bell().rung();
  }

  Input input_;
  ParentChannel parent_{0, 1, {}};
  system::Mapping memory_{parent_.segment_fd(), sizeof(Segment), system::Access::read_write};
  system::UniqueFd socket_;
  const SharedArray<char> array_{100};
  std::vector<TaskPtr> given_;  // by position; null once collected or taken back
  std::atomic<bool> stop_{false};
  std::thread meanwhile_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto before = open_descriptors();
  Play(Input(data, size)).run();
  system::warm_memory::trim({});
  require(open_descriptors() == before, "no descriptor is left behind");
  return 0;
}
