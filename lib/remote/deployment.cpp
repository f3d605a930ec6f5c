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

#include "lib/remote/protocol.hpp"
#include "lib/system/launcher.hpp"
#include "lib/system/unique_fd.hpp"
#include "yoke/pack_buffer.hpp"

namespace yoke::remote {
namespace {

constexpr std::size_t block = 512;  // of a tar archive

constexpr char script[] =
    "c=${XDG_CACHE_HOME:-$HOME/.cache}/yoke/$1\n"
    "if [ ! -x \"$c/$4\" ]; then\n"
    "  t=$c.$3\n"
    "  mkdir -p \"$t\" && printf '\\nyoke-needs %s\\n' \"$3\" && head -c \"$2\" | tar -xf - -C \"$t\" || {\n"
    "    rm -rf \"$t\"\n"
    "    exit 1\n"
    "  }\n"
    "  mv -T \"$t\" \"$c\" 2>/dev/null || rm -rf \"$t\"\n"  // another agent may have been first
    "fi\n"
    "LD_LIBRARY_PATH=$c/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\n"
    "export LD_LIBRARY_PATH\n"
    "exec env YOKE_AGENT=\"$3\" YOKE_AGENT_LIBRARIES=\"$c/lib\" \"$c/$4\"\n";

bool is_systems(const std::string& path) {
  constexpr std::array folders{"/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"};
  return std::ranges::any_of(folders, [&](const char* folder) { return path.starts_with(folder); });
}

/// Paths of the loaded libraries that a host may not have.
std::vector<std::string> own_libraries() {
  std::vector<std::string> paths;
  ::dl_iterate_phdr(
      [](dl_phdr_info* module, std::size_t, void* all) {
        const std::string path = module->dlpi_name ? module->dlpi_name : "";
        if (path.starts_with('/') && !is_systems(path)) static_cast<std::vector<std::string>*>(all)->push_back(path);
        return 0;
      },
      &paths);
  return paths;
}

void write_octal(char* at, std::size_t digits, std::uint64_t value) {
  for (std::size_t i = digits; i-- > 0; value >>= 3) at[i] = static_cast<char>('0' + (value & 7));
}

/// A file of the archive, as POSIX ustar.
void add_file(PackBuffer& archive, const std::string& name, const system::UniqueFd& file) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw std::system_error(errno, std::system_category(), name);
  constexpr std::size_t name_size = 100, mode_at = 100, size_at = 124, sum_at = 148, type_at = 156, magic_at = 257;
  if (name.size() >= name_size) throw std::system_error(ENAMETOOLONG, std::system_category(), name);
  const auto size = static_cast<std::size_t>(status.st_size);
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
  std::byte* const content = archive.extend((size + block - 1) / block * block);
  std::memset(content + size, 0, (block - size % block) % block);
  for (std::size_t done = 0; done < size;) {
    const ssize_t read = ::pread(file.get(), content + done, size - done, static_cast<off_t>(done));
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) throw std::system_error(read < 0 ? errno : EIO, std::system_category(), "reading " + name);
    done += static_cast<std::size_t>(read);
  }
}

/// FNV-1a, 128 bits.
std::string hash_of(std::span<const std::byte> bytes) {
  __extension__ using Wide = unsigned __int128;
  constexpr Wide prime = (Wide{1} << 88) + 0x13b;
  Wide hash = (Wide{0x6c62272e07bb0142} << 64) + 0x62b821756295c58d;
  for (const std::byte byte : bytes) hash = (hash ^ static_cast<unsigned>(byte)) * prime;
  return fmt::format("{:016x}{:016x}", static_cast<std::uint64_t>(hash >> 64), static_cast<std::uint64_t>(hash));
}

}  // namespace

Deployment make_deployment() {
  Deployment deployment;
  std::error_code none;
  const std::string path = std::filesystem::read_symlink("/proc/self/exe", none).string();
  deployment.program = std::filesystem::path(path.substr(0, path.find(" (deleted)"))).filename().string();
  PackBuffer archive;
  const system::UniqueFd program(::fcntl(system::own_executable_fd(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  add_file(archive, deployment.program, program);
  for (const std::string& library : own_libraries()) {
    const system::UniqueFd file(::open(library.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) throw std::system_error(errno, std::system_category(), "reading " + library);
    add_file(archive, "lib/" + std::filesystem::path(library).filename().string(), file);
  }
  std::memset(archive.extend(2 * block), 0, 2 * block);  // the end of the archive
  deployment.hash = hash_of(archive.view());
  deployment.archive = archive.take();
  return deployment;
}

std::vector<std::string> deploying_command(const Deployment& deployment, const std::string& token) {
  return {"sh", "-c", script, "yoke-deploy", deployment.hash, fmt::format("{}", deployment.archive.size()), token,
          deployment.program};
}

std::string need_of(const std::string& token) { return fmt::format("\nyoke-needs {}\n", token); }

}  // namespace yoke::remote
