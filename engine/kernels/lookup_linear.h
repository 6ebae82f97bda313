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

constexpr std::size_t kTables = 4;  // of 256 entries; more of them would push one another out of the first cache
constexpr std::size_t kEntries = 256;
constexpr std::size_t kRowsAtOnce = 1536;

// The address of a table. Where it is known when the code is compiled, as in WebAssembly, it becomes part of the instruction that loads an entry
// (of sums of whole numbers, not of pointers, the compiler knows that they do not overflow). The linker leaves the place free: see
// CMakeLists.txt, "tables".
#if defined(BEEX_TABLES_FIRST)
extern "C" std::uint8_t __global_base;  // where the linker begins with data

template <class L>
std::uintptr_t table_address(std::size_t table) {
  return BEEX_TABLES_FIRST + table * kEntries * sizeof(L);
}
#else
template <class L>
std::uintptr_t table_address(std::size_t table) {
  alignas(64) static thread_local L place[kTables][kEntries];
  return reinterpret_cast<std::uintptr_t>(place[table]);
}
#endif

// The layout: [columns / 8][rows] bytes of weights, each as the offset of its entry in a table, in 16 bits; then the sum of each row's
// weights, halved, in 16 bits.
inline std::size_t laid_out_size(std::size_t rows, std::size_t columns) { return (rows * columns / 8 + rows) * sizeof(std::uint16_t); }

template <class L>
void lay_out(const std::uint8_t* bits, std::size_t rows, std::size_t columns, std::uint8_t* out) {
#if defined(BEEX_TABLES_FIRST)
  if (table_address<L>(kTables) > reinterpret_cast<std::uintptr_t>(&__global_base)) __builtin_trap();
#endif
  const std::size_t row_bytes = columns / 8;
  const auto put = [out](std::size_t i, auto value) { std::memcpy(out + i * sizeof value, &value, sizeof value); };
  for (std::size_t r = 0; r < rows; ++r) {
    int set = 0;
    for (std::size_t k = 0; k < row_bytes; ++k) {
      const std::uint8_t byte = bits[r * row_bytes + k];
      put(k * rows + r, static_cast<std::uint16_t>(byte * sizeof(L)));
      set += std::popcount(byte);
    }
    put(rows * row_bytes + r, static_cast<std::int16_t>(set - static_cast<int>(columns / 2)));
  }
}

// Half the sums of the weights of row r and those after it, 16 bits each.
inline const std::uint8_t* half_sums(const LaidOutMatrix& matrix, std::size_t r) {
  return matrix.bits + (matrix.rows * (matrix.columns / 8) + r) * sizeof(std::int16_t);
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

// The entry at the offset that `weights` has.
template <class L>
const L& entry(std::size_t table, const std::uint8_t* weights) {
  std::uint16_t offset;
  std::memcpy(&offset, weights, sizeof offset);
  return *reinterpret_cast<const L*>(table_address<L>(table) + offset);
}

// Adds what kCount bytes of weights per row say: `weights` is the first of them for row 0, the next byte is `stride` further on.
template <std::size_t kCount, class L>
void look_up(const std::uint8_t* weights, std::size_t stride, std::size_t rows, typename L::Sums* sums) {
  constexpr std::size_t kOffset = sizeof(std::uint16_t), kTogether = 4;
  const std::uint8_t* w[kCount];
  for (std::size_t i = 0; i < kCount; ++i) w[i] = weights + i * stride;
  for (std::size_t r = 0; r < rows; r += kTogether, sums += kTogether) {
    for (std::size_t j = 0; j < kTogether; ++j) {
      L sum = entry<L>(0, w[0] + j * kOffset);
      for (std::size_t i = 1; i < kCount; ++i) sum = sum + entry<L>(i, w[i] + j * kOffset);
      sums[j].add(sum);
    }
    for (std::size_t i = 0; i < kCount; ++i) w[i] += kTogether * kOffset;
  }
}

// y of tokens first ... first + count - 1; count is at most L::kTokens. `sums` has room for kRowsAtOnce.
template <class L>
void tile(const LaidOutMatrix& matrix, const Levels& levels, std::int32_t centre, std::size_t first, std::size_t count,
          typename L::Sums* sums, float* y) {
  const std::size_t row_bytes = matrix.columns / 8;
  const std::uint8_t* input = levels.data + first * levels.columns;
  const std::int32_t shift = 2 * centre - static_cast<std::int32_t>((1u << levels.bits) - 1u);
  for (std::size_t r = 0; r < matrix.rows; r += kRowsAtOnce) {
    const std::size_t rows = std::min(kRowsAtOnce, matrix.rows - r);
    for (std::size_t i = 0; i < rows; ++i) sums[i].clear();
    typename L::Sums magnitude;
    magnitude.clear();

    std::size_t made = 0;
    L full = L::zero();  // the largest sums that the tables so far can give
    const auto empty = [&](std::size_t k) {
      const std::uint8_t* weights = matrix.bits + ((k - made) * matrix.rows + r) * sizeof(std::uint16_t);
      const std::size_t stride = matrix.rows * sizeof(std::uint16_t);
      if (made == 4) look_up<4, L>(weights, stride, rows, sums);
      if (made % 4 >= 2) look_up<2, L>(weights, stride, rows, sums);
      if (made % 2 == 1) look_up<1, L>(weights + (made - 1) * stride, stride, rows, sums);
      made = 0;
      full = L::zero();
    };
    for (std::size_t k = 0; k < row_bytes; ++k) {
      L v[8], below;
      L::load(input + 8 * k, levels.columns, count - 1, centre, v, below);
      L added = below + below;
      for (const L& x : v) added = added + x;
      if (made == kTables || !L::fits(full, added)) empty(k);
      full = full + added;
      magnitude.add(added);
      make_table(v, below, reinterpret_cast<L*>(table_address<L>(made++)));
    }
    empty(row_bytes);
    L::store(sums, magnitude, Affine{matrix, shift, r}, rows, count, y + first * matrix.rows + r);
  }
}

}  // namespace beex::lookup
