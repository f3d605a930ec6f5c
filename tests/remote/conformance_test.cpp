// What holds wherever tasks run: the same tests at every place that agents can be started at.
#include <dirent.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "tests/remote/places.hpp"
#include "tests/support/child_program.hpp"
#include "tests/support/pool_fixture.hpp"

namespace yoke_test {
namespace {

constexpr unsigned entered = 0, gate = 1, again = 2;

int halve(int value) { return value / 2; }
YOKE_TASK(halve)

struct Unknown : std::runtime_error {
  using std::runtime_error::runtime_error;
};
YOKE_EXCEPTION(Unknown)

void throw_unknown(const std::string& text) { throw Unknown(text); }
[[gnu::noinline]] void follow_null(const int* pointer) { throw std::runtime_error(std::to_string(*pointer)); }
void crash() { follow_null(nullptr); }
double sum(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }
std::vector<double> ones(std::size_t count) { return std::vector<double>(count, 1.0); }
void wait_for_ever() {
  for (;;) ::pause();
}
void kill_agent() {
  ::kill(::getppid(), SIGKILL);
  wait_for_ever();
}
std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}
int print_and_close_all() {
  std::puts("this goes to nobody");
  std::fflush(stdout);
  for (int fd = 0; fd < 1024; ++fd) ::close(fd);
  return 17;
}
void say(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

using Doubles = yoke::SharedArray<double>;
double sum_of(const Doubles& array) { return std::accumulate(array.begin(), array.end(), 0.0); }
double sum_behind_gate(const Board& at, const Doubles& array) {
  pass_gate(at, entered, gate);
  return sum_of(array);
}
double sum_of_both(const std::vector<Doubles>& arrays, const std::vector<double>& values) {
  double all = sum(values);
  for (const Doubles& array : arrays) all += sum_of(array);
  return all;
}
double sum_plus(const Doubles& array, double x) { return sum_of(array) + x; }
void write_first(const Doubles& array) { array[0] = 1; }
Doubles same_array(Doubles array) { return array; }
double sum_of_model(const std::vector<double>& model, double x) { return sum(model) + x; }
/// How much memory for blocks the worker's agent holds.
int blocks_of_agent() {
  int count = 0;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(::getppid()) + "/fd"))
    if (std::filesystem::read_symlink(entry, gone).string().starts_with("/memfd:yoke-shared")) ++count;
  return count;
}
int agent_pid() { return ::getppid(); }

/// Of processes with this number that are no zombies.
bool lives(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  const std::size_t end = text.rfind(')');
  return end != std::string::npos && text.size() > end + 2 && text[end + 2] != 'Z' && text[end + 2] != 'X';
}

pid_t parent_of(const std::string& pid) {
  std::ifstream stat("/proc/" + pid + "/stat");
  std::string text;
  std::getline(stat, text);
  const std::size_t end = text.rfind(')');
  return end == std::string::npos ? 0 : static_cast<pid_t>(std::atoi(text.c_str() + end + 4));
}

/// This process's children that run that program.
std::vector<pid_t> children_that_run(const std::string& program) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos || parent_of(pid) != ::getpid()) continue;
    std::string name;
    std::getline(std::ifstream("/proc/" + pid + "/comm"), name);
    if (name == program) found.push_back(std::atoi(pid.c_str()));
  }
  return found;
}

class Conformance : public HouseTest, public testing::WithParamInterface<Place> {
 protected:
  void SetUp() override {
    if (const auto missing = what_is_missing(GetParam()); !missing.empty()) GTEST_SKIP() << missing;
    HouseTest::SetUp();
    up_ = true;
  }
  void TearDown() override {
    if (!up_) return;
    if (executor) shut_down_in_time(*executor);
    executor.reset();
    pool.reset();
    HouseTest::TearDown();
  }
  bool is(const char* name) const { return std::string(GetParam().name) == name; }
  std::size_t hosts() const { return static_cast<std::size_t>(GetParam().hosts); }
  yoke::RemoteOptions options() const { return options_at(GetParam()); }
  void begin(yoke::RemoteOptions with) {
    pool = std::make_shared<yoke::RemotePool>(std::move(with));
    executor.emplace(pool);
  }
  void begin() { begin(options()); }
  void connect_all() { ASSERT_EQ(pool->connect(hang_guard), GetParam().hosts); }
  /// A task that waits at the gate on each host.
  std::vector<yoke::Future<int>> one_on_each(const yoke::TaskOptions& task = {}) {
    std::vector<yoke::Future<int>> futures;
    for (std::size_t i = 0; i < hosts(); ++i)
      futures.push_back(executor->submit(task, pass_gate, board, entered, gate));
    board.wait_for(entered, static_cast<std::uint32_t>(hosts()));
    return futures;
  }

  std::shared_ptr<yoke::RemotePool> pool;
  std::optional<yoke::Executor> executor;

 private:
  bool up_ = false;
};

TEST_P(Conformance, R1_submit_and_map) {
  begin();
  EXPECT_EQ(soon(executor->submit(add_one, 41)).get(), 42);
  EXPECT_EQ(soon(executor->submit([](const std::string& a, int b) { return a + std::to_string(b); }, "x", 7)).get(),
            "x7");
  std::vector<int> items(1000), expected(1000);
  std::iota(items.begin(), items.end(), 0);
  std::iota(expected.begin(), expected.end(), 1);
  EXPECT_EQ(executor->map(add_one, items).get(), expected);
}

TEST_P(Conformance, R1_an_exception_keeps_its_type) {
  begin();
  const auto error = thrown_by<Unknown>([&] { soon(executor->submit(throw_unknown, "what it was")).get(); });
  ASSERT_TRUE(error);
  EXPECT_STREQ(error->what(), "what it was");
}

