// Kernels in 128-bit WebAssembly SIMD. How binary_linear works, and what else was tried, is in README.md.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "kernels/float_kernels.h"
#include "kernels/kernels.h"
#include "kernels/lookup_linear.h"
#include "kernels/vector_simd128.h"

namespace beex::simd128 {
namespace {

constexpr std::size_t kLanes = 16;  // bytes in a register

v128_t zero() { return wasm_i32x4_splat(0); }

// ---- quantizers ----

struct QuantizerLanes {
  Float4 inverse_step, lowest, highest, offset;

  // The middle level is added after the clamp, together with 2^23, which leaves the whole number in the low bits of the float.
  QuantizerLanes(float inverse, std::uint32_t bits)
      : inverse_step(inverse),
        lowest(-static_cast<float>(1u << (bits - 1))),
        highest(static_cast<float>((1u << (bits - 1)) - 1u)),
        offset(static_cast<float>(8388608u + (1u << (bits - 1)))) {}

  // q of four activations, one a 32-bit lane.
  v128_t levels4(const float* x, Float4 threshold) const {
    const Float4 q = clamp(round_down((Float4::load(x) - threshold) * inverse_step), lowest, highest) + offset;
    return wasm_v128_and(q.lanes, wasm_i32x4_splat(15));
  }
};

// q of 16 activations, one a byte; threshold4(i) gives the thresholds of activations i ... i + 3.
template <class Threshold>
v128_t levels16(const QuantizerLanes& quantizer, const float* x, Threshold threshold4) {
  const v128_t low = wasm_i16x8_narrow_i32x4(quantizer.levels4(x, threshold4(0)), quantizer.levels4(x + 4, threshold4(4)));
  const v128_t high = wasm_i16x8_narrow_i32x4(quantizer.levels4(x + 8, threshold4(8)), quantizer.levels4(x + 12, threshold4(12)));
  return wasm_i8x16_narrow_i16x8(low, high);
}

void quantize(const float* x, std::size_t stride, const float* threshold, float inverse_step, Levels levels) {
  const QuantizerLanes quantizer(inverse_step, levels.bits);
  for (std::size_t t = 0; t < levels.tokens; ++t) {
    const float* row = x + t * stride;
    std::uint8_t* out = levels.data + t * levels.columns;
    for (std::size_t k = 0; k < levels.columns; k += kLanes) {
      wasm_v128_store(out + k, levels16(quantizer, row + k, [&](std::size_t i) { return Float4::load(threshold + k + i); }));
    }
  }
}

void quantize_signed(const float* x, std::size_t stride, std::size_t tokens, std::size_t columns, float inverse_step,
                     std::uint32_t bits, std::int8_t* out) {
  const QuantizerLanes quantizer(inverse_step, bits);
  const v128_t largest = wasm_i8x16_splat(static_cast<std::int8_t>((1 << bits) - 1));
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t k = 0; k < columns; k += kLanes) {
      const v128_t q = levels16(quantizer, x + t * stride + k, [](std::size_t) { return Float4(0.0f); });
      wasm_v128_store(out + t * columns + k, wasm_i8x16_sub(wasm_i8x16_add(q, q), largest));
    }
  }
}

// ---- binary linear ----

// The even bytes are those of `all` less 256 times the odd ones, in 16 bits that may wrap: this is cheaper than masks.
struct ByteSums {
  v128_t all, odd;
  void clear() { all = odd = zero(); }
  void add(v128_t bytes) {
    all = wasm_i16x8_add(all, bytes);
    odd = wasm_i16x8_add(odd, wasm_u16x8_shr(bytes, 8));
  }
  v128_t even() const { return wasm_i16x8_sub(all, wasm_i16x8_shl(odd, 8)); }
};

// y of four numbers D / 2 + 2^15, unsigned in the lower or the upper half of 16-bit lanes. With 0x4b00 above it, such a number n is the float 2^23 + n. Twice
// the scale is exact, and so y is the same as from D.
constexpr std::int16_t kUnsigned = -0x8000;  // 2^15, modulo 2^16
template <bool kUpper>
Float4 affine4(v128_t half, Float4 twice_scale, Float4 bias) {
  const v128_t above = wasm_i16x8_splat(0x4b00);
  const v128_t wide = kUpper ? wasm_i16x8_shuffle(half, above, 4, 12, 5, 13, 6, 14, 7, 15) : wasm_i16x8_shuffle(half, above, 0, 8, 1, 9, 2, 10, 3, 11);
  return (Float4(wide) - Float4(8388608.0f + 32768.0f)) * twice_scale + bias;
}

