// Hashed n-grams (FORMAT.md, "n-grams"): what every run of an input's ids says about the classes.
//
// Integer sums and one multiplication a class: there is nothing here for a kernel to win. It owns no memory, allocates nothing and
// cannot fail; the caller guarantees the shapes below. A text may come in parts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace beex {

struct NgramParameters {
  const std::uint8_t* kept = nullptr;     // (buckets / 8), a bit for each bucket that has a row
  const std::uint32_t* before = nullptr;  // (buckets / 64): the rows of all buckets before each 64
  const std::uint8_t* rows = nullptr;     // (rows, row bytes): `columns` elements of `bits` bits, padded to whole bytes
  const float* scale = nullptr;           // (columns)
  std::uint32_t buckets = 0;           // a power of two
  std::uint32_t longest = 0;           // in ids, 1 to 4
  std::uint32_t bits = 0;              // 2, 4 or 8
  std::size_t columns = 0;

  std::size_t row_bytes() const { return (columns * bits + 7) / 8; }
};

// The bucket of one run of ids.
std::uint32_t ngram_bucket(std::span<const std::uint32_t> run, std::uint32_t buckets);

// What the rows of some runs add up to.
struct NgramSums {
  std::span<std::int32_t> sum;   // (columns)
  std::span<std::uint8_t> seen;  // (buckets / 8), a bit each, where a bucket counts once; empty where every run counts
  std::int32_t runs = 0;         // that were added, with a row or without

  void clear();
};

// Adds the rows of all runs of 1 to `longest` consecutive ids that end at place `from` or later.
void add_ngrams(const NgramParameters& parameters, std::span<const std::uint32_t> ids, std::size_t from, NgramSums& sums);

// out[r] = (float(S_r) * scale_r) * (1 / sqrt(float(G))), with S_r the sum of q_r - 2^(bits-1) over the rows of the G runs that were added, one run at least.
void read_ngrams(const NgramParameters& parameters, const NgramSums& sums, std::span<float> out);

}  // namespace beex