TEST_P(Conformance, R1_ten_thousand_small_tasks) {
  begin();
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 10'000; ++i) futures.push_back(executor->submit(add_one, i));
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(soon(futures[static_cast<std::size_t>(i)]).get(), i + 1);
  EXPECT_EQ(executor->stats().done, 10'000U);
}

TEST_P(Conformance, R1_large_payloads_both_ways) {
  begin();
  for (const std::size_t count : {std::size_t{131'072}, std::size_t{13'107'200}}) {  // 1 MB, 100 MB
    EXPECT_EQ(soon(executor->submit(sum, std::vector<double>(count, 1.0))).get(), static_cast<double>(count));
    EXPECT_EQ(soon(executor->submit(ones, count)).get(), std::vector<double>(count, 1.0));
  }
}

TEST_P(Conformance, R2_a_workers_death_comes_with_its_report) {
  begin();
  const auto death = death_of(executor->submit(crash));
  EXPECT_EQ(death.signal, yoke_test::sanitized ? death.signal : SIGSEGV);
  EXPECT_EQ(death.host, is("Podman") ? "box" : death.host);
  EXPECT_NE(yoke::to_string(death).find("on " + death.host), std::string::npos);
  EXPECT_NE(death.task.find("crash"), std::string::npos) << death.task;
  if (!sanitized) {
    ASSERT_FALSE(death.frames.empty());
    EXPECT_NE(death.frames[0].find("follow_null"), std::string::npos) << death.frames[0];
  }
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);
  EXPECT_EQ(executor->stats().deaths, 1U);
}

TEST_P(Conformance, R2_retries_after_a_workers_death) {
  if (!GetParam().sees_processes) GTEST_SKIP() << "its workers reach no board";
  begin();
  const auto die_once = [](const Board& shared) {
    if (shared.add(again) == 1) ::kill(::getpid(), SIGKILL);
    return 5;
  };
  EXPECT_EQ(soon(executor->submit(yoke::TaskOptions{.retries = 1}, die_once, board)).get(), 5);
  EXPECT_EQ(board.get(again), 2U);
}

TEST_P(Conformance, R3_an_agents_death_costs_the_tasks_that_it_had) {
  if (!GetParam().sees_processes)
    GTEST_SKIP() << "an agent is the first process of its container, which nothing in it can kill";
  begin();
  const auto error = thrown_by<yoke::LostHostError>([&] { soon(executor->submit(kill_agent)).get(); });
  ASSERT_TRUE(error);
  EXPECT_FALSE(error->host().empty());
  EXPECT_NE(std::string(error->what()).find("may have run"), std::string::npos) << error->what();
  EXPECT_EQ(soon(executor->submit(yoke::TaskOptions{.retries = 2}, add_one, 1)).get(), 2);
}

TEST_P(Conformance, R3_a_launchers_death_costs_the_tasks_of_its_host) {
  if (is("Command")) GTEST_SKIP() << "there is no launcher: the agent is this process's child";
  begin();
  yoke::Future<void> lost = executor->submit(wait_for_ever);
  wait_until([&] { return lost.running(); }, "a start");
  const auto launchers = children_that_run(is("Ssh") ? "ssh" : is("Slurm") ? "srun" : "podman");
  ASSERT_FALSE(launchers.empty());
  for (const pid_t pid : launchers) ::kill(pid, SIGKILL);
  EXPECT_TRUE(thrown_by<yoke::LostHostError>([&] { soon(lost).get(); }));
  EXPECT_EQ(soon(executor->submit(yoke::TaskOptions{.retries = 2}, add_one, 1)).get(), 2);  // it is started again
}

TEST_P(Conformance, R4_a_clients_death_leaves_nothing_anywhere) {
  if (!GetParam().sees_processes) GTEST_SKIP() << "its processes have numbers of their own";
  std::vector<pid_t> pids;
  {
    ChildProgram client(child_path("test_remote_client"), {GetParam().name});
    for (std::string line = client.read_line(); line != "busy"; line = client.read_line())
      pids.push_back(std::stoi(line));
    ASSERT_EQ(pids.size(), 2 * hosts());
    for (const pid_t pid : pids) EXPECT_TRUE(lives(pid)) << pid;
    ::kill(client.pid(), SIGKILL);
    client.wait();
  }
  wait_until([&] { return std::ranges::none_of(pids, lives); }, "the end of all agents and workers");
  if (is("Slurm"))
    wait_until([] { return std::system("test -z \"$(squeue --noheader)\"") == 0; }, "the end of the job");
}

TEST_P(Conformance, R5_a_short_cut_loses_nothing) {
  if (!GetParam().has_network) GTEST_SKIP() << "it has no network that could be cut";
  auto with = options();
  with.lease = 12s;
  begin(with);
  connect_all();
  auto futures = one_on_each();
  cluster("cut n1");
  std::this_thread::sleep_for(3s);  // the length of the cut, which nothing announces
  cluster("heal n1");
  board.add(gate);
  for (auto& future : futures) EXPECT_GT(soon(future).get(), 0);
  EXPECT_EQ(executor->stats().retried, 0U);
  EXPECT_EQ(board.get(entered), hosts());
}

TEST_P(Conformance, R5_a_lasting_cut_ends_tasks_within_the_lease_and_the_host_comes_back) {
  if (!GetParam().has_network) GTEST_SKIP() << "it has no network that could be cut";
  begin();
  connect_all();
  auto futures = one_on_each();
  cluster("cut n1");
  int lost = 0;
  wait_until([&] { return std::ranges::any_of(futures, [](const auto& f) { return f.done(); }); },
             "the end of the lease");
  board.add(gate);
  for (auto& future : futures) {
    try {
      soon(future).get();
    } catch (const yoke::LostHostError& error) {
      ++lost;
      EXPECT_EQ(error.host(), "n1");
    }
  }
  EXPECT_EQ(lost, 1);
  cluster("heal n1");
  if (is("Slurm")) return;  // a node that did not answer is Slurm's to bring back
  wait_until([&] { return pool->connect(1s, GetParam().hosts) == GetParam().hosts; }, "the host to come back");
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);
}

TEST_P(Conformance, R5_what_may_be_tried_again_goes_elsewhere) {
  if (!GetParam().has_network) GTEST_SKIP() << "it has no network that could be cut";
  begin();
  connect_all();
  auto futures = one_on_each({.retries = 1});
  cluster("cut n1");
  board.add(gate);
  for (auto& future : futures) EXPECT_GT(soon(future).get(), 0);
  cluster("heal n1");
  EXPECT_EQ(executor->stats().retried, 1U);
}

TEST_P(Conformance, R15_a_cut_that_is_shorter_than_the_lease_loses_nothing) {
  if (!is("Ssh")) GTEST_SKIP() << "it has no network that could be cut, or Slurm gives its nodes up sooner";
  auto with = options();
  with.heartbeat = 1s;
  with.lease = 9s;
  begin(with);
  connect_all();
  auto futures = one_on_each();
  cluster("cut n1");
  std::this_thread::sleep_for(8s);  // TCP sends again 12.6 s after the beginning of the cut
  cluster("heal n1");
  board.add(gate);
  for (auto& future : futures) EXPECT_GT(soon(future).get(), 0);
  EXPECT_EQ(executor->stats().retried, 0U);
}

TEST_P(Conformance, R15_what_a_task_leaves_running_delays_no_shutdown) {
  if (!GetParam().sees_processes) GTEST_SKIP() << "a container ends with its first process";
  auto with = options();
  with.lease = 60s;  // by which it would be late
  begin(with);
  const auto leave_daemon = [] {
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::setsid();
    ::execlp("sleep", "sleep", "1000", nullptr);
    ::_exit(1);
  };
  const pid_t daemon = soon(executor->submit(leave_daemon)).get();
  shut_down_in_time(*executor);
  EXPECT_TRUE(lives(daemon) || is("Slurm"));
  ::kill(daemon, SIGKILL);
}

TEST_P(Conformance, R15_nodes_that_slurm_grants_are_used_whole_unless_less_was_asked_for) {
  if (!is("Slurm")) GTEST_SKIP() << "only Slurm grants nodes";
  auto with = options();
  with.workers_per_host.reset();
  const int processors = std::min(2, yoke::cpu_count());  // of each node, as the cluster says
  begin(with);
  connect_all();
  EXPECT_EQ(executor->max_workers(), processors * GetParam().hosts);
  executor->shutdown();
  with.slurm->arguments = {"--cpus-per-task=1"};
  begin(with);
  connect_all();
  EXPECT_EQ(executor->max_workers(), GetParam().hosts);
}

TEST_P(Conformance, R15_a_step_of_a_slurm_job_can_have_a_job_of_its_own) {
  if (!is("Slurm")) GTEST_SKIP() << "only Slurm has steps";
  const std::map<std::string, std::string> outer{{"SLURM_CPU_BIND", "quiet,mask_cpu:0x4000"},
                                                 {"SLURM_CPU_BIND_TYPE", "mask_cpu:"},
                                                 {"SLURM_CPU_BIND_LIST", "0x4000"},
                                                 {"SLURM_NTASKS", "7"},
                                                 {"SLURM_NNODES", "7"},
                                                 {"SLURM_JOB_ID", "4000"},
                                                 {"SLURM_THREADS_PER_CORE", "7"},
                                                 {"SLURM_STEP_ID", "1"},
                                                 {"SRUN_CPUS_PER_TASK", "700"}};
  for (const auto& [name, value] : outer) ::setenv(name.c_str(), value.c_str(), 1);
  begin();
  connect_all();
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);
  for (const auto& [name, value] : outer) ::unsetenv(name.c_str());
}

