// Integer kernels: every table must equal the reference, and the reference the equations.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>

#include "kernels/kernels.h"
#include "unit/kernel_buffers.h"

using namespace beex;
using beex::testing::Guarded;
using beex::testing::Random;

namespace {

std::span<const KernelTable* const> tables_under_test() { return kernel_tables().first(kernel_tables().size() - 1); }

enum class Pattern { kRandom, kZeros, kOnes, kOneBit, kMiddle };

void fill(std::span<std::uint8_t> bits, Pattern pattern, Random& random) {
  if (pattern == Pattern::kRandom) return random.fill(bits);
  for (auto& byte : bits) byte = pattern == Pattern::kOnes ? 0xff : 0;
  if (pattern == Pattern::kOneBit) {
    const std::uint32_t bit = random.below(static_cast<std::uint32_t>(bits.size() * 8));
    bits[bit / 8] = static_cast<std::uint8_t>(1u << (bit % 8));
  }
}

// Levels of `bits` bits: all 0, all M, one M among zeros, close to the middle as after a norm, or any.
void fill_levels(std::span<std::uint8_t> levels, std::uint32_t bits, Pattern pattern, Random& random) {
  const std::uint32_t m = (1u << bits) - 1u;
  for (auto& q : levels) {
    std::uint32_t level = pattern == Pattern::kOnes ? m : 0;
    if (pattern == Pattern::kRandom) level = random.below(m + 1);
    if (pattern == Pattern::kMiddle) level = (random.below(m + 1) + random.below(m + 1) + random.below(m + 1)) / 3;
    q = static_cast<std::uint8_t>(level);
  }
  if (pattern == Pattern::kOneBit) levels[random.below(static_cast<std::uint32_t>(levels.size()))] = static_cast<std::uint8_t>(m);
}

// Runs every table on one case, with inputs off by `misalignment` elements, and compares with the reference bit by bit.
void check_binary_linear(std::size_t rows, std::size_t columns, std::size_t tokens, std::uint32_t bits, Pattern weight_pattern,
                         Pattern input_pattern, std::size_t misalignment, Random& random) {
  CAPTURE(rows, columns, tokens, bits, static_cast<int>(weight_pattern), static_cast<int>(input_pattern), misalignment);
  Guarded<std::uint8_t> weights(rows * columns / 8, misalignment);
  Guarded<std::uint8_t> levels(tokens * columns, misalignment), scratch(kLinearScratch);
  Guarded<float> scale(rows, misalignment), bias(rows, misalignment);
  fill(weights.span(), weight_pattern, random);
  fill_levels(levels.span(), bits, input_pattern, random);
  random.fill(scratch.span());  // what is in it before must not matter
  random.fill(scale.span(), -0.1f, 0.1f);
  random.fill(bias.span(), -1.0f, 1.0f);

  const auto run = [&](const KernelTable& table, Guarded<float>& y) {
    Guarded<std::uint8_t> laid_out(table.laid_out_size(rows, columns), misalignment);
    table.lay_out(weights.data(), rows, columns, laid_out.data());
    REQUIRE(laid_out.intact());
    table.binary_linear({laid_out.data(), scale.data(), bias.data(), rows, columns}, {levels.data(), tokens, columns, bits},
                        scratch.data(), y.data());
    REQUIRE(y.intact());
    REQUIRE(scratch.intact());
  };
  Guarded<float> expected(tokens * rows);
  run(reference::kTable, expected);
  for (const KernelTable* table : tables_under_test()) {
    CAPTURE(table->name);
    Guarded<float> y(tokens * rows, misalignment);
    run(*table, y);
    REQUIRE(y.same_bits(expected));
  }
}

}  // namespace

TEST_CASE("the build has the tables it promises, and each is its own", "[kernels]") {
#if defined(BEEX_SIMD128)
  const std::vector<std::string> names = {"simd128", "scalar", "reference"};
#else
  const std::vector<std::string> names = {"scalar", "reference"};
#endif
  REQUIRE(kernel_tables().size() == names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    CHECK(kernel_tables()[i]->name == names[i]);
    CHECK(find_kernels(names[i]) == kernel_tables()[i]);
  }
  CHECK(find_kernels("") == kernel_tables()[0]);
  CHECK(find_kernels("simd256") == nullptr);
  CHECK(find_kernels("scala") == nullptr);

  for (std::size_t i = 0; i < names.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const KernelTable& a = *kernel_tables()[i];
      const KernelTable& b = *kernel_tables()[j];
      CAPTURE(a.name, b.name);
      CHECK(a.laid_out_size != b.laid_out_size);
      CHECK(a.lay_out != b.lay_out);
      CHECK(a.quantize != b.quantize);
      CHECK(a.binary_linear != b.binary_linear);
      CHECK(a.quantize_signed != b.quantize_signed);
      CHECK(a.attention_scores != b.attention_scores);
      CHECK(a.weighted_sum != b.weighted_sum);
      CHECK(a.softmax != b.softmax);
      CHECK(a.sigmoid != b.sigmoid);
      CHECK(a.tanh != b.tanh);
      CHECK(a.add_layer_norm != b.add_layer_norm);
      CHECK(a.multiply != b.multiply);
      CHECK(a.add != b.add);
      CHECK(a.dot != b.dot);
      CHECK(a.add_few_bit_row != b.add_few_bit_row);
    }
  }
}

