#include "lib/remote/deployment.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "lib/protocol/stream.hpp"
#include "lib/system/launcher.hpp"
#include "lib/system/sha256.hpp"
#include "lib/system/unique_fd.hpp"
#include "yoke/pack_buffer.hpp"

namespace yoke::remote {
namespace {

constexpr std::size_t block = 512;  // of a tar archive

// One line, without single quotes and exclamation marks, which no shell of a user changes on its way to sh.
//
// The program is run from a folder that nobody else can write or put another in the place of: each folder above it is
// the system's or the user's, and is writable for others only where these cannot rename what is not theirs. What lies
// in it is compared with what was sent, file by file.
constexpr char script[] =
    "u=$(id -u); s=$(ls -ldn / | { read -r m l o r; echo \"$o\"; }); "
    "m0=$(umask); g=none; [ \"$(id -un 2>/dev/null)\" = \"$(id -gn 2>/dev/null)\" ] && g=$(id -g); umask 077; "
    "fail() { echo \"yoke: $*\" >&2; exit 126; }; "  // as where a program cannot be run: another try would end alike
    // As ls has it: mode, links, user, group. A group that is named like the user has nobody else in it.
    "trusted() { ls -ldn \"$1\" | { read -r m l o p r; "
    "case $o in 0 | \"$u\" | \"$s\") ;; *) exit 1 ;; esac; "
    "case $m in d????????[tT]*) ;; ????????w*) exit 1 ;; ?????w*) [ \"$p\" = \"$g\" ] ;; d*) ;; *) exit 1 ;; esac; }; "
    "}; "
    "own() { ls -ldn \"$1\" | { read -r m l o r; case $m/$o in d???[r-]-?[r-]-*/\"$u\") ;; *) exit 1 ;; esac; }; }; "
    "good() { (cd -P \"$c\" 2>/dev/null && own . && ls -lnA . lib 2>/dev/null | { n=0; while read -r m l o r; do "
    "case $m/$o in total/* | .:/* | lib:/* | /) ;; [d-]???[r-]-?[r-]-*/\"$u\") n=$((n+1)) ;; *) exit 1 ;; esac; done; "
    "[ \"$n\" -eq $(($(wc -l <yoke.sha256)+2)) ]; } 2>/dev/null && "
    "[ \"$(sha256sum <yoke.sha256)\" = \"$1  -\" ] && sha256sum -c yoke.sha256 >/dev/null 2>&1); }; "
    "command -v sha256sum >/dev/null || fail sha256sum is missing, which proves what the cache holds; "
    "b=${XDG_CACHE_HOME:-$HOME/.cache}; "
    "b=$(mkdir -p \"$b\" && cd -P \"$b\" >/dev/null && pwd -P) || fail there is no cache folder; d=$b; "
    "until [ -z \"$d\" ]; do trusted \"$d\" || "
    "fail \"no program is started from the cache $b, since others can write or own $d: change that, or set "
    "XDG_CACHE_HOME to a folder of your own\"; "
    "case $d in /) d= ;; *) d=${d%/*}; d=${d:-/} ;; esac; done; "
    "b=${b%/}/yoke; mkdir \"$b\" 2>/dev/null; own \"$b\" || "
    "fail \"no program is started from $b, which others can write or own: remove it\"; "
    "c=$b/$1; t=$c.$3; "
    "if good \"$1\"; then :; else "
    "mkdir \"$t\" \"$t/lib\" && printf \"\\nyoke-needs %s\\n\" \"$3\" && head -c \"$2\" | tar -xf - -C \"$t\" || "
    "{ rm -rf \"$t\"; exit 1; }; "
    // Fails where another agent was first; its copy is moved away only if it is not what was sent. Or is being replaced
    // now.
    "mv -T \"$t\" \"$c\" 2>/dev/null || good \"$1\" || { mv -T \"$c\" \"$t.old\"; mv -T \"$t\" \"$c\"; } 2>/dev/null; "
    "rm -rf \"$t\" \"$t.old\"; "
    "good \"$1\" || { sleep 1; good \"$1\"; } || fail \"what lies in $c is not what was sent\"; fi; "
    "LD_LIBRARY_PATH=$c/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}; export LD_LIBRARY_PATH; umask \"$m0\"; "
    "exec env YOKE_AGENT=\"$3\" YOKE_AGENT_LIBRARIES=\"$c/lib\" \"$c/$4\"";

/// Whether it is a host's own: what glibc consists of, and what belongs to a driver in its kernel. All else may be
/// missing there.
bool is_hosts_own(const std::string& path) {
  constexpr std::array folders{"/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"};
  if (std::ranges::none_of(folders, [&](const char* folder) { return path.starts_with(folder); })) return false;
  const std::string name = std::filesystem::path(path).filename().string();
  constexpr std::array beginnings{"ld-",         "ld64.",          "ld.so",         "libc.so.",  "libm.so.",
                                  "libmvec.so.", "libpthread.so.", "libdl.so.",     "librt.so.", "libresolv.so.",
                                  "libutil.so.", "libanl.so.",     "libnsl.so.",    "libnss_",   "libthread_db.so.",
                                  "libcuda.so.", "libnvidia-",     "libnvcuvid.so."};
  return path.find("/gconv/") != std::string::npos ||
         std::ranges::any_of(beginnings, [&](const char* beginning) { return name.starts_with(beginning); });
}

/// Paths of the loaded libraries that a host may not have.
std::vector<std::string> own_libraries() {
  std::vector<std::string> paths;
  ::dl_iterate_phdr(
      [](dl_phdr_info* module, std::size_t, void* all) {
        const std::string path = module->dlpi_name ? module->dlpi_name : "";
        if (path.starts_with('/') && !is_hosts_own(path)) static_cast<std::vector<std::string>*>(all)->push_back(path);
        return 0;
      },
      &paths);
  return paths;
}

void write_octal(char* at, std::size_t digits, std::uint64_t value) {
  for (std::size_t i = digits; i-- > 0; value >>= 3) at[i] = static_cast<char>('0' + (value & 7));
}

/// The header of a file of the archive, as POSIX ustar.
void add_header(PackBuffer& archive, const std::string& name, std::size_t size) {
  constexpr std::size_t name_size = 100, mode_at = 100, size_at = 124, sum_at = 148, type_at = 156, magic_at = 257;
  if (name.size() >= name_size) throw std::system_error(ENAMETOOLONG, std::system_category(), name);
  std::array<char, block> header{};
  std::memcpy(header.data(), name.data(), name.size());
  write_octal(header.data() + mode_at, 7, 0755);
  write_octal(header.data() + mode_at + 8, 7, 0);
  write_octal(header.data() + mode_at + 16, 7, 0);
  write_octal(header.data() + size_at, 11, size);
  write_octal(header.data() + size_at + 12, 11, 0);
  header[type_at] = '0';
  std::memcpy(header.data() + magic_at, "ustar\00000", 8);
  std::memset(header.data() + sum_at, ' ', 8);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  write_octal(header.data() + sum_at, 6, sum);
  header[sum_at + 6] = '\0';
  archive.write(header.data(), header.size());
}

/// Room for the content of the file with this header.
std::byte* add_content(PackBuffer& archive, const std::string& name, std::size_t size) {
  add_header(archive, name, size);
  std::byte* const content = archive.extend((size + block - 1) / block * block);
  std::memset(content + size, 0, (block - size % block) % block);
  return content;
}

/// Returns its line for sha256sum.
std::string add_file(PackBuffer& archive, const std::string& name, const system::UniqueFd& file) {
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) throw std::system_error(errno, std::system_category(), name);
  const auto size = static_cast<std::size_t>(status.st_size);
  std::byte* const content = add_content(archive, name, size);
  for (std::size_t done = 0; done < size;) {
    const ssize_t read = ::pread(file.get(), content + done, size - done, static_cast<off_t>(done));
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) throw std::system_error(read < 0 ? errno : EIO, std::system_category(), "reading " + name);
    done += static_cast<std::size_t>(read);
  }
  return fmt::format("{}  {}\n", system::sha256({content, size}), name);
}

}  // namespace

