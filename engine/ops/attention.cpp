#include "ops/attention.h"

#include <algorithm>

namespace beex {

void attention(const KernelTable& kernels, const AttentionParameters& parameters, std::span<const float> qkv, std::size_t tokens,
               const AttentionScratch& scratch, std::span<float> context, std::span<float> mass) {
  const std::size_t d = parameters.hidden_size;
  const std::size_t head_size = d / parameters.heads;
  const std::size_t stride = 3 * d;
  const float* queries = qkv.data();
  const float* keys = queries + d;
  const float* values = keys + d;

  kernels.quantize_signed(queries, stride, tokens, d, parameters.query_inverse_step, parameters.query_bits, scratch.query.data());
  kernels.quantize_signed(keys, stride, tokens, d, parameters.key_inverse_step, parameters.key_bits, scratch.key.data());

  float* weight = scratch.weight.data();
  std::fill(mass.begin(), mass.end(), 0.0f);
  for (std::size_t head = 0; head < parameters.heads; ++head) {
    const std::size_t column = head * head_size;  // this head's slice of queries, keys, values and context
    for (std::size_t i = 0; i < tokens; i += kAttentionRows) {
      const std::size_t rows = std::min(kAttentionRows, tokens - i);
      kernels.attention_scores(scratch.query.data() + i * d + column, rows, scratch.key.data() + column, d, tokens, head_size,
                               parameters.score_scale, weight);
      kernels.softmax(weight, rows, tokens);
      for (std::size_t row = 0; row < rows; ++row) {
        const float* p = weight + row * padded(tokens);
        for (std::size_t j = 0; j < mass.size(); ++j) mass[j] = mass[j] + p[j];
      }
      kernels.weighted_sum(weight, rows, values + column, stride, tokens, head_size, context.data() + i * d + column, d);
    }
  }
}

}  // namespace beex
