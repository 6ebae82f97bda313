// A classifier: a pack, the kernels chosen for this machine and all the memory that classifying needs.
//
// It is not thread-safe: one call at a time. After `load` nothing is allocated, and no call can fail for lack of memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "beex/bytes.h"
#include "beex/exit_rule.h"
#include "beex/observe.h"
#include "beex/pack.h"
#include "beex/policy.h"
#include "beex/status.h"

namespace beex {

// The answer for one text. Spans point into the classifier and hold until its next call.
struct Result {
  std::uint32_t label = 0;                  // class with the largest probability
  std::span<const std::uint32_t> labels;    // multi-label packs: classes above their thresholds, likeliest first; may be none
  std::span<const float> probabilities;     // (class), calibrated; pooled over the windows
  std::span<const float> logits;            // (class), of the last window, before temperature
  std::uint32_t exit_block = 0;             // deepest block that ran, 0 when exit 0 answered
  ExitReason exit_reason = ExitReason::kLast;  // of the window that went deepest
  std::uint32_t tokens = 0;                 // of the whole text (of all windows that were read), without [CLS] and [SEP]
  std::uint32_t windows = 0;                // 1 unless the text is longer than the pack's limit
  double work = 0.0;                        // share of the dense cost (FORMAT.md, "Cost"); 1 is the whole network
  std::uint32_t blocks_run = 0;             // summed over the windows; skipped ones do not count
  bool truncated = false;                   // a pair that did not fit, or a text whose budget ended before all windows were read
};

class Classifier {
 public:
  // Takes the pack's bytes, checks them and prepares weights and work memory.
  // `kernels` names an implementation (see kernel_names); empty takes the fastest one of this build.
  static Error load(Bytes pack, std::string_view kernels, std::unique_ptr<Classifier>& classifier);
  ~Classifier();
  Classifier(const Classifier&) = delete;
  Classifier& operator=(const Classifier&) = delete;

  // Classifies UTF-8 text under `policy`. An empty text is [CLS][SEP]. Fails only with kWrongInput: a pack for pairs needs
  // `classify_pair`, and the other way round; a pack of features has no classes; a budget needs a clock.
  //
  // Under a budget, no block is begun that would end too late; a window that is read gives at least what exit 0 says, and may use time
  // up to its share of the text. Windows are left unread when not even exit 0 could answer for them in time; the first never is. The first
  // such call measures for a few milliseconds how fast this machine is; later ones go on measuring.
  Error classify(std::string_view text, const Policy& policy, Result& result);
  Error classify_pair(std::string_view a, std::string_view b, const Policy& policy, Result& result);

  // How many times as fast elimination by `gamma` makes the whole network, by the cost model, on a full window; 1 in a pack without a profile.
  double elimination_speedup(float gamma) const;
  // The gamma with which that is at least `speedup`: elimination tuned without training. kMostGamma where even that is not enough.
  float gamma_for(double speedup) const;

  // Turns UTF-8 text into a vector (hidden) of unit length, by all blocks of any pack for single texts. It points into the
  // classifier and holds until its next call. Fails only with kWrongInput: the pack takes pairs.
  Error embed(std::string_view text, std::span<const float>& vector);

  const Pack& pack() const;
  const char* kernels() const;    // name of the implementation in use
  std::size_t memory() const;     // bytes held: pack, re-laid weights, tokenizer tables, work memory
  void observe(StageObserver observer);
  void observe(ExitObserver observer);
  void observe(TraceObserver observer);
  void set_clock(Clock clock);

 private:
  struct State;
  explicit Classifier(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Names of the kernel implementations in this build, fastest first. Builds with tests have them all, the npm package has the fastest.
std::span<const char* const> kernel_names();

// A hash of a built-in self-test of all that classifying computes after the text is split into tokens, with these kernels (empty: the
// fastest ones): the same number in every build of a version, on every machine and in every browser. 0 when this build has no such
// kernels or there is no memory for it, about 200 kB.
std::uint32_t fingerprint(std::string_view kernels);

}  // namespace beex
