// C9 at the channel: what a hostile worker can put into the segment and the socket. The parent says what is wrong, and
// neither crashes nor reads beyond.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

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
Callable returns_int{
    .trampoline = &nothing, .type = &typeid(int), .result_may_share = false, .result_bytes = sizeof(int)};

/// The parent's end, and the segment and the socket as a hostile worker has them.
struct Hostile {
  ParentChannel parent{0, 1, {}};
  system::Mapping memory{parent.segment_fd(), sizeof(Segment), system::Access::read_write};
  system::UniqueFd socket{::fcntl(parent.worker_socket(), F_DUPFD_CLOEXEC, 3)};

  Hostile() { parent.close_worker_ends(); }
  Segment& segment() { return *reinterpret_cast<Segment*>(memory.data()); }
  const Callable* called = &callable;
  ResultKind kind = ResultKind::value;  // of the results that it publishes

  void push(const std::string& text) {
    const TaskPtr task(new detail::TaskOf<void>(*called, nullptr, Bytes(std::as_bytes(std::span(text)))));
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
    slot.kind = kind;
    const bool inside = place == Place::slot && length <= ResultSlot::inline_capacity;
    slot.seal =
        result_seal(position, length, where, place, slot.kind, shared, std::span(slot.content, inside ? length : 0));
    slot.sequence.store(published(position));
    return slot;
  }
  std::string damage() {
    ParentChannel::Collected collected;
    EXPECT_TRUE(parent.collect(collected));
    EXPECT_TRUE(collected.damage.empty() || collected.outcome.bytes.size() == 0);
    lack = collected.lack;
    result = collected.outcome.bytes;
    return collected.damage;
  }
  std::string lack;  // that the last result met
  Bytes result;
  std::string publish(Place place, std::uint64_t length, std::uint64_t where, std::uint32_t shared = 0) {
    complete(place, length, where, shared);
    return damage();
  }
  /// Sends a descriptor as shared memory of the next result, or of one further on.
  void share(int descriptor, std::uint64_t at = 0, std::uint64_t further = 0) {
    ASSERT_TRUE(send_control(socket.get(), ControlKind::shared, parent.next_position() + further,
                             std::as_bytes(std::span(&at, 1)), descriptor));
  }
  /// Writes this to where the next result will lie, if it lies in its slot.
  void speak_of(const detail::SharedPlace& place, std::size_t at = 0) {
    std::memcpy(segment().results[parent.next_position() % slot_count].content + at, &place, sizeof place);
  }
  /// A result that speaks of what comes with it.
  std::string publish_shared(int descriptor, const detail::SharedPlace& place, std::uint64_t at = 0) {
    share(descriptor, at);
    speak_of(place);
    return publish(Place::slot, sizeof place, 0, 1);
  }
};

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

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

constexpr int sealed = F_SEAL_SHRINK | F_SEAL_GROW;

/// As a worker makes it, written to the end.
system::UniqueFd shared_memory_of(std::size_t bytes, int seals = sealed) {
  auto fd = memory_of(static_cast<off_t>(bytes), bytes);
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}
/// How a message speaks of it.
detail::SharedPlace place_of(const system::UniqueFd& fd) {
  struct stat status{};
  EXPECT_EQ(::fstat(fd.get(), &status), 0);
  detail::SharedPlace place{};
  place.inode = status.st_ino;
  place.bytes = static_cast<std::uint64_t>(status.st_size);
  return place;
}

