// The fingerprint: one number for all kernels, and another one as soon as any of them is wrong.
#include <catch2/catch.hpp>

#include "beex/classifier.h"
#include "model/fingerprint.h"

using namespace beex;

namespace {

// `table` with one kernel in place of its own.
template <class Kernel>
KernelTable with(KernelTable table, Kernel KernelTable::*member, Kernel kernel) {
  table.*member = kernel;
  return table;
}

constexpr const KernelTable& kGood = reference::kTable;

// That of the arithmetic of FORMAT.md. It changes when the arithmetic or the self-test does, and for no other reason.
constexpr std::uint32_t kFingerprint = 0xbacc097e;

// A little more than x.
float next(float x) { return x + x * 1e-6f + 1e-12f; }

}  // namespace

TEST_CASE("all kernels have the committed fingerprint") {
  for (const KernelTable* table : kernel_tables()) {
    CAPTURE(table->name);
    CHECK(fingerprint(*table) == kFingerprint);
    CHECK(fingerprint(table->name) == fingerprint(*table));
  }
  CHECK(fingerprint("") == fingerprint(*kernel_tables().front()));
  CHECK(fingerprint("no such kernels") == 0);
}

TEST_CASE("a wrong kernel has another fingerprint") {
  const std::pair<const char*, KernelTable> wrong[] = {
      {"lay_out", with(kGood, &KernelTable::lay_out, +[](const std::uint8_t* bits, std::size_t rows, std::size_t columns, std::uint8_t* out) {
         kGood.lay_out(bits, rows, columns, out);
         out[rows * columns / 8 - 1] ^= 128;
       })},
      {"quantize", with(kGood, &KernelTable::quantize, +[](const float* x, std::size_t stride, const float* threshold, float inverse_step, Levels levels) {
         kGood.quantize(x, stride, threshold, inverse_step, levels);
         levels.data[0] ^= 1;
       })},
      {"binary_linear", with(kGood, &KernelTable::binary_linear, +[](const LaidOutMatrix& matrix, Levels levels, std::uint8_t* scratch, float* y) {
         kGood.binary_linear(matrix, levels, scratch, y);
         y[levels.tokens * matrix.rows - 1] = next(y[levels.tokens * matrix.rows - 1]);
       })},
      {"quantize_signed", with(kGood, &KernelTable::quantize_signed, +[](const float* x, std::size_t stride, std::size_t tokens, std::size_t columns,
                                                                         float inverse_step, std::uint32_t bits, std::int8_t* out) {
         kGood.quantize_signed(x, stride, tokens, columns, inverse_step, bits, out);
         out[tokens * columns - 1] = static_cast<std::int8_t>(-out[tokens * columns - 1]);
       })},
      {"attention_scores", with(kGood, &KernelTable::attention_scores, +[](const std::int8_t* queries, std::size_t rows, const std::int8_t* keys,
                                                                           std::size_t stride, std::size_t tokens, std::size_t head_size,
                                                                           float scale, float* scores) {
         kGood.attention_scores(queries, rows, keys, stride, tokens, head_size, scale, scores);
         scores[tokens - 1] += 1e-3f;
       })},
      {"weighted_sum", with(kGood, &KernelTable::weighted_sum, +[](const float* weight, std::size_t rows, const float* values, std::size_t stride,
                                                                   std::size_t tokens, std::size_t columns, float* out, std::size_t out_stride) {
         kGood.weighted_sum(weight, rows, values, stride, tokens, columns, out, out_stride);
         out[0] = next(out[0]);
       })},
      {"softmax", with(kGood, &KernelTable::softmax, +[](float* x, std::size_t rows, std::size_t n) {
         kGood.softmax(x, rows, n);
         x[n - 1] = next(x[n - 1]);
       })},
      {"sigmoid", with(kGood, &KernelTable::sigmoid, +[](float* x, std::size_t n) {
         kGood.sigmoid(x, n);
         for (std::size_t i = 0; i < n; ++i) x[i] = next(x[i]);
       })},
      {"tanh", with(kGood, &KernelTable::tanh, +[](float* x, std::size_t n) {
         kGood.tanh(x, n);
         for (std::size_t i = 0; i < n; ++i) x[i] = x[i] + 1e-3f;
       })},
      {"add_layer_norm", with(kGood, &KernelTable::add_layer_norm, +[](const float* a, const float* b, const float* gamma, const float* beta,
                                                                       std::size_t rows, std::size_t d, float* out) {
         kGood.add_layer_norm(a, b, gamma, beta, rows, d, out);
         out[rows * d - 1] = next(out[rows * d - 1]);
       })},
      {"multiply", with(kGood, &KernelTable::multiply, +[](const float* g, const float* t, std::size_t n, float* out) {
         kGood.multiply(g, t, n, out);
         out[n - 1] = next(out[n - 1]);
       })},
      {"add", with(kGood, &KernelTable::add, +[](const float* x, std::size_t n, float* out) {
         kGood.add(x, n, out);
         out[n - 1] = next(out[n - 1]);
       })},
      {"dot", with(kGood, &KernelTable::dot, +[](const float* x, const float* y, std::size_t n) { return next(kGood.dot(x, y, n)); })},
      {"add_few_bit_row", with(kGood, &KernelTable::add_few_bit_row, +[](const std::uint8_t* row, std::uint32_t bits, float scale, std::size_t columns,
                                                                         bool accumulate, float* out) {
         kGood.add_few_bit_row(row, bits, scale, columns, accumulate, out);
         if (bits == 1) out[columns - 1] = next(out[columns - 1]);
       })},
  };
  for (const auto& [name, table] : wrong) {
    CAPTURE(name);
    CHECK(fingerprint(table) != fingerprint(kGood));
  }
}
