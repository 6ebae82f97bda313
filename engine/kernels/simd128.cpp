// Kernels in 128-bit WebAssembly SIMD. How binary_linear works, and what else was tried, is in README.md.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "kernels/float_kernels.h"
#include "kernels/kernels.h"
#include "kernels/vector_simd128.h"

namespace beex::simd128 {
namespace {

constexpr std::size_t kLanes = 16;      // weight rows side by side in one register
constexpr std::size_t kTokenTile = 2;   // a tile of binary_linear is 2 tokens
constexpr std::size_t kGroupTile = 2;   // ... by 2 * 16 rows: its 4 byte accumulators and 8 sums stay near
constexpr std::size_t kRowTile = kGroupTile * kLanes;
constexpr std::size_t kTablesPerByte = 2;  // one per nibble of a plane's byte

v128_t zero() { return wasm_i32x4_splat(0); }

// ---- quantizers ----

struct QuantizerLanes {
  Float4 inverse_step, middle, largest;

  QuantizerLanes(float inverse, std::uint32_t bits)
      : inverse_step(inverse), middle(static_cast<float>(1u << (bits - 1))), largest(static_cast<float>((1u << bits) - 1u)) {}

  // q of four activations, one a 32-bit lane. Adding 2^23 leaves the whole number in the low bits of the float.
  v128_t levels4(const float* x, Float4 threshold) const {
    const Float4 q = clamp(round_down((Float4::load(x) - threshold) * inverse_step) + middle, Float4(0.0f), largest);
    return wasm_v128_and(wasm_f32x4_add(q.lanes, wasm_f32x4_splat(8388608.0f)), wasm_i32x4_splat(15));
  }
};

// q of 16 activations, one a byte; threshold4(i) gives the thresholds of activations i ... i + 3.
template <class Threshold>
v128_t levels16(const QuantizerLanes& quantizer, const float* x, Threshold threshold4) {
  const v128_t low = wasm_i16x8_narrow_i32x4(quantizer.levels4(x, threshold4(0)), quantizer.levels4(x + 4, threshold4(4)));
  const v128_t high = wasm_i16x8_narrow_i32x4(quantizer.levels4(x + 8, threshold4(8)), quantizer.levels4(x + 12, threshold4(12)));
  return wasm_i8x16_narrow_i16x8(low, high);
}

void quantize(const float* x, const float* threshold, float inverse_step, BitPlanes planes) {
  const QuantizerLanes quantizer(inverse_step, planes.bits);
  const std::size_t row_bytes = planes.row_bytes();
  for (std::size_t t = 0; t < planes.tokens; ++t) {
    const float* row = x + t * planes.columns;
    std::uint8_t* out = planes.data + t * planes.bits * row_bytes;
    for (std::size_t k = 0; k < planes.columns; k += kLanes) {
      const v128_t q = levels16(quantizer, row + k, [&](std::size_t i) { return Float4::load(threshold + k + i); });
      for (std::uint32_t p = 0; p < planes.bits; ++p) {
        // Bit p of each byte moves to the byte's top. What 16-bit shifts carry between bytes stays below bit 7, for q < 16.
        const auto mask = static_cast<std::uint16_t>(wasm_i8x16_bitmask(wasm_i16x8_shl(q, 7 - p)));
        std::memcpy(out + p * row_bytes + k / 8, &mask, sizeof mask);
      }
    }
  }
  const std::size_t used = planes.tokens * planes.bits * row_bytes;
  std::memset(planes.data + used, 0, BitPlanes::size_in_bytes(planes.tokens, planes.columns, planes.bits) - used);
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

std::size_t laid_out_size(std::size_t rows, std::size_t columns) { return rows * columns / 8; }

// [rows / 16][columns / 8][16]: byte lane i of a register is output row i of the group.
void lay_out(const std::uint8_t* bits, std::size_t rows, std::size_t columns, std::uint8_t* out) {
  const std::size_t row_bytes = columns / 8;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t k = 0; k < row_bytes; ++k) {
      out[(r / kLanes * row_bytes + k) * kLanes + r % kLanes] = bits[r * row_bytes + k];
    }
  }
}

struct DifferingBits {
  alignas(16) std::uint8_t of[16][16];
};

// of[a][w] = popcount(a ^ w): row a is the table of a nibble of a 1-bit activation, looked up by the weights' nibble.
constexpr DifferingBits make_differing_bits() {
  DifferingBits table = {};
  for (unsigned a = 0; a < 16; ++a) {
    for (unsigned w = 0; w < 16; ++w) table.of[a][w] = static_cast<std::uint8_t>(std::popcount(a ^ w));
  }
  return table;
}

constexpr DifferingBits kDifferingBits = make_differing_bits();

// The table of four few-bit activations: table[w] = sum_p 2^p popcount(a_p ^ w), with nibble a_p of plane p.
template <std::uint32_t kBits>
v128_t nibble_table(const std::uint8_t* planes, std::size_t row_bytes, unsigned shift) {
  v128_t table = zero();
  for (std::uint32_t p = 0; p < kBits; ++p) {
    const v128_t plane = wasm_v128_load(kDifferingBits.of[(planes[p * row_bytes] >> shift) & 15]);
    table = wasm_i8x16_add(table, wasm_i16x8_shl(plane, p));  // at most 4 << 3 in a byte: nothing crosses
  }
  return table;
}

// y = (M K - 2 sum) * scale + bias for 8 rows whose sums stand in 16-bit lanes.
void store8(v128_t sum, std::int32_t largest, const float* scale, const float* bias, float* y) {
  const v128_t half[2] = {wasm_u32x4_extend_low_u16x8(sum), wasm_u32x4_extend_high_u16x8(sum)};
  for (std::size_t i = 0; i < 2; ++i) {
    const v128_t d = wasm_i32x4_sub(wasm_i32x4_splat(largest), wasm_i32x4_shl(half[i], 1));
    (Float4(wasm_f32x4_convert_i32x4(d)) * Float4::load(scale + 4 * i) + Float4::load(bias + 4 * i)).store(y + 4 * i);
  }
}

template <std::uint32_t kBits>
void binary_linear_of(const LaidOutMatrix& matrix, BitPlanes planes, float* y) {
  constexpr std::uint32_t kLargestLevel = (1u << kBits) - 1u;
  // One byte of K adds at most 8 M to a byte accumulator, which is emptied into 16-bit sums before it can overflow.
  constexpr std::size_t kBytesPerFlush = 255 / (8 * kLargestLevel);
  static_assert(kMaxColumns * kLargestLevel <= 65535, "sums are 16 bits wide");

  alignas(16) std::uint8_t tables[kMaxColumns / 8][kTokenTile][kTablesPerByte][16];
  const std::size_t row_bytes = planes.row_bytes();
  const auto largest = static_cast<std::int32_t>(kLargestLevel * matrix.columns);
  const v128_t low_nibble = wasm_i8x16_splat(15);

  for (std::size_t t = 0; t < planes.tokens; t += kTokenTile) {
    const std::size_t tokens = std::min(kTokenTile, planes.tokens - t);
    for (std::size_t i = 0; i < kTokenTile; ++i) {
      // A lone last token is looked up twice, and stored once.
      const std::uint8_t* input = planes.data + (t + std::min(i, tokens - 1)) * kBits * row_bytes;
      for (std::size_t k = 0; k < row_bytes; ++k) {
        wasm_v128_store(tables[k][i][0], nibble_table<kBits>(input + k, row_bytes, 0));
        wasm_v128_store(tables[k][i][1], nibble_table<kBits>(input + k, row_bytes, 4));
      }
    }

    for (std::size_t r = 0; r < matrix.rows; r += kRowTile) {
      const std::uint8_t* weights = matrix.bits + r * row_bytes;
      v128_t low_sum[kTokenTile][kGroupTile], high_sum[kTokenTile][kGroupTile];
      for (std::size_t i = 0; i < kTokenTile; ++i) {
        for (std::size_t g = 0; g < kGroupTile; ++g) low_sum[i][g] = high_sum[i][g] = zero();
      }
      for (std::size_t begin = 0; begin < row_bytes; begin += kBytesPerFlush) {
        const std::size_t end = std::min(begin + kBytesPerFlush, row_bytes);
        v128_t bytes[kTokenTile][kGroupTile];
        for (std::size_t i = 0; i < kTokenTile; ++i) {
          for (std::size_t g = 0; g < kGroupTile; ++g) bytes[i][g] = zero();
        }
        for (std::size_t k = begin; k < end; ++k) {
          v128_t low[kGroupTile], high[kGroupTile];
          for (std::size_t g = 0; g < kGroupTile; ++g) {
            const v128_t w = wasm_v128_load(weights + (g * row_bytes + k) * kLanes);
            low[g] = wasm_v128_and(w, low_nibble);
            high[g] = wasm_v128_and(wasm_u16x8_shr(w, 4), low_nibble);
          }
          for (std::size_t i = 0; i < kTokenTile; ++i) {
            const v128_t low_table = wasm_v128_load(tables[k][i][0]);
            const v128_t high_table = wasm_v128_load(tables[k][i][1]);
            for (std::size_t g = 0; g < kGroupTile; ++g) {
              const v128_t both = wasm_i8x16_add(wasm_i8x16_swizzle(low_table, low[g]), wasm_i8x16_swizzle(high_table, high[g]));
              bytes[i][g] = wasm_i8x16_add(bytes[i][g], both);
            }
          }
        }
        for (std::size_t i = 0; i < kTokenTile; ++i) {
          for (std::size_t g = 0; g < kGroupTile; ++g) {
            low_sum[i][g] = wasm_i16x8_add(low_sum[i][g], wasm_u16x8_extend_low_u8x16(bytes[i][g]));
            high_sum[i][g] = wasm_i16x8_add(high_sum[i][g], wasm_u16x8_extend_high_u8x16(bytes[i][g]));
          }
        }
      }
      // The bounds of all tile loops are constants, so that they unroll and the sums need no memory.
      for (std::size_t i = 0; i < kTokenTile; ++i) {
        if (i >= tokens) break;
        float* out = y + (t + i) * matrix.rows;
        for (std::size_t g = 0; g < kGroupTile; ++g) {
          const std::size_t row = r + g * kLanes;
          store8(low_sum[i][g], largest, matrix.scale + row, matrix.bias + row, out + row);
          store8(high_sum[i][g], largest, matrix.scale + row + 8, matrix.bias + row + 8, out + row + 8);
        }
      }
    }
  }
}

void binary_linear(const LaidOutMatrix& matrix, BitPlanes planes, float* y) {
  if (planes.bits == 1) return binary_linear_of<1>(matrix, planes, y);
  if (planes.bits == 2) return binary_linear_of<2>(matrix, planes, y);
  return binary_linear_of<4>(matrix, planes, y);
}

// ---- attention ----

// The sums of the lanes of a, b, c and d.
v128_t sums_of_lanes(v128_t a, v128_t b, v128_t c, v128_t d) {
  const v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
  const v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
  return wasm_i32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}

// Four keys at a time; the last tile repeats the last key and keeps what is needed.
void attention_scores(const std::int8_t* query, const std::int8_t* keys, std::size_t stride, std::size_t tokens,
                      std::size_t head_size, float scale, float* scores) {
  constexpr std::size_t kKeyTile = 4;
  for (std::size_t j = 0; j < tokens; j += kKeyTile) {
    v128_t sum[kKeyTile];
    const std::int8_t* key[kKeyTile];
    for (std::size_t i = 0; i < kKeyTile; ++i) {
      sum[i] = zero();
      key[i] = keys + std::min(j + i, tokens - 1) * stride;
    }
    for (std::size_t k = 0; k < head_size; k += 8) {
      const v128_t u = wasm_i16x8_load8x8(query + k);
      for (std::size_t i = 0; i < kKeyTile; ++i) {
        sum[i] = wasm_i32x4_add(sum[i], wasm_i32x4_dot_i16x8(u, wasm_i16x8_load8x8(key[i] + k)));
      }
    }
    const Float4 score = Float4(wasm_f32x4_convert_i32x4(sums_of_lanes(sum[0], sum[1], sum[2], sum[3]))) * Float4(scale);
    if (tokens - j >= kKeyTile) {
      score.store(scores + j);
    } else {
      float lane[kKeyTile];
      score.store(lane);
      std::copy_n(lane, tokens - j, scores + j);
    }
  }
}

// ---- few-bit rows ----

// Writes scale * (2q - M), element after element.
class FewBitOutput {
 public:
  FewBitOutput(float scale, std::uint32_t bits, bool accumulate, float* out)
      : scale_(scale), largest_(static_cast<float>((1u << bits) - 1u)), accumulate_(accumulate), out_(out) {}

