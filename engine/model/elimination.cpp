#include "model/elimination.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/math.h"

namespace beex {

std::size_t kept_tokens(float profile, float gamma, std::size_t entering, std::size_t started) {
  if (gamma == 0.0f) return entering;
  constexpr std::size_t kLeast = 4;
  const float share = exp(gamma * ln(profile));
  const auto wanted = static_cast<std::size_t>(std::ceil(share * static_cast<float>(started)));
  return std::min(entering, std::max(kLeast, wanted));
}

std::span<std::uint32_t> choose_kept(std::span<const float> mass, std::size_t count, std::span<std::uint32_t> kept) {
  const auto begin = kept.begin(), end = begin + static_cast<std::ptrdiff_t>(mass.size());
  const auto cut = begin + static_cast<std::ptrdiff_t>(count);
  std::iota(begin, end, 0u);
  if (cut != end) {
    // A strict order over tokens that no two share, so the outcome is the same with every library. Heaps, as std::sort takes kilobytes of code.
    std::partial_sort(begin + 1, cut, end, [mass](std::uint32_t a, std::uint32_t b) { return mass[a] != mass[b] ? mass[a] > mass[b] : a < b; });
    std::make_heap(begin + 1, cut);
    std::sort_heap(begin + 1, cut);
  }
  return kept.first(count);
}

double elimination_speedup(const CostModel& cost, std::span<const float> profile, std::size_t tokens, float gamma) {
  const double dense = cost.dense(tokens), block = cost.block(tokens, tokens);
  double saved = cost.pooling(tokens);
  std::size_t left = tokens;
  for (const float share : profile) {
    const std::size_t entering = left;
    left = kept_tokens(share, gamma, entering, tokens);
    saved += block - cost.block(entering, left);
  }
  return dense / (dense - (saved - cost.pooling(left)));
}

}  // namespace beex
