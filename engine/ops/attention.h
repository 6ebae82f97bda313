// Multi-head attention over few-bit queries and keys (FORMAT.md, "Block").
//
// It is not the whole sub-layer: the QKV and output matrices, the residual and the norm belong to the caller. It owns no memory,
// allocates nothing and cannot fail; the caller guarantees the shapes below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/kernels.h"

namespace beex {

struct AttentionParameters {
  std::size_t heads = 1;             // divides hidden_size; hidden_size / heads is a multiple of 16
  std::size_t hidden_size = 0;       // d
  std::uint32_t query_bits = 1;      // activation site 1
  float query_inverse_step = 1.0f;
  std::uint32_t key_bits = 1;        // activation site 2
  float key_inverse_step = 1.0f;
  float score_scale = 1.0f;
};

// Queries that go through the kernels together.
constexpr std::size_t kAttentionRows = 8;

// Work memory; what is in it before and after a call does not matter.
struct AttentionScratch {
  std::span<std::int8_t> query;  // at least tokens * d
  std::span<std::int8_t> key;    // at least tokens * d
  std::span<float> weight;       // at least kAttentionRows * padded(tokens): rows of one head's attention matrix
};

// context = attention(qkv). For each head, with u = 2q - M:
//   score_ij = float(sum_k u_query_ik * u_key_jk) * score_scale,  P_i = softmax(score_i),  context_i = sum_j P_ij * value_j.
// `qkv` is (tokens, 3d): queries, keys and values side by side, each split into heads of d / heads columns. `context` is (tokens, d)
// and must not overlap `qkv`. With `mass` (tokens), also how much attention each token got: mass_j = sum of P_ij over heads from 0, in
// each over rows i from 0 (FORMAT.md, "Elimination").
void attention(const KernelTable& kernels, const AttentionParameters& parameters, std::span<const float> qkv, std::size_t tokens,
               const AttentionScratch& scratch, std::span<float> context, std::span<float> mass = {});

}  // namespace beex
