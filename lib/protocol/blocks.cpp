#include "lib/protocol/blocks.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

namespace yoke::protocol {
namespace {

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

std::size_t hash_of(std::span<const std::byte> content) {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(content.data()), content.size()});
}

class BlockBuffer final : public Buffer {
 public:
  explicit BlockBuffer(std::shared_ptr<SharedMemory> block) : block_(std::move(block)) {}
  std::span<const std::byte> view() const override { return block_->view(); }
  std::size_t size() const noexcept override { return block_->size(); }

 private:
  std::shared_ptr<SharedMemory> block_;
};

}  // namespace

Bytes payload_of(std::shared_ptr<SharedMemory> block) { return Bytes(std::make_shared<BlockBuffer>(std::move(block))); }

void Blocks::replace(std::span<detail::HeldMemory> held) {
  std::vector<std::pair<std::shared_ptr<SharedMemory>, std::shared_ptr<SharedMemory>>> replaced;
  for (auto& each : held) {
    auto found = std::ranges::find(replaced, each.memory, [](const auto& pair) { return pair.first; });
    if (found == replaced.end()) found = replaced.insert(found, {each.memory, block_of(each.memory)});
    each.memory = found->second;
  }
}

std::shared_ptr<SharedMemory> Blocks::block_of(const std::shared_ptr<SharedMemory>& memory) {
  if (memory->constant()) {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(memory.get());
    if (found != known_.end() && found->second.memory.lock() == memory) return memory;
  }
  if (auto copy = copy_of(*memory); copy && (memory->constant() || same(copy->view(), memory->view()))) return copy;
  // Hashed is what cannot change any more.
  auto block = memory->constant() ? memory : SharedMemory::create_constant(memory->view());
  const std::size_t hash = hash_of(block->view());
  if (auto older = with_content(block->view(), hash)) block = std::move(older);
  Copied former{memory, block};  // its memory goes without the lock
  const std::lock_guard lock(mutex_);
  Known& known = known_[block.get()];
  if (known.memory.lock() != block) known = {block, ++last_number_, hash};
  if (memory != block) std::swap(copied_[memory.get()], former);
  return block;
}

std::shared_ptr<SharedMemory> Blocks::copy_of(const SharedMemory& source) const {
  const std::lock_guard lock(mutex_);
  const auto found = copied_.find(&source);
  return found != copied_.end() && found->second.source.lock().get() == &source ? found->second.copy : nullptr;
}

std::shared_ptr<SharedMemory> Blocks::with_content(std::span<const std::byte> content, std::size_t hash) const {
  std::vector<std::shared_ptr<SharedMemory>> candidates;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [address, known] : known_)
      if (known.hash == hash)
        if (auto memory = known.memory.lock()) candidates.push_back(std::move(memory));
  }
  for (auto& candidate : candidates)
    if (same(candidate->view(), content)) return std::move(candidate);
  return nullptr;
}

BlockNumber Blocks::number_of(const SharedMemory& block) const {
  const std::lock_guard lock(mutex_);
  return known_.at(&block).number;
}

bool Blocks::empty() const {
  const std::lock_guard lock(mutex_);
  return known_.empty();
}

void Blocks::trim() {
  std::vector<std::shared_ptr<SharedMemory>> gone;  // goes without the lock
  const std::lock_guard lock(mutex_);
  std::erase_if(copied_, [&](auto& item) {
    if (!item.second.source.expired()) return false;
    gone.push_back(std::move(item.second.copy));
    return true;
  });
  std::erase_if(known_, [](const auto& item) { return item.second.memory.expired(); });
}

void Blocks::clear() {
  std::unordered_map<const SharedMemory*, Copied> gone;  // goes without the lock
  const std::lock_guard lock(mutex_);
  known_.clear();
  std::swap(gone, copied_);
}

}  // namespace yoke::protocol
