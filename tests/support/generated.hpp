// An input range of f(0), f(1), …, endless or of a given length: what standard views would be, but that clang 14 cannot
// compile those of libstdc++ 12.
#pragma once

#include <cstddef>
#include <iterator>

namespace yoke_test {

template <class F>
class Generated {
 public:
  static constexpr int endless = -1;
  explicit Generated(F f, int length = endless) : f_(f), length_(length) {}

  class iterator {
   public:
    using value_type = int;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;
    iterator() = default;
    explicit iterator(const Generated* range) : range_(range) {}
    int operator*() const { return range_->f_(index_); }
    iterator& operator++() {
      ++index_;
      return *this;
    }
    void operator++(int) { ++index_; }
    bool operator==(std::default_sentinel_t) const { return index_ == range_->length_; }

   private:
    const Generated* range_ = nullptr;
    int index_ = 0;
  };
  iterator begin() const { return iterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  F f_;
  int length_;
};

inline int same(int i) { return i; }

}  // namespace yoke_test
