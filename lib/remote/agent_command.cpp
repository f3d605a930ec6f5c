#include "lib/remote/agent_command.hpp"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <system_error>

#include "lib/protocol/stream.hpp"

namespace yoke {
namespace launchers {

// The user's configuration leads to the host; what it wants of a session of the user's own is switched off. A shared
// connection would carry other sessions, which end when this ssh is killed, or hang with it; forwardings, commands and
// terminals are not this one's. Who is lost is found out by heartbeats. What an older ssh does not know is left out
// (without_unknown).
Launcher ssh() {
  Launcher launcher{"ssh", "-T", "-a", "-x"};
  for (const char* option : {"BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=0", "ControlMaster=no",
                             "ControlPath=none", "ClearAllForwardings=yes", "Tunnel=no", "PermitLocalCommand=no",
                             "RemoteCommand=none", "SessionType=default", "StdinNull=no", "ForkAfterAuthentication=no"})
    launcher.insert(launcher.end(), {"-o", option});
  launcher.insert(launcher.end(), {"{host}", "{agent_command}"});
  return launcher;
}

Launcher local() { return {"{agent}"}; }

namespace {

Launcher container(const char* engine, const std::string& image, const std::vector<std::string>& arguments) {
  // Bytes 0x10 and 0x11 in a row would detach the stream, and what it carries would be logged.
  Launcher launcher{engine, "run", "--rm", "-i", "--detach-keys=", "--log-driver=none"};
  launcher.insert(launcher.end(), arguments.begin(), arguments.end());
  launcher.push_back(image);
  launcher.push_back("{agent}");
  return launcher;
}

}  // namespace

Launcher podman(const std::string& image, const std::vector<std::string>& arguments) {
  return container("podman", image, arguments);
}
Launcher docker(const std::string& image, const std::vector<std::string>& arguments) {
  return container("docker", image, arguments);
}

Launcher kubectl(const std::string& image, const std::vector<std::string>& arguments) {
  Launcher launcher{"kubectl", "run", "-i", "--rm", "--quiet", "--restart=Never", "--image=" + image};
  launcher.insert(launcher.end(), arguments.begin(), arguments.end());
  launcher.insert(launcher.end(), {"{host}", "--command", "--", "{agent}"});
  return launcher;
}

}  // namespace launchers

namespace {

int parse_number(const std::string& text, const std::string& what) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 1)
    throw std::invalid_argument(fmt::format("{} needs a number of at least 1, not '{}'", what, text));
  return number;
}

SlurmOptions parse_slurm(const std::string& text) {
  SlurmOptions slurm;
  if (text.empty()) return slurm;
  for (const std::string& setting : remote::split_at_commas(text)) {
    const std::size_t equals = setting.find('=');
    const std::string name = setting.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : setting.substr(equals + 1);
    if (name == "nodes")
      slurm.nodes = parse_number(value, "slurm:nodes");
    else if (name == "partition")
      slurm.partition = value;
    else
      slurm.arguments.push_back(equals == std::string::npos ? "--" + name : fmt::format("--{}={}", name, value));
  }
  return slurm;
}

/// As a shell would split it, with both kinds of quotes and backslashes, and nothing else that is special.
std::vector<std::string> split_words(const std::string& text) {
  std::vector<std::string> words;
  bool in_word = false;
  char quoted = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted == 0 && (c == ' ' || c == '\t')) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    if (quoted == 0 && (c == '\'' || c == '"'))
      quoted = c;
    else if (c == quoted)
      quoted = 0;
    else if (c == '\\' && quoted != '\'' && i + 1 < text.size())
      words.back() += text[++i];
    else
      words.back() += c;
  }
  if (quoted != 0) throw std::invalid_argument(fmt::format("a quote is not closed in: {}", text));
  return words;
}

}  // namespace

