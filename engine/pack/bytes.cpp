#include "beex/bytes.h"

#include <cstdlib>
#include <cstring>
#include <utility>

namespace beex {

Bytes::Bytes(std::size_t size) {
  if (size == 0 || size > SIZE_MAX - kAlignment) return;
  // aligned_alloc wants a multiple of the alignment; the padding is zeroed too, so that no kernel can read chance.
  const std::size_t rounded = (size + kAlignment - 1) / kAlignment * kAlignment;
  data_ = static_cast<std::uint8_t*>(std::aligned_alloc(kAlignment, rounded));
  if (data_ == nullptr) return;
  std::memset(data_, 0, rounded);
  size_ = size;
}

Bytes::~Bytes() { std::free(data_); }

Bytes::Bytes(Bytes&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Bytes& Bytes::operator=(Bytes&& other) noexcept {
  if (this == &other) return *this;
  std::free(data_);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

}  // namespace beex
