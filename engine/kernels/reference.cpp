// The definition of every kernel: loops straight from the equations of model_pack/FORMAT.md. Slow on purpose, never optimised,
// and independent of the other implementations: it shares no code with them.
#include <cmath>
#include <cstring>

#include "kernels/kernels.h"

namespace beex::reference {
namespace {

std::uint32_t largest_level(std::uint32_t bits) { return (1u << bits) - 1u; }

int bit_at(const std::uint8_t* row, std::size_t k) { return (row[k / 8] >> (k % 8)) & 1; }

// q = clamp(floor((x - t) * (1/s)) + 2^(bits-1), 0, M).
int level(float x, float threshold, float inverse_step, std::uint32_t bits) {
  const float largest = static_cast<float>(largest_level(bits));
  const float q = std::floor((x - threshold) * inverse_step) + static_cast<float>(1u << (bits - 1));
  if (!(q > 0.0f)) return 0;
  if (!(q < largest)) return static_cast<int>(largest);
  return static_cast<int>(q);
}

template <class Element>
float sum4(std::size_t n, Element element) {
  float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (std::size_t i = 0; i < n; ++i) sum[i % 4] += element(i);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

float exp(float x) {
  if (!(x > -87.0f)) x = -87.0f;
  if (!(x < 88.0f)) x = 88.0f;
  const float n = std::floor(x * 1.44269504f + 0.5f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 0.0f;
  for (int k = 7; k >= 0; --k) {
    float factorial = 1.0f;
    for (int i = 2; i <= k; ++i) factorial *= static_cast<float>(i);
    p = p * r + 1.0f / factorial;
  }
  return std::ldexp(p, static_cast<int>(n));  // exact: the result is a normal number
}

// ---- the table ----

std::size_t laid_out_size(std::size_t rows, std::size_t columns) { return rows * columns / 8; }

void lay_out(const std::uint8_t* bits, std::size_t rows, std::size_t columns, std::uint8_t* out) {
  std::memcpy(out, bits, laid_out_size(rows, columns));  // the canonical row-major order
}

void quantize(const float* x, std::size_t stride, const float* threshold, float inverse_step, Levels levels) {
  for (std::size_t t = 0; t < levels.tokens; ++t) {
    for (std::size_t k = 0; k < levels.columns; ++k) {
      const int q = level(x[t * stride + k], threshold[k], inverse_step, levels.bits);
      levels.data[t * levels.columns + k] = static_cast<std::uint8_t>(q);
    }
  }
}

void binary_linear(const LaidOutMatrix& matrix, Levels levels, std::uint8_t*, float* y) {
  const int m = static_cast<int>(largest_level(levels.bits));
  for (std::size_t t = 0; t < levels.tokens; ++t) {
    for (std::size_t r = 0; r < matrix.rows; ++r) {
      const std::uint8_t* weights = matrix.bits + r * (matrix.columns / 8);
      int d = 0;
      for (std::size_t k = 0; k < matrix.columns; ++k) {
        const int w = bit_at(weights, k) != 0 ? 1 : -1;
        d += w * (2 * levels.data[t * levels.columns + k] - m);
      }
      y[t * matrix.rows + r] = static_cast<float>(d) * matrix.scale[r] + matrix.bias[r];
    }
  }
}

void quantize_signed(const float* x, std::size_t stride, std::size_t tokens, std::size_t columns, float inverse_step,
                     std::uint32_t bits, std::int8_t* out) {
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t k = 0; k < columns; ++k) {
      const int q = level(x[t * stride + k], 0.0f, inverse_step, bits);
      out[t * columns + k] = static_cast<std::int8_t>(2 * q - static_cast<int>(largest_level(bits)));
    }
  }
}

void attention_scores(const std::int8_t* queries, std::size_t rows, const std::int8_t* keys, std::size_t stride, std::size_t tokens,
                      std::size_t head_size, float scale, float* scores) {
  for (std::size_t i = 0; i < rows; ++i) {
    float* row = scores + i * padded(tokens);
    for (std::size_t j = 0; j < tokens; ++j) {
      int sum = 0;
      for (std::size_t k = 0; k < head_size; ++k) sum += queries[i * stride + k] * keys[j * stride + k];
      row[j] = static_cast<float>(sum) * scale;
    }
    for (std::size_t j = tokens; j < padded(tokens); ++j) row[j] = row[tokens - 1];
  }
}

void weighted_sum(const float* weight, std::size_t rows, const float* values, std::size_t stride, std::size_t tokens,
                  std::size_t columns, float* out, std::size_t out_stride) {
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t k = 0; k < columns; ++k) {
      float sum = 0.0f;
      for (std::size_t j = 0; j < tokens; ++j) sum += weight[i * padded(tokens) + j] * values[j * stride + k];
      out[i * out_stride + k] = sum;
    }
  }
}

