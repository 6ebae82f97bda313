// The float kernels of kernels.h, written once for the four-lane types of vector.h (V). Lane i of an accumulator is partial sum i
// of FORMAT.md's sum4, so the scalar and the SIMD table add in the same order.
#pragma once

#include <cmath>
#include <cstddef>

#include "kernels/math.h"
#include "kernels/vector.h"

namespace beex::float_kernels {

template <class V>
inline float sum_of_lanes(V sum) {
  float lane[4];
  sum.store(lane);
  return (lane[0] + lane[1]) + (lane[2] + lane[3]);
}

// Up to three elements after the last whole group of four go through the one-lane functions, into the lanes they belong to.
template <class V>
inline void softmax(float* x, std::size_t n) {
  const std::size_t whole = n - n % 4;
  V largest4(x[0]);
  for (std::size_t i = 0; i < whole; i += 4) largest4 = larger(largest4, V::load(x + i));
  float lane[4];
  largest4.store(lane);
  float largest = larger(larger(lane[0], lane[1]), larger(lane[2], lane[3]));
  for (std::size_t i = whole; i < n; ++i) largest = larger(largest, x[i]);

  V sum(0.0f);
  for (std::size_t i = 0; i < whole; i += 4) {
    const V e = exp(V::load(x + i) - V(largest));
    e.store(x + i);
    sum = sum + e;
  }
  sum.store(lane);
  for (std::size_t i = whole; i < n; ++i) {
    x[i] = exp(x[i] - largest);
    lane[i - whole] += x[i];
  }

  const float inverse = 1.0f / ((lane[0] + lane[1]) + (lane[2] + lane[3]));
  for (std::size_t i = 0; i < whole; i += 4) (V::load(x + i) * V(inverse)).store(x + i);
  for (std::size_t i = whole; i < n; ++i) x[i] = x[i] * inverse;
}

template <class V>
inline void sigmoid(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; i += 4) beex::sigmoid(V::load(x + i)).store(x + i);
}

template <class V>
inline void tanh(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; i += 4) beex::tanh(V::load(x + i)).store(x + i);
}

template <class V>
inline void add_layer_norm(const float* a, const float* b, const float* gamma, const float* beta, std::size_t d, float* out) {
  const float inverse_d = 1.0f / static_cast<float>(d);
  V sum(0.0f);
  for (std::size_t i = 0; i < d; i += 4) {
    const V x = b != nullptr ? V::load(a + i) + V::load(b + i) : V::load(a + i);
    x.store(out + i);
    sum = sum + x;
  }
  const V mean(sum_of_lanes(sum) * inverse_d);
  V squares(0.0f);
  for (std::size_t i = 0; i < d; i += 4) {
    const V c = V::load(out + i) - mean;
    c.store(out + i);
    squares = squares + c * c;
  }
  const V r(1.0f / std::sqrt(sum_of_lanes(squares) * inverse_d + 1e-5f));
  for (std::size_t i = 0; i < d; i += 4) {
    ((V::load(out + i) * r) * V::load(gamma + i) + V::load(beta + i)).store(out + i);
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

// kRows rows by 16 columns at a time: a value is loaded once for all rows.
template <class V, std::size_t kRows>
inline void weighted_sum_of(const float* weight, const float* values, std::size_t stride, std::size_t tokens, std::size_t columns,
                            float* out, std::size_t out_stride) {
  for (std::size_t k = 0; k < columns; k += 16) {
    V sum[kRows][4];
    for (auto& row : sum) {
      for (V& s : row) s = V(0.0f);
    }
    for (std::size_t j = 0; j < tokens; ++j) {
      const float* x = values + j * stride + k;
      const V value[4] = {V::load(x), V::load(x + 4), V::load(x + 8), V::load(x + 12)};
      for (std::size_t i = 0; i < kRows; ++i) {
        const V w(weight[i * tokens + j]);
        for (std::size_t n = 0; n < 4; ++n) sum[i][n] = sum[i][n] + w * value[n];
      }
    }
    for (std::size_t i = 0; i < kRows; ++i) {
      for (std::size_t n = 0; n < 4; ++n) sum[i][n].store(out + i * out_stride + k + 4 * n);
    }
  }
}

// `kRows` rows of weights together, where there are so many.
template <class V, std::size_t kRows>
inline void weighted_sum(const float* weight, std::size_t rows, const float* values, std::size_t stride, std::size_t tokens,
                         std::size_t columns, float* out, std::size_t out_stride) {
  std::size_t i = 0;
  for (; i + kRows <= rows; i += kRows) {
    weighted_sum_of<V, kRows>(weight + i * tokens, values, stride, tokens, columns, out + i * out_stride, out_stride);
  }
  for (; i < rows; ++i) weighted_sum_of<V, 1>(weight + i * tokens, values, stride, tokens, columns, out + i * out_stride, out_stride);
}

}  // namespace beex::float_kernels
