// When to stop: the exit rules of FORMAT.md ("Exit rule"), on entropies and probabilities alone.
#pragma once

#include <cstdint>
#include <span>

namespace beex {

enum class ExitKind : std::uint32_t {
  kOff = 0,          // run every block
  kFractional = 1,   // fractional entropy reduction (BEExformer)
  kEntropy = 2,      // absolute entropy (DeeBERT)
  kPatience = 3,     // agreeing exits in a row (PABEE)
  kProbability = 4,  // confidence
};

enum class ExitReason : std::uint8_t { kLast, kCertain, kReduction, kRising, kEntropy, kPatience, kProbability, kBudget };

// Parameters of a rule. Entropies are shares of the largest possible one, so they lie in [0, 1].
struct ExitRule {
  ExitKind kind = ExitKind::kOff;
  float threshold = 0.0f;         // delta, entropy, number of exits or probability, by kind
  float certain = 0.0f;           // stop at once below this entropy; 0 disables the guard
  float uncertain = 2.0f;         // fractional only: go on at or above this entropy; 2 disables the guard
  std::uint32_t first_exit = 0;   // no stop before this exit
  bool keep_lower_entropy = false;  // fractional only: when entropy rose, answer with the exit before
};

// What the rule saw at the exits of one text so far. Start with a fresh one for every text (or window).
struct ExitState {
  bool has_previous = false;
  float previous_entropy = 0.0f;
  std::uint32_t previous_label = 0;
  std::uint32_t agreeing = 0;  // exits in a row with the same label
};

struct ExitDecision {
  bool stop = false;
  ExitReason reason = ExitReason::kLast;
};

// Decides at exit `exit` of `last` and updates `state`. Confidence is the largest probability or, when every label has a probability
// of its own (`multi_label`), that of the least decided one.
ExitDecision decide(const ExitRule& rule, std::uint32_t exit, std::uint32_t last, float entropy,
                    std::span<const float> probabilities, bool multi_label, ExitState& state);

}  // namespace beex
