#include "ops/slfn.h"

#include <algorithm>

namespace beex {
namespace {

void enter(StepObserver observer, Step step) {
  if (observer.enter != nullptr) observer.enter(observer.context, step);
}

}  // namespace

void quantized_linear(const KernelTable& kernels, const QuantizedLinear& linear, const float* x, std::size_t stride,
                      std::size_t tokens, const LinearScratch& scratch, float* y, StepObserver observer) {
  const Levels levels{scratch.levels.data(), tokens, linear.matrix.columns, linear.input.bits};
  enter(observer, Step::kQuantize);
  kernels.quantize(x, stride, linear.input.threshold, linear.input.inverse_step, levels);
  enter(observer, Step::kBinaryLinear);
  kernels.binary_linear(linear.matrix, levels, scratch.kernel.data(), y);
}

void slfn(const KernelTable& kernels, const SlfnParameters& parameters, std::span<const float> a, std::size_t tokens,
          const SlfnScratch& scratch, std::span<float> out, StepObserver observer) {
  const std::size_t d = parameters.content.matrix.rows, f = parameters.content.matrix.columns;
  const std::size_t stride = parameters.hidden.matrix.rows, g = stride - f;
  float* hidden = scratch.hidden.data();
  float* content = scratch.content.data();
  quantized_linear(kernels, parameters.hidden, a.data(), d, tokens, scratch.linear, hidden, observer);

  enter(observer, Step::kActivation);
  for (std::size_t t = 0; t < tokens; ++t) {
    kernels.sigmoid(hidden + t * stride, g);
    if (!parameters.rectified) kernels.tanh(hidden + t * stride + g, f);
  }

  quantized_linear(kernels, parameters.content, hidden + g, stride, tokens, scratch.linear, content, observer);
  if (parameters.open()) {
    // All of the hidden values are read before the first of the gate's results overwrites them.
    quantized_linear(kernels, parameters.gate, hidden, stride, tokens, scratch.linear, hidden, observer);
  }
  const std::size_t gate_stride = parameters.open() ? d : stride;
  enter(observer, Step::kActivation);
  for (std::size_t t = 0; t < tokens; ++t) {
    kernels.multiply(hidden + t * gate_stride, content + t * d, d, out.data() + t * d);
  }
}

}  // namespace beex