TEST_CASE("reference binary_linear is sum_k w (2q - M)", "[kernels]") {
  Random random(1);
  const std::size_t rows = 64, columns = 128, tokens = 3;
  for (std::uint32_t bits : {1u, 2u, 4u}) {
    CAPTURE(bits);
    const int m = (1 << bits) - 1;
    std::vector<int> w(rows * columns);
    std::vector<std::uint8_t> weights(rows * columns / 8), q(tokens * columns);
    for (std::size_t i = 0; i < w.size(); ++i) {
      w[i] = random.below(2) != 0 ? 1 : -1;
      if (w[i] > 0) weights[i / 8] = static_cast<std::uint8_t>(weights[i / 8] | (1u << (i % 8)));
    }
    fill_levels(q, bits, Pattern::kRandom, random);
    const std::vector<float> ones(rows, 1.0f), zeros(rows, 0.0f);
    std::vector<float> y(tokens * rows);
    reference::kTable.binary_linear({weights.data(), ones.data(), zeros.data(), rows, columns},
                                    {q.data(), tokens, columns, bits}, nullptr, y.data());
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t r = 0; r < rows; ++r) {
        int d = 0;
        for (std::size_t k = 0; k < columns; ++k) d += w[r * columns + k] * (2 * q[t * columns + k] - m);
        REQUIRE(y[t * rows + r] == static_cast<float>(d));
      }
    }
  }
}

TEST_CASE("binary_linear equals the reference over shapes", "[kernels]") {
  Random random(2);
  for (std::uint32_t bits : {1u, 2u, 4u}) {
    for (std::size_t columns : {64u, 128u, 192u, 256u, 320u, 512u, 1024u}) {
      for (std::size_t tokens : {1u, 2u, 3u, 4u, 5u, 7u, 8u}) {
        check_binary_linear(64, columns, tokens, bits, Pattern::kRandom, Pattern::kRandom, 0, random);
      }
    }
    // Few tokens, and tiles that are full, nearly full and just begun.
    for (std::size_t tokens : {9u, 15u, 16u, 17u, 24u, 25u, 31u, 32u, 33u}) {
      check_binary_linear(192, 192, tokens, bits, Pattern::kRandom, Pattern::kRandom, 0, random);
    }
    check_binary_linear(576, 64, 3, bits, Pattern::kRandom, Pattern::kRandom, 0, random);
    for (std::size_t tokens : {3u, 11u}) {
      check_binary_linear(64, 4096, tokens, bits, Pattern::kRandom, Pattern::kRandom, 0, random);
      check_binary_linear(1600, 64, tokens, bits, Pattern::kRandom, Pattern::kRandom, 0, random);  // more rows than are done at once
    }
  }
}

TEST_CASE("binary_linear equals the reference on extreme bits", "[kernels]") {
  Random random(3);
  const Pattern patterns[] = {Pattern::kRandom, Pattern::kZeros, Pattern::kOnes, Pattern::kOneBit, Pattern::kMiddle};
  for (std::uint32_t bits : {1u, 2u, 4u}) {
    for (Pattern weights : patterns) {
      for (Pattern input : patterns) {
        for (std::size_t columns : {64u, 256u, 320u}) {
          for (std::size_t tokens : {5u, 13u}) check_binary_linear(64, columns, tokens, bits, weights, input, 0, random);
        }
      }
    }
    // The largest sums there are: every bit differs.
    for (std::size_t tokens : {2u, 16u}) {
      check_binary_linear(64, kMaxColumns, tokens, bits, Pattern::kZeros, Pattern::kOnes, 0, random);
      check_binary_linear(64, kMaxColumns, tokens, bits, Pattern::kOnes, Pattern::kZeros, 0, random);
    }
  }
}

TEST_CASE("binary_linear does not care about alignment", "[kernels]") {
  Random random(4);
  for (std::size_t misalignment : {1u, 3u, 7u}) {
    for (std::uint32_t bits : {1u, 2u, 4u}) {
      check_binary_linear(128, 192, 21, bits, Pattern::kRandom, Pattern::kRandom, misalignment, random);
    }
  }
}