void add_hosts(RemoteOptions& options, const std::string& place) {
  const std::size_t colon = place.find(':');
  const std::string kind = place.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : place.substr(colon + 1);
  if (kind == "local" && rest.empty()) {
    options.hosts.push_back({"local", launchers::local(), {}});
  } else if (kind == "ssh" && !rest.empty()) {
    for (const std::string& name : remote::split_at_commas(rest)) options.hosts.push_back({name, launchers::ssh(), {}});
  } else if (kind == "slurm") {
    if (options.slurm) throw std::invalid_argument("slurm: is given twice");
    options.slurm = parse_slurm(rest);
  } else if (kind == "command" && !rest.empty()) {
    const Launcher launcher = split_words(rest);
    const bool has_name = !launcher.empty() && !launcher.front().starts_with('{');
    const std::string name = has_name ? launcher.front().substr(launcher.front().rfind('/') + 1) : "command";
    options.hosts.push_back({name, launcher, {}});
  } else {
    throw std::invalid_argument(fmt::format(
        "'{}' is no place for workers: write ssh:HOST,HOST..., slurm:nodes=N,partition=NAME, local, or command:COMMAND "
        "with {{agent}} in it",
        place));
  }
}

namespace remote {

std::string quote(std::string_view text) {
  constexpr std::string_view harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!text.empty() && text.find_first_not_of(harmless) == std::string_view::npos) return std::string(text);
  // Outside of the quotes what is special even there: an exclamation mark for csh, a backslash for fish.
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'' || c == '!' || c == '\\')
      quoted.append("'\\").append(1, c).append("'");
    else
      quoted += c;
  }
  return quoted + "'";
}

std::string quote(const std::vector<std::string>& arguments) {
  std::string all;
  for (const std::string& argument : arguments) all += (all.empty() ? "" : " ") + quote(argument);
  return all;
}

std::vector<std::string> fill_in(const Launcher& launcher, const std::string& host,
                                 const std::vector<std::string>& agent) {
  constexpr std::string_view host_mark = "{host}", agent_mark = "{agent}", command_mark = "{agent_command}";
  std::vector<std::string> command;
  bool has_agent = false;
  for (std::string argument : launcher) {
    if (argument == agent_mark) {
      command.insert(command.end(), agent.begin(), agent.end());
      has_agent = true;
      continue;
    }
    const auto replace = [&](std::string_view mark, const std::string& text) {
      bool found = false;
      for (std::size_t at = argument.find(mark); at != std::string::npos; at = argument.find(mark, at + text.size())) {
        argument.replace(at, mark.size(), text);
        found = true;
      }
      return found;
    };
    has_agent |= replace(command_mark, quote(agent));
    replace(host_mark, host);
    command.push_back(std::move(argument));
  }
  if (!has_agent)
    throw std::invalid_argument(fmt::format(
        "the launcher '{}' has neither {{agent}} as an argument nor {{agent_command}} in it", quote(launcher)));
  return command;
}

namespace {

std::string lower(std::string_view text) {
  std::string lowered;
  for (const char c : text) lowered += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lowered;
}

}  // namespace

std::string unknown_option(const std::string& words) {
  constexpr std::string_view complaint = "command-line: line 0: Bad configuration option: ";
  const std::size_t at = words.find(complaint);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + complaint.size();
  return lower(std::string_view(words).substr(begin, words.find_first_of(" \r\n", begin) - begin));
}

bool leave_out(Launcher& launcher, const std::string& option) {
  for (std::size_t i = 0; i + 1 < launcher.size(); ++i) {
    if (launcher[i] != "-o" || !lower(launcher[i + 1]).starts_with(option + "=")) continue;
    launcher.erase(launcher.begin() + static_cast<std::ptrdiff_t>(i),
                   launcher.begin() + static_cast<std::ptrdiff_t>(i) + 2);
    return true;
  }
  return false;
}

std::vector<std::string> agent_command(const std::string& program, const std::string& token) {
  return {"env", fmt::format("{}={}", protocol::agent_variable, token), program};
}

std::string path_of_program(std::string link) {
  constexpr std::string_view replaced = " (deleted)";
  std::error_code none;
  if (link.ends_with(replaced) && !std::filesystem::exists(link, none)) link.resize(link.size() - replaced.size());
  return link;
}

std::string make_token() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) number = std::random_device()();
  return fmt::format("{:016x}", number);
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts(1);
  int brackets = 0;
  for (const char c : text) {
    brackets += (c == '[') - (c == ']');
    if (c == ',' && brackets == 0)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  if (std::ranges::any_of(parts, [](const std::string& part) { return part.empty(); }))
    throw std::invalid_argument(fmt::format("there is nothing between two commas in '{}'", text));
  return parts;
}

}  // namespace remote
}  // namespace yoke