TEST(HostileChannel, C9_lies_about_shared_arrays) {
  Hostile hostile;
  EXPECT_NE(hostile.publish(Place::slot, 1, 0, 1), "");  // none came
  EXPECT_NE(hostile.publish(Place::slot, 1, 0, 33), "");
  EXPECT_NE(hostile.publish(Place::slot, 1, 0, UINT32_MAX), "");
  const auto made_here = shared_memory_of(100);
  EXPECT_EQ(hostile.publish_shared(made_here.get(), place_of(made_here)), "");
  hostile.share(made_here.get());
  hostile.speak_of(place_of(made_here));
  EXPECT_NE(hostile.publish(Place::slot, sizeof(detail::SharedPlace), 0, 2), "");  // one of two
  for (const system::UniqueFd& wrong : {memory_of(100, 100), memory_of(0, 0), system::UniqueFd(::dup(0))})
    EXPECT_NE(hostile.publish_shared(wrong.get(), place_of(wrong)), "");
  const auto sparse = memory_of(1 << 20, 100);  // of the right form, but for the memory behind it
  ASSERT_EQ(::fcntl(sparse.get(), F_ADD_SEALS, sealed), 0);
  EXPECT_NE(hostile.publish_shared(sparse.get(), place_of(sparse)), "");
  EXPECT_EQ(hostile.publish_shared(made_here.get(), place_of(made_here)), "") << "sent before, and again";
}

TEST(HostileChannel, U8_shared_memory_that_the_result_does_not_speak_of) {
  const auto memory = shared_memory_of(100);
  const auto other = shared_memory_of(100);
  EXPECT_NE(Hostile().publish_shared(memory.get(), place_of(other)), "");
  auto longer = place_of(memory);
  ++longer.bytes;
  EXPECT_NE(Hostile().publish_shared(memory.get(), longer), "");
  EXPECT_NE(Hostile().publish_shared(memory.get(), place_of(memory), 1), "");
  EXPECT_NE(Hostile().publish_shared(memory.get(), place_of(memory), UINT64_MAX), "");
  EXPECT_EQ(Hostile().publish_shared(memory.get(), place_of(memory)), "");
}

TEST(HostileChannel, U8_an_array_that_the_worker_never_had) {
  const SharedArray<char> array(100);
  const system::UniqueFd taken(::dup(SharedMemory::find(array.view().place)->descriptor()));  // from /proc perhaps
  EXPECT_NE(Hostile().publish_shared(taken.get(), array.view().place), "");
  Hostile hostile;
  PackBuffer packed;
  Packer packer(packed);
  pack_value(packer, array);
  const TaskPtr task(new detail::TaskOf<void>(callable, nullptr, packed.take()));
  ASSERT_EQ(hostile.parent.push(*task, 1, 0, 0), ParentChannel::Push::done);
  hostile.segment().results[0].seal = result_seal(0, 0, 0, Place::slot, ResultKind::value, 0, {});
  hostile.segment().results[0].sequence.store(published(0));
  EXPECT_EQ(hostile.damage(), "");
  EXPECT_EQ(hostile.publish_shared(taken.get(), array.view().place), "") << "it was given this one";
}

TEST(HostileChannel, U8_what_a_result_says_is_found_among_what_came_with_it) {
  const SharedArray<char> array(100);
  PackBuffer packed;
  Packer packer(packed);
  pack_value(packer, array);
  Hostile hostile;
  std::memcpy(hostile.segment().results[0].content, packed.data(), packed.size());
  EXPECT_EQ(hostile.publish(Place::slot, packed.size(), 0), "");
  EXPECT_THROW(detail::unpack_result<SharedArray<char>>(hostile.result), SerializationError);
}