TEST_CASE("binary_linear of any mixture of low and high levels, where byte sums are about to be full", "[kernels]") {
  // Halves of the activations far from the mean on either side, so that |v| is as large as it gets.
  Random random(8);
  for (std::uint32_t bits : {1u, 2u, 4u}) {
    const std::size_t rows = 64, columns = 256;
    for (std::size_t tokens : {2u, 16u}) {
      CAPTURE(bits, tokens);
      const auto m = static_cast<std::uint8_t>((1u << bits) - 1u);
      Guarded<std::uint8_t> weights(rows * columns / 8), levels(tokens * columns), scratch(kLinearScratch);
      random.fill(weights.span());
      for (auto& q : levels.span()) q = random.below(2) != 0 ? m : 0;
      for (std::size_t k = 0; k < columns; ++k) {  // row 0 agrees with every sign of the first token, row 1 with none
        std::uint8_t& agrees = weights[k / 8];
        std::uint8_t& differs = weights[columns / 8 + k / 8];
        const auto bit = static_cast<std::uint8_t>(1u << k % 8);
        agrees = static_cast<std::uint8_t>(levels[k] == m ? agrees | bit : agrees & ~bit);
        differs = static_cast<std::uint8_t>(levels[k] == m ? differs & ~bit : differs | bit);
      }
      const std::vector<float> ones(rows, 1.0f), zeros(rows, 0.0f);
      for (const KernelTable* table : kernel_tables()) {
        CAPTURE(table->name);
        std::vector<std::uint8_t> laid_out(table->laid_out_size(rows, columns));
        table->lay_out(weights.data(), rows, columns, laid_out.data());
        std::vector<float> y(tokens * rows);
        table->binary_linear({laid_out.data(), ones.data(), zeros.data(), rows, columns}, {levels.data(), tokens, columns, bits},
                             scratch.data(), y.data());
        CHECK(y[0] == static_cast<float>(m * columns));
        CHECK(y[1] == -static_cast<float>(m * columns));
      }
    }
  }
}

TEST_CASE("quantize equals the reference on strided rows and stays inside", "[kernels]") {
  Random random(5);
  for (std::uint32_t bits : {1u, 2u, 4u}) {
    for (std::size_t columns : {64u, 192u, 1024u}) {
      for (std::size_t tokens : {1u, 2u, 7u}) {
        for (std::size_t misalignment : {0u, 1u, 3u}) {
          CAPTURE(bits, columns, tokens, misalignment);
          const std::size_t stride = columns + 64 * misalignment;
          Guarded<float> x((tokens - 1) * stride + columns, misalignment), threshold(columns, misalignment);
          random.fill(x.span(), -3.0f, 3.0f);
          random.fill(threshold.span(), -0.5f, 0.5f);
          for (std::size_t t = 0; t < tokens; ++t) {
            for (std::size_t k = 0; k < columns; k += 3) x[t * stride + k] = threshold[k];  // exactly at the threshold
          }
          const float inverse_step = random.between(0.3f, 3.0f);
          Guarded<std::uint8_t> expected(tokens * columns);
          reference::kTable.quantize(x.data(), stride, threshold.data(), inverse_step, {expected.data(), tokens, columns, bits});
          REQUIRE(expected.intact());
          for (const KernelTable* table : kernel_tables()) {
            CAPTURE(table->name);
            Guarded<std::uint8_t> levels(tokens * columns, misalignment);
            table->quantize(x.data(), stride, threshold.data(), inverse_step, {levels.data(), tokens, columns, bits});
            REQUIRE(levels.intact());
            REQUIRE(levels.same_bits(expected));
          }
        }
      }
    }
  }
}

