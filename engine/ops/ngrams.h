// Hashed n-grams (FORMAT.md, "n-grams"): what every run of an input's ids says about the classes.
//
// Integer sums and one multiplication a class: there is nothing here for a kernel to win. It owns no memory, allocates nothing and
// cannot fail; the caller guarantees the shapes below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace beex {

struct NgramParameters {
  const std::uint8_t* rows = nullptr;  // (buckets, row bytes): `columns` elements of `bits` bits, padded to whole bytes
  const float* scale = nullptr;        // (columns)
  std::uint32_t buckets = 0;           // a power of two
  std::uint32_t longest = 0;           // in ids, 1 to 4
  std::uint32_t bits = 0;              // 2, 4 or 8
  std::size_t columns = 0;

  std::size_t row_bytes() const { return (columns * bits + 7) / 8; }
};

// The bucket of one run of ids.
std::uint32_t ngram_bucket(std::span<const std::uint32_t> run, std::uint32_t buckets);

// out[r] = (float(S_r) * scale_r) * (1 / sqrt(float(G))), with S_r the sum of q_r - 2^(bits-1) over the rows of all G runs of 1 to
// `longest` consecutive ids. `ids` are those of one input, [CLS] and [SEP] included, at least one; `sum` and `out` are (columns), and
// what is in them before the call does not matter.
void ngrams(const NgramParameters& parameters, std::span<const std::uint32_t> ids, std::span<std::int32_t> sum, std::span<float> out);

}  // namespace beex