TEST(HostileChannel, U8_constant_memory_is_no_array_and_an_array_no_constant) {
  const auto result_of = [](const system::UniqueFd& memory) {
    Hostile hostile;
    PackBuffer packed;
    Packer packer(packed);
    const auto place = place_of(memory);
    packer.pack_bin(sizeof place);
    packer.pack_bin_body(reinterpret_cast<const char*>(&place), sizeof place);
    std::memcpy(hostile.segment().results[0].content, packed.data(), packed.size());
    hostile.share(memory.get(), packed.size() - sizeof place);
    EXPECT_EQ(hostile.publish(Place::slot, packed.size(), 0, 1), "");
    return hostile.result;
  };
  const auto array = result_of(shared_memory_of(100));
  EXPECT_NO_THROW(detail::unpack_result<SharedArray<char>>(array));
  EXPECT_THROW(detail::unpack_result<Broadcast<std::string>>(array), SerializationError);
  // A message of 99 bytes, of a worker that keeps a way to write to it.
  auto written = memory_of(101, 101);
  const system::Mapping kept(written.get(), 101, system::Access::read_write);
  kept.data()[0] = std::byte{0xd9};
  kept.data()[1] = std::byte{99};
  ASSERT_EQ(::fcntl(written.get(), F_ADD_SEALS, sealed | F_SEAL_FUTURE_WRITE), 0);
  const auto constant = result_of(written);
  kept.data()[1] = std::byte{100};
  EXPECT_THROW(detail::unpack_result<SharedArray<char>>(constant), SerializationError);
  EXPECT_EQ(detail::unpack_result<Broadcast<std::string>>(constant).get(), std::string(99, 'x'));
}

