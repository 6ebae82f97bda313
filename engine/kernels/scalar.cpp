// Kernels for any machine: 64-bit words with popcount, floats in plain C++.
#include <bit>
#include <cstring>

#include "kernels/float_kernels.h"
#include "kernels/kernels.h"

namespace beex::scalar {
namespace {

constexpr std::size_t kWordBits = 64;
constexpr std::size_t kRowTile = 2;  // weight rows a tile: with kPlaneRowTile plane rows it keeps 8 counts in registers

std::uint64_t load_word(const std::uint8_t* p) {
  std::uint64_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

// q of one activation, as in the header of `quantize`.
std::uint32_t level(float x, float threshold, float inverse_step, float middle, float largest) {
  return static_cast<std::uint32_t>(beex::clamp(beex::round_down((x - threshold) * inverse_step) + middle, 0.0f, largest));
}

std::size_t laid_out_size(std::size_t rows, std::size_t columns) { return rows * columns / 8; }

void lay_out(const std::uint8_t* bits, std::size_t rows, std::size_t columns, std::uint8_t* out) {
  std::memcpy(out, bits, laid_out_size(rows, columns));  // row-major already is the order in which words are read
}

void quantize(const float* x, const float* threshold, float inverse_step, BitPlanes planes) {
  const float middle = static_cast<float>(1u << (planes.bits - 1));
  const float largest = static_cast<float>((1u << planes.bits) - 1u);
  const std::size_t row_bytes = planes.row_bytes();
  for (std::size_t t = 0; t < planes.tokens; ++t) {
    const float* row = x + t * planes.columns;
    std::uint8_t* out = planes.data + t * planes.bits * row_bytes;
    for (std::size_t k = 0; k < planes.columns; k += 8) {
      // Bit p of q_i goes to bit i of byte p: spread the planes over the bytes of one word.
      std::uint32_t bytes = 0;
      for (std::size_t i = 0; i < 8; ++i) {
        const std::uint32_t q = level(row[k + i], threshold[k + i], inverse_step, middle, largest);
        bytes |= ((q & 1u) | (q & 2u) << 7 | (q & 4u) << 14 | (q & 8u) << 21) << i;
      }
      for (std::size_t p = 0; p < planes.bits; ++p) out[p * row_bytes + k / 8] = static_cast<std::uint8_t>(bytes >> (8 * p));
    }
  }
  const std::size_t used = planes.tokens * planes.bits * row_bytes;
  std::memset(planes.data + used, 0, BitPlanes::size_in_bytes(planes.tokens, planes.columns, planes.bits) - used);
}

void binary_linear(const LaidOutMatrix& matrix, BitPlanes planes, float* y) {
  const std::size_t row_bytes = planes.row_bytes();
  const std::size_t plane_rows = planes.tokens * planes.bits;
  const std::size_t tile_tokens = kPlaneRowTile / planes.bits;
  const std::uint32_t largest = static_cast<std::uint32_t>(((1u << planes.bits) - 1u) * matrix.columns);  // M K
  for (std::size_t r = 0; r < matrix.rows; r += kRowTile) {
    const std::uint8_t* w0 = matrix.bits + r * row_bytes;
    const std::uint8_t* w1 = w0 + row_bytes;
    for (std::size_t row = 0; row < plane_rows; row += kPlaneRowTile) {
      const std::uint8_t* x = planes.data + row * row_bytes;
      std::uint32_t count[kRowTile][kPlaneRowTile] = {};
      for (std::size_t k = 0; k < row_bytes; k += kWordBits / 8) {
        const std::uint64_t word0 = load_word(w0 + k);
        const std::uint64_t word1 = load_word(w1 + k);
        for (std::size_t i = 0; i < kPlaneRowTile; ++i) {
          const std::uint64_t input = load_word(x + i * row_bytes + k);
          count[0][i] += static_cast<std::uint32_t>(std::popcount(input ^ word0));
          count[1][i] += static_cast<std::uint32_t>(std::popcount(input ^ word1));
        }
      }
      for (std::size_t i = 0; i < tile_tokens; ++i) {
        const std::size_t token = row / planes.bits + i;
        if (token >= planes.tokens) break;  // padding rows
        for (std::size_t j = 0; j < kRowTile; ++j) {
          std::uint32_t sum = 0;
          for (std::size_t p = 0; p < planes.bits; ++p) sum += count[j][i * planes.bits + p] << p;
          const std::int32_t d = static_cast<std::int32_t>(largest) - 2 * static_cast<std::int32_t>(sum);
          y[token * matrix.rows + r + j] = static_cast<float>(d) * matrix.scale[r + j] + matrix.bias[r + j];
        }
      }
    }
  }
}

void quantize_signed(const float* x, std::size_t stride, std::size_t tokens, std::size_t columns, float inverse_step,
                     std::uint32_t bits, std::int8_t* out) {
  const float middle = static_cast<float>(1u << (bits - 1));
  const float largest = static_cast<float>((1u << bits) - 1u);
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t k = 0; k < columns; ++k) {
      const auto q = static_cast<std::int32_t>(level(x[t * stride + k], 0.0f, inverse_step, middle, largest));
      out[t * columns + k] = static_cast<std::int8_t>(2 * q - static_cast<std::int32_t>(largest));
    }
  }
}

void attention_scores(const std::int8_t* query, const std::int8_t* keys, std::size_t stride, std::size_t tokens,
                      std::size_t head_size, float scale, float* scores) {
  for (std::size_t j = 0; j < tokens; ++j) {
    const std::int8_t* key = keys + j * stride;
    std::int32_t sum = 0;
    for (std::size_t k = 0; k < head_size; ++k) sum += query[k] * key[k];
    scores[j] = static_cast<float>(sum) * scale;
  }
}

void add_few_bit_row(const std::uint8_t* row, std::uint32_t bits, float scale, std::size_t columns, bool accumulate, float* out) {
  const std::uint32_t mask = (1u << bits) - 1u;
  const std::size_t per_byte = 8 / bits;
  for (std::size_t k = 0; k < columns; k += per_byte) {
    std::uint32_t byte = row[k / per_byte];
    for (std::size_t i = 0; i < per_byte; ++i, byte >>= bits) {
      const auto q = static_cast<std::int32_t>(byte & mask);
      const float value = scale * static_cast<float>(2 * q - static_cast<std::int32_t>(mask));
      out[k + i] = accumulate ? out[k + i] + value : value;
    }
  }
}

}  // namespace

const KernelTable kTable = {
    .name = "scalar",
    .laid_out_size = laid_out_size,
    .lay_out = lay_out,
    .quantize = quantize,
    .binary_linear = binary_linear,
    .quantize_signed = quantize_signed,
    .attention_scores = attention_scores,
    .weighted_sum = float_kernels::weighted_sum<Float4>,
    .softmax = float_kernels::softmax<Float4>,
    .sigmoid = float_kernels::sigmoid<Float4>,
    .tanh = float_kernels::tanh<Float4>,
    .add_layer_norm = float_kernels::add_layer_norm<Float4>,
    .multiply = float_kernels::multiply<Float4>,
    .add = float_kernels::add<Float4>,
    .dot = float_kernels::dot<Float4>,
    .add_few_bit_row = add_few_bit_row,
};

}  // namespace beex::scalar