TEST_P(Conformance, R15_a_salloc_that_is_killed_costs_nothing_and_leaves_no_job) {
  if (!is("Slurm")) GTEST_SKIP() << "only Slurm has salloc";
  const auto no_jobs = [] { return std::system("test -z \"$(squeue --noheader)\"") == 0; };
  begin();
  connect_all();
  auto futures = one_on_each();
  for (const pid_t pid : children_that_run("salloc")) ::kill(pid, SIGKILL);
  wait_until([] { return children_that_run("salloc").empty(); }, "the end of salloc");
  board.add(gate);
  for (auto& future : futures) EXPECT_GT(soon(future).get(), 0);
  EXPECT_FALSE(no_jobs());
  executor->shutdown();
  wait_until(no_jobs, "the end of the job");

  auto with = options();
  begin(with);
  connect_all();
  with.slurm->arguments = {"--exclusive"};
  const auto second = std::make_shared<yoke::RemotePool>(with);
  yoke::Executor waits(second);
  auto future = waits.submit(add_one, 1);
  wait_until([&] { return second->hosts()[0].trouble.find("ueued and waiting") != std::string::npos; },
             "a request that waits");
  ::kill(std::ranges::max(children_that_run("salloc")), SIGKILL);
  EXPECT_TRUE(thrown_by<yoke::BrokenProcessPool>([&] { soon(future).get(); }));
  waits.shutdown();
  executor->shutdown();
  wait_until(no_jobs, "the end of a request");
}

TEST_P(Conformance, R6_cancel_of_waiting_and_of_running_tasks) {
  begin();
  std::vector<yoke::Future<void>> running;
  for (std::size_t i = 0; i < hosts(); ++i) running.push_back(executor->submit(wait_for_ever));
  for (auto& future : running) wait_until([&] { return future.running(); }, "a start");
  auto waiting = executor->submit(add_one, 1);
  EXPECT_EQ(waiting.state(), yoke::FutureState::pending);
  EXPECT_TRUE(waiting.cancel());
  EXPECT_TRUE(waiting.cancelled());
  EXPECT_FALSE(running[0].cancel());
  for (auto& future : running) {
    EXPECT_TRUE(future.cancel(yoke::CancelMode::kill));
    EXPECT_THROW(future.get(), yoke::CancelledError);
  }
  EXPECT_EQ(soon(executor->submit(add_one, 2)).get(), 3);
  EXPECT_EQ(executor->stats().cancelled, hosts() + 1);
}

