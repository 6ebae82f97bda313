#include "beex/bytes.h"

#include <cstdlib>
#include <utility>

namespace beex {

Bytes::Bytes(std::size_t size) {
  if (size == 0 || size > SIZE_MAX - 2 * kAlignment) return;
  // Aligned by hand: aligned_alloc of Emscripten's small allocator takes twice the memory. Padding is zero too, so that no kernel can
  // read chance.
  const std::size_t room = (size + kAlignment - 1) / kAlignment * kAlignment + kAlignment - 1;
  block_ = std::calloc(room, 1);
  if (block_ == nullptr) return;
  const std::size_t past = reinterpret_cast<std::uintptr_t>(block_) % kAlignment;
  data_ = static_cast<std::uint8_t*>(block_) + (kAlignment - past) % kAlignment;
  size_ = size;
}

Bytes::~Bytes() { std::free(block_); }

Bytes::Bytes(Bytes&& other) noexcept { *this = std::move(other); }

Bytes& Bytes::operator=(Bytes&& other) noexcept {
  if (this == &other) return *this;
  std::free(block_);
  block_ = std::exchange(other.block_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

}  // namespace beex
