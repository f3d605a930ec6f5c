// C9 at the channel: what a hostile worker can put into the segment and the socket. The parent says what is wrong, and
// neither crashes nor reads beyond.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstring>
#include <filesystem>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "lib/channel/parent_channel.hpp"
#include "lib/channel/slot.hpp"
#include "lib/system/warm_memory.hpp"
#include "lib/wire/shared_memory.hpp"
#include "yoke/yoke.hpp"

namespace {

using namespace yoke;
using namespace yoke::channel;

void nothing(Call&) {}
Callable callable{&nothing, &typeid(void)};

/// The parent's end, and the segment and the socket as a hostile worker has them.
struct Hostile {
  ParentChannel parent{0, 1, {}};
  system::Mapping memory{parent.segment_fd(), sizeof(Segment), system::Access::read_write};
  system::UniqueFd socket{::fcntl(parent.worker_socket(), F_DUPFD_CLOEXEC, 3)};

  Hostile() { parent.close_worker_ends(); }
  Segment& segment() { return *reinterpret_cast<Segment*>(memory.data()); }
  void push(const std::string& text) {
    const TaskPtr task(new detail::TaskOf<void>(callable, nullptr, Bytes(std::as_bytes(std::span(text)))));
    parent.push(*task, 1, 0, 0);
  }
  /// A task and its result, sealed as a worker seals it.
  ResultSlot& complete(Place place, std::uint64_t length, std::uint64_t where, std::uint32_t shared = 0) {
    const auto position = parent.next_position();
    push("x");
    ResultSlot& slot = segment().results[position % slot_count];
    slot.place = place;
    slot.length = length;
    slot.where = where;
    slot.shared = shared;
    const bool inside = place == Place::slot && length <= ResultSlot::inline_capacity;
    slot.seal = result_seal(position, length, where, place, slot.kind, shared,
                            std::span(slot.content, inside ? length : 0));
    slot.sequence.store(published(position));
    return slot;
  }
  std::string damage() {
    ParentChannel::Collected collected;
    EXPECT_TRUE(parent.collect(collected));
    EXPECT_TRUE(collected.damage.empty() || collected.outcome.bytes.size() == 0);
    return collected.damage;
  }
  std::string publish(Place place, std::uint64_t length, std::uint64_t where, std::uint32_t shared = 0) {
    complete(place, length, where, shared);
    return damage();
  }
  /// Sends a descriptor as shared memory of the next result.
  void share(int descriptor) {
    ASSERT_TRUE(send_control(socket.get(), ControlKind::shared, parent.next_position(), {}, descriptor));
  }
};

TEST(HostileChannel, C9_lies_about_lengths_and_places) {
  Hostile hostile;
  EXPECT_EQ(hostile.publish(Place::slot, ResultSlot::inline_capacity, 0), "");
  EXPECT_NE(hostile.publish(Place::slot, ResultSlot::inline_capacity + 1, 0), "");
  EXPECT_NE(hostile.publish(Place::slot, UINT64_MAX, 0), "");
  EXPECT_EQ(hostile.publish(Place::arena, arena_size, 0), "");
  EXPECT_NE(hostile.publish(Place::arena, arena_size + 1, 0), "");
  EXPECT_NE(hostile.publish(Place::arena, 1, arena_size), "");
  EXPECT_NE(hostile.publish(Place::arena, 2, UINT64_MAX), "");
  EXPECT_NE(hostile.publish(Place::arena, UINT64_MAX, 2), "");
  EXPECT_NE(hostile.publish(Place::memfd, 100, 0), "");
  EXPECT_NE(hostile.publish(static_cast<Place>(77), 1, 0), "");
}

TEST(HostileChannel, C9_a_stray_write_over_what_describes_a_result) {
  const auto after = [](void (*write)(ResultSlot&)) {
    Hostile hostile;
    hostile.complete(Place::arena, 1'000, 0);  // of the same form, so that a wrong place would find something
    write(hostile.complete(Place::arena, 1'000, 1'024));
    EXPECT_EQ(hostile.damage(), "");
    return hostile.damage();
  };
  EXPECT_EQ(after([](ResultSlot&) {}), "");
  EXPECT_NE(after([](ResultSlot& slot) { slot.where = 0; }), "");
  EXPECT_NE(after([](ResultSlot& slot) { --slot.length; }), "");
  EXPECT_NE(after([](ResultSlot& slot) { slot.length = 1; }), "");
  EXPECT_NE(after([](ResultSlot& slot) { slot.kind = ResultKind::exception; }), "");
  EXPECT_NE(after([](ResultSlot& slot) { slot.shared = 1; }), "");
  EXPECT_NE(after([](ResultSlot& slot) {
              slot.place = Place::slot;
              slot.length = 10;
            }),
            "");
}

/// A worker's memory for a result, `length` bytes long of which the first `written` were written.
system::UniqueFd memory_of(off_t length, std::size_t written) {
  system::UniqueFd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(fd.get(), length), 0);
  const std::string text(written, 'x');
  EXPECT_EQ(::pwrite(fd.get(), text.data(), text.size(), 0), static_cast<ssize_t>(written));
  return fd;
}

TEST(HostileChannel, C9_lies_about_shared_arrays) {
  Hostile hostile;
  const SharedArray<char> array(100);
  const int right = SharedMemory::find(array.view().place)->descriptor();
  EXPECT_NE(hostile.publish(Place::slot, 1, 0, 1), "");  // none came
  EXPECT_NE(hostile.publish(Place::slot, 1, 0, 33), "");
  EXPECT_NE(hostile.publish(Place::slot, 1, 0, UINT32_MAX), "");
  hostile.share(right);
  EXPECT_EQ(hostile.publish(Place::slot, 1, 0, 1), "");
  hostile.share(right);
  EXPECT_NE(hostile.publish(Place::slot, 1, 0, 2), "");  // one of two
  for (const system::UniqueFd& wrong : {memory_of(100, 100), memory_of(0, 0), system::UniqueFd(::dup(0))}) {
    hostile.share(wrong.get());
    EXPECT_NE(hostile.publish(Place::slot, 1, 0, 1), "");
  }
  const auto sparse = memory_of(1 << 20, 100);  // of the right form, but for the memory behind it
  ASSERT_EQ(::fcntl(sparse.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  hostile.share(sparse.get());
  EXPECT_NE(hostile.publish(Place::slot, 1, 0, 1), "");
  hostile.share(right);
  EXPECT_EQ(hostile.publish(Place::slot, 1, 0, 1), "");
}

TEST(HostileChannel,
     C9_memory_that_was_never_written_is_not_read) {  // it would take the parent's memory and nobody else's
  Hostile hostile;
  constexpr std::uint64_t much = std::uint64_t{1} << 40;
  const auto hand_over = [&](const system::UniqueFd& fd) {
    ASSERT_TRUE(send_control(hostile.socket.get(), ControlKind::memory, hostile.parent.next_position(), {}, fd.get()));
  };
  hand_over(memory_of(much, 10'000));
  EXPECT_NE(hostile.publish(Place::memfd, much, 0), "");
  hand_over(memory_of(much, 10'000));
  EXPECT_EQ(hostile.publish(Place::memfd, 10'000, 0), "");
}

TEST(HostileChannel, C9_messages_that_nobody_needs_hold_nothing_up) {
  Hostile hostile;
  const auto fill_socket = [&] {
    int count = 0;
    while (send_control(hostile.socket.get(), ControlKind::module, 1, {})) ++count;
    return count;
  };
  const int all = fill_socket();
  EXPECT_NE(hostile.publish(Place::memfd, 1, 0), "");
  EXPECT_LT(fill_socket(), all) << "one result is no reason to read all that comes";
}

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

TEST(HostileChannel, C9_a_descriptor_in_an_empty_message_is_not_kept) {
  Hostile hostile;
  const auto before = open_descriptors();
  msghdr message{};
  alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))] = {};
  message.msg_control = ancillary;
  message.msg_controllen = sizeof ancillary;
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  ASSERT_EQ(::sendmsg(hostile.socket.get(), &message, 0), 0);
  EXPECT_NE(hostile.publish(Place::memfd, 1, 0), "");
  EXPECT_EQ(open_descriptors(), before);
}

TEST(HostileChannel, C9_descriptors_beside_the_one_are_not_kept) {
  Hostile hostile;
  const auto before = open_descriptors();
  ControlHead head{ControlKind::memory, 0, hostile.parent.next_position()};
  iovec part{&head, sizeof head};
  alignas(cmsghdr) char ancillary[CMSG_SPACE(4 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = ancillary;
  message.msg_controllen = sizeof ancillary;
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(4 * sizeof(int));
  const int descriptors[4] = {0, 1, 2, 0};
  std::memcpy(CMSG_DATA(rights), descriptors, sizeof descriptors);
  ASSERT_EQ(::sendmsg(hostile.socket.get(), &message, 0), static_cast<ssize_t>(sizeof head));
  EXPECT_NE(hostile.publish(Place::memfd, 1, 0), "");
  EXPECT_EQ(open_descriptors(), before);
}

TEST(HostileChannel, C9_a_result_is_copied_where_no_descriptor_is_left) {
  Hostile hostile;
  system::warm_memory::trim({});
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit none{0, limit.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_EQ(hostile.publish(Place::arena, arena_size, 0), "");
  ::setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_EQ(hostile.parent.outstanding(), 0U);
  EXPECT_EQ(hostile.publish(Place::arena, arena_size, 0), "");
}

TEST(HostileChannel, C9_times_that_cannot_be) {
  Hostile hostile;
  WorkerStatus& status = hostile.segment().status;
  status.started_ns.store(INT64_MIN);
  status.heartbeat_ns.store(INT64_MIN);
  EXPECT_EQ(hostile.parent.started_ns(0), std::nullopt);
  status.position.store(1);
  EXPECT_EQ(hostile.parent.started_ns(0), 0);
  EXPECT_EQ(hostile.parent.heartbeat_ns(), 0);
}

TEST(HostileChannel, C9_a_segment_of_ones_or_of_noise) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    Hostile hostile;
    for (int i = 0; i < 5; ++i) hostile.push("x");
    auto* words = reinterpret_cast<std::uint64_t*>(hostile.memory.data());
    const std::size_t count = sizeof(Segment) / sizeof *words;
    if (round == 0)
      std::memset(words, 0xff, sizeof(Segment));
    else
      for (std::size_t i = 0; i < count; i += 1 + random() % 64)
        words[i] = random() % 8 == 0 ? random() : random() % 600;
    ParentChannel::Collected collected;
    for (int i = 0; i < 10 && hostile.parent.collect(collected); ++i) {
    }
    hostile.parent.last_words();
    hostile.parent.ready();
    hostile.parent.phase();
    for (std::uint64_t p = 0; p < 5; ++p) hostile.parent.started(p);
    hostile.push("y");
    hostile.parent.ring();
    hostile.parent.ask_to_stop();
  }
}

}  // namespace