void softmax(float* x, std::size_t rows, std::size_t n) {
  for (std::size_t r = 0; r < rows; ++r, x += padded(n)) {
    float largest = x[0];
    for (std::size_t i = 1; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
    for (std::size_t i = 0; i < n; ++i) x[i] = exp(x[i] - largest);
    const float inverse = 1.0f / sum4(n, [&](std::size_t i) { return x[i]; });
    for (std::size_t i = 0; i < n; ++i) x[i] = x[i] * inverse;
    for (std::size_t i = n; i < padded(n); ++i) x[i] = 0.0f;
  }
}

void sigmoid(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] = 1.0f / (1.0f + exp(-x[i]));
}

void tanh(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] = 1.0f - 2.0f / (1.0f + exp(2.0f * x[i]));
}

void add_layer_norm(const float* a, const float* b, const float* gamma, const float* beta, std::size_t rows, std::size_t d, float* out) {
  const float inverse_d = 1.0f / static_cast<float>(d);
  for (std::size_t row = 0; row < rows; ++row, a += d, out += d) {
    for (std::size_t i = 0; i < d; ++i) out[i] = b != nullptr ? a[i] + b[row * d + i] : a[i];
    const float mean = sum4(d, [&](std::size_t i) { return out[i]; }) * inverse_d;
    for (std::size_t i = 0; i < d; ++i) out[i] = out[i] - mean;
    const float variance = sum4(d, [&](std::size_t i) { return out[i] * out[i]; }) * inverse_d;
    const float r = 1.0f / std::sqrt(variance + 1e-5f);
    for (std::size_t i = 0; i < d; ++i) out[i] = (out[i] * r) * gamma[i] + beta[i];
  }
}

void multiply(const float* g, const float* t, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = g[i] * t[i];
}

void add(const float* x, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = out[i] + x[i];
}

float dot(const float* x, const float* y, std::size_t n) {
  return sum4(n, [&](std::size_t i) { return x[i] * y[i]; });
}

void add_few_bit_row(const std::uint8_t* row, std::uint32_t bits, float scale, std::size_t columns, bool accumulate, float* out) {
  const int m = static_cast<int>(largest_level(bits));
  for (std::size_t k = 0; k < columns; ++k) {
    const int q = (row[k * bits / 8] >> (k * bits % 8)) & m;
    const float value = scale * static_cast<float>(2 * q - m);
    out[k] = accumulate ? out[k] + value : value;
  }
}

}  // namespace

const KernelTable kTable = {
    .name = "reference",
    .laid_out_size = laid_out_size,
    .lay_out = lay_out,
    .quantize = quantize,
    .binary_linear = binary_linear,
    .quantize_signed = quantize_signed,
    .attention_scores = attention_scores,
    .weighted_sum = weighted_sum,
    .softmax = softmax,
    .sigmoid = sigmoid,
    .tanh = tanh,
    .add_layer_norm = add_layer_norm,
    .multiply = multiply,
    .add = add,
    .dot = dot,
    .add_few_bit_row = add_few_bit_row,
};

}  // namespace beex::reference
