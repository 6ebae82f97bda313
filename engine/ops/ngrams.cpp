#include "ops/ngrams.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace beex {
namespace {

// sum += the row's q - 2^(bits-1).
void add_row(const std::uint8_t* row, std::uint32_t bits, std::span<std::int32_t> sum) {
  const std::int32_t zero = 1 << (bits - 1), mask = 2 * zero - 1;
  std::uint32_t shift = 0;
  for (std::int32_t& total : sum) {
    total += (*row >> shift & mask) - zero;
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
  runs = 0;
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
      ++sums.runs;
      std::uint64_t word;
      std::memcpy(&word, parameters.kept + bucket / 64 * sizeof word, sizeof word);
      word <<= 63 - bucket % 64;  // now it ends with the bucket's bit
      if (word >> 63 == 0) continue;
      const std::size_t row = parameters.before[bucket / 64] + static_cast<std::size_t>(std::popcount(word)) - 1;
      add_row(parameters.rows + row * row_bytes, parameters.bits, sums.sum);
    }
  }
}

void read_ngrams(const NgramParameters& parameters, const NgramSums& sums, std::span<float> out) {
  const float share = 1.0f / std::sqrt(static_cast<float>(sums.runs));
  for (std::size_t r = 0; r < out.size(); ++r) out[r] = (static_cast<float>(sums.sum[r]) * parameters.scale[r]) * share;
}

}  // namespace beex
