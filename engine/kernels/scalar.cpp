// Kernels for any machine: eight bytes in a 64-bit word, floats in plain C++.
#include <cstring>

#include "kernels/float_kernels.h"
#include "kernels/kernels.h"
#include "kernels/lookup_linear.h"

namespace beex::scalar {
namespace {

// q of one activation, as in the header of `quantize`.
std::uint32_t level(float x, float threshold, float inverse_step, float middle, float largest) {
  return static_cast<std::uint32_t>(beex::clamp(beex::round_down((x - threshold) * inverse_step) + middle, 0.0f, largest));
}

void quantize(const float* x, std::size_t stride, const float* threshold, float inverse_step, Levels levels) {
  const float middle = static_cast<float>(1u << (levels.bits - 1));
  const float largest = static_cast<float>((1u << levels.bits) - 1u);
  for (std::size_t t = 0; t < levels.tokens; ++t) {
    const float* row = x + t * stride;
    std::uint8_t* out = levels.data + t * levels.columns;
    for (std::size_t k = 0; k < levels.columns; ++k) {
      out[k] = static_cast<std::uint8_t>(level(row[k], threshold[k], inverse_step, middle, largest));
    }
  }
}

// Eight lanes of lookup_linear.h. A lane below zero borrows from the next one, as it should: sums are of whole words, and where the
// lanes of a sum are not negative its bytes are what they should be.
struct TokenLanes {
  static constexpr std::size_t kTokens = 8;
  static constexpr std::uint64_t kEach = 0x0101010101010101u, kEvenBytes = 0x00ff00ff00ff00ffu;
  std::uint64_t word;

  struct Sums {
    std::uint64_t even, odd;  // of the lanes 0, 2, 4, 6 and 1, 3, 5, 7
    void clear() { even = odd = 0; }
    void add(TokenLanes x) {
      even += x.word & kEvenBytes;
      odd += x.word >> 8 & kEvenBytes;
    }
    std::int32_t lane(std::size_t t) const { return static_cast<std::uint16_t>((t % 2 == 0 ? even : odd) >> 8 * (t - t % 2)); }
  };

  static TokenLanes zero() { return {0}; }
  friend TokenLanes operator+(TokenLanes a, TokenLanes b) { return {a.word + b.word}; }

  static bool fits(TokenLanes a, TokenLanes b) {
    const std::uint64_t even = (a.word & kEvenBytes) + (b.word & kEvenBytes);
    const std::uint64_t odd = (a.word >> 8 & kEvenBytes) + (b.word >> 8 & kEvenBytes);
    return ((even | odd) & ~kEvenBytes) == 0;
  }

  static void load(const std::uint8_t* levels, std::size_t stride, std::size_t last, std::int32_t centre, TokenLanes* v, TokenLanes& below) {
    const std::uint64_t centres = static_cast<std::uint64_t>(centre) * kEach;
    below.word = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      std::uint64_t q = 0;
      for (std::size_t t = 0; t < kTokens; ++t) q |= std::uint64_t{levels[std::min(t, last) * stride + i]} << 8 * t;
      v[i].word = q - centres;
      // 128 + centre - q, whose top bit says whether q is at most the centre.
      const std::uint64_t difference = (centres | kEach << 7) - q;
      below.word += difference & (difference >> 7 & kEach) * 127;
    }
  }

  static void store(const Sums* sums, const Sums& magnitude, const lookup::Affine& affine, std::size_t rows, std::size_t count, float* y) {
    for (std::size_t i = 0; i < rows; ++i) {
      const std::size_t r = affine.first + i;
      std::int16_t half_sum;
      std::memcpy(&half_sum, lookup::half_sums(affine.matrix, r), sizeof half_sum);
      const std::int32_t offset = affine.shift * half_sum;
      for (std::size_t t = 0; t < count; ++t) {
        const std::int32_t half = 2 * sums[i].lane(t) - magnitude.lane(t) + offset;
        y[t * affine.matrix.rows + i] = static_cast<float>(2 * half) * affine.matrix.scale[r] + affine.matrix.bias[r];
      }
    }
  }
};

std::size_t laid_out_size(std::size_t rows, std::size_t columns) { return lookup::laid_out_size(rows, columns); }

void lay_out(const std::uint8_t* bits, std::size_t rows, std::size_t columns, std::uint8_t* out) {
  lookup::lay_out<TokenLanes>(bits, rows, columns, out);
}

void binary_linear(const LaidOutMatrix& matrix, Levels levels, std::uint8_t* scratch, float* y) {
  static_assert(lookup::kRowsAtOnce * sizeof(TokenLanes::Sums) <= kLinearScratch);
  const std::int32_t centre = lookup::centre(levels);
  for (std::size_t t = 0; t < levels.tokens; t += TokenLanes::kTokens) {
    const std::size_t count = std::min(TokenLanes::kTokens, levels.tokens - t);
    lookup::tile<TokenLanes>(matrix, levels, centre, t, count, reinterpret_cast<TokenLanes::Sums*>(scratch), y);
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

void attention_scores(const std::int8_t* queries, std::size_t rows, const std::int8_t* keys, std::size_t stride, std::size_t tokens,
                      std::size_t head_size, float scale, float* scores) {
  for (std::size_t i = 0; i < rows; ++i) {
    const std::int8_t* query = queries + i * stride;
    float* row = scores + i * padded(tokens);
    for (std::size_t j = 0; j < tokens; ++j) {
      const std::int8_t* key = keys + j * stride;
      std::int32_t sum = 0;
      for (std::size_t k = 0; k < head_size; ++k) sum += query[k] * key[k];
      row[j] = static_cast<float>(sum) * scale;
    }
    for (std::size_t j = tokens; j < padded(tokens); ++j) row[j] = row[tokens - 1];
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
    .weighted_sum = float_kernels::weighted_sum<Float4, 1>,
    .softmax = float_kernels::softmax<Float4, 1>,
    .sigmoid = float_kernels::sigmoid<Float4>,
    .tanh = float_kernels::tanh<Float4>,
    .add_layer_norm = float_kernels::add_layer_norm<Float4, 1>,
    .multiply = float_kernels::multiply<Float4>,
    .add = float_kernels::add<Float4>,
    .dot = float_kernels::dot<Float4>,
    .add_few_bit_row = add_few_bit_row,
};

}  // namespace beex::scalar
