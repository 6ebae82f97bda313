// The float kernels of kernels.h, written once for the four-lane types of vector.h (V). Lane i of an accumulator is partial sum i
// of FORMAT.md's sum4, so the scalar and the SIMD table add in the same order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/kernels.h"
#include "kernels/math.h"
#include "kernels/vector.h"

namespace beex::float_kernels {

template <class V>
inline float sum_of_lanes(V sum) {
  float lane[4];
  sum.store(lane);
  return (lane[0] + lane[1]) + (lane[2] + lane[3]);
}

// Softmax and norm take kRows rows side by side, as the steps of one wait for one another: row r is at x + r * stride. With a stride of 0 they are
// one row, done kRows times over; so all rows are loaded before any is stored. A single row may be left over, so kRows is 1 or 2.

// The padding takes part with nothing to add.
template <class V, std::size_t kRows>
inline void softmax_of(float* x, std::size_t stride, std::size_t n) {
  static_assert(kRows <= 2);
  V value[kRows], largest[kRows], sum[kRows];
  for (std::size_t r = 0; r < kRows; ++r) {
    largest[r] = V::load(x + r * stride);
    sum[r] = V(0.0f);
  }
  for (std::size_t i = 4; i < n; i += 4) {
    for (std::size_t r = 0; r < kRows; ++r) largest[r] = larger(largest[r], V::load(x + r * stride + i));
  }
  for (V& row : largest) {
    float lane[4];
    row.store(lane);
    row = V(larger(larger(lane[0], lane[1]), larger(lane[2], lane[3])));
  }
  for (std::size_t i = 0; i < n; i += 4) {
    for (std::size_t r = 0; r < kRows; ++r) {
      value[r] = exp(V::load(x + r * stride + i) - largest[r]);
      if (n - i < 4) value[r] = first_lanes(value[r], n - i);
      sum[r] = sum[r] + value[r];
    }
    for (std::size_t r = 0; r < kRows; ++r) value[r].store(x + r * stride + i);
  }
  for (V& each : sum) each = V(1.0f / sum_of_lanes(each));
  for (std::size_t i = 0; i < n; i += 4) {
    for (std::size_t r = 0; r < kRows; ++r) value[r] = V::load(x + r * stride + i) * sum[r];
    for (std::size_t r = 0; r < kRows; ++r) value[r].store(x + r * stride + i);
  }
}

template <class V, std::size_t kRows>
inline void softmax(float* x, std::size_t rows, std::size_t n) {
  for (std::size_t r = 0; r < rows; r += kRows) softmax_of<V, kRows>(x + r * padded(n), rows - r < kRows ? 0 : padded(n), n);
}

template <class V>
inline void sigmoid(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; i += 4) beex::sigmoid(V::load(x + i)).store(x + i);
}

template <class V>
inline void tanh(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; i += 4) beex::tanh(V::load(x + i)).store(x + i);
}

// `b` may be null. Differences from the mean are taken twice, which is faster than keeping them.
template <class V, std::size_t kRows>
inline void add_layer_norm_of(const float* a, const float* b, const float* gamma, const float* beta, std::size_t stride, std::size_t d, float* out) {
  static_assert(kRows <= 2);
  const float inverse_d = 1.0f / static_cast<float>(d);
  V value[kRows], mean[kRows], squares[kRows];
  for (std::size_t r = 0; r < kRows; ++r) mean[r] = squares[r] = V(0.0f);
  for (std::size_t i = 0; i < d; i += 4) {
    for (std::size_t r = 0; r < kRows; ++r) {
      value[r] = V::load(a + r * stride + i);
      if (b != nullptr) value[r] = value[r] + V::load(b + r * stride + i);
      mean[r] = mean[r] + value[r];
    }
    for (std::size_t r = 0; r < kRows; ++r) value[r].store(out + r * stride + i);
  }
  for (V& each : mean) each = V(sum_of_lanes(each) * inverse_d);
  for (std::size_t i = 0; i < d; i += 4) {
    for (std::size_t r = 0; r < kRows; ++r) {
      value[r] = V::load(out + r * stride + i) - mean[r];
      squares[r] = squares[r] + value[r] * value[r];
    }
  }
  for (V& each : squares) each = V(1.0f / std::sqrt(sum_of_lanes(each) * inverse_d + 1e-5f));
  for (std::size_t i = 0; i < d; i += 4) {
    const V factor = V::load(gamma + i), shift = V::load(beta + i);
    for (std::size_t r = 0; r < kRows; ++r) value[r] = ((V::load(out + r * stride + i) - mean[r]) * squares[r]) * factor + shift;
    for (std::size_t r = 0; r < kRows; ++r) value[r].store(out + r * stride + i);
  }
}

template <class V, std::size_t kRows>
inline void add_layer_norm(const float* a, const float* b, const float* gamma, const float* beta, std::size_t rows, std::size_t d, float* out) {
  for (std::size_t r = 0; r < rows; r += kRows) {
    const std::size_t at = r * d;
    add_layer_norm_of<V, kRows>(a + at, b == nullptr ? b : b + at, gamma, beta, rows - r < kRows ? 0 : d, d, out + at);
  }
}

template <class V>
inline void multiply(const float* g, const float* t, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; i += 4) (V::load(g + i) * V::load(t + i)).store(out + i);
}

template <class V>
inline void add(const float* x, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; i += 4) (V::load(out + i) + V::load(x + i)).store(out + i);
}

template <class V>
inline float dot(const float* x, const float* y, std::size_t n) {
  V sum(0.0f);
  for (std::size_t i = 0; i < n; i += 4) sum = sum + V::load(x + i) * V::load(y + i);
  return sum_of_lanes(sum);
}

// kRows rows by kWide groups of four columns at a time: a value is loaded once for all rows, a weight once for all columns.
template <class V, std::size_t kRows, std::size_t kWide>
inline void weighted_sum_of(const float* weight, const float* values, std::size_t stride, std::size_t tokens, std::size_t columns,
                            float* out, std::size_t out_stride) {
  for (std::size_t k = 0; k < columns; k += 4 * kWide) {
    V sum[kRows][kWide], value[kWide];
    for (auto& row : sum) {
      for (V& s : row) s = V(0.0f);
    }
    for (std::size_t j = 0; j < tokens; ++j) {
      for (std::size_t n = 0; n < kWide; ++n) value[n] = V::load(values + j * stride + k + 4 * n);
      for (std::size_t i = 0; i < kRows; ++i) {
        const V w(weight[i * padded(tokens) + j]);
        for (std::size_t n = 0; n < kWide; ++n) sum[i][n] = sum[i][n] + w * value[n];
      }
    }
    for (std::size_t i = 0; i < kRows; ++i) {
      for (std::size_t n = 0; n < kWide; ++n) sum[i][n].store(out + i * out_stride + k + 4 * n);
    }
  }
}

// `kRows` rows of weights together, where there are so many.
template <class V, std::size_t kRows, std::size_t kWide>
inline void weighted_sum(const float* weight, std::size_t rows, const float* values, std::size_t stride, std::size_t tokens,
                         std::size_t columns, float* out, std::size_t out_stride) {
  std::size_t i = 0;
  for (; i + kRows <= rows; i += kRows) {
    weighted_sum_of<V, kRows, kWide>(weight + i * padded(tokens), values, stride, tokens, columns, out + i * out_stride, out_stride);
  }
  for (; i < rows; ++i) weighted_sum_of<V, 1, kWide>(weight + i * padded(tokens), values, stride, tokens, columns, out + i * out_stride, out_stride);
}

}  // namespace beex::float_kernels
