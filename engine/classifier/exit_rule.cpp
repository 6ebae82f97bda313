#include "beex/exit_rule.h"

#include <algorithm>

namespace beex {
namespace {

float least_decided(std::span<const float> probabilities) {
  float least = 1.0f;
  for (const float p : probabilities) least = std::min(least, std::max(p, 1.0f - p));
  return least;
}

// Step 4 of FORMAT.md, "Exit rule". `state` already counts this exit's label; its entropy is still that of the exit before.
ExitDecision decide_by_kind(const ExitRule& rule, float entropy, float confidence, const ExitState& state) {
  switch (rule.kind) {
    case ExitKind::kOff:
      break;
    case ExitKind::kFractional: {
      if (!state.has_previous) break;
      const float before = state.previous_entropy;
      const float reduction = before == 0.0f ? 0.0f : (before - entropy) / before;
      if (!(reduction < rule.threshold && entropy < rule.uncertain)) break;
      const bool rising = rule.keep_lower_entropy && entropy > before;
      return {true, rising ? ExitReason::kRising : ExitReason::kReduction};
    }
    case ExitKind::kEntropy:
      if (entropy < rule.threshold) return {true, ExitReason::kEntropy};
      break;
    case ExitKind::kPatience:
      if (static_cast<float>(state.agreeing) >= rule.threshold) return {true, ExitReason::kPatience};
      break;
    case ExitKind::kProbability:
      if (confidence > rule.threshold) return {true, ExitReason::kProbability};
      break;
  }
  return {};
}

}  // namespace

ExitDecision decide(const ExitRule& rule, std::uint32_t exit, std::uint32_t last, float entropy,
                    std::span<const float> probabilities, bool multi_label, ExitState& state) {
  const auto largest = std::max_element(probabilities.begin(), probabilities.end());
  const auto label = static_cast<std::uint32_t>(largest - probabilities.begin());
  state.agreeing = state.has_previous && label == state.previous_label ? state.agreeing + 1 : 1;
  state.previous_label = label;

  ExitDecision decision;
  if (exit == last) {
    decision = {true, ExitReason::kLast};
  } else if (rule.kind == ExitKind::kOff || exit < rule.first_exit) {
    decision = {};
  } else if (entropy < rule.certain) {
    decision = {true, ExitReason::kCertain};
  } else {
    decision = decide_by_kind(rule, entropy, multi_label ? least_decided(probabilities) : *largest, state);
  }
  state.previous_entropy = entropy;
  state.has_previous = true;
  return decision;
}

}  // namespace beex
