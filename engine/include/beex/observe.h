// Watching a classification from outside: which stage it is in, and what every exit said.
//
// Observers are called in the middle of a classification and must not call back into the classifier. One that is not set costs a
// null check. They own nothing.
#pragma once

#include <cstdint>
#include <span>

namespace beex {

// Stages of a classification, for measuring where time goes.
enum class Stage : std::uint8_t { kTokenize, kEmbed, kQuantize, kBinaryLinear, kAttention, kActivation, kNorm, kExit, kDone };

// Told whenever a classification enters a stage. The engine has no clock; the observer brings its own.
struct StageObserver {
  void (*enter)(void* context, Stage stage) = nullptr;
  void* context = nullptr;

  void operator()(Stage stage) const {
    if (enter != nullptr) enter(context, stage);
  }
};

// What one exit said about one window. Spans hold until the observer returns.
struct ExitReading {
  std::uint32_t window = 0;
  std::uint32_t exit = 0;                // 0 before the first block, i after block i - 1
  std::span<const float> logits;         // (class), before temperature
  std::span<const float> probabilities;  // (class), calibrated
  float entropy = 0.0f;                  // share of the largest possible one, in [0, 1]
};

// Told about every exit that a classification reaches, before the exit rule decides. While there is one, exits are read after every
// block that ran, even if the policy needs no more than the first and the last.
struct ExitObserver {
  void (*reached)(void* context, const ExitReading& reading) = nullptr;
  void* context = nullptr;
};

}  // namespace beex
