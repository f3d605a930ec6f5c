// wordcount-job: counts the identifiers of all headers of this machine, first with one worker and then with as many as
// there are processors, with one poisoned file among them; only that file is lost, and the summary says why.
//
// Exit status: 0 counted, and the poisoned file did kill its worker; 1 something was not counted; 2 wrong usage.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>
#include <yoke/yoke.hpp>

#include "job.hpp"
#include "report.hpp"

namespace wordcount {
namespace {

struct Options {
  std::string root = "/usr/include";
  std::string poison = WORDCOUNT_POISON;
  std::string counts;
  bool json = false;
};

/// Reads every file once, so that both runs find them in memory and only their work is compared.
void warm(const std::vector<Batch>& batches) {
  std::vector<char> buffer(1 << 16);
  for (const auto& batch : batches)
    for (const auto& path : batch)
      for (std::ifstream file(path, std::ios::binary);
           file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));) {
      }
}

int run(const Options& options) {
  if (!options.poison.empty() && !std::filesystem::is_regular_file(options.poison)) {
    fmt::print(stderr, "wordcount-job: the poisoned file {} is not there; name it with --poison FILE\n",
               options.poison);
    return 2;
  }
  Headers headers = find_headers(options.root);
  // Among the others, where it does most harm.
  if (!options.poison.empty()) {
    if (headers.batches.empty()) headers.batches.emplace_back();
    headers.batches[headers.batches.size() / 2].push_back(options.poison);
  }

  warm(headers.batches);
  Result result{options.root, yoke::cpu_count(), {}, {}};
  result.alone = count_all(headers.batches, 1);
  result.all = count_all(headers.batches, result.workers);
  for (auto& folder : headers.unreadable) result.all.unreadable.push_back(std::move(folder));
  if (!options.counts.empty()) write_counts(result.all, options.counts);
  const std::string text = options.json ? summary_json(result) : summary(result);
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) return 1;

  const auto& lost = result.all.lost;
  const bool only_poison = std::all_of(lost.begin(), lost.end(), [&options](const Lost& file) {
    return file.path == options.poison && file.killed_its_worker;
  });
  const bool as_expected = only_poison && lost.size() == (options.poison.empty() ? 0U : 1U) &&
                           result.all.unreadable.empty() && result.alone.identifiers == result.all.identifiers;
  return as_expected ? 0 : 1;
}

}  // namespace
}  // namespace wordcount

int main(int argc, char** argv) {
  wordcount::Options options;
  CLI::App app("Counts the identifiers of every file under a folder of C and C++ headers.", "wordcount-job");
  app.add_option("--root", options.root, "folder whose files are counted (default: /usr/include)");
  app.add_option("--poison", options.poison,
                 "file that kills whoever counts it; empty: none (default: poison.h beside the source)");
  app.add_option("--counts", options.counts, "write all counts to this file, as `sort | uniq -c` would");
  app.add_flag("--json", options.json, "print the summary as JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    return wordcount::run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "wordcount-job: {}\n", error.what());
    return 1;
  }
}
