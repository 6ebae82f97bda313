// How much of the network a text gets (FORMAT.md, "Speed"): when to stop, which tokens to drop and which blocks to leave out.
#pragma once

#include <cstdint>

#include "beex/exit_rule.h"

namespace beex {

constexpr float kMostGamma = 16.0f;

// The default is the whole network: every block on every token, and only the first exit and the last are read.
struct Policy {
  ExitRule rule;
  float gamma = 0.0f;           // elimination: 0 keeps every token, 1 drops as the pack's profile says, more drops more
  float skip_threshold = 1.0f;  // blocks whose gate is above it are skipped; 1 skips none
  double budget = 0.0;          // microseconds for the whole text, 0 for no limit; no pack says one
};

// A name that a pack gives to one of its settings.
enum class SpeedName : std::uint32_t { kNone = 0, kAccurate = 1, kBalanced = 2, kFast = 3 };

// A setting that is worth choosing, measured on held-out texts.
struct CurvePoint {
  float work = 1.0f;      // expected share of the dense cost
  float accuracy = 0.0f;  // of a multi-label pack micro-F1
  Policy policy;
  SpeedName name = SpeedName::kNone;
};

}  // namespace beex
