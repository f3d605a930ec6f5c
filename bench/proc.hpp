// What /proc tells of a process: numbers after names, and memory in kilobytes. What cannot be read counts as 0.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <initializer_list>
#include <string_view>

namespace yoke::bench {

/// The sum of the numbers of all lines of a /proc file that begin with one of the names.
double sum_of_lines(const std::filesystem::path& path, std::initializer_list<std::string_view> names);

double private_kilobytes(pid_t pid);
double resident_kilobytes(pid_t pid);
double available_bytes();  // of the machine

}  // namespace yoke::bench
