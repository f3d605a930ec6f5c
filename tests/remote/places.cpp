#include "tests/remote/places.hpp"

#include <cstdlib>
#include <stdexcept>

namespace yoke_test {
namespace {

std::string cluster_folder() {
  const char* folder = std::getenv("YOKE_TEST_CLUSTER");
  return folder ? folder : "";
}

}  // namespace

const Place& find_place(const std::string& name) {
  for (const Place& place : places)
    if (place.name == name) return place;
  throw std::invalid_argument("there is no place " + name);
}

std::string what_is_missing(const Place& place) {
  if (std::string(place.name) == "Command" || !cluster_folder().empty()) return {};
  return "there is no cluster: YOKE_TEST_CLUSTER is not set (tests/remote/run)";
}

yoke::RemoteOptions options_at(const Place& place) {
  using namespace std::chrono_literals;
  const std::string name = place.name;
  yoke::RemoteOptions options;
  options.workers_per_host = 1;
  options.heartbeat = 250ms;
  options.lease = 3s;
  if (name == "Slurm") {
    options.slurm = yoke::SlurmOptions{.nodes = place.hosts};
    return options;
  }
  if (name == "Podman") {
    const std::string build = BUILD_FOLDER;  // where the program and its library are
    options.hosts = {
        {"box", {cluster_folder() + "/podman-run", "-v", build + ":" + build + ":ro", "yoke-test", "{agent}"}}};
    return options;
  }
  yoke::Launcher ssh = yoke::launchers::ssh();
  ssh.insert(ssh.begin() + 1, {"-F", cluster_folder() + "/ssh_config"});
  for (int i = 1; i <= place.hosts; ++i)
    options.hosts.push_back({"n" + std::to_string(i), name == "Ssh" ? ssh : yoke::launchers::local()});
  return options;
}

void cluster(const std::string& arguments) {
  const std::string command = std::string(CLUSTER) + " --dir " + cluster_folder() + " " + arguments;
  if (std::system(command.c_str()) != 0) throw std::runtime_error("this failed: " + command);
}

}  // namespace yoke_test
