// An owned, 64-byte aligned block of memory whose allocation can fail without an exception.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace beex {

class Bytes {
 public:
  static constexpr std::size_t kAlignment = 64;

  Bytes() = default;
  // Zeroed memory of `size` bytes. When the allocator refuses, the result is empty and `size()` is 0.
  explicit Bytes(std::size_t size);
  ~Bytes();
  Bytes(Bytes&& other) noexcept;
  Bytes& operator=(Bytes&& other) noexcept;
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  std::uint8_t* data() { return data_; }
  const std::uint8_t* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<const std::uint8_t> view() const { return {data_, size_}; }

 private:
  void* block_ = nullptr;          // what the allocator gave
  std::uint8_t* data_ = nullptr;   // its first aligned byte
  std::size_t size_ = 0;
};

}  // namespace beex
