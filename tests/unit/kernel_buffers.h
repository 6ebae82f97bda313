// Buffers for kernel tests: deliberately misaligned, with canaries on both sides, filled from fixed seeds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

namespace beex::testing {

// `size` elements that start `misalignment` elements off a 64-byte boundary. `intact()` is false once somebody wrote outside.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::size_t size, std::size_t misalignment = 0)
      : size_(size), memory_(kGuard + (misalignment + size) * sizeof(T) + kGuard + 64, kCanary) {
    const std::size_t past = reinterpret_cast<std::uintptr_t>(memory_.data() + kGuard) % 64;
    begin_ = kGuard + (64 - past) % 64 + misalignment * sizeof(T);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() { return reinterpret_cast<T*>(memory_.data() + begin_); }
  std::size_t size() const { return size_; }
  std::span<T> span() { return {data(), size_}; }
  T& operator[](std::size_t i) { return data()[i]; }

  bool intact() const {
    const std::size_t end = begin_ + size_ * sizeof(T);
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      if ((i < begin_ || i >= end) && memory_[i] != kCanary) return false;
    }
    return true;
  }
  bool same_bits(Guarded& other) {
    return size_ == other.size_ && std::memcmp(data(), other.data(), size_ * sizeof(T)) == 0;
  }

 private:
  static constexpr std::size_t kGuard = 64;
  static constexpr std::uint8_t kCanary = 0xa5;
  std::size_t size_;
  std::size_t begin_ = 0;
  std::vector<std::uint8_t> memory_;
};

// std::mt19937 gives the same numbers everywhere; the distributions of <random> do not, so they are written out here.
class Random {
 public:
  explicit Random(std::uint32_t seed) : generator_(seed) {}

  std::uint32_t bits() { return static_cast<std::uint32_t>(generator_()); }
  std::uint32_t below(std::uint32_t n) { return bits() % n; }
  float between(float low, float high) { return low + (high - low) * (static_cast<float>(bits() >> 8) / 16777216.0f); }

  void fill(std::span<std::uint8_t> out) {
    for (auto& x : out) x = static_cast<std::uint8_t>(bits());
  }
  void fill(std::span<float> out, float low, float high) {
    for (auto& x : out) x = between(low, high);
  }

 private:
  std::mt19937 generator_;
};

}  // namespace beex::testing
