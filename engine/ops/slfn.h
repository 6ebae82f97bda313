// The selective learn-forget network that stands in for a feed-forward net (BEExformer; FORMAT.md, "Block").
//
// Only the gated product g * t: the residual and the norm belong to the caller. It owns no memory, allocates nothing and cannot
// fail; the caller guarantees the shapes below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/kernels.h"

namespace beex {

// Kinds of work inside an op, and somebody who is told when one starts: for measuring where time goes.
enum class Step : std::uint8_t { kQuantize, kBinaryLinear, kActivation };
struct StepObserver {
  void (*enter)(void* context, Step step) = nullptr;
  void* context = nullptr;
};

// How an op's float input becomes few-bit integers.
struct InputQuantizer {
  const float* threshold = nullptr;  // (columns)
  float inverse_step = 1.0f;
  std::uint32_t bits = 1;            // 1, 2 or 4
};

// A binary linear layer together with the quantizer of its input.
struct QuantizedLinear {
  LaidOutMatrix matrix;
  InputQuantizer input;
};

// Work memory of quantized_linear; what is in it before and after a call does not matter.
struct LinearScratch {
  std::span<std::uint8_t> levels;  // at least tokens * columns
  std::span<std::uint8_t> kernel;  // kLinearScratch bytes, aligned to 64
};

// y = linear(x). x is (tokens, columns), its rows `stride` apart; y is (tokens, rows). `y` may be `x`: all of x is read before y is
// written.
void quantized_linear(const KernelTable& kernels, const QuantizedLinear& linear, const float* x, std::size_t stride,
                      std::size_t tokens, const LinearScratch& scratch, float* y, StepObserver observer = {});

// d = content.matrix.rows, f = content.matrix.columns; g = f in the open form and d in the others.
struct SlfnParameters {
  QuantizedLinear hidden;   // (g + f, d), site 4: gate rows, then content rows
  QuantizedLinear gate;     // (d, f), site 5; without matrix.bits the form is not the open one
  QuantizedLinear content;  // (d, f), site 6
  bool rectified = false;   // no tanh: the content's quantizer cuts what is below 0

  bool open() const { return gate.matrix.bits != nullptr; }
};

// Work memory; what is in it before and after a call does not matter.
struct SlfnScratch {
  LinearScratch linear;      // levels: at least tokens * max(d, f)
  std::span<float> hidden;   // at least tokens * max(g + f, d)
  std::span<float> content;  // at least tokens * d
};

// out = g * t. With hidden(a) = (h_gate, h_content), of g and f columns:
//   open:       g = gate(sigmoid(h_gate));  t = content(tanh(h_content))
//   bounded:    g = sigmoid(h_gate);        t = content(tanh(h_content))
//   rectified:  g = sigmoid(h_gate);        t = content(h_content)
// `a` and `out` are (tokens, d). `out` may be `a`.
void slfn(const KernelTable& kernels, const SlfnParameters& parameters, std::span<const float> a, std::size_t tokens,
          const SlfnScratch& scratch, std::span<float> out, StepObserver observer = {});

}  // namespace beex
