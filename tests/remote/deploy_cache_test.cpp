// U10: the program that a host keeps is the one that was sent, whoever else can write there.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/pool_fixture.hpp"
#include "yoke/remote.hpp"

namespace yoke_test {
namespace {

/// A deployed agent's cache, here.
class DeployCache : public HouseTest {
 protected:
  void SetUp() override {
    HouseTest::SetUp();
    base_ = std::filesystem::temp_directory_path() / ("yoke-own-cache-" + std::to_string(::getpid()));
    std::filesystem::create_directories(cache());
    for (const auto& folder : {base_, cache()}) std::filesystem::permissions(folder, std::filesystem::perms(0700));
  }
  void TearDown() override {
    HouseTest::TearDown();
    std::filesystem::remove_all(base_);
  }
  std::filesystem::path cache() const { return base_ / "cache"; }
  std::filesystem::path yokes() const { return cache() / "yoke"; }
  /// Of the one program that was sent.
  std::filesystem::path sent() const { return std::filesystem::directory_iterator(yokes())->path(); }
  std::filesystem::path program() const { return sent() / "conformance_test"; }

  /// From a new pool: empty, or why there is no agent.
  std::string trouble() {
    yoke::RemoteOptions with;
    with.deploy = true;
    with.hosts = {{"here", {"env", "XDG_CACHE_HOME=" + cache().string(), "{agent}"}, {}}};
    yoke::Executor executor(std::make_shared<yoke::RemotePool>(std::move(with)));
    try {
      EXPECT_EQ(soon(executor.submit(add_one, 41)).get(), 42);
    } catch (const yoke::BrokenProcessPool& error) {
      return error.what();
    }
    executor.shutdown();
    return "";
  }
  void expect_refused(const std::string& reason) {
    const std::string text = trouble();
    EXPECT_NE(text.find("no program is started from"), std::string::npos) << text;
    EXPECT_NE(text.find(reason), std::string::npos) << text;
  }
  /// Puts a program that only leaves a trace in the place of the one that was sent.
  void plant() const {
    std::filesystem::remove(program());
    std::ofstream(program()) << "#!/bin/sh\n: >" << trace().string() << '\n';
    std::filesystem::permissions(program(), std::filesystem::perms(0755));
  }
  std::filesystem::path trace() const { return base_ / "trace"; }
  void give_to_nobody(const std::filesystem::path& file) const { ASSERT_EQ(::lchown(file.c_str(), 65534, 65534), 0); }

 private:
  std::filesystem::path base_;
};

TEST_F(DeployCache, U10_a_planted_program_is_not_run_but_sent_again) {
  ASSERT_EQ(trouble(), "");
  plant();
  EXPECT_EQ(trouble(), "");
  EXPECT_FALSE(std::filesystem::exists(trace()));
  EXPECT_GT(std::filesystem::file_size(program()), 100'000U);
}

TEST_F(DeployCache, R7_many_agents_fill_it_at_once) {
  for (const bool planted : {false, true}) {
    for (int round = 0; round < 4; ++round) {
      if (planted)
        plant();
      else
        std::filesystem::remove_all(yokes());
      yoke::RemoteOptions with;
      with.deploy = true;
      with.hosts.assign(6, {"here", {"env", "XDG_CACHE_HOME=" + cache().string(), "{agent}"}, {}});
      const auto pool = std::make_shared<yoke::RemotePool>(std::move(with));
      yoke::Executor executor(pool);
      EXPECT_EQ(pool->connect(hang_guard), 6) << planted;
      executor.shutdown();
    }
  }
}

TEST_F(DeployCache, U10_a_byte_that_was_changed_is_noticed) {
  ASSERT_EQ(trouble(), "");
  {
    std::fstream file(program(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('!');
  }
  const auto size = std::filesystem::file_size(program());
  EXPECT_EQ(trouble(), "");
  EXPECT_EQ(std::filesystem::file_size(program()), size);
  std::ifstream file(program(), std::ios::binary);
  file.seekg(-1, std::ios::end);
  EXPECT_NE(file.get(), '!');
}

TEST_F(DeployCache, U10_a_library_beside_what_was_sent_is_noticed) {
  ASSERT_EQ(trouble(), "");
  const auto planted = sent() / "lib/libc.so.6";
  std::ofstream(planted) << "none";
  EXPECT_EQ(trouble(), "");
  EXPECT_FALSE(std::filesystem::exists(planted));
}

TEST_F(DeployCache, U10_a_symlink_in_the_place_of_a_file_is_noticed) {
  ASSERT_EQ(trouble(), "");
  const auto elsewhere = cache() / "elsewhere";
  std::filesystem::rename(program(), elsewhere);
  std::filesystem::create_symlink(elsewhere, program());
  EXPECT_EQ(trouble(), "");
  EXPECT_FALSE(std::filesystem::is_symlink(program()));
}

TEST_F(DeployCache, U10_files_that_others_own_or_can_write_are_sent_again) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  ASSERT_EQ(trouble(), "");
  give_to_nobody(program());
  EXPECT_EQ(trouble(), "");
  struct stat status{};
  EXPECT_EQ(::stat(program().c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 0U);
  for (const auto& file : {program(), sent() / "lib", sent()}) {
    std::filesystem::permissions(file, std::filesystem::perms(0757));
    EXPECT_EQ(trouble(), "");
    const auto left = std::filesystem::status(file).permissions() & std::filesystem::perms::others_write;
    EXPECT_EQ(left, std::filesystem::perms::none);
  }
}

TEST_F(DeployCache, U10_a_cache_that_others_can_write_is_refused) {
  for (const auto& folder : {cache().parent_path(), cache(), yokes()}) {
    std::filesystem::create_directory(folder);
    std::filesystem::permissions(folder, std::filesystem::perms(0707));
    expect_refused(folder);
    std::filesystem::permissions(folder, std::filesystem::perms(0700));
  }
  EXPECT_EQ(trouble(), "");
}

TEST_F(DeployCache, U10_a_cache_that_another_user_owns_is_refused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give folders away";
  for (const auto& folder : {cache().parent_path(), cache(), yokes()}) {
    std::filesystem::create_directory(folder);
    give_to_nobody(folder);
    expect_refused(folder);
    ASSERT_EQ(::chown(folder.c_str(), 0, 0), 0);
  }
}

TEST_F(DeployCache, U10_a_symlink_in_the_place_of_the_cache_is_refused) {
  std::filesystem::permissions(cache(),
                               std::filesystem::perms(01777));  // as /tmp: others may put something there first
  const auto elsewhere = cache().parent_path() / "elsewhere";
  std::filesystem::create_directory(elsewhere);
  std::filesystem::create_symlink(elsewhere, yokes());
  expect_refused(yokes());
  std::filesystem::remove(yokes());
  EXPECT_EQ(trouble(), "");
}

}  // namespace
}  // namespace yoke_test
