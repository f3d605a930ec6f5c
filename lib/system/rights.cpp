#include "lib/system/rights.hpp"

#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/system/environment.hpp"

namespace yoke::system {
namespace {

constexpr char program_file[] = "/proc/thread-self/exe";

/// True if exec of this program's file gives rights that this process was not simply born with.
bool file_gives_rights() {
  struct statvfs where{};
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return false;
  if (::statvfs(program_file, &where) == 0 && (where.f_flag & ST_NOSUID) != 0) return false;
  struct stat file{};
  if (::stat(program_file, &file) != 0) return outranks_caller();
  const bool outranks = outranks_caller();
  const bool set_user = (file.st_mode & S_ISUID) != 0;
  const bool set_group = (file.st_mode & S_ISGID) != 0 && (file.st_mode & S_IXGRP) != 0;
  const bool capable = ::getxattr(program_file, "security.capability", nullptr, 0) > 0;
  return (set_user && (outranks || file.st_uid != ::geteuid())) ||
         (set_group && (outranks || file.st_gid != ::getegid())) || (capable && (outranks || ::geteuid() != 0));
}

}  // namespace

bool outranks_caller() noexcept { return ::getauxval(AT_SECURE) != 0; }

std::optional<std::string> own_variable(const char* name) { return outranks_caller() ? std::nullopt : variable(name); }

std::string trouble_of_rights() {
  if (!file_gives_rights()) return {};
  return "a program whose file gives it rights (set-user-ID, set-group-ID or capabilities) cannot have worker "
         "processes: a "
         "copy of it could not know that it is a worker, and would regain what the program has given up. Let it start "
         "a "
         "program without such rights of its own, which has the pool";
}

}  // namespace yoke::system
