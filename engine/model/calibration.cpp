#include "model/calibration.h"

#include <algorithm>

#include "kernels/math.h"

namespace beex {

float calibrate(std::span<const float> logits, float inverse_temperature, float inverse_ln_classes, std::span<float> scratch,
                std::span<float> probabilities) {
  const std::size_t classes = logits.size();
  for (std::size_t c = 0; c < classes; ++c) scratch[c] = logits[c] * inverse_temperature;
  const float largest = *std::max_element(scratch.begin(), scratch.end());
  for (std::size_t c = 0; c < classes; ++c) {
    scratch[c] = scratch[c] - largest;
    probabilities[c] = exp(scratch[c]);
  }
  const float z = sum4(classes, [&](std::size_t c) { return probabilities[c]; });
  const float inverse_z = 1.0f / z;
  for (std::size_t c = 0; c < classes; ++c) probabilities[c] = probabilities[c] * inverse_z;
  const float mean = sum4(classes, [&](std::size_t c) { return probabilities[c] * scratch[c]; });
  return std::max(0.0f, (ln(z) - mean) * inverse_ln_classes);
}

}  // namespace beex