TEST_P(Conformance, R6_a_timeout_ends_the_task_alone) {
  begin();
  auto late = executor->submit(yoke::TaskOptions{.timeout = 100ms}, wait_for_ever);
  const auto error = thrown_by<yoke::TimeoutError>([&] { soon(late).get(); });
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("wait_for_ever"), std::string::npos) << error->what();
  EXPECT_EQ(soon(executor->submit(add_one, 2)).get(), 3);
}

TEST_P(Conformance, R6_shutdown_finishes_what_there_is) {
  begin();
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 100; ++i) futures.push_back(executor->submit(add_one, i));
  executor->shutdown();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].get(), i + 1);
  EXPECT_THROW(executor->submit(add_one, 1), yoke::ShutdownExecutorError);
}

TEST_P(Conformance, R6_shutdown_with_kill_workers_ends_at_once) {
  begin();
  auto hangs = executor->submit(wait_for_ever);
  wait_until([&] { return hangs.running(); }, "a start");
  shut_down_in_time(*executor, {.kill_workers = true});
  EXPECT_THROW(soon(hangs).get(), yoke::ShutdownExecutorError);
}

TEST_P(Conformance, R6_without_handles_tasks_are_finished_and_all_ends) {
  if (!GetParam().sees_processes) GTEST_SKIP() << "its workers reach no board";
  begin();
  for (int i = 0; i < 20; ++i) executor->submit(pass_gate, board, entered, gate);
  executor.reset();
  pool.reset();  // the tasks have the last handles now, which are dropped by the pool's own thread
  board.add(gate);
  board.wait_for(entered, 20);
}

TEST_P(Conformance, R7_another_build_runs_named_tasks_alone) {
  auto with = options();
  with.program = child_path("test_other_build");
  begin(with);
  const auto error = thrown_by<yoke::Error>([&] { soon(executor->submit(add_one, 1)).get(); });
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("another build of the program"), std::string::npos) << error->what();
  for (const yoke::NamedTask* task : yoke::named_tasks()) {
    if (std::string(task->name) != "halve") continue;
    yoke::PackBuffer arguments;
    yoke::Packer packer(arguments);
    packer.pack_array(1);
    packer.pack_int(84);
    auto future = yoke::submit_named(*executor, {}, *task, arguments.take());
    const auto value = soon(future).get();
    const yoke::Message message(value.bytes.view());
    EXPECT_EQ(message.object().as<int>(), 42);
  }
}

TEST_P(Conformance, R7_words_before_the_agents_first_are_passed_over) {
  auto with = options();
  with.program = child_path("test_noisy_program");
  begin(with);
  for (const yoke::NamedTask* task : yoke::named_tasks()) {
    if (std::string(task->name) != "halve") continue;
    yoke::PackBuffer arguments;
    yoke::Packer packer(arguments);
    packer.pack_array(1);
    packer.pack_int(6);
    EXPECT_NO_THROW(soon(yoke::submit_named(*executor, {}, *task, arguments.take())).get());
  }
}

TEST_P(Conformance, R7_what_cannot_be_started_says_why) {
  auto with = options();
  with.program = "/there/is/no/such/program";
  begin(with);
  const auto error = thrown_by<yoke::BrokenProcessPool>([&] { soon(executor->submit(add_one, 1)).get(); });
  ASSERT_TRUE(error);
  const std::string text = error->what();
  EXPECT_NE(text.find("host "), std::string::npos) << text;
  EXPECT_NE(text.find("/there/is/no/such/program"), std::string::npos) << text;
  EXPECT_NE(text.find("ended with exit code"), std::string::npos) << text;
  EXPECT_NE(text.find("o such file"), std::string::npos) << text;
}

TEST_P(Conformance, R7_an_agent_without_stdin_says_so) {
  if (!is("Command")) GTEST_SKIP() << "it needs no network";
  auto with = options();
  with.hosts = {{"deaf", {"sh", "-c", "exec {agent_command} </dev/null"}}};
  begin(with);
  const auto error = thrown_by<yoke::BrokenProcessPool>([&] { soon(executor->submit(add_one, 1)).get(); });
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("its stdin ended before the client's first word"), std::string::npos)
      << error->what();
}

TEST_P(Conformance, R7_a_library_that_the_host_lacks_is_named) {
  if (!is("Command")) GTEST_SKIP() << "it needs no network";
  const std::string copy = BUILD_FOLDER "/tests/libone_task_copy.so", away = copy + ".away";
  std::filesystem::copy_file(BUILD_FOLDER "/tests/libone_task.so", copy,
                             std::filesystem::copy_options::overwrite_existing);
  ASSERT_TRUE(::dlopen(copy.c_str(), RTLD_NOW | RTLD_LOCAL)) << ::dlerror();
  std::filesystem::rename(copy, away);
  begin();
  const auto tasks = yoke::named_tasks();
  const auto found = std::ranges::find_if(tasks, [](const auto* task) { return std::string(task->name) == "length"; });
  ASSERT_NE(found, tasks.end());
  yoke::PackBuffer arguments;
  yoke::Packer packer(arguments);
  packer.pack_array(1);
  packer.pack(std::string("abc"));
  const auto error =
      thrown_by<yoke::Error>([&] { soon(yoke::submit_named(*executor, {}, **found, arguments.take())).get(); });
  ASSERT_TRUE(error);
  const std::string text = error->what();
  EXPECT_NE(text.find("has no task 'length'"), std::string::npos) << text;
  EXPECT_NE(text.find(copy), std::string::npos) << text;
  std::filesystem::rename(away, copy);  // it stays loaded, and is wanted where this program is sent
}

TEST_P(Conformance, R7_other_hosts_carry_on_without_one) {
  if (is("Slurm")) GTEST_SKIP() << "its hosts are Slurm's to name";
  auto with = options();
  with.hosts.push_back({"nowhere", {"sh", "-c", "exit 127; {agent_command}"}});
  begin(with);
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);
  EXPECT_EQ(pool->connect(hang_guard), GetParam().hosts);
  executor->shutdown();
  with.require_all_hosts = true;
  begin(with);
  EXPECT_TRUE(thrown_by<yoke::BrokenProcessPool>([&] { pool->connect(hang_guard); }));
}

