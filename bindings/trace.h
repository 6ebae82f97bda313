// Writes down what the engine does with a text, as 32-bit words for bindings/js/src/trace.ts:
//
//   0, time, tokens of the text (or of a), tokens of b, and for each of them begin and end in UTF-8     a window, before it runs
//   1, time, block, skipped, gate (f32; -1 when it was not asked), tokens left, and their places         a block
//   2, time, exit, entropy (f32), probabilities (f32)                                                    an exit
//
// Times are f32 microseconds since the event before; that of the first one tells how long splitting the text into tokens took.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "beex/bytes.h"
#include "beex/classifier.h"

namespace beex {

class TraceRecorder {
 public:
  explicit TraceRecorder(Clock clock) : clock_(clock) {}

  // Watches `classifier` from now on, from an empty record, or no longer.
  void watch(Classifier& classifier) {
    size_ = 0;
    complete_ = true;
    before_ = clock_();
    classifier.observe(TraceObserver{
        [](void* self, const WindowReading& reading) { static_cast<TraceRecorder*>(self)->add(reading); },
        [](void* self, const BlockReading& reading) { static_cast<TraceRecorder*>(self)->add(reading); }, this});
    classifier.observe(ExitObserver{[](void* self, const ExitReading& reading) { static_cast<TraceRecorder*>(self)->add(reading); }, this});
  }
  static void unwatch(Classifier& classifier) {
    classifier.observe(TraceObserver{});
    classifier.observe(ExitObserver{});
  }

  // False when memory ran out on the way.
  bool complete() const { return complete_; }
  std::span<const std::uint32_t> words() const { return {data(), size_}; }

 private:
  void add(const WindowReading& reading) {
    start(0);
    put(static_cast<std::uint32_t>(reading.first.size()));
    put(static_cast<std::uint32_t>(reading.second.size()));
    for (const std::span<const Token> tokens : {reading.first, reading.second}) {
      for (const Token& token : tokens) {
        put(token.begin);
        put(token.end);
      }
    }
  }

  void add(const BlockReading& reading) {
    start(1);
    put(reading.block);
    put(reading.skipped ? 1u : 0u);
    put(reading.gate);
    put(static_cast<std::uint32_t>(reading.alive.size()));
    for (const std::uint32_t place : reading.alive) put(place);
  }

  void add(const ExitReading& reading) {
    start(2);
    put(reading.exit);
    put(reading.entropy);
    for (const float probability : reading.probabilities) put(probability);
  }

  void start(std::uint32_t kind) {
    const double now = clock_();
    put(kind);
    put(static_cast<float>(now - before_));
    before_ = clock_();
  }

  template <class Word>
  void put(Word word) {
    static_assert(sizeof(Word) == sizeof(std::uint32_t));
    if (!complete_ || !reserve()) return;
    std::memcpy(data() + size_, &word, sizeof word);
    ++size_;
  }

  bool reserve() {
    const std::size_t needed = (size_ + 1) * sizeof(std::uint32_t);
    if (needed <= room_.size()) return true;
    Bytes larger(std::max<std::size_t>(4096, 2 * room_.size()));
    complete_ = larger.size() >= needed;
    if (!complete_) return false;
    if (size_ > 0) std::memcpy(larger.data(), room_.data(), size_ * sizeof(std::uint32_t));
    room_ = std::move(larger);
    return true;
  }

  std::uint32_t* data() { return reinterpret_cast<std::uint32_t*>(room_.data()); }
  const std::uint32_t* data() const { return reinterpret_cast<const std::uint32_t*>(room_.data()); }

  Clock clock_;
  Bytes room_;
  std::size_t size_ = 0;  // words
  bool complete_ = true;
  double before_ = 0.0;
};

}  // namespace beex
