// Lists a folder, subfolders included, and goes on after those that may not be read.
#include "headers.hpp"

#include <system_error>

namespace wordcount {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t batch_bytes = 2 << 20;  // some 20 ms of work: a task of this size costs nothing to hand over
constexpr std::size_t batch_files = 512;

class BatchMaker {
 public:
  void add(std::string path, std::uintmax_t bytes) {
    if (batches_.empty() || bytes_ >= batch_bytes || batches_.back().size() >= batch_files) {
      batches_.emplace_back();
      bytes_ = 0;
    }
    batches_.back().push_back(std::move(path));
    bytes_ += bytes;
  }
  std::vector<Batch> take() { return std::move(batches_); }

 private:
  std::vector<Batch> batches_;
  std::uintmax_t bytes_ = 0;
};

}  // namespace

Headers find_headers(const fs::path& root) {
  Headers headers;
  BatchMaker maker;
  std::vector<fs::path> folders{root};
  while (!folders.empty()) {
    const fs::path folder = std::move(folders.back());
    folders.pop_back();
    std::error_code error;
    fs::directory_iterator entries(folder, error);
    if (error && folder == root) throw fs::filesystem_error("cannot list the folder of headers", root, error);
    for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
      std::error_code gone;
      const fs::file_status status = entries->symlink_status(gone);
      if (fs::is_directory(status)) folders.push_back(entries->path());
      if (!fs::is_regular_file(status)) continue;
      const std::uintmax_t bytes = entries->file_size(gone);
      maker.add(entries->path().string(), gone ? 0 : bytes);
    }
    if (error) headers.unreadable.push_back({folder.string(), error.message()});
  }
  headers.batches = maker.take();
  return headers;
}

}  // namespace wordcount
