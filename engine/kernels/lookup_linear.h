// binary_linear with tokens side by side, written once for the lane types of the scalar and the SIMD table (README.md, "Tokens in lanes").
//
// For eight activations of every token of a tile, a table of 256 entries holds what each byte of weights adds to S, for all tokens of
// the tile at once: entry w, lane t is sum_i (bit i of w ? max(v_ti, 0) : max(-v_ti, 0)), v = q - centre. A row of weights then takes one
// look-up and one addition per byte.
//
// A lane type L has
//   kTokens                              lanes of 8 bits
//   L::Sums                              kTokens sums of 16 bits: clear(), add(L)
//   L + L                                lane by lane; no lane overflows
//   L::fits(L a, L b)                    whether no lane of a + b is above 255
//   L::load(levels, stride, last, centre, v, below)
//                                        v[i] = q - centre of activation i = 0 ... 7, below = sum_i max(-v[i], 0); lanes after `last` repeat it
//   L::store(sums, magnitude, affine, rows, count, y)
//                                        y of `count` tokens and `rows` rows, `stride` apart
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/kernels.h"

namespace beex::lookup {

constexpr std::size_t kRowTile = 32;    // rows side by side in the layout
constexpr std::size_t kTables = 4;      // of 256 entries; more of them would push one another out of the first cache
constexpr std::size_t kEntries = 256;
constexpr std::size_t kRowsAtOnce = 1536;

// The layout, of both tables: [rows / 32][columns / 8][32] bytes of weights, then the sum of each row's weights, halved, in 16 bits.
inline std::size_t laid_out_size(std::size_t rows, std::size_t columns) { return rows * columns / 8 + rows * sizeof(std::int16_t); }

inline void lay_out(const std::uint8_t* bits, std::size_t rows, std::size_t columns, std::uint8_t* out) {
  const std::size_t row_bytes = columns / 8;
  std::uint8_t* half_sums = out + rows * row_bytes;
  for (std::size_t r = 0; r < rows; ++r) {
    int set = 0;
    for (std::size_t k = 0; k < row_bytes; ++k) {
      const std::uint8_t byte = bits[r * row_bytes + k];
      out[(r / kRowTile * row_bytes + k) * kRowTile + r % kRowTile] = byte;
      set += std::popcount(byte);
    }
    const auto half_sum = static_cast<std::int16_t>(set - static_cast<int>(columns / 2));
    std::memcpy(half_sums + r * sizeof half_sum, &half_sum, sizeof half_sum);
  }
}

// Half the sum of the weights of row r.
inline std::int32_t half_sum(const LaidOutMatrix& matrix, std::size_t r) {
  std::int16_t value;
  std::memcpy(&value, matrix.bits + matrix.rows * (matrix.columns / 8) + r * sizeof value, sizeof value);
  return value;
}

// The level that v counts from: the mean, so that |v| is small and many bytes of weights add up before a byte is full.
inline std::int32_t centre(const Levels& levels) {
  const std::size_t count = levels.tokens * levels.columns;
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += levels.data[i];
  return static_cast<std::int32_t>((sum + count / 2) / count);
}

// From sums to y: D / 2 = 2 S - V + (2 centre - M) / 2 * (sum of the row's weights), with V = sum_k |v|. It fits 16 bits.
struct Affine {
  const LaidOutMatrix& matrix;
  std::int32_t shift;  // 2 centre - M
  std::size_t first;   // the first row
};

template <class L>
struct Scratch {
  L table[kTables][kEntries];
  typename L::Sums sums[kRowsAtOnce];
};

// table[w] = start + sum of v[i] over the bits i of w.
template <class L>
inline void make_table(const L* v, L start, L* table) {
  L low[8], high[32];
  low[0] = start;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < (1u << i); ++j) low[(1u << i) + j] = low[j] + v[i];
  }
  for (std::size_t i = 0; i < 8; ++i) table[i] = low[i];
  high[0] = L::zero();
  for (std::size_t i = 0; i < 5; ++i) {
    for (std::size_t j = 0; j < (1u << i); ++j) high[(1u << i) + j] = high[j] + v[3 + i];
  }
  for (std::size_t h = 1; h < 32; ++h) {
    for (std::size_t i = 0; i < 8; ++i) table[8 * h + i] = low[i] + high[h];
  }
}

// Adds what kCount bytes of weights per row say, `weights` being the first of them for row 0.
template <std::size_t kCount, class L>
void look_up(const L (*table)[kEntries], const std::uint8_t* weights, std::size_t tile_bytes, std::size_t rows, typename L::Sums* sums) {
  for (std::size_t r = 0; r < rows; r += kRowTile, weights += tile_bytes) {
    for (const std::uint8_t* w = weights; w != weights + kRowTile; ++w, ++sums) {
      // The tables stand at a constant distance from one another, which the address of a load has room for.
      L sum = (table[0] + *w)[0];
      for (std::size_t i = 1; i < kCount; ++i) sum = sum + (table[0] + w[i * kRowTile])[i * kEntries];
      sums->add(sum);
    }
  }
}

// y of tokens first ... first + count - 1; count is at most L::kTokens.
template <class L>
void tile(const LaidOutMatrix& matrix, const Levels& levels, std::int32_t centre, std::size_t first, std::size_t count,
          Scratch<L>& scratch, float* y) {
  const std::size_t row_bytes = matrix.columns / 8;
  const std::uint8_t* input = levels.data + first * levels.columns;
  const std::int32_t shift = 2 * centre - static_cast<std::int32_t>((1u << levels.bits) - 1u);
  for (std::size_t r = 0; r < matrix.rows; r += kRowsAtOnce) {
    const std::size_t rows = std::min(kRowsAtOnce, matrix.rows - r);
    for (std::size_t i = 0; i < rows; ++i) scratch.sums[i].clear();
    typename L::Sums magnitude;
    magnitude.clear();

    std::size_t tables = 0;
    L full = L::zero();  // the largest sums that the tables so far can give
    const auto empty = [&](std::size_t k) {
      const std::uint8_t* weights = matrix.bits + r * row_bytes + (k - tables) * kRowTile;
      const std::size_t tile_bytes = row_bytes * kRowTile;
      if (tables == 4) look_up<4>(scratch.table, weights, tile_bytes, rows, scratch.sums);
      if (tables == 3) look_up<3>(scratch.table, weights, tile_bytes, rows, scratch.sums);
      if (tables == 2) look_up<2>(scratch.table, weights, tile_bytes, rows, scratch.sums);
      if (tables == 1) look_up<1>(scratch.table, weights, tile_bytes, rows, scratch.sums);
      tables = 0;
      full = L::zero();
    };
    for (std::size_t k = 0; k < row_bytes; ++k) {
      L v[8], below;
      L::load(input + 8 * k, levels.columns, count - 1, centre, v, below);
      L added = below + below;
      for (const L& x : v) added = added + x;
      if (tables == kTables || !L::fits(full, added)) empty(k);
      full = full + added;
      magnitude.add(added);
      make_table(v, below, scratch.table[tables++]);
    }
    empty(row_bytes);
    L::store(scratch.sums, magnitude, Affine{matrix, shift, r}, rows, count, y + first * matrix.rows + r);
  }
}

}  // namespace beex::lookup
