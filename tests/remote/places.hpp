// The places that the tests of remote pools run at, each a way to start agents.
//
// All but "Command" need the cluster of tests/remote/cluster, whose folder is named in YOKE_TEST_CLUSTER, and run on
// its node ctl.
#pragma once

#include <optional>
#include <string>

#include "yoke/remote.hpp"

namespace yoke_test {

struct Place {
  const char* name;
  int hosts;
  bool has_network;  // hosts can be cut off
  bool sees_processes;  // its workers have this machine's process numbers, and reach boards
};
inline constexpr Place places[] = {
    {"Command", 3, false, true}, {"Ssh", 3, true, true}, {"Slurm", 3, true, true}, {"Podman", 1, false, false}};

const Place& find_place(const std::string& name);
/// Why it cannot be used here; empty: it can.
std::string what_is_missing(const Place& place);
/// One worker a host, and a short lease.
yoke::RemoteOptions options_at(const Place& place);
/// tests/remote/cluster with these arguments: "cut n1".
void cluster(const std::string& arguments);

}  // namespace yoke_test
