// Four floats at a time, and one, with the same operations, so that math.h and float_kernels.h are written once.
//
// A lane type V is `float` (one lane), `scalar::Float4` (plain C++) or, in vector_simd128.h, `simd128::Float4` (one register).
// Every operation is a single IEEE operation on each lane; that is why all of them give the same bits. Nothing here allocates
// or fails.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace beex {

// floor(x), rounding toward minus infinity.
inline float round_down(float x) { return std::floor(x); }

// The larger one; `a` when they are equal.
inline float larger(float a, float b) { return a < b ? b : a; }

// x in [low, high]. A NaN becomes `low`, so that a conversion to an integer is always defined.
inline float clamp(float x, float low, float high) {
  const float y = low < x ? x : low;
  return y < high ? y : high;
}

// 2^n for a whole n in [-126, 127]. Adding 2^23 to n + 127 leaves that number in the low bits of the float.
inline float power_of_two(float n) {
  const float shifted = n + (127.0f + 8388608.0f);
  std::uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits <<= 23;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

namespace scalar {

struct Float4 {
  float lane[4];

  Float4() = default;
  explicit Float4(float x) : lane{x, x, x, x} {}
  static Float4 load(const float* x) {
    Float4 result;
    std::memcpy(result.lane, x, sizeof result.lane);
    return result;
  }
  void store(float* x) const { std::memcpy(x, lane, sizeof lane); }
};

template <class F>
inline Float4 each_lane(F f) {
  Float4 result;
  for (int i = 0; i < 4; ++i) result.lane[i] = f(i);
  return result;
}

inline Float4 operator+(Float4 a, Float4 b) { return each_lane([&](int i) { return a.lane[i] + b.lane[i]; }); }
inline Float4 operator-(Float4 a, Float4 b) { return each_lane([&](int i) { return a.lane[i] - b.lane[i]; }); }
inline Float4 operator*(Float4 a, Float4 b) { return each_lane([&](int i) { return a.lane[i] * b.lane[i]; }); }
inline Float4 operator/(Float4 a, Float4 b) { return each_lane([&](int i) { return a.lane[i] / b.lane[i]; }); }
inline Float4 round_down(Float4 x) { return each_lane([&](int i) { return beex::round_down(x.lane[i]); }); }
inline Float4 larger(Float4 a, Float4 b) { return each_lane([&](int i) { return beex::larger(a.lane[i], b.lane[i]); }); }
inline Float4 clamp(Float4 x, Float4 low, Float4 high) {
  return each_lane([&](int i) { return beex::clamp(x.lane[i], low.lane[i], high.lane[i]); });
}
inline Float4 power_of_two(Float4 n) { return each_lane([&](int i) { return beex::power_of_two(n.lane[i]); }); }
// The first `count` lanes, and zeros.
inline Float4 first_lanes(Float4 x, std::size_t count) {
  return each_lane([&](int i) { return static_cast<std::size_t>(i) < count ? x.lane[i] : 0.0f; });
}

}  // namespace scalar

}  // namespace beex
