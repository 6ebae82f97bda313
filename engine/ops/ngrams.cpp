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

void NgramSums::clear() {
  std::fill(sum.begin(), sum.end(), 0);
  std::fill(seen.begin(), seen.end(), std::uint8_t{0});
  rows = 0;
}

void add_ngrams(const NgramParameters& parameters, std::span<const std::uint32_t> ids, std::size_t from, NgramSums& sums) {
  const std::size_t row_bytes = parameters.row_bytes();
  for (std::size_t n = 1; n <= parameters.longest; ++n) {
    for (std::size_t end = std::max(n, from + 1); end <= ids.size(); ++end) {
      const std::size_t bucket = ngram_bucket(ids.subspan(end - n, n), parameters.buckets);
      if (!sums.seen.empty()) {
        std::uint8_t& byte = sums.seen[bucket / 8];
        const auto bit = static_cast<std::uint8_t>(1u << bucket % 8);
        if ((byte & bit) != 0) continue;
        byte = static_cast<std::uint8_t>(byte | bit);
      }
      add_row(parameters.rows + bucket * row_bytes, parameters.bits, sums.sum);
      ++sums.rows;
    }
  }
}

void read_ngrams(const NgramParameters& parameters, const NgramSums& sums, std::span<float> out) {
  // The zero level, taken off all rows at once: the sums are exact either way.
  const std::int32_t zero = sums.rows << (parameters.bits - 1);
  const float share = 1.0f / std::sqrt(static_cast<float>(sums.rows));
  for (std::size_t r = 0; r < out.size(); ++r) out[r] = (static_cast<float>(sums.sum[r] - zero) * parameters.scale[r]) * share;
}

}  // namespace beex