Deployment make_deployment() {
  Deployment deployment;
  std::error_code none;
  const std::string path = std::filesystem::read_symlink("/proc/self/exe", none).string();
  deployment.program = std::filesystem::path(path.substr(0, path.find(" (deleted)"))).filename().string();
  PackBuffer archive;
  const system::UniqueFd program(::fcntl(system::own_executable_fd(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  std::string sums = add_file(archive, deployment.program, program);
  for (const std::string& library : own_libraries()) {
    const std::string name = "lib/" + std::filesystem::path(library).filename().string();
    if (sums.find("  " + name + '\n') != std::string::npos) continue;
    const system::UniqueFd file(::open(library.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) throw std::system_error(errno, std::system_category(), "reading " + library);
    sums += add_file(archive, name, file);
  }
  std::memcpy(add_content(archive, "yoke.sha256", sums.size()), sums.data(), sums.size());
  std::memset(archive.extend(2 * block), 0, 2 * block);  // the end of the archive
  deployment.hash = system::sha256(std::as_bytes(std::span(sums)));
  deployment.archive = archive.take();
  return deployment;
}

std::vector<std::string> deploying_command(const Deployment& deployment, const std::string& token) {
  return {"sh",
          "-c",
          script,
          "yoke-deploy",
          deployment.hash,
          fmt::format("{}", deployment.archive.size()),
          token,
          deployment.program};
}

std::string need_of(const std::string& token) { return fmt::format("\nyoke-needs {}\n", token); }

}  // namespace yoke::remote