TEST_P(Conformance, R7_a_program_that_is_not_there_is_sent_once) {
  if (is("Podman")) GTEST_SKIP() << "its caches end with its containers";
  auto with = options();
  const auto cache = std::filesystem::temp_directory_path() / ("yoke-cache-" + std::to_string(::getpid()));
  const auto has_files = [&] {
    return std::filesystem::exists(cache / "yoke") && !std::filesystem::is_empty(cache / "yoke");
  };
  for (yoke::Host& host : with.hosts)
    if (!host.launcher.empty() && host.launcher.front() == "{agent}")
      host.launcher = {"env", "XDG_CACHE_HOME=" + cache.string(), "{agent}"};
    else
      for (std::string& argument : host.launcher)
        if (argument == "{agent_command}") argument = "XDG_CACHE_HOME=" + cache.string() + " {agent_command}";
  if (is("Slurm")) ::setenv("XDG_CACHE_HOME", cache.c_str(), 1);
  with.deploy = true;
  with.program = "/there/is/no/such/program";
  std::filesystem::file_time_type sent{};
  for (const bool first : {true, false}) {
    EXPECT_EQ(has_files(), !first);
    begin(with);
    connect_all();  // one that is ended while it unpacks may leave a part
    EXPECT_EQ(soon(executor->submit(add_one, 41)).get(), 42);
    const auto own_path = [] { return std::filesystem::read_symlink("/proc/self/exe").string(); };
    EXPECT_EQ(soon(executor->submit(own_path)).get().find(cache.string()), 0U);
    const auto mapped = [](const std::string& library) {
      std::ifstream maps("/proc/self/maps");
      for (std::string line; std::getline(maps, line);)
        if (line.find("/" + library) != std::string::npos) return line.substr(line.find('/'));
      return std::string();
    };
    EXPECT_EQ(soon(executor->submit(mapped, "libstdc++.so")).get().find(cache.string()), 0U)
        << "R15: what is beyond glibc's";
    EXPECT_EQ(soon(executor->submit(mapped, "libc.so")).get().find(cache.string()), std::string::npos);
    executor->shutdown();
    int folders = 0;
    for (const auto& entry : std::filesystem::directory_iterator(cache / "yoke")) {
      ++folders;
      const auto time = std::filesystem::last_write_time(entry.path() / "conformance_test");
      EXPECT_TRUE(first || time == sent) << "it was sent again";
      sent = time;
    }
    EXPECT_EQ(folders, 1);
  }
  ::unsetenv("XDG_CACHE_HOME");
  std::filesystem::remove_all(cache);
}

TEST_P(Conformance, R13_a_server_that_turns_bursts_away_is_asked_again) {
  if (!is("Ssh")) GTEST_SKIP() << "only sshd has MaxStartups";
  auto with = options();
  with.hosts.assign(16, with.hosts.front());  // one server, and two pools at once: more than it lets log in at a time
  begin(with);
  const auto second = std::make_shared<yoke::RemotePool>(with);
  yoke::Executor other(second);
  EXPECT_EQ(second->connect(1ms), 0);  // begins to start them, and waits for none
  EXPECT_EQ(pool->connect(hang_guard), 16);
  EXPECT_EQ(second->connect(hang_guard), 16);
  other.shutdown();
}

TEST_P(Conformance, R14_what_the_users_configuration_wants_of_sessions_is_left_aside) {
  if (!is("Ssh")) GTEST_SKIP() << "only ssh has such a configuration";
  const auto made = std::filesystem::temp_directory_path() / ("yoke-ssh-" + std::to_string(::getpid()));
  std::filesystem::create_directory(made);
  const std::string folder = made;
  const std::string config = folder + "/config";
  auto with = options();
  const std::string servers = *std::next(std::ranges::find(with.hosts.front().launcher, "-F"));
  std::ofstream(config)
      << "Host *\n  ControlMaster auto\n  ControlPath " << folder << "/%n\n  ControlPersist 60\n"
      << "  RemoteCommand echo a word; cat\n  RequestTTY force\n  SessionType none\n  StdinNull yes\n"
      << "  ForkAfterAuthentication yes\n  LocalForward 127.0.0.1:4711 127.0.0.1:1\n  DynamicForward 127.0.0.1:4712\n"
      << "  ExitOnForwardFailure yes\n  PermitLocalCommand yes\n  LocalCommand touch " << folder << "/called\n"
      << "  ForwardAgent yes\n  ForwardX11 yes\n  Tunnel no\nInclude " << servers << "\n";
  const std::string host = with.hosts.front().name;
  // A session of the user's own, which others may share.
  ChildProgram own("/usr/bin/ssh",
                   {"-F", config, "-T", "-n", "-o", "RemoteCommand=none", "-o", "SessionType=default", "-o",
                    "ForkAfterAuthentication=no", "-o", "PermitLocalCommand=no", host, "echo on; exec sleep 600"});
  EXPECT_EQ(own.read_line(), "on");
  for (auto& each : with.hosts) std::ranges::replace(each.launcher, servers, config);
  begin(with);
  connect_all();
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);
  executor->shutdown({.kill_workers = true});
  EXPECT_EQ(::kill(own.pid(), 0), 0);
  EXPECT_EQ(std::system(("ssh -F " + config + " -O check " + host + " 2>&1 | grep -q 'Master running'").c_str()), 0);
  EXPECT_FALSE(std::filesystem::exists(folder + "/called"));
  EXPECT_EQ(std::system(("ssh -F " + config + " -O exit " + host + " 2>/dev/null").c_str()), 0);
  std::filesystem::remove_all(made);
}

TEST_P(Conformance, R8_what_a_task_prints_disturbs_nothing) {
  begin();
  EXPECT_EQ(soon(executor->submit(print_and_close_all)).get(), 17);
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);
}