TEST(HostileChannel, U8_descriptors_that_the_result_cannot_ask_for) {
  const auto memory = shared_memory_of(100);
  const auto before = open_descriptors();
  {
    Hostile hostile;
    hostile.called = &returns_int;
    hostile.share(memory.get());
    EXPECT_NE(hostile.publish(Place::slot, sizeof(int), 0, 1), "") << "its type has none";
    EXPECT_NE(hostile.publish(Place::slot, sizeof(int) + 1, 0), "") << "its type is shorter";
    EXPECT_EQ(hostile.publish(Place::slot, sizeof(int), 0), "");
  }
  {
    Hostile hostile;
    ASSERT_TRUE(send_control(hostile.socket.get(), ControlKind::memory, 0, {}, memory.get()));
    EXPECT_NE(hostile.publish(Place::memfd, 100, 0), "") << "a result of this length needs none";
  }
  {
    Hostile hostile;
    hostile.kind = ResultKind::exception;
    const auto then = open_descriptors();
    for (int i = 0; i < 3; ++i) hostile.share(memory.get());
    EXPECT_EQ(hostile.publish(Place::slot, 1, 0, 3), "") << "of a result that could not be published";
    EXPECT_EQ(open_descriptors(), then);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(HostileChannel, U8_messages_that_no_result_asks_for_are_found) {
  const auto memory = shared_memory_of(100);
  const auto found = [&](const auto& send) {
    Hostile hostile;
    EXPECT_TRUE(hostile.parent.take_in_messages());
    for (int i = 0; i < 2; ++i) hostile.push("x");
    EXPECT_TRUE(hostile.parent.take_in_messages());
    send(hostile);
    return !hostile.parent.take_in_messages();
  };
  const auto control = [&](Hostile& hostile, ControlKind kind, std::uint64_t position, int descriptor) {
    EXPECT_TRUE(send_control(hostile.socket.get(), kind, position, {}, descriptor));
  };
  EXPECT_FALSE(found([&](Hostile& hostile) { control(hostile, ControlKind::memory, 1, memory.get()); }));
  EXPECT_TRUE(found([&](Hostile& hostile) { control(hostile, ControlKind::memory, 2, memory.get()); })) << "not given";
  EXPECT_TRUE(found([&](Hostile& hostile) { control(hostile, ControlKind::memory, 1, -1); })) << "without a descriptor";
  EXPECT_TRUE(found([&](Hostile& hostile) { control(hostile, ControlKind::module, 1, memory.get()); }));
  EXPECT_TRUE(found([&](Hostile& hostile) { control(hostile, ControlKind::shared, 1, memory.get()); }))
      << "at no place";
  EXPECT_TRUE(found([&](Hostile& hostile) {
    for (std::size_t i = 0; i <= max_results_descriptors; ++i) control(hostile, ControlKind::memory, 1, memory.get());
  })) << "too many";
}

TEST(HostileChannel, U8_results_longer_than_allowed) {
  Hostile hostile;
  EXPECT_EQ(hostile.publish(Place::arena, 1000, 0), "");
  hostile.parent.set_max_result(999);
  EXPECT_NE(hostile.publish(Place::arena, 1000, 0), "");
  EXPECT_EQ(hostile.publish(Place::arena, 999, 0), "");
  hostile.kind = ResultKind::too_long;
  EXPECT_NE(hostile.publish(Place::slot, 0, 999), "") << "it is not";
  EXPECT_EQ(hostile.publish(Place::slot, 0, 1000), "");
  hostile.kind = static_cast<ResultKind>(3);
  EXPECT_NE(hostile.publish(Place::slot, 1, 0), "");
}

TEST(HostileChannel, I12_a_descriptor_lost_here_is_no_damage) {
  Hostile hostile;
  const auto memory = memory_of(100'000, 100'000);
  ASSERT_TRUE(send_control(hostile.socket.get(), ControlKind::memory, 0, {}, memory.get()));
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit none{0, limit.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_EQ(hostile.publish(Place::memfd, 100'000, 0), "");
  ::setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_NE(hostile.lack.find("no descriptor left"), std::string::npos) << hostile.lack;
  ASSERT_TRUE(send_control(hostile.socket.get(), ControlKind::memory, 1, {}, memory.get()));
  EXPECT_EQ(hostile.publish(Place::memfd, 100'000, 0), "");
  EXPECT_EQ(hostile.lack, "");
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
  hand_over(memory_of(much, 70'000));
  EXPECT_EQ(hostile.publish(Place::memfd, 70'000, 0), "");
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
  const auto memory = memory_of(100'000, 100'000);
  ASSERT_TRUE(
      send_control(hostile.socket.get(), ControlKind::memory, hostile.parent.next_position(), {}, memory.get()));
  ::setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_EQ(hostile.publish(Place::memfd, 100'000, 0), "");
  EXPECT_NE(hostile.lack, "") << "there is no descriptor for it";
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

TEST(HostileChannel, C9_more_items_of_a_chunk_than_there_is_room_for) {
  Hostile hostile;
  ChunkProgress& progress = hostile.segment().chunk;
  const auto seen = [&](std::uint32_t value_size, std::uint64_t values, std::uint64_t errors, std::uint64_t before,
                        std::uint64_t more) {
    progress.value_size = value_size;
    progress.steps[0] = {.items = 1, .values = values, .errors = errors, .error_count = 0, .values_before = before};
    progress.current.store(0);
    progress.more_values.store(more);
    progress.position.store(1);
    return hostile.parent.chunk_progress(0);
  };
  constexpr std::uint64_t room = ChunkProgress::capacity;
  EXPECT_EQ(seen(8, 8, 0, 0, 3).items, 4U);
  EXPECT_EQ(seen(8, 8, 0, 0, 3).values.size(), 32U);
  EXPECT_EQ(seen(8, 0, 0, 0, room / 8).values.size(), room);
  EXPECT_EQ(seen(8, 0, 0, 0, room / 8 + 1).items, 0U);
  EXPECT_EQ(seen(8, 8, 0, 0, room / 8).items, 0U);
  EXPECT_EQ(seen(8, 0, 8, 0, room / 8).items, 0U);
  EXPECT_EQ(seen(8, 8, 0, 3, 2).items, 0U) << "fewer than before";
  EXPECT_EQ(seen(UINT32_MAX, 8, 0, 0, 1).items, 0U) << "packed values have no such size";
  EXPECT_EQ(seen(8, room + 1, 0, 0, 0).items, 0U);
  EXPECT_EQ(seen(8, 0, UINT64_MAX, 0, 0).items, 0U);
  EXPECT_EQ(seen(0, 0, 0, 0, 1000).items, 1001U);
  EXPECT_EQ(seen(0, 0, 0, 0, 1000).values.size(), 0U);
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
    hostile.parent.chunk_progress(0);
    hostile.push("y");
    hostile.parent.ring();
    hostile.parent.ask_to_stop();
  }
}

}  // namespace
