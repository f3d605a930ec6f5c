#include "lib/local/life_notices.hpp"

#include <climits>

#include "lib/system/futex.hpp"
#include "lib/system/life_notice.hpp"
#include "lib/worker/lifeline.hpp"

namespace yoke::local {
namespace {

using Page = worker::ParentLife;

Page& on(const system::Mapping& page) { return *reinterpret_cast<Page*>(page.data()); }

system::UniqueFd seal(system::UniqueFd memory) {
  system::seal_memfd(memory.get(), system::Seal::writes);
  return system::read_only(std::move(memory));
}

}  // namespace

void LifeNotices::make() {
  system::UniqueFd memory = system::create_memfd("yoke-life", sizeof(Page));
  page_ = system::Mapping(memory.get(), sizeof(Page), system::Access::read_write);
  fd_ = seal(std::move(memory));
}

void LifeNotices::hold() {
  for (Page& page = on(page_); held_ != page.size(); ++held_) system::hold_life_notice(page[held_]);
}

void LifeNotices::renew() {
  if (fd_.is_own()) return;
  system::UniqueFd memory = system::create_memfd("yoke-life", sizeof(Page));
  auto& page = later_.emplace_back(memory.get(), sizeof(Page), system::Access::read_write);
  for (auto& notice : on(page)) system::hold_life_notice(notice);
  fd_ = seal(std::move(memory));
}

void LifeNotices::wake_all() const noexcept {
  if (!page_) return;
  for (const auto& notice : on(page_)) system::futex_wake(system::life_word(notice), INT_MAX, system::Sharing::shared);
}

void LifeNotices::retract() noexcept {
  for (const auto& page : later_)
    for (auto& notice : on(page)) system::retract_life_notice(notice);
  while (held_ != 0) system::retract_life_notice(on(page_)[--held_]);
}

void LifeNotices::close() noexcept {
  page_ = {};
  fd_.reset();
}

}  // namespace yoke::local
