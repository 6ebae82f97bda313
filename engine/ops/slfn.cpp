#include "ops/slfn.h"

#include <algorithm>

namespace beex {
namespace {

void enter(StepObserver observer, Step step) {
  if (observer.enter != nullptr) observer.enter(observer.context, step);
}

BitPlanes quantize(const KernelTable& kernels, const InputQuantizer& input, const float* x, std::size_t tokens,
                   std::size_t columns, std::span<std::uint8_t> planes, StepObserver observer) {
  enter(observer, Step::kQuantize);
  const BitPlanes result{planes.data(), tokens, columns, input.bits};
  kernels.quantize(x, input.threshold, input.inverse_step, result);
  return result;
}

}  // namespace

void quantized_linear(const KernelTable& kernels, const QuantizedLinear& linear, const float* x, std::size_t tokens,
                      std::span<std::uint8_t> planes, float* y, StepObserver observer) {
  const BitPlanes input = quantize(kernels, linear.input, x, tokens, linear.matrix.columns, planes, observer);
  enter(observer, Step::kBinaryLinear);
  kernels.binary_linear(linear.matrix, input, y);
}

std::size_t slfn_planes_size(const SlfnParameters& parameters, std::size_t tokens) {
  const auto size = [tokens](const LaidOutMatrix& matrix, const InputQuantizer& input) {
    return BitPlanes::size_in_bytes(tokens, matrix.columns, input.bits);
  };
  const std::size_t hidden = size(parameters.hidden_content, parameters.input);
  const std::size_t gate = parameters.open() ? size(parameters.gate.matrix, parameters.gate.input) : 0;
  const std::size_t content = size(parameters.content.matrix, parameters.content.input);
  return std::max({hidden, gate, content});
}

void slfn(const KernelTable& kernels, const SlfnParameters& parameters, std::span<const float> a, std::size_t tokens,
          const SlfnScratch& scratch, std::span<float> out, StepObserver observer) {
  const std::size_t d = parameters.content.matrix.rows;
  float* gate = scratch.gate.data();
  float* content = scratch.content.data();

  const BitPlanes input = quantize(kernels, parameters.input, a.data(), tokens, d, scratch.planes, observer);
  enter(observer, Step::kBinaryLinear);
  kernels.binary_linear(parameters.hidden_gate, input, gate);
  kernels.binary_linear(parameters.hidden_content, input, content);

  enter(observer, Step::kActivation);
  kernels.sigmoid(gate, tokens * parameters.hidden_gate.rows);
  if (!parameters.rectified) kernels.tanh(content, tokens * parameters.hidden_content.rows);

  if (parameters.open()) quantized_linear(kernels, parameters.gate, gate, tokens, scratch.planes, gate, observer);
  quantized_linear(kernels, parameters.content, content, tokens, scratch.planes, content, observer);

  enter(observer, Step::kActivation);
  kernels.multiply(gate, content, tokens * d, out.data());
}

}  // namespace beex
