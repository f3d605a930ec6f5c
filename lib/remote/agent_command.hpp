// The commands that start agents: launchers' templates, filled in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "yoke/remote.hpp"

namespace yoke::remote {

/// Quoted, where it needs to be, for whatever shell logs the user in: sh and its like, csh, fish. They have no common
/// way for a newline.
std::string quote(std::string_view text);
/// All of them, with spaces between.
std::string quote(const std::vector<std::string>& arguments);

/// A launcher's arguments with its placeholders replaced. Throws std::invalid_argument if the agent's command is not in
/// it.
std::vector<std::string> fill_in(const Launcher& launcher, const std::string& host,
                                 const std::vector<std::string>& agent);

/// The option that an older ssh has called unknown, in small letters; empty: none.
std::string unknown_option(const std::string& words);
/// Takes "-o OPTION=..." out. False if it is not there.
bool leave_out(Launcher& launcher, const std::string& option);

/// What the agent on `host` is started by: the program, with its token in the environment.
std::vector<std::string> agent_command(const std::string& program, const std::string& token);

/// Where a program lies that /proc/PID/exe leads to: without what the kernel appends when the file was replaced, as by
/// a compiler. What is there now tells by its build that it is another.
std::string path_of_program(std::string link);

/// A token that no banner holds.
std::string make_token();

/// "a=1,b=2", split at commas; a value in brackets keeps its own. Throws std::invalid_argument where there is nothing
/// between.
std::vector<std::string> split_at_commas(const std::string& text);

}  // namespace yoke::remote
