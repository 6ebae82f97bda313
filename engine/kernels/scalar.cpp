// Kernels for any machine: eight bytes in a 64-bit word, floats in plain C++.
#include <algorithm>
#include <cstring>

#include "kernels/float_kernels.h"
#include "kernels/kernels.h"
#include "kernels/lookup_linear.h"

namespace beex::scalar {
namespace {

// The bits of a number as another one. (std::bit_cast is not in Emscripten 3.1.6's library.)
template <class To, class From>
To as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// q of one activation, as in the header of `quantize`; `largest` is the largest level. Floats that are not negative are in the order of their
// bits, so the level is clamped as a whole number: a compiler makes branches of a clamp of floats, and nobody can guess which way they go.
std::uint32_t level(float x, float threshold, float inverse_step, float middle, float largest) {
  constexpr std::int32_t kInfinity = 0x7f800000;
  std::int32_t bits = as<std::int32_t>(beex::round_down((x - threshold) * inverse_step) + middle);
  bits &= ~(bits >> 31) & ~((kInfinity - (bits & 0x7fffffff)) >> 31);  // what is negative or no number becomes 0
  const std::int32_t above = bits - as<std::int32_t>(largest);
  const float clamped = as<float>(bits - (above & ~(above >> 31)));
  return as<std::uint32_t>(clamped + 8388608.0f) & 15;  // adding 2^23 leaves the whole number in the low bits
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
    std::uint64_t all, odd;  // sums of words, and of the lanes 1, 3, 5, 7; the others are the difference
    void clear() { all = odd = 0; }
    void add(TokenLanes x) {
      all += x.word;
      odd += x.word >> 8 & kEvenBytes;
    }
    // The sums of all lanes.
    void lanes(std::int32_t* out) const {
      const std::uint64_t even = all - (odd << 8);
      for (std::size_t t = 0; t < kTokens; t += 2) {
        out[t] = static_cast<std::uint16_t>(even >> 8 * t);
        out[t + 1] = static_cast<std::uint16_t>(odd >> 8 * t);
      }
    }
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
    if (count == kTokens) return store_tokens<kTokens>(sums, magnitude, affine, rows, kTokens, y);
    store_tokens<0>(sums, magnitude, affine, rows, count, y);
  }

 private:
  // kCount tokens, or where it is 0, `count`.
  template <std::size_t kCount>
  static void store_tokens(const Sums* sums, const Sums& magnitude, const lookup::Affine& affine, std::size_t rows, std::size_t count, float* y) {
    std::int32_t of_all[kTokens], of_row[kTokens];
    magnitude.lanes(of_all);
    for (std::size_t i = 0; i < rows; ++i) {
      const std::size_t r = affine.first + i;
      std::int16_t half_sum;
      std::memcpy(&half_sum, lookup::half_sums(affine.matrix, r), sizeof half_sum);
      const std::int32_t offset = affine.shift * half_sum;
      const float scale = affine.matrix.scale[r], bias = affine.matrix.bias[r];
      sums[i].lanes(of_row);
      for (std::size_t t = 0; t < (kCount > 0 ? kCount : count); ++t) {
        y[t * affine.matrix.rows + i] = static_cast<float>(2 * (2 * of_row[t] - of_all[t] + offset)) * scale + bias;
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

// Four products a multiplication: where a = sum_i a_i X^i and b = sum_i b_(3-i) X^i with X = 2^16, the top field of a b is a_0 b_0 + … + a_3 b_3.
// Fields below zero borrow from those above; kFieldsAbove, added once, gives back what they borrowed.
constexpr std::size_t kFields = 4, kSlice = 64, kQueries = 8;
constexpr std::uint64_t kFieldsAbove = 0x0000'8000'8000'8000u;

std::uint64_t fields(std::int8_t a, std::int8_t b, std::int8_t c, std::int8_t d) {
  const auto wide = [](std::int8_t x) { return static_cast<std::uint64_t>(std::int64_t{x}); };
  return wide(a) + (wide(b) << 16) + (wide(c) << 32) + (wide(d) << 48);
}

// Scores of at most kQueries rows from `columns` <= kSlice columns, before they are scaled: a field holds at most 16 times four products of 225.
// Sums of slices are whole numbers below 2^24, and so exact.
void add_scores(const std::int8_t* queries, std::size_t rows, const std::int8_t* keys, std::size_t stride, std::size_t tokens, std::size_t columns,
                float* scores) {
  std::uint64_t query[kQueries][kSlice / kFields], key[kSlice / kFields];
  for (std::size_t i = 0; i < rows; ++i) {
    const std::int8_t* u = queries + i * stride;
    for (std::size_t k = 0; k < columns; k += kFields) query[i][k / kFields] = fields(u[k], u[k + 1], u[k + 2], u[k + 3]);
  }
  for (std::size_t j = 0; j < tokens; ++j) {
    const std::int8_t* u = keys + j * stride;
    for (std::size_t k = 0; k < columns; k += kFields) key[k / kFields] = fields(u[k + 3], u[k + 2], u[k + 1], u[k]);
    for (std::size_t i = 0; i < rows; ++i) {
      std::uint64_t sum = kFieldsAbove;
      for (std::size_t n = 0; n < columns / kFields; n += 4) {  // columns is a multiple of 16
        sum += query[i][n] * key[n] + query[i][n + 1] * key[n + 1] + query[i][n + 2] * key[n + 2] + query[i][n + 3] * key[n + 3];
      }
      scores[i * padded(tokens) + j] += static_cast<float>(static_cast<std::int64_t>(sum) >> 48);
    }
  }
}

void attention_scores(const std::int8_t* queries, std::size_t rows, const std::int8_t* keys, std::size_t stride, std::size_t tokens,
                      std::size_t head_size, float scale, float* scores) {
  std::fill_n(scores, rows * padded(tokens), 0.0f);
  for (std::size_t i = 0; i < rows; i += kQueries) {
    for (std::size_t k = 0; k < head_size; k += kSlice) {
      add_scores(queries + i * stride + k, std::min(kQueries, rows - i), keys + k, stride, tokens, std::min(kSlice, head_size - k),
                 scores + i * padded(tokens));
    }
  }
  for (std::size_t i = 0; i < rows; ++i) {
    float* row = scores + i * padded(tokens);
    for (std::size_t j = 0; j < tokens; ++j) row[j] = row[j] * scale;
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
    .weighted_sum = float_kernels::weighted_sum<Float4, 1, 2>,
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
