#include "ops/ngrams.h"

#include <algorithm>
#include <cmath>

namespace beex {
namespace {

// sum += the row's q.
void add_row(const std::uint8_t* row, std::uint32_t bits, std::span<std::int32_t> sum) {
  const std::uint32_t mask = (1u << bits) - 1;
  std::uint32_t shift = 0;
  for (std::int32_t& total : sum) {
    total += static_cast<std::int32_t>(*row >> shift & mask);
    shift += bits;
    if (shift < 8) continue;
    shift = 0;
    ++row;
  }
}

}  // namespace

std::uint32_t ngram_bucket(std::span<const std::uint32_t> run, std::uint32_t buckets) {
  std::uint32_t h = static_cast<std::uint32_t>(run.size()) * 0x9E3779B1u;
  for (const std::uint32_t id : run) h = (h ^ id) * 0x01000193u;
  h ^= h >> 15;
  h *= 0x2C1B3C6Du;
  h ^= h >> 12;
  return h & (buckets - 1);
}

void ngrams(const NgramParameters& parameters, std::span<const std::uint32_t> ids, std::span<std::int32_t> sum, std::span<float> out) {
  const std::size_t row_bytes = parameters.row_bytes();
  std::fill(sum.begin(), sum.end(), 0);
  std::int32_t runs = 0;
  for (std::size_t n = 1; n <= parameters.longest; ++n) {
    for (std::size_t start = 0; start + n <= ids.size(); ++start, ++runs) {
      const std::size_t bucket = ngram_bucket(ids.subspan(start, n), parameters.buckets);
      add_row(parameters.rows + bucket * row_bytes, parameters.bits, sum);
    }
  }
  // The zero level, taken off all rows at once: the sums are exact either way.
  const std::int32_t zero = runs << (parameters.bits - 1);
  const float share = 1.0f / std::sqrt(static_cast<float>(runs));
  for (std::size_t r = 0; r < out.size(); ++r) out[r] = (static_cast<float>(sum[r] - zero) * parameters.scale[r]) * share;
}

}  // namespace beex