TEST_P(Conformance, R8_what_workers_print_arrives_by_lines_on_request) {
  auto with = options();
  std::mutex mutex;
  std::vector<yoke::OutputLine> lines;
  with.on_output = [&](const yoke::OutputLine& line) {
    const std::lock_guard lock(mutex);
    lines.push_back(line);
  };
  begin(with);
  soon(executor->submit(say, "one\ntwo\nand the rest")).get();
  executor->shutdown();
  wait_until(
      [&] {
        const std::lock_guard lock(mutex);
        return lines.size() == 3;
      },
      "three lines");
  const std::lock_guard lock(mutex);
  EXPECT_EQ(lines[0].text, "one");
  EXPECT_EQ(lines[1].text, "two");
  EXPECT_EQ(lines[2].text, "and the rest");
  EXPECT_FALSE(lines[0].host.empty());
  EXPECT_FALSE(lines[0].is_stderr);
  EXPECT_EQ(lines[0].rank, 0);
}

/// The memory of this process that is resident, in MB.
long resident_mb() {
  std::ifstream file("/proc/self/statm");
  long all = 0, resident = 0;
  file >> all >> resident;
  return resident * ::sysconf(_SC_PAGESIZE) / 1'000'000;
}
constexpr int most_lines = 100'000;
void print_lines(int count) {
  const std::string line(999, 'x');
  for (int i = 0; i < count; ++i) std::puts(line.c_str());
  std::fflush(stdout);
}

TEST_P(Conformance, U12_who_prints_waits_for_a_slow_reader_and_results_do_not) {
  if (!is("Command")) GTEST_SKIP() << "it needs no network";
  auto with = options();
  with.workers_per_host = 2;
  std::atomic<int> lines{0};
  std::atomic<long> most{0};
  const long before = resident_mb();
  with.on_output = [&](const yoke::OutputLine& line) {
    if (line.text.size() != 999) ADD_FAILURE() << "a line of " << line.text.size();
    if (lines++ == 0) board.wait_for(gate, 1);
    if (lines % 1000 == 0) most = std::max(most.load(), resident_mb());
  };
  begin(with);
  auto printer = executor->submit(print_lines, most_lines);
  wait_until([&] { return lines == 1; }, "the first line");
  for (int i = 0; i < 300; ++i) ASSERT_EQ(soon(executor->submit(add_one, i)).get(), i + 1);
  EXPECT_NE(printer.wait_for(std::chrono::milliseconds(500)), std::future_status::ready) << "all of it went somewhere";
  board.add(gate);
  soon(printer).get();
  wait_until([&] { return lines == most_lines; }, "the last line");
  if (!yoke_test::sanitized) {
    EXPECT_LT(most - before, 50);  // AddressSanitizer keeps what was given back
  }
}

TEST_P(Conformance, U12_a_line_without_an_end_comes_in_pieces) {
  if (!is("Command")) GTEST_SKIP() << "it needs no network";
  auto with = options();
  std::atomic<std::size_t> bytes{0}, longest{0};
  with.on_output = [&](const yoke::OutputLine& line) {
    bytes += line.text.size();
    longest = std::max(longest.load(), line.text.size());
  };
  begin(with);
  constexpr std::size_t all = 5'000'000;
  soon(executor->submit(say, std::string(all, 'x'))).get();
  executor->shutdown();
  wait_until([&] { return bytes == all; }, "all of it");
  EXPECT_LT(longest, 100'000U);
}

/// Tells when more was printed than the program reads of it in seconds, and less than what waits anywhere for it.
void print_much_and_tell(const Board& board) {
  print_lines(800);
  board.add(entered);
  print_lines(most_lines);
}
TEST_P(Conformance, U12_the_end_of_a_pool_waits_for_no_slow_reader) {
  if (!is("Command")) GTEST_SKIP() << "it needs no network";
  auto with = options();
  std::atomic<bool> told{false};
  std::atomic<int> lines{0};
  with.on_output = [&](const yoke::OutputLine& line) {
    ++lines;
    if (line.text.find("bytes that were printed are not shown") != std::string::npos) told = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  };
  begin(with);
  executor->submit(print_much_and_tell, board);
  board.wait_for(entered);
  executor->shutdown({.kill_workers = true});
  wait_until([&] { return told.load(); }, "word of what was dropped");
  EXPECT_LT(lines, most_lines / 10);
}

void leave_a_printer() {
  if (::fork() == 0) {
    ::setpgid(0, 0);
    for (;;) static_cast<void>(!::write(STDOUT_FILENO, "still here\n", 11));
  }
}
TEST_P(Conformance, U12_a_process_that_a_task_left_cannot_print_for_ever) {
  if (!is("Command")) GTEST_SKIP() << "it needs no network";
  auto with = options();
  with.on_output = [](const yoke::OutputLine&) {};
  begin(with);
  soon(executor->submit(leave_a_printer)).get();
  shut_down_in_time(*executor);
}

TEST_P(Conformance, R9_an_initializer_runs_in_every_worker) {
  auto with = options();
  static std::string greeting;
  with.worker.initializer = yoke::initializer([](const std::string& text) { greeting = text; }, "hello");
  begin(with);
  EXPECT_EQ(soon(executor->submit([] { return greeting; })).get(), "hello");
}

TEST_P(Conformance, R9_an_initializer_that_throws_breaks_the_pool) {
  auto with = options();
  with.worker.initializer = yoke::initializer(throw_unknown, "no licence here");
  begin(with);
  const auto fails = [&] {
    return thrown_by<yoke::BrokenProcessPool>([&] { soon(executor->submit(add_one, 1)).get(); });
  };
  const auto error = fails();
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("no licence here"), std::string::npos) << error->what();
  wait_until(
      [&] {
        fails();
        return !pool->accepting();
      },
      "all hosts to fail");
}

