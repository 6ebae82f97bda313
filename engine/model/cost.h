// What a text costs (FORMAT.md, "Cost"), in units of one binary multiply-add: the same for every machine, so that policies can be
// compared and chosen by it. Multiplied by the time of one unit it predicts how long a block takes.
#pragma once

#include <cstddef>

#include "beex/pack.h"

namespace beex {

// Costs of one step of each kind. Measured; `scripts/bench --fit-cost` prints them anew, and beex_train/cost.py has the same.
namespace cost {
constexpr double kEmbedding = 360.0;  // an element of a token's row: unpack, add, normalize
constexpr double kNgram = 260.0;      // a column of an n-gram's row
constexpr double kAttention = 19.0;   // a multiply-add of scores or of contexts
constexpr double kVector = 56.0;      // an element of a norm, a quantizer or an activation function
constexpr double kPooling = 29.0;     // an element of the pooled sum
constexpr double kExit = 145.0;       // a float multiply-add of an exit or of a gate
}  // namespace cost

// The parts of one network's cost. Sums of them are the same doubles everywhere if they are added in the same order.
class CostModel {
 public:
  CostModel() = default;
  explicit CostModel(const Config& config);

  // Token rows and n-grams of an input.
  double embedding(std::size_t tokens) const;
  // A block that `entering` tokens enter and whose SLFN `kept` of them reach. The texts of a pair, taken as of equal length, do not see
  // each other.
  double block(std::size_t entering, std::size_t kept) const;
  // The pooled state of so many tokens, for a gate, an exit or both.
  double pooling(std::size_t tokens) const { return static_cast<double>(tokens) * hidden_ * cost::kPooling; }
  // The logits of an exit, and a skip gate.
  double exit() const { return classes_ * inputs_ * hidden_ * cost::kExit; }
  double gate() const { return skip_width_ * inputs_ * hidden_ * cost::kExit; }
  // Everything: all blocks on all tokens, the first exit and the last.
  double dense(std::size_t tokens) const;

 private:
  double hidden_ = 0.0, slfn_ = 0.0, gate_rows_ = 0.0, blocks_ = 0.0, classes_ = 0.0, skip_width_ = 0.0, inputs_ = 1.0;
  double ngram_columns_ = 0.0;  // 0 without n-grams
  std::size_t ngram_longest_ = 0;
  bool open_ = false;
};

}  // namespace beex
