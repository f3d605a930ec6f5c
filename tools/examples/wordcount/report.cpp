// Formats the summary.
#include "report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

namespace wordcount {
namespace {

constexpr std::size_t most_frequent = 10;

std::vector<Tally::Entry> sorted_by_count(const Tally& tally, std::size_t first) {
  std::vector<Tally::Entry> entries = tally.entries();
  const auto middle = entries.begin() + static_cast<std::ptrdiff_t>(std::min(first, entries.size()));
  std::partial_sort(entries.begin(), middle, entries.end(), [&tally](const auto& a, const auto& b) {
    return a.count != b.count ? a.count > b.count : tally.name(a) < tally.name(b);
  });
  entries.erase(middle, entries.end());
  return entries;
}

/// Text of any bytes as valid JSON.
std::string text(const std::string& bytes) {
  return nlohmann::json::parse(nlohmann::json(bytes).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

std::string indented(const std::string& report) {
  std::string out = "  ";
  for (const char c : report) {
    out += c;
    if (c == '\n') out += "  ";
  }
  return out;
}

}  // namespace

std::string summary(const Result& result) {
  const Counts& counts = result.all;
  std::string out = fmt::format(
      "counted the identifiers of every file under {}\n"
      "  files        {:>12}\n  bytes        {:>12}\n  identifiers  {:>12}\n  different    {:>12}\n",
      result.root.string(), counts.files, counts.bytes, counts.identifiers, counts.tally.size());
  out += fmt::format("  one worker   {:>12.2f} s\n  {:<12} {:>12.2f} s\n", result.alone.seconds.count(),
                     fmt::format("{} workers", result.workers), counts.seconds.count());
  out += "most frequent\n";
  for (const auto& entry : sorted_by_count(counts.tally, most_frequent))
    out += fmt::format("  {:>12}  {}\n", entry.count, counts.tally.name(entry));
  for (const auto& lost : counts.lost) out += fmt::format("not counted: {}\n{}\n", lost.path, indented(lost.report));
  for (const auto& file : counts.unreadable) out += fmt::format("not readable: {}: {}\n", file.path, file.reason);
  return out;
}

std::string summary_json(const Result& result) {
  const Counts& counts = result.all;
  nlohmann::ordered_json out;
  out["root"] = text(result.root.string());
  out["files"] = counts.files;
  out["bytes"] = counts.bytes;
  out["identifiers"] = counts.identifiers;
  out["different"] = counts.tally.size();
  out["workers"] = result.workers;
  out["seconds_one_worker"] = result.alone.seconds.count();
  out["seconds_all_workers"] = counts.seconds.count();
  out["most_frequent"] = nlohmann::ordered_json::array();
  for (const auto& entry : sorted_by_count(counts.tally, most_frequent))
    out["most_frequent"].push_back({{"identifier", counts.tally.name(entry)}, {"count", entry.count}});
  out["lost"] = nlohmann::ordered_json::array();
  for (const auto& lost : counts.lost)
    out["lost"].push_back(
        {{"path", text(lost.path)}, {"killed_its_worker", lost.killed_its_worker}, {"report", text(lost.report)}});
  out["unreadable"] = nlohmann::ordered_json::array();
  for (const auto& file : counts.unreadable)
    out["unreadable"].push_back({{"path", text(file.path)}, {"reason", file.reason}});
  return out.dump(2) + "\n";
}

void write_counts(const Counts& counts, const std::filesystem::path& path) {
  std::vector<Tally::Entry> entries = counts.tally.entries();
  std::sort(entries.begin(), entries.end(),
            [&counts](const auto& a, const auto& b) { return counts.tally.name(a) < counts.tally.name(b); });
  std::ofstream file(path, std::ios::binary);
  for (const auto& entry : entries) file << fmt::format("{:>7} {}\n", entry.count, counts.tally.name(entry));
  file.close();
  if (!file) throw std::system_error(errno, std::generic_category(), "cannot write the counts to " + path.string());
}

}  // namespace wordcount