TEST_P(Conformance, R11_shared_arrays_are_read_as_they_were_when_submitted) {
  begin();
  const Doubles array(std::vector<double>(100'000, 1));
  const Doubles small(std::vector<double>{10, 20});
  const std::vector<double> values(20'000, 1);  // a large message
  for (int i = 0; i < 20; ++i) EXPECT_EQ(soon(executor->submit(sum_of, array)).get(), 100'000);
  EXPECT_EQ(soon(executor->submit(sum_of_both, std::vector<Doubles>{array, small, {}, array}, values)).get(), 220'030);
  const std::vector<double> items{1, 2, 3};
  EXPECT_EQ(executor->map(yoke::bind(sum_plus, array), items).get(), (std::vector<double>{100'001, 100'002, 100'003}));
  array[0] = 2;
  EXPECT_EQ(soon(executor->submit(sum_of, array)).get(), 100'001);
  if (!GetParam().sees_processes) return;
  std::vector<yoke::Future<double>> before;
  for (std::size_t i = 0; i < hosts(); ++i) before.push_back(executor->submit(sum_behind_gate, board, array));
  array[0] = 3;
  auto after = executor->submit(sum_of, array);
  board.add(gate);
  for (auto& future : before) EXPECT_EQ(soon(future).get(), 100'001);
  EXPECT_EQ(soon(after).get(), 100'002);
}

TEST_P(Conformance, R11_the_same_content_is_sent_once_to_each_host) {
  if (!is("Command")) GTEST_SKIP() << "what is sent is counted where the launcher can be a pipeline of the shell";
  const auto file = std::filesystem::temp_directory_path() / ("yoke-sent-" + std::to_string(::getpid()));
  auto with = options();
  with.hosts = {{"counted", {"sh", "-c", "tee " + file.string() + " | {agent_command}"}}};
  begin(with);
  const std::vector<double> million(1'000'000, 1);
  const Doubles array(million);
  const auto model = yoke::broadcast(million);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(soon(executor->submit(sum_of, array)).get(), 1e6);
    EXPECT_EQ(soon(executor->submit(sum_of, Doubles(million))).get(), 1e6) << "another array of the same content";
    EXPECT_EQ(soon(executor->submit(sum_of_model, model, 1)).get(), 1e6 + 1);
    EXPECT_EQ(soon(executor->submit(sum_of_model, yoke::broadcast(million), 1)).get(), 1e6 + 1);
  }
  executor->shutdown();
  const auto sent = std::filesystem::file_size(file);
  EXPECT_GE(sent, 16'000'000U);
  EXPECT_LT(sent, 16'500'000U);
  std::filesystem::remove(file);
}

TEST_P(Conformance, R11_what_was_sent_goes_with_the_last_handle) {
  begin();
  connect_all();
  const int none = soon(executor->submit(blocks_of_agent)).get();
  {
    const Doubles array(1000);
    for (int round = 0; round < 3; ++round) {
      array[0] = round;
      std::vector<yoke::Future<double>> futures;
      for (std::size_t i = 0; i < 4 * hosts(); ++i) futures.push_back(executor->submit(sum_of, array));
      for (auto& future : futures) EXPECT_EQ(soon(future).get(), round);
    }
    const auto holds_one = [&] { return soon(executor->submit(blocks_of_agent)).get() <= none + 1; };
    for (std::size_t i = 0; i < hosts(); ++i) wait_until(holds_one, "an agent that forgets former contents");
  }
  for (std::size_t i = 0; i < hosts(); ++i)
    wait_until([&] { return soon(executor->submit(blocks_of_agent)).get() == none; },
               "an agent that gives memory back");
}

TEST_P(Conformance, R11_arrays_are_sent_again_to_an_agent_that_was_started_again) {
  if (!GetParam().sees_processes) GTEST_SKIP() << "the test cannot reach its processes";
  begin();
  const Doubles array(std::vector<double>(1000, 1));
  const auto model = yoke::broadcast(std::vector<double>(1000, 2));
  for (std::size_t i = 0; i < 3 * hosts(); ++i) EXPECT_EQ(soon(executor->submit(sum_of, array)).get(), 1000);
  for (std::size_t i = 0; i < hosts(); ++i) {
    auto lost = executor->submit(kill_agent);
    EXPECT_TRUE(thrown_by<yoke::LostHostError>([&] { soon(lost).get(); }));
  }
  for (std::size_t i = 0; i < 3 * hosts(); ++i) {
    EXPECT_EQ(soon(executor->submit(yoke::TaskOptions{.retries = 3}, sum_of, array)).get(), 1000);
    EXPECT_EQ(soon(executor->submit(yoke::TaskOptions{.retries = 3}, sum_of_model, model, 1)).get(), 2001);
  }
}

TEST_P(Conformance, R11_a_host_without_room_fails_the_task_alone) {
  if (!is("Command")) GTEST_SKIP() << "its agents' limits are not to be changed from here";
  if (sanitized) GTEST_SKIP() << "UndefinedBehaviorSanitizer itself needs descriptors in the agent";
  auto with = options();
  with.hosts.resize(1);
  begin(with);
  const pid_t agent = soon(executor->submit(agent_pid)).get();
  rlimit former{};
  ASSERT_EQ(::prlimit(agent, RLIMIT_NOFILE, nullptr, &former), 0);
  const rlimit none{3, former.rlim_max};
  ASSERT_EQ(::prlimit(agent, RLIMIT_NOFILE, &none, nullptr), 0);
  const Doubles small(std::vector<double>(1000, 1)), large(std::vector<double>(100'000, 1));
  for (const Doubles& array : {small, large}) {
    const auto error = thrown_by<yoke::Error>([&] { soon(executor->submit(sum_of, array)).get(); });
    ASSERT_TRUE(error);
    const std::string text = error->what(), bytes = std::to_string(8 * array.size());
    EXPECT_NE(text.find("there is no memory for its " + bytes + " bytes"), std::string::npos) << text;
  }
  const auto values =
      thrown_by<yoke::Error>([&] { soon(executor->submit(sum, std::vector<double>(100'000, 1))).get(); });
  ASSERT_TRUE(values);
  EXPECT_NE(std::string(values->what()).find("Too many open files"), std::string::npos) << values->what();
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);
  ASSERT_EQ(::prlimit(agent, RLIMIT_NOFILE, &former, nullptr), 0);
  EXPECT_EQ(soon(executor->submit(sum_of, small)).get(), 1000) << "it is sent again";
  EXPECT_EQ(soon(executor->submit(sum_of, large)).get(), 100'000) << "it is sent again";
  EXPECT_EQ(soon(executor->submit(agent_pid)).get(), agent);
}

TEST_P(Conformance, R11_what_arrays_cannot_do_there) {
  begin();
  const Doubles array(std::vector<double>(1000, 1));
  const auto death = thrown_by<yoke::TerminatedWorkerError>([&] { soon(executor->submit(write_first, array)).get(); });
  ASSERT_TRUE(death) << "nobody would see what it writes";
  EXPECT_EQ(death->death().signal, sanitized ? 0 : SIGSEGV);  // a sanitizer makes it an exit
  const auto returned = thrown_by<yoke::SerializationError>([&] { soon(executor->submit(same_array, array)).get(); });
  ASSERT_TRUE(returned);
  EXPECT_NE(std::string(returned->what()).find("return its elements"), std::string::npos) << returned->what();
  EXPECT_EQ(array[0], 1);
  auto with = options();
  with.worker.initializer = yoke::initializer(sum_of, array);
  EXPECT_TRUE(thrown_by<std::invalid_argument>([&] { yoke::RemotePool refused(with); }));
}

TEST_P(Conformance, R9_each_task_goes_where_a_worker_is_free) {
  if (!GetParam().sees_processes) GTEST_SKIP() << "its workers reach no board";
  begin();
  connect_all();
  auto futures = one_on_each();  // returns when each runs, and a worker runs one at a time
  board.add(gate);
  std::vector<int> pids;
  for (auto& future : futures) pids.push_back(soon(future).get());
  std::ranges::sort(pids);
  EXPECT_EQ(std::ranges::adjacent_find(pids), pids.end());
  if (is("Ssh") || is("Slurm")) {
    EXPECT_EQ(soon(executor->submit(host_name)).get().front(), 'n');
  }
}

TEST_P(Conformance, R9_statistics_name_the_hosts) {
  begin();
  soon(executor->submit(add_one, 1)).get();
  wait_until([&] { return !executor->stats().workers.empty(); }, "word of the workers");
  const auto stats = executor->stats();
  EXPECT_EQ(stats.submitted, 1U);
  EXPECT_EQ(stats.done, 1U);
  for (const auto& worker : stats.workers) EXPECT_FALSE(worker.host.empty());
}

TEST_P(Conformance, R9_hosts_tell_whether_they_serve_and_why_not) {
  auto with = options();
  if (!is("Slurm")) with.hosts.push_back({"nowhere", {"sh", "-c", "exit 127; {agent_command}"}});
  begin(with);
  for (const auto& host : pool->hosts()) EXPECT_EQ(host.state, yoke::HostState::waiting) << host.name;
  connect_all();
  std::size_t serving = 0;
  for (const auto& host : pool->hosts()) {
    if (host.name == "nowhere") {
      EXPECT_EQ(host.state, yoke::HostState::ended);
      EXPECT_NE(host.trouble.find("exit code 127"), std::string::npos) << host.trouble;
      continue;
    }
    EXPECT_EQ(host.state, yoke::HostState::serving) << host.name;
    EXPECT_EQ(host.workers, 1) << host.name;
    EXPECT_EQ(host.trouble, "") << host.name;
    ++serving;
  }
  EXPECT_EQ(serving, hosts());
  executor->shutdown();
  for (const auto& host : pool->hosts()) EXPECT_EQ(host.state, yoke::HostState::ended) << host.name;
}

TEST_P(Conformance, R9_time_in_a_queue_is_no_start_up_time) {
  if (!is("Slurm")) GTEST_SKIP() << "only Slurm has a queue";
  auto with = options();
  with.slurm->arguments = {"--exclusive"};
  begin(with);
  connect_all();
  with.start_timeout = std::chrono::milliseconds(2000);
  const auto second = std::make_shared<yoke::RemotePool>(with);
  yoke::Executor waits(second);
  auto future = waits.submit(add_one, 1);
  const auto queued = [&] {
    const auto all = second->hosts();
    return all.size() == 1 && all[0].name == "slurm" && all[0].trouble.find("queued and waiting") != std::string::npos;
  };
  wait_until(queued, "a request that waits in the queue");
  with.slurm->queue_timeout = std::chrono::seconds(1);
  yoke::Executor impatient(std::make_shared<yoke::RemotePool>(with));
  const auto error = thrown_by<yoke::BrokenProcessPool>([&] { soon(impatient.submit(add_one, 1)).get(); });
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("within queue_timeout (1 s)"), std::string::npos) << error->what();
  impatient.shutdown();
  std::this_thread::sleep_for(with.start_timeout);  // longer in the queue than a start may take
  EXPECT_EQ(future.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  EXPECT_TRUE(queued());
  executor->shutdown();
  EXPECT_EQ(soon(future).get(), 2);
  waits.shutdown();
}

TEST_P(Conformance, R9_counts_outlive_an_agent) {
  if (!GetParam().sees_processes)
    GTEST_SKIP() << "an agent is the first process of its container, which nothing in it can kill";
  begin();
  death_of(executor->submit(crash));
  wait_until([&] { return executor->stats().deaths == 1; }, "word of a death");
  thrown_by<yoke::LostHostError>([&] { soon(executor->submit(yoke::TaskOptions{}, kill_agent)).get(); });
  EXPECT_GE(executor->stats().deaths, 1U);
}

TEST_P(Conformance, R9_resize_holds_for_hosts_that_come_later) {
  begin();
  executor->resize(2 * GetParam().hosts);
  connect_all();
  EXPECT_EQ(executor->max_workers(), 2 * GetParam().hosts);
  EXPECT_THROW(executor->resize(0), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(At, Conformance, testing::ValuesIn(places),
                         [](const testing::TestParamInfo<Place>& place) { return std::string(place.param.name); });

}  // namespace
}  // namespace yoke_test
