// The engine's own elementary functions (FORMAT.md, "Functions"), one definition for every lane type of vector.h.
//
// They use + - * /, floor and comparisons only, so they give the same bits on every machine, which libm does not. Largest errors
// against long double, measured by tests/unit/float_kernels_test.cpp on a dense grid:
//   exp      1.01e-7 relative, on [-87, 88]
//   sigmoid  8.9e-8 absolute
//   tanh     1.8e-7 absolute (near 0 the relative error is large)
//   ln       1.15e-7 relative outside [1/2, 2], 6.6e-8 absolute inside
#pragma once

#include <cstddef>

#include "kernels/vector.h"

namespace beex {

// e^x; x is clamped to [-87, 88], so the result is a normal number, never 0 or infinite.
template <class V>
inline V exp(V x) {
  x = clamp(x, V(-87.0f), V(88.0f));
  const V n = round_down(x * V(1.44269504f) + V(0.5f));
  const V r = (x - n * V(0.693359375f)) + n * V(2.12194440e-4f);  // ln 2 in two parts: the first product is exact
  V p = V(1.0f / 5040.0f);
  p = p * r + V(1.0f / 720.0f);
  p = p * r + V(1.0f / 120.0f);
  p = p * r + V(1.0f / 24.0f);
  p = p * r + V(1.0f / 6.0f);
  p = p * r + V(0.5f);
  p = p * r + V(1.0f);
  p = p * r + V(1.0f);
  return p * power_of_two(n);
}

template <class V>
inline V sigmoid(V x) {
  return V(1.0f) / (V(1.0f) + exp(x * V(-1.0f)));
}

template <class V>
inline V tanh(V x) {
  return V(1.0f) - V(2.0f) / (V(1.0f) + exp(V(2.0f) * x));
}

// ln(x) for x >= 2^-126, finite.
inline float ln(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  float e = static_cast<float>(static_cast<std::int32_t>(bits >> 23) - 127);
  bits = (bits & 0x007fffffu) | 0x3f800000u;
  float m;
  std::memcpy(&m, &bits, sizeof m);
  if (m > 1.41421356f) {
    m = m * 0.5f;
    e = e + 1.0f;
  }
  const float s = (m - 1.0f) / (m + 1.0f);
  const float u = s * s;
  return e * 0.693147180f +
         (2.0f * s) * (1.0f + u * (1.0f / 3.0f + u * (1.0f / 5.0f + u * (1.0f / 7.0f + u * (1.0f / 9.0f)))));
}

// sum4 of element(0) ... element(n - 1): four partial sums, element i in partial sum i mod 4, then (s0 + s1) + (s2 + s3).
template <class Element>
inline float sum4(std::size_t n, Element element) {
  float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (std::size_t i = 0; i < n; ++i) sum[i % 4] += element(i);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

}  // namespace beex
