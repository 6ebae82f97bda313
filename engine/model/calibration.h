// From logits to calibrated probabilities and their entropy (FORMAT.md, "Exits").
//
// A plain function on the caller's memory; nothing fails.
#pragma once

#include <span>

namespace beex {

// probabilities = softmax(logits * inverse_temperature). All spans are (class); `scratch` is overwritten.
// Returns the entropy as a share of the largest: max(0, (ln Z - sum4(p * (y - m))) * inverse_ln_classes), with y the tempered
// logits, m their maximum and Z = sum4(exp(y - m)).
float calibrate(std::span<const float> logits, float inverse_temperature, float inverse_ln_classes, std::span<float> scratch,
                std::span<float> probabilities);

}  // namespace beex
