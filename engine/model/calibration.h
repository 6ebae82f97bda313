// From logits to calibrated probabilities and their entropy (FORMAT.md, "Exits").
//
// Plain functions on the caller's memory; nothing fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace beex {

// One temperature, or one per class.
inline float calibrated(std::span<const float> logits, std::span<const float> inverse_temperature, std::size_t c) {
  return logits[c] * inverse_temperature[inverse_temperature.size() == 1 ? 0 : c];
}

// probabilities = softmax(y) of a single-label pack, with y = logits * inverse_temperature, which is one number or (class). The other
// spans are (class); `scratch` is overwritten and may be the logits. Returns the entropy as a share of the largest: max(0, (ln Z - sum4(p * (y - m))) * inverse_largest), with m the
// maximum of y and Z = sum4(exp(y - m)).
float calibrate_single_label(std::span<const float> logits, std::span<const float> inverse_temperature, float inverse_largest,
                             std::span<float> scratch, std::span<float> probabilities);

// probabilities = sigmoid(y) of a multi-label pack. Returns the mean of the labels' entropies as a share of the largest:
// max(0, sum4(h) * inverse_largest), with a = |y|, e = exp(-a), s = 1 / (1 + e) and h = ln(1 + e) + a * (e * s).
float calibrate_multi_label(std::span<const float> logits, std::span<const float> inverse_temperature, float inverse_largest,
                            std::span<float> probabilities);

// 1 / the largest entropy, by which the functions above multiply: ln(classes), or classes * ln 2 when labels are independent.
float inverse_largest_entropy(std::uint32_t classes, bool multi_label);

}  // namespace beex
