// Which tokens go on after a block's attention (FORMAT.md, "Elimination").
//
// Plain functions on the caller's memory; nothing fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "model/cost.h"

namespace beex {

// How many of the `entering` tokens go on, when the input started with `started` of them: min(entering, max(4, ceil(share * started)))
// with share = exp(gamma * ln(profile)); all of them at gamma 0.
std::size_t kept_tokens(float profile, float gamma, std::size_t entering, std::size_t started);

// Fills `kept` with the tokens that go on, rising: the first one ([CLS]), and those of the largest mass among the others, the earlier
// one first when masses are equal. `kept` has room for all tokens and returns cut to `count`, which is at least 1 and at most
// mass.size().
std::span<std::uint32_t> choose_kept(std::span<const float> mass, std::size_t count, std::span<std::uint32_t> kept);

// How many times as fast the whole network (all blocks, the first exit and the last) is with elimination by `gamma`, for an input of so many
// tokens and by the cost model.
double elimination_speedup(const CostModel& cost, std::span<const float> profile, std::size_t tokens, float gamma);

}  // namespace beex