  // 16 elements, q one a byte.
  void put16(v128_t q) {
    const v128_t half[2] = {wasm_u16x8_extend_low_u8x16(q), wasm_u16x8_extend_high_u8x16(q)};
    for (v128_t h : half) {
      put4(wasm_u32x4_extend_low_u16x8(h));
      put4(wasm_u32x4_extend_high_u16x8(h));
    }
  }

 private:
  void put4(v128_t q) {
    const Float4 level(wasm_f32x4_convert_i32x4(q));
    const Float4 value = scale_ * ((level + level) - largest_);  // whole numbers below 2^24: exact
    (accumulate_ ? Float4::load(out_) + value : value).store(out_);
    out_ += 4;
  }

  Float4 scale_, largest_;
  bool accumulate_;
  float* out_;
};

// Splits 16 bytes, each with elements of kBits in its low kWidth bits, until a byte holds one element.
template <std::uint32_t kBits, std::uint32_t kWidth>
void unpack(v128_t bytes, FewBitOutput& output) {
  if constexpr (kBits == kWidth) {
    output.put16(bytes);
  } else {
    constexpr std::uint32_t kHalf = kWidth / 2;
    const v128_t mask = wasm_i8x16_splat(static_cast<std::int8_t>((1 << kHalf) - 1));
    const v128_t low = wasm_v128_and(bytes, mask);
    const v128_t high = wasm_v128_and(wasm_u16x8_shr(bytes, kHalf), mask);
    unpack<kBits, kHalf>(wasm_i8x16_shuffle(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), output);
    unpack<kBits, kHalf>(wasm_i8x16_shuffle(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), output);
  }
}

template <std::uint32_t kBits>
void add_few_bit_row_of(const std::uint8_t* row, std::size_t columns, FewBitOutput output) {
  if constexpr (kBits == 8) {
    for (std::size_t i = 0; i < columns; i += 16) output.put16(wasm_v128_load(row + i));
  } else {
    // A row is a multiple of 8 bytes, not of 16: each 8 are doubled into bytes of which the low nibbles count.
    const v128_t low_nibble = wasm_i8x16_splat(15);
    for (std::size_t i = 0; i < columns * kBits / 8; i += 8) {
      const v128_t bytes = wasm_v128_load64_zero(row + i);
      const v128_t low = wasm_v128_and(bytes, low_nibble);
      const v128_t high = wasm_v128_and(wasm_u16x8_shr(bytes, 4), low_nibble);
      unpack<kBits, 4>(wasm_i8x16_shuffle(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), output);
    }
  }
}

void add_few_bit_row(const std::uint8_t* row, std::uint32_t bits, float scale, std::size_t columns, bool accumulate, float* out) {
  const FewBitOutput output(scale, bits, accumulate, out);
  if (bits == 1) return add_few_bit_row_of<1>(row, columns, output);
  if (bits == 2) return add_few_bit_row_of<2>(row, columns, output);
  if (bits == 4) return add_few_bit_row_of<4>(row, columns, output);
  return add_few_bit_row_of<8>(row, columns, output);
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

}  // namespace beex::simd128