TEST_CASE("quantizer levels at and around every boundary", "[kernels]") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float largest = std::numeric_limits<float>::max();
  const float denormal = std::numeric_limits<float>::denorm_min();
  const float nan = std::numeric_limits<float>::quiet_NaN();  // the lowest level
  const float step = 0.37f, inverse_step = 1.0f / 0.37f;
  for (std::uint32_t bits : {1u, 2u, 4u}) {
    const int half = 1 << (bits - 1), m = (1 << bits) - 1;
    // Level boundaries, their neighbours, and the ends of the number line; thresholds zero.
    std::vector<float> values = {0.0f,  -0.0f,    denormal, -denormal, 1e-20f,   -1e-20f,  1e9f,
                                 -1e9f, 8388608.0f, -8388608.0f, largest, -largest, infinity, -infinity, nan, -nan};
    for (int level = -half - 1; level <= half + 1; ++level) {
      const float boundary = static_cast<float>(level) * step;
      for (float x : {boundary, std::nextafter(boundary, -infinity), std::nextafter(boundary, infinity)}) values.push_back(x);
    }
    constexpr std::size_t kColumns = 128;
    REQUIRE(values.size() <= kColumns);
    values.resize(kColumns, 0.5f);
    const std::vector<float> zeros(kColumns, 0.0f);

    for (const KernelTable* table : kernel_tables()) {
      CAPTURE(table->name, bits);
      Guarded<std::uint8_t> levels(kColumns);
      table->quantize(values.data(), kColumns, zeros.data(), inverse_step, {levels.data(), 1, kColumns, bits});
      Guarded<std::int8_t> u(kColumns);
      table->quantize_signed(values.data(), kColumns, 1, kColumns, inverse_step, bits, u.data());
      REQUIRE(u.intact());
      for (std::size_t k = 0; k < kColumns; ++k) {
        CAPTURE(k, values[k]);
        // The equation in double, from the float product: floor and the clamp are exact there.
        const double floored = std::floor(static_cast<double>(values[k] * inverse_step)) + half;
        const int expected = !(floored >= 0.0) ? 0 : floored > m ? m : static_cast<int>(floored);
        REQUIRE(levels[k] == expected);
        REQUIRE(u[k] == 2 * expected - m);
      }
      // The sign of both zeros, of the smallest denormal and of -1e-20: sign(0) is +1.
      CHECK(u[0] == 1);
      CHECK(u[1] == 1);
      CHECK(u[2] == 1);
      CHECK(u[3] == -1);
      CHECK(u[5] == -1);
    }
  }
}

TEST_CASE("quantize_signed equals the reference on strided rows", "[kernels]") {
  Random random(6);
  for (std::uint32_t bits : {1u, 2u, 4u}) {
    for (std::size_t columns : {16u, 64u, 192u}) {
      for (std::size_t misalignment : {0u, 1u, 3u}) {
        CAPTURE(bits, columns, misalignment);
        const std::size_t tokens = 7, stride = 3 * columns;
        Guarded<float> x((tokens - 1) * stride + columns, misalignment);
        random.fill(x.span(), -4.0f, 4.0f);
        Guarded<std::int8_t> expected(tokens * columns);
        reference::kTable.quantize_signed(x.data(), stride, tokens, columns, 1.7f, bits, expected.data());
        for (const KernelTable* table : tables_under_test()) {
          CAPTURE(table->name);
          Guarded<std::int8_t> u(tokens * columns, misalignment);
          table->quantize_signed(x.data(), stride, tokens, columns, 1.7f, bits, u.data());
          REQUIRE(u.intact());
          REQUIRE(u.same_bits(expected));
        }
      }
    }
  }
}

TEST_CASE("attention_scores are exact integers times the scale", "[kernels]") {
  Random random(7);
  for (std::size_t head_size : {16u, 32u, 48u, 64u, 1024u}) {
    for (std::size_t tokens : {1u, 2u, 3u, 4u, 5u, 7u, 8u, 31u, 33u}) {
      for (bool extreme : {false, true}) {
        CAPTURE(head_size, tokens, extreme);
        const std::size_t stride = head_size + 16, misalignment = tokens % 3;
        const std::size_t rows = tokens < 31 ? 1 + tokens % 3 : tokens - 14;  // up to more than any table takes at once
        Guarded<std::int8_t> queries((rows - 1) * stride + head_size, misalignment), keys((tokens - 1) * stride + head_size, misalignment);
        const auto value = [&] {
          if (extreme) return random.below(8) == 0 ? -15 : 15;
          return static_cast<int>(random.below(31)) - 15;
        };
        for (auto& u : queries.span()) u = static_cast<std::int8_t>(value());
        for (auto& u : keys.span()) u = static_cast<std::int8_t>(value());
        for (const KernelTable* table : kernel_tables()) {
          CAPTURE(table->name);
          Guarded<float> scores(rows * padded(tokens), misalignment);
          table->attention_scores(queries.data(), rows, keys.data(), stride, tokens, head_size, 0.0123f, scores.data());
          REQUIRE(scores.intact());
          for (std::size_t n = 0; n < rows * padded(tokens); ++n) {
            const std::size_t i = n / padded(tokens), j = std::min(n % padded(tokens), tokens - 1);
            int sum = 0;
            for (std::size_t k = 0; k < head_size; ++k) sum += queries[i * stride + k] * keys[j * stride + k];
            REQUIRE(scores[n] == static_cast<float>(sum) * 0.0123f);
          }
        }
      }
    }
  }
}
