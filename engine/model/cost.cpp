#include "model/cost.h"

namespace beex {

CostModel::CostModel(const Config& config)
    : hidden_(config.hidden_size),
      slfn_(config.slfn_size),
      gate_rows_(config.gate_rows()),
      blocks_(config.blocks),
      classes_(config.classes),
      skip_width_(config.skip_width),
      inputs_(config.inputs),
      ngram_columns_(config.ngram_buckets > 0 ? config.ngram_columns() : 0),
      ngram_longest_(config.ngram_longest),
      open_(config.slfn_form == SlfnForm::kOpen) {}

double CostModel::embedding(std::size_t tokens) const {
  std::size_t runs = 0;
  for (std::size_t n = 0; n < ngram_longest_ && n < tokens; ++n) runs += tokens - n;
  return static_cast<double>(tokens) * hidden_ * cost::kEmbedding + static_cast<double>(runs) * ngram_columns_ * cost::kNgram;
}

double CostModel::block(std::size_t entering, std::size_t kept) const {
  const auto n = static_cast<double>(entering), m = static_cast<double>(kept);
  const double d = hidden_, f = slfn_, g = gate_rows_;
  const double products = 4 * n * d * d + m * (g * d + 2 * f * d + (open_ ? f * d : 0));
  return products + 2 * n * n / inputs_ * d * cost::kAttention + (6 * n * d + m * (3 * d + g + 2 * f)) * cost::kVector;
}

double CostModel::dense(std::size_t tokens) const {
  const double ends = 2 * (pooling(tokens) + exit());
  return embedding(tokens) + ends + blocks_ * block(tokens, tokens);
}

}  // namespace beex
