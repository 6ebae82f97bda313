// Watching a classification from outside: which stage it is in, what every exit said, what every block did; and the time.
//
// Observers are called in the middle of a classification and must not call back into the classifier. One that is not set costs a
// null check. They own nothing.
#pragma once

#include <cstdint>
#include <span>

#include "beex/tokenizer.h"

namespace beex {

// Stages of a classification, for measuring where time goes.
enum class Stage : std::uint8_t { kTokenize, kEmbed, kQuantize, kBinaryLinear, kAttention, kActivation, kNorm, kPool, kNgrams, kExit, kDone };

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

// A window of a text, or a pair, that is about to run. Its tokens without [CLS] and [SEP]: token 0 of the network is [CLS], token 1 the
// first of `first`, then comes [SEP]; in a pair then those of `second`, and [SEP].
struct WindowReading {
  std::uint32_t window = 0;
  std::span<const Token> first, second;
};

// What one block did with one window. The span holds until the observer returns.
struct BlockReading {
  std::uint32_t window = 0;
  std::uint32_t block = 0;
  bool skipped = false;
  float gate = -1.0f;                    // what its skip gate said, -1 when nobody asked it
  std::uint32_t entering = 0;            // tokens
  std::span<const std::uint32_t> alive;  // tokens that are left after it, as places in the window with [CLS] and [SEP]
};

// Told about every window before it runs, and about every block that ran or was skipped.
struct TraceObserver {
  void (*window)(void* context, const WindowReading& reading) = nullptr;
  void (*block)(void* context, const BlockReading& reading) = nullptr;
  void* context = nullptr;
};

// The engine has no clock of its own; who wants a budget brings one. Microseconds since any moment.
struct Clock {
  double (*now)(void* context) = nullptr;
  void* context = nullptr;

  double operator()() const { return now(context); }
};

}  // namespace beex
