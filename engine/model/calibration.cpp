#include "model/calibration.h"

#include <algorithm>
#include <cmath>

#include "kernels/math.h"

namespace beex {
float calibrate_single_label(std::span<const float> logits, std::span<const float> inverse_temperature, float inverse_largest,
                             std::span<float> scratch, std::span<float> probabilities) {
  const std::size_t classes = logits.size();
  for (std::size_t c = 0; c < classes; ++c) scratch[c] = calibrated(logits, inverse_temperature, c);
  const float largest = *std::max_element(scratch.begin(), scratch.end());
  for (std::size_t c = 0; c < classes; ++c) {
    scratch[c] = scratch[c] - largest;
    probabilities[c] = exp(scratch[c]);
  }
  const float z = sum4(classes, [&](std::size_t c) { return probabilities[c]; });
  const float inverse_z = 1.0f / z;
  for (std::size_t c = 0; c < classes; ++c) probabilities[c] = probabilities[c] * inverse_z;
  const float mean = sum4(classes, [&](std::size_t c) { return probabilities[c] * scratch[c]; });
  return std::max(0.0f, (ln(z) - mean) * inverse_largest);
}

float calibrate_multi_label(std::span<const float> logits, std::span<const float> inverse_temperature, float inverse_largest,
                            std::span<float> probabilities) {
  const float sum = sum4(logits.size(), [&](std::size_t c) {
    const float y = calibrated(logits, inverse_temperature, c);
    probabilities[c] = sigmoid(y);
    const float a = std::fabs(y);
    const float e = exp(a * -1.0f);
    const float s = 1.0f / (1.0f + e);
    return ln(1.0f + e) + a * (e * s);
  });
  return std::max(0.0f, sum * inverse_largest);
}

float inverse_largest_entropy(std::uint32_t classes, bool multi_label) {
  const auto count = static_cast<float>(classes);
  return 1.0f / (multi_label ? count * 0.693147180f : ln(count));
}

}  // namespace beex
