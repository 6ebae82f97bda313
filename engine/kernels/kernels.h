// The table of kernels: the hot loops on plain spans. A kernel knows nothing of models, packs or texts.
//
// Three implementations: `reference` (slow and obvious, the definition), `scalar` (64-bit words, any machine) and `simd128` (WebAssembly
// SIMD; natively through SIMDe, for tests). They give the same bits: integer parts are exact, and float parts follow the
// order of operations of model_pack/FORMAT.md ("The arithmetic"), whose equations the comments below quote.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace beex {

// Widest input of a binary matrix (FORMAT.md, "config"): with 4 bits its sums still fit 16 bits, 4096 * 15 <= 65535.
constexpr std::size_t kMaxColumns = 4096;

// Work memory of binary_linear, in bytes, aligned to 64.
constexpr std::size_t kLinearScratch = 48 * 1024;

// Few-bit activations (tokens, columns), a level q in 0 ... 2^bits - 1 a byte; columns is a multiple of 64.
struct Levels {
  std::uint8_t* data = nullptr;
  std::size_t tokens = 0;
  std::size_t columns = 0;
  std::uint32_t bits = 1;
};

// A binary matrix laid out for one implementation, with the affine map of its rows.
struct LaidOutMatrix {
  const std::uint8_t* bits = nullptr;  // made by `lay_out`; its layout is the implementation's own
  const float* scale = nullptr;        // (rows)
  const float* bias = nullptr;         // (rows)
  std::size_t rows = 0;                // a multiple of 64
  std::size_t columns = 0;             // a multiple of 64, at most kMaxColumns
};

// Rows of attention weights are padded to whole groups of four.
constexpr std::size_t padded(std::size_t tokens) { return (tokens + 3) / 4 * 4; }

struct KernelTable {
  const char* name;

  // Bytes that `lay_out` writes for a (rows, columns) matrix.
  std::size_t (*laid_out_size)(std::size_t rows, std::size_t columns);
  // Turns canonical row-major bits (row, columns / 8) into this implementation's layout. Done once, at load.
  void (*lay_out)(const std::uint8_t* bits, std::size_t rows, std::size_t columns, std::uint8_t* out);

  // q = clamp(floor((x - threshold) * inverse_step) + 2^(bits-1), 0, 2^bits - 1). Row t of x starts at x + t * stride; threshold is
  // (columns).
  void (*quantize)(const float* x, std::size_t stride, const float* threshold, float inverse_step, Levels levels);

  // y = D * scale + bias with D[t, r] = sum_k w[r, k] * (2 q[t, k] - M), M = 2^bits - 1. y is (tokens, rows); what is in the scratch
  // before and after does not matter.
  void (*binary_linear)(const LaidOutMatrix& matrix, Levels levels, std::uint8_t* scratch, float* y);

  // The same quantizer with threshold 0, as signed integers u = 2q - M in [-15, 15]. Row t of x starts at x + t * stride;
  // `out` is (tokens, columns); columns is a multiple of 16.
  void (*quantize_signed)(const float* x, std::size_t stride, std::size_t tokens, std::size_t columns, float inverse_step,
                          std::uint32_t bits, std::int8_t* out);

  // scores[i * padded(tokens) + j] = float(sum_k queries[i * stride + k] * keys[j * stride + k]) * scale, for i < rows, j < tokens; the
  // padding repeats the last score. head_size is a multiple of 16.
  void (*attention_scores)(const std::int8_t* queries, std::size_t rows, const std::int8_t* keys, std::size_t stride,
                           std::size_t tokens, std::size_t head_size, float scale, float* scores);

  // out[i * out_stride + k] = sum_j weight[i * padded(tokens) + j] * values[j * stride + k], in order of j from 0, for i < rows. columns is a
  // multiple of 16.
  void (*weighted_sum)(const float* weight, std::size_t rows, const float* values, std::size_t stride, std::size_t tokens,
                       std::size_t columns, float* out, std::size_t out_stride);

  // x = softmax(x) for each of `rows` rows of n >= 1 values, row r at x + r * padded(n). The padding must not be larger than the row's
  // largest value, and is 0 afterwards.
  void (*softmax)(float* x, std::size_t rows, std::size_t n);
  // In place, n a multiple of 4.
  void (*sigmoid)(float* x, std::size_t n);
  void (*tanh)(float* x, std::size_t n);

  // out = layer_norm(a + b) * gamma + beta for each of `rows` rows of d values; `b` may be null (then it is layer_norm(a)). d is a multiple
  // of 64. `out` may be `a` or `b`.
  void (*add_layer_norm)(const float* a, const float* b, const float* gamma, const float* beta, std::size_t rows, std::size_t d,
                         float* out);

  // out = g * t, element by element; `out` may be `g` or `t`. n is a multiple of 4.
  void (*multiply)(const float* g, const float* t, std::size_t n, float* out);

  // out += x; n is a multiple of 4.
  void (*add)(const float* x, std::size_t n, float* out);

  // dot4(x, y), n a multiple of 4.
  float (*dot)(const float* x, const float* y, std::size_t n);

  // out[k] (+)= scale * float(2 q_k - M) for one few-bit row of `columns` elements (bits 1, 2, 4 or 8; columns a multiple of 64).
  void (*add_few_bit_row)(const std::uint8_t* row, std::uint32_t bits, float scale, std::size_t columns, bool accumulate,
                          float* out);
};

// The tables of this build, fastest first; `reference` is the last. Without BEEX_ALL_KERNELS, as in the npm package, the fastest alone.
std::span<const KernelTable* const> kernel_tables();

// The table of that name, the fastest one for an empty name, or null.
const KernelTable* find_kernels(std::string_view name);

namespace reference {
extern const KernelTable kTable;
}
namespace scalar {
extern const KernelTable kTable;
}
#if defined(BEEX_SIMD128)
namespace simd128 {
extern const KernelTable kTable;
}
#endif

}  // namespace beex