Float4 load_twice(const float* x) {
  const Float4 once = Float4::load(x);
  return once + once;
}

// What D / 2 + 2^15 of rows r ... r + 7 has whatever the activations are: shift times half the sums of their weights, and 2^15.
v128_t row_offsets(const LaidOutMatrix& matrix, std::size_t r, v128_t shift) {
  return wasm_i16x8_add(wasm_i16x8_mul(wasm_v128_load(lookup::half_sums(matrix, r)), shift), wasm_i16x8_splat(kUnsigned));
}

v128_t interleave_low(v128_t a, v128_t b) { return wasm_i8x16_shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23); }
v128_t interleave_high(v128_t a, v128_t b) {
  return wasm_i8x16_shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// Sixteen lanes of lookup_linear.h.
struct TokenLanes {
  static constexpr std::size_t kTokens = 16;
  v128_t lanes;

  struct Sums : ByteSums {
    void add(TokenLanes x) { ByteSums::add(x.lanes); }
  };

  static TokenLanes zero() { return {simd128::zero()}; }
  friend TokenLanes operator+(TokenLanes a, TokenLanes b) { return {wasm_i8x16_add(a.lanes, b.lanes)}; }

  static bool fits(TokenLanes a, TokenLanes b) {
    const v128_t lost = wasm_v128_xor((a + b).lanes, wasm_u8x16_add_sat(a.lanes, b.lanes));
    return !wasm_v128_any_true(lost);
  }

  // A transpose of 16 tokens by 8 activations: each step interleaves rows half as far apart as the one before.
  static void load(const std::uint8_t* levels, std::size_t stride, std::size_t last, std::int32_t centre, TokenLanes* v, TokenLanes& below) {
    const v128_t centres = wasm_i8x16_splat(static_cast<std::int8_t>(centre));
    const auto row = [&](std::size_t t) { return wasm_v128_load64_zero(levels + std::min(t, last) * stride); };
    v128_t from[8], to[8];
    for (std::size_t i = 0; i < 8; ++i) to[i] = interleave_low(row(i), row(i + 8));
    for (std::size_t step = 0; step < 3; ++step) {
      std::copy_n(to, 8, from);
      for (std::size_t i = 0; i < 4; ++i) {
        to[2 * i] = interleave_low(from[i], from[i + 4]);
        to[2 * i + 1] = interleave_high(from[i], from[i + 4]);
      }
    }
    below = zero();
    for (std::size_t i = 0; i < 8; ++i) {
      v[i].lanes = wasm_i8x16_sub(to[i], centres);
      below.lanes = wasm_i8x16_add(below.lanes, wasm_u8x16_sub_sat(centres, to[i]));
    }
  }

  // Eight rows at a time, turned from tokens in lanes to rows in lanes.
  static void store(const Sums* sums, const Sums& magnitude, const lookup::Affine& affine, std::size_t rows, std::size_t count, float* y) {
    std::int16_t lane[2][8];
    wasm_v128_store(lane[0], magnitude.even());
    wasm_v128_store(lane[1], magnitude.odd);
    v128_t total[kTokens];
    for (std::size_t t = 0; t < kTokens; ++t) total[t] = wasm_i16x8_splat(lane[t % 2][t / 2]);
    const v128_t shift = wasm_i16x8_splat(static_cast<std::int16_t>(affine.shift));
    for (std::size_t i = 0; i < rows; i += 8) {
      const std::size_t r = affine.first + i;
      const v128_t offset = row_offsets(affine.matrix, r, shift);
      const float *scale = affine.matrix.scale + r, *bias = affine.matrix.bias + r;
      const Float4 scales[2] = {load_twice(scale), load_twice(scale + 4)}, biases[2] = {Float4::load(bias), Float4::load(bias + 4)};
      v128_t even[8], odd[8], token[kTokens];
      for (std::size_t j = 0; j < 8; ++j) {
        even[j] = sums[i + j].even();
        odd[j] = sums[i + j].odd;
      }
      transpose8(even);
      transpose8(odd);
      for (std::size_t j = 0; j < 8; ++j) {
        token[2 * j] = even[j];
        token[2 * j + 1] = odd[j];
      }
      float* out = y + i;
      for (std::size_t t = 0; t < count; ++t, out += affine.matrix.rows) {
        const v128_t half = wasm_i16x8_add(wasm_i16x8_add(token[t], token[t]), wasm_i16x8_sub(offset, total[t]));
        affine4<false>(half, scales[0], biases[0]).store(out);
        affine4<true>(half, scales[1], biases[1]).store(out + 4);
      }
    }
  }

 private:
  // Eight vectors of eight 16-bit numbers: each step interleaves those half as far apart as the one before.
  static void transpose8(v128_t* x) {
    v128_t from[8];
    for (std::size_t step = 0; step < 3; ++step) {
      std::copy_n(x, 8, from);
      for (std::size_t i = 0; i < 4; ++i) {
        x[2 * i] = wasm_i16x8_shuffle(from[i], from[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
        x[2 * i + 1] = wasm_i16x8_shuffle(from[i], from[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
      }
    }
  }
};

// Rows side by side, two tokens by 32 rows (README.md, "Rows in lanes"): for the few tokens that would leave most lanes of the other
// way empty.
class RowLanes {
 public:
  static constexpr std::size_t kTokens = 2, kRows = 32;

  // tables[k][i][h]: what a nibble of weights adds to S, for token i and half h of byte k.
  using Tables = std::uint8_t[kMaxColumns / 8][kTokens][2][16];

  // y of tokens first ... first + count - 1; count is 1 or 2.
  static void tile(const LaidOutMatrix& matrix, const Levels& levels, std::int32_t centre, std::size_t first, std::size_t count,
                   Tables& tables, float* y) {
    std::uint16_t end[kMaxColumns / 8];  // where byte sums are emptied
    std::int32_t magnitude[kTokens];
    const std::size_t runs = make_tables(levels, centre, first, count, tables, end, magnitude);
    const v128_t low_nibble = wasm_i8x16_splat(15);
    const v128_t shift = wasm_i16x8_splat(static_cast<std::int16_t>(2 * centre - static_cast<std::int32_t>((1u << levels.bits) - 1u)));

    const std::uint8_t* weights = matrix.bits + lookup::laid_out_size(matrix.rows, matrix.columns);
    for (std::size_t r = 0; r < matrix.rows; r += kRows) {
      ByteSums sums[kTokens][2];
      for (auto& token : sums) token[0].clear(), token[1].clear();
      const std::uint8_t* table = tables[0][0][0];
      std::size_t k = 0;
      for (std::size_t run = 0; run < runs; ++run) {
        v128_t bytes[kTokens][2];
        for (auto& token : bytes) token[0] = token[1] = zero();
        for (; k < end[run]; ++k, weights += 32, table += 64) {
          v128_t low[2], high[2];
          for (std::size_t g = 0; g < 2; ++g) {
            const v128_t w = wasm_v128_load(weights + g * kLanes);
            low[g] = wasm_v128_and(w, low_nibble);
            high[g] = wasm_v128_and(wasm_u16x8_shr(w, 4), low_nibble);
          }
          for (std::size_t i = 0; i < kTokens; ++i) {
            const v128_t of_low = wasm_v128_load(table + 32 * i), of_high = wasm_v128_load(table + 32 * i + 16);
            for (std::size_t g = 0; g < 2; ++g) {
              const v128_t both = wasm_i8x16_add(wasm_i8x16_swizzle(of_low, low[g]), wasm_i8x16_swizzle(of_high, high[g]));
              bytes[i][g] = wasm_i8x16_add(bytes[i][g], both);
            }
          }
        }
        for (std::size_t i = 0; i < kTokens; ++i) {
          for (std::size_t g = 0; g < 2; ++g) sums[i][g].add(bytes[i][g]);
        }
      }
      for (std::size_t i = 0; i < count; ++i) {
        const v128_t total = wasm_i16x8_splat(static_cast<std::int16_t>(magnitude[i]));
        for (std::size_t g = 0; g < 2; ++g) {
          const v128_t even = sums[i][g].even(), odd = sums[i][g].odd;
          const v128_t sum[2] = {wasm_i16x8_shuffle(even, odd, 0, 8, 1, 9, 2, 10, 3, 11), wasm_i16x8_shuffle(even, odd, 4, 12, 5, 13, 6, 14, 7, 15)};
          for (std::size_t h = 0; h < 2; ++h) {
            const std::size_t row = r + g * kLanes + h * 8;
            const v128_t offset = row_offsets(matrix, row, shift);
            const v128_t half = wasm_i16x8_add(wasm_i16x8_add(sum[h], sum[h]), wasm_i16x8_sub(offset, total));
            const float* scale = matrix.scale + row;
            const float* bias = matrix.bias + row;
            float* out = y + (first + i) * matrix.rows + row;
            affine4<false>(half, load_twice(scale), Float4::load(bias)).store(out);
            affine4<true>(half, load_twice(scale + 4), Float4::load(bias + 4)).store(out + 4);
          }
        }
      }
    }
  }

 private:
  // Returns how many runs of bytes there are, each as long as no sum of the tile can be above 255.
  static std::size_t make_tables(const Levels& levels, std::int32_t centre, std::size_t first, std::size_t count, Tables& tables,
                                 std::uint16_t* end, std::int32_t* magnitude) {
    const v128_t centres = wasm_i8x16_splat(static_cast<std::int8_t>(centre));
    const std::size_t row_bytes = levels.columns / 8;
    std::uint16_t largest[kMaxColumns / 8];  // of the tokens' sums of |v| over a byte
    std::fill_n(largest, row_bytes, std::uint16_t{0});
    for (std::size_t i = 0; i < kTokens; ++i) {
      // A lone last token is looked up twice, and stored once.
      const std::uint8_t* input = levels.data + (first + std::min(i, count - 1)) * levels.columns;
      magnitude[i] = 0;
      for (std::size_t k = 0; k < row_bytes; k += 2) {
        const v128_t q = wasm_v128_load(input + 8 * k);
        const v128_t above = wasm_u8x16_sub_sat(q, centres), below = wasm_u8x16_sub_sat(centres, q);
        const v128_t sums = wasm_u32x4_extadd_pairwise_u16x8(wasm_u16x8_extadd_pairwise_u8x16(wasm_i8x16_add(above, below)));
        const std::int32_t sum[2] = {wasm_i32x4_extract_lane(sums, 0) + wasm_i32x4_extract_lane(sums, 1),
                                     wasm_i32x4_extract_lane(sums, 2) + wasm_i32x4_extract_lane(sums, 3)};
        for (std::size_t j = 0; j < 2; ++j) {
          largest[k + j] = std::max(largest[k + j], static_cast<std::uint16_t>(sum[j]));
          magnitude[i] += sum[j];
        }
        // Of a pair of activations a and b: below a, above a, below a, above a and below b, below b, above b, above b, added up.
        const v128_t first_of_pair = wasm_i8x16_shuffle(below, above, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
        const v128_t second_of_pair = wasm_i8x16_shuffle(below, above, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
        const v128_t twice = wasm_i8x16_shuffle(first_of_pair, first_of_pair, 0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7);
        const v128_t twice_high = wasm_i8x16_shuffle(first_of_pair, first_of_pair, 8, 9, 8, 9, 10, 11, 10, 11, 12, 13, 12, 13, 14, 15, 14, 15);
        put(wasm_i8x16_add(twice, interleave_low(second_of_pair, second_of_pair)), tables[k][i]);
        put(wasm_i8x16_add(twice_high, interleave_high(second_of_pair, second_of_pair)), tables[k + 1][i]);
      }
    }
    std::size_t runs = 0;
    unsigned sum = 0;
    for (std::size_t k = 0; k < row_bytes; ++k) {
      if (sum + largest[k] > 255) {
        end[runs++] = static_cast<std::uint16_t>(k);
        sum = 0;
      }
      sum += largest[k];
    }
    end[runs++] = static_cast<std::uint16_t>(row_bytes);
    return runs;
  }

  // The two tables of four pairs, each given by its four sums: entry w is that of the pair in w's low bits and that of the one above.
  static void put(v128_t pairs, std::uint8_t (*table)[16]) {
    const v128_t low = wasm_i8x16_shuffle(pairs, pairs, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
    const v128_t above_low = wasm_i8x16_shuffle(pairs, pairs, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
    const v128_t high = wasm_i8x16_shuffle(pairs, pairs, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11);
    const v128_t above_high = wasm_i8x16_shuffle(pairs, pairs, 12, 12, 12, 12, 13, 13, 13, 13, 14, 14, 14, 14, 15, 15, 15, 15);
    wasm_v128_store(table[0], wasm_i8x16_add(low, above_low));
    wasm_v128_store(table[1], wasm_i8x16_add(high, above_high));
  }
};

// Both ways have a layout of their own: that of lookup_linear.h, then [rows / 32][columns / 8][32] bytes for rows in lanes.
std::size_t laid_out_size(std::size_t rows, std::size_t columns) { return lookup::laid_out_size(rows, columns) + rows * columns / 8; }

void lay_out(const std::uint8_t* bits, std::size_t rows, std::size_t columns, std::uint8_t* out) {
  lookup::lay_out<TokenLanes>(bits, rows, columns, out);
  out += lookup::laid_out_size(rows, columns);
  const std::size_t row_bytes = columns / 8;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t k = 0; k < row_bytes; ++k) out[(r / RowLanes::kRows * row_bytes + k) * RowLanes::kRows + r % RowLanes::kRows] = bits[r * row_bytes + k];
  }
}

// A tile of tokens in lanes costs as much as this many tokens with rows in lanes.
constexpr std::size_t kFewTokens = 6;

void binary_linear(const LaidOutMatrix& matrix, Levels levels, std::uint8_t* scratch, float* y) {
  static_assert(lookup::kRowsAtOnce * sizeof(TokenLanes::Sums) <= kLinearScratch && sizeof(RowLanes::Tables) <= kLinearScratch);
  const std::int32_t centre = lookup::centre(levels);
  std::size_t count = 0;
  for (std::size_t t = 0; t < levels.tokens; t += count) {
    const std::size_t left = levels.tokens - t;
    if (left > kFewTokens) {
      count = std::min(TokenLanes::kTokens, left);
      lookup::tile<TokenLanes>(matrix, levels, centre, t, count, reinterpret_cast<TokenLanes::Sums*>(scratch), y);
    } else {
      count = std::min(RowLanes::kTokens, left);
      RowLanes::tile(matrix, levels, centre, t, count, *reinterpret_cast<RowLanes::Tables*>(scratch), y);
    }
  }
}

// ---- attention ----

// The sums of the lanes of a, b, c and d.
v128_t sums_of_lanes(v128_t a, v128_t b, v128_t c, v128_t d) {
  const v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
  const v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
  return wasm_i32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}

// kQueries rows by four keys at a time; the last tile repeats the last key.
template <std::size_t kQueries>
void scores_of(const std::int8_t* queries, const std::int8_t* keys, std::size_t stride, std::size_t tokens, std::size_t head_size,
               float scale, float* scores) {
  constexpr std::size_t kKeys = 4;
  for (std::size_t j = 0; j < tokens; j += kKeys) {
    v128_t sum[kQueries][kKeys];
    std::fill_n(sum[0], kQueries * kKeys, zero());
    const std::int8_t* key[kKeys];
    for (std::size_t n = 0; n < kKeys; ++n) key[n] = keys + std::min(j + n, tokens - 1) * stride;
    for (std::size_t k = 0; k < head_size; k += 8) {
      v128_t query[kQueries];
      for (std::size_t i = 0; i < kQueries; ++i) query[i] = wasm_i16x8_load8x8(queries + i * stride + k);
      for (std::size_t n = 0; n < kKeys; ++n) {
        const v128_t u = wasm_i16x8_load8x8(key[n] + k);
        for (std::size_t i = 0; i < kQueries; ++i) sum[i][n] = wasm_i32x4_add(sum[i][n], wasm_i32x4_dot_i16x8(query[i], u));
      }
    }
    for (std::size_t i = 0; i < kQueries; ++i) {
      const v128_t total = sums_of_lanes(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
      (Float4(wasm_f32x4_convert_i32x4(total)) * Float4(scale)).store(scores + i * padded(tokens) + j);
    }
  }
}

void attention_scores(const std::int8_t* queries, std::size_t rows, const std::int8_t* keys, std::size_t stride, std::size_t tokens,
                      std::size_t head_size, float scale, float* scores) {
  std::size_t i = 0;
  for (; i + 2 <= rows; i += 2) scores_of<2>(queries + i * stride, keys, stride, tokens, head_size, scale, scores + i * padded(tokens));
  if (i < rows) scores_of<1>(queries + i * stride, keys, stride, tokens, head_size, scale, scores + i * padded(tokens));
}

// ---- few-bit rows ----

// Writes scale * (2q - M).
struct FewBitOutput {
  Float4 scale, largest;
  bool accumulate;

  FewBitOutput(float scale_, std::uint32_t bits, bool accumulate_)
      : scale(scale_), largest(static_cast<float>((1u << bits) - 1u)), accumulate(accumulate_) {}

  // 16 elements, q one a byte. Returns where the next ones go.
  float* put16(v128_t q, float* out) const {
    // With 0x4b00 above it, a 16-bit q is the float 2^23 + q. Clang 14 takes a conversion of u16 lanes to floats apart, lane by lane.
    const v128_t above = wasm_i16x8_splat(0x4b00);
    const v128_t half[2] = {wasm_u16x8_extend_low_u8x16(q), wasm_u16x8_extend_high_u8x16(q)};
    for (std::size_t i = 0; i < 2; ++i) {
      put4(wasm_i16x8_shuffle(half[i], above, 0, 8, 1, 9, 2, 10, 3, 11), out + 8 * i);
      put4(wasm_i16x8_shuffle(half[i], above, 4, 12, 5, 13, 6, 14, 7, 15), out + 8 * i + 4);
    }
    return out + 16;
  }

 private:
  void put4(v128_t q, float* out) const {
    const Float4 level = Float4(q) - Float4(8388608.0f);
    const Float4 value = scale * ((level + level) - largest);  // whole numbers below 2^24: exact
    (accumulate ? Float4::load(out) + value : value).store(out);
  }
};

// Splits 16 bytes, each with elements of kBits in its low kWidth bits, until a byte holds one element.
template <std::uint32_t kBits, std::uint32_t kWidth>
float* unpack(v128_t bytes, const FewBitOutput& output, float* out) {
  if constexpr (kBits == kWidth) {
    return output.put16(bytes, out);
  } else {
    constexpr std::uint32_t kHalf = kWidth / 2;
    const v128_t mask = wasm_i8x16_splat(static_cast<std::int8_t>((1 << kHalf) - 1));
    const v128_t low = wasm_v128_and(bytes, mask);
    const v128_t high = wasm_v128_and(wasm_u16x8_shr(bytes, kHalf), mask);
    out = unpack<kBits, kHalf>(interleave_low(low, high), output, out);
    return unpack<kBits, kHalf>(interleave_high(low, high), output, out);
  }
}

template <std::uint32_t kBits>
void add_few_bit_row_of(const std::uint8_t* row, std::size_t columns, const FewBitOutput& output, float* out) {
  if constexpr (kBits == 8) {
    for (std::size_t i = 0; i < columns; i += 16) out = output.put16(wasm_v128_load(row + i), out);
  } else {
    // A row is a multiple of 8 bytes, not of 16: each 8 are doubled into bytes of which the low nibbles count.
    const v128_t low_nibble = wasm_i8x16_splat(15);
    for (std::size_t i = 0; i < columns * kBits / 8; i += 8) {
      const v128_t bytes = wasm_v128_load64_zero(row + i);
      const v128_t low = wasm_v128_and(bytes, low_nibble);
      const v128_t high = wasm_v128_and(wasm_u16x8_shr(bytes, 4), low_nibble);
      out = unpack<kBits, 4>(interleave_low(low, high), output, out);
    }
  }
}

void add_few_bit_row(const std::uint8_t* row, std::uint32_t bits, float scale, std::size_t columns, bool accumulate, float* out) {
  const FewBitOutput output(scale, bits, accumulate);
  if (bits == 1) return add_few_bit_row_of<1>(row, columns, output, out);
  if (bits == 2) return add_few_bit_row_of<2>(row, columns, output, out);
  if (bits == 4) return add_few_bit_row_of<4>(row, columns, output, out);
  return add_few_bit_row_of<8>(row, columns, output, out);
}

}  // namespace

const KernelTable kTable = {
    .name = "simd128",
    .laid_out_size = laid_out_size,
    .lay_out = lay_out,
    .quantize = quantize,
    .binary_linear = binary_linear,
    .quantize_signed = quantize_signed,
    .attention_scores = attention_scores,
    .weighted_sum = float_kernels::weighted_sum<Float4, 2, 4>,
    .softmax = float_kernels::softmax<Float4, 2>,
    .sigmoid = float_kernels::sigmoid<Float4>,
    .tanh = float_kernels::tanh<Float4>,
    .add_layer_norm = float_kernels::add_layer_norm<Float4, 2>,
    .multiply = float_kernels::multiply<Float4>,
    .add = float_kernels::add<Float4>,
    .dot = float_kernels::dot<Float4>,
    .add_few_bit_row = add_few_bit_row,
};

}  // namespace beex::simd128
