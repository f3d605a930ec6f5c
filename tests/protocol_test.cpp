// What far pools say: notes, and the task server, which answers them.
#include "lib/protocol/notes.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "lib/protocol/task_server.hpp"
#include "lib/wire/function_table.hpp"
#include "yoke/call.hpp"
#include "yoke/executor.hpp"

namespace yoke::protocol {
namespace {

TEST(Notes, settings_cross_unchanged) {
  ExecutorOptions options;
  options.max_workers = 3;
  options.env = {{"A", "b"}};
  options.limits.address_space = 1 << 30;
  options.kill_grace = std::chrono::milliseconds(5);
  options.on_crash = CrashPolicy::break_pool;
  Hello hello;
  hello.settings = settings_of(options);
  hello.initializer = InitialCall{7, {1, 2, 3}};
  PackBuffer packed;
  Packer packer(packed, Packer::Arrays::elements);
  pack_value(packer, hello);
  const auto read = unpack_note<Hello>(packed.view());
  const ExecutorOptions found = options_of(read.settings);
  EXPECT_EQ(found.max_workers, options.max_workers);
  EXPECT_EQ(found.env, options.env);
  EXPECT_EQ(found.limits, options.limits);
  EXPECT_EQ(found.kill_grace, options.kill_grace);
  EXPECT_EQ(found.on_crash, options.on_crash);
  EXPECT_EQ(read.initializer->arguments, hello.initializer->arguments);
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Its result is its arguments.
void echo(Call& call) {
  const auto arguments = call.arguments();
  call.result().write(reinterpret_cast<const char*>(arguments.data()), arguments.size());
  call.publish();
}

constexpr FunctionNumber echoes = 3;

class TaskServerTest : public testing::Test {
 protected:
  TaskServerTest() {
    FunctionNote note;
    note.number = echoes;
    note.trampoline = wire::refer_to(reinterpret_cast<const void*>(&echo));
    server.add_function(note, true);
  }
  ~TaskServerTest() override {
    if (server.pool()) server.pool()->shutdown({});
  }
  void serve() { server.serve_by(make_in_process_pool({.max_workers = 1})); }
  void take(TaskNumber number, const std::string& arguments, FunctionNumber function = echoes) {
    server.take(TaskNote{number, function, {}, {}, {}}, Bytes(bytes_of(arguments)));
  }
  /// The next results, by number: values, or the words of a failure.
  std::map<TaskNumber, std::string> results(std::size_t count) {
    std::map<TaskNumber, std::string> all;
    while (all.size() < count) {
      pollfd look{server.descriptor(), POLLIN, 0};
      EXPECT_EQ(::poll(&look, 1, -1), 1);
      server.take_results([&](const ResultNote& note, const Bytes& bytes) {
        EXPECT_TRUE(note.bytes.bytes.empty());
        const bool failed = note.kind == ResultKind::failure;
        const std::string said = failed ? unpack_note<FailureNote>(bytes.view()).text : text_of(bytes.view());
        EXPECT_TRUE(all.emplace(note.number, said).second) << note.number << " is answered twice";
      });
    }
    return all;
  }

  TaskServer server;
};

TEST_F(TaskServerTest, task_notes_go_in_and_result_notes_come_out) {
  serve();
  take(1, "one");
  take(2, "two");
  EXPECT_EQ(results(2), (std::map<TaskNumber, std::string>{{1, "one"}, {2, "two"}}));
}

TEST_F(TaskServerTest, a_task_that_cannot_run_is_answered_with_the_reason) {
  take(1, "no pool yet");
  serve();
  take(2, "x", 77);
  server.take(TaskNote{3, echoes, {}, {PlaceNote{0, 5}}, {}}, Bytes(bytes_of("x")));
  server.refuse(4, {FailureKind::other, "its arguments were lost", {}});
  const auto answers = results(4);
  EXPECT_EQ(answers.at(2), "the host was not told of its function");
  EXPECT_EQ(answers.at(3), "the host was not sent its shared array");
  EXPECT_EQ(answers.at(4), "its arguments were lost");
}

TEST_F(TaskServerTest, a_number_that_comes_twice_breaks_the_protocol) {
  serve();
  take(1, "one");
  EXPECT_THROW(take(1, "one"), ProtocolError);
}

TEST_F(TaskServerTest, a_cancel_of_what_is_not_there_is_denied) {
  serve();
  EXPECT_FALSE(server.cancel({9, false}).cancelled);
}

TEST_F(TaskServerTest, a_lone_task_is_waited_for) {
  EXPECT_FALSE(server.wait_for_lone(std::chrono::hours(1))) << "there is none";
  serve();
  take(1, "one");
  EXPECT_TRUE(server.wait_for_lone(std::chrono::hours(1)));
  EXPECT_EQ(results(1).at(1), "one");
}

TEST_F(TaskServerTest, an_initializer_waits_for_its_function) {
  EXPECT_FALSE(server.initializer_of(InitialCall{8, {}}));
  EXPECT_TRUE(server.initializer_of(InitialCall{echoes, {}}));
  FunctionNote of_other_build;
  of_other_build.number = 9;
  server.add_function(of_other_build, false);
  EXPECT_THROW(server.initializer_of(InitialCall{9, {}}), ProtocolError);
}

}  // namespace
}  // namespace yoke::protocol
