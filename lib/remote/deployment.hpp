// Deployment: this program, and the libraries that it has loaded beyond glibc's, as one archive for hosts without them.
//
// On a host it lies in a folder of the user's cache that is named by the SHA-256 of its files' SHA-256: sent once,
// whatever its name here. Nothing is run from a folder that others can write, or that holds anything else than was
// sent. Immutable; any thread.
#pragma once

#include <string>
#include <vector>

#include "yoke/bytes.hpp"

namespace yoke::remote {

struct Deployment {
  std::string hash;  // SHA-256 of the archive's file yoke.sha256, in hexadecimal
  std::string program;  // name of the executable's file
  Bytes archive;  // tar: the executable, lib/ with the libraries, and yoke.sha256, a line of sha256sum for each
};

/// Reads the files. Throws std::system_error.
Deployment make_deployment();

/// What the agent is started by on a host: looks into the cache, says that it needs the archive if it does, unpacks it,
/// and becomes the agent. Needs sh, ls, id, head, tar, mv and sha256sum there.
std::vector<std::string> deploying_command(const Deployment& deployment, const std::string& token);
/// What it says where it needs the archive.
std::string need_of(const std::string& token);

}  // namespace yoke::remote
