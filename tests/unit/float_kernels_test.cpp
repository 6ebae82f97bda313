// Float kernels: every table gives the reference's bits, and the elementary functions keep the error bounds of math.h.
#include <catch2/catch.hpp>
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"
#include "kernels/math.h"
#include "unit/kernel_buffers.h"

using namespace beex;
using beex::testing::Guarded;
using beex::testing::Random;

namespace {

std::span<const KernelTable* const> tables_under_test() { return kernel_tables().first(kernel_tables().size() - 1); }

enum class Values { kOrdinary, kLarge, kDenormal, kMixed };
constexpr Values kAllValues[] = {Values::kOrdinary, Values::kLarge, Values::kDenormal, Values::kMixed};

// Finite floats that are anything but dyadic, with both zeros among them.
void fill(std::span<float> x, Values values, Random& random) {
  const float denormal = std::numeric_limits<float>::denorm_min();
  for (float& value : x) {
    const float u = random.between(-1.0f, 1.0f);
    const std::uint32_t dice = random.below(16);
    if (dice == 0) {
      value = 0.0f;
    } else if (dice == 1) {
      value = -0.0f;
    } else if (values == Values::kOrdinary) {
      value = u * 5.0f;
    } else if (values == Values::kLarge) {
      value = u * 1e6f;
    } else if (values == Values::kDenormal) {
      value = u * 1e6f * denormal;
    } else {
      value = u * std::pow(10.0f, static_cast<float>(random.below(20)) - 12.0f);
    }
  }
}

void copy(Guarded<float>& from, Guarded<float>& to) { std::memcpy(to.data(), from.data(), from.size() * sizeof(float)); }

// Runs `kernel(table, x)` in place on copies of `input` and compares the bits.
template <class Kernel>
void check_in_place(Guarded<float>& input, std::size_t misalignment, Kernel kernel) {
  Guarded<float> expected(input.size());
  copy(input, expected);
  kernel(reference::kTable, expected.data());
  REQUIRE(expected.intact());
  for (const KernelTable* table : tables_under_test()) {
    CAPTURE(table->name);
    Guarded<float> x(input.size(), misalignment);
    copy(input, x);
    kernel(*table, x.data());
    REQUIRE(x.intact());
    REQUIRE(x.same_bits(expected));
  }
}

float bits_to_float(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// Fills a row's padding, from n on, as attention_scores does.
void pad(std::span<float> row, std::size_t n) {
  for (std::size_t i = n; i < row.size(); ++i) row[i] = row[n - 1];
}

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace

TEST_CASE("softmax has the reference's bits for any length and any number of rows", "[float]") {
  Random random(11);
  for (Values values : kAllValues) {
    for (std::size_t n = 1; n <= 41; ++n) {
      for (std::size_t rows : {1u, 2u, 3u}) {
        CAPTURE(static_cast<int>(values), n, rows);
        Guarded<float> x(rows * padded(n));
        fill(x.span(), values, random);
        for (std::size_t r = 0; r < rows; ++r) pad(x.span().subspan(r * padded(n), padded(n)), n);
        check_in_place(x, n % 4, [&](const KernelTable& table, float* p) { table.softmax(p, rows, n); });
      }
    }
    Guarded<float> x(512);
    fill(x.span(), values, random);
    pad(x.span(), 511);
    check_in_place(x, 1, [](const KernelTable& table, float* p) { table.softmax(p, 1, 511); });
  }
}

TEST_CASE("softmax adds up to one and keeps the order", "[float]") {
  Random random(12);
  for (const KernelTable* table : kernel_tables()) {
    CAPTURE(table->name);
    for (std::size_t n : {1u, 2u, 5u, 38u, 511u}) {
      Guarded<float> x(padded(n)), p(padded(n));
      fill(x.span(), Values::kOrdinary, random);
      pad(x.span(), n);
      copy(x, p);
      table->softmax(p.data(), 1, n);
      double sum = 0.0;
      for (std::size_t i = 0; i < n; ++i) {
        sum += static_cast<double>(p[i]);
        for (std::size_t j = 0; j < n; ++j) REQUIRE((x[i] <= x[j] || p[i] >= p[j]));
      }
      CHECK(sum == Approx(1.0).epsilon(1e-5));
      for (std::size_t i = n; i < padded(n); ++i) CHECK(p[i] == 0.0f);
    }
  }
}

TEST_CASE("sigmoid and tanh have the reference's bits", "[float]") {
  Random random(13);
  for (Values values : kAllValues) {
    for (std::size_t n : {4u, 8u, 12u, 16u, 64u, 252u, 1024u}) {
      CAPTURE(static_cast<int>(values), n);
      Guarded<float> x(n);
      fill(x.span(), values, random);
      check_in_place(x, 1, [n](const KernelTable& table, float* p) { table.sigmoid(p, n); });
      check_in_place(x, 3, [n](const KernelTable& table, float* p) { table.tanh(p, n); });
    }
  }
}

TEST_CASE("exp in one lane has the bits of four lanes and of the reference", "[float]") {
  // softmax of {x, 0} with x <= 0 gives exp(x) / (exp(x) + 1); the sweep goes through every exponent of exp's range.
  for (float x = 0.0f; x > -89.0f; x -= 0.0137f) {
    float pair[padded(2)] = {x, 0.0f};
    reference::kTable.softmax(pair, 1, 2);
    const float e = beex::exp(x);
    const float inverse = 1.0f / ((e + 1.0f) + (0.0f + 0.0f));
    REQUIRE(same_bits(pair[0], e * inverse));
    REQUIRE(same_bits(beex::exp(scalar::Float4(x)).lane[3], e));
  }
}

TEST_CASE("add_layer_norm has the reference's bits, also in place", "[float]") {
  Random random(14);
  for (Values values : kAllValues) {
    for (std::size_t d : {64u, 128u, 192u, 384u, 1024u}) {
      const std::size_t rows = 1 + d / 64 % 4;
      CAPTURE(static_cast<int>(values), d, rows);
      Guarded<float> a(rows * d, 1), b(rows * d, 2), gamma(d, 3), beta(d, 1);
      fill(a.span(), values, random);
      fill(b.span(), values, random);
      random.fill(gamma.span(), -2.0f, 2.0f);
      random.fill(beta.span(), -1.0f, 1.0f);
      const auto sum_in_a = [&](const KernelTable& table, float* p) {
        table.add_layer_norm(p, b.data(), gamma.data(), beta.data(), rows, d, p);
      };
      const auto sum_in_b = [&](const KernelTable& table, float* p) {
        table.add_layer_norm(b.data(), p, gamma.data(), beta.data(), rows, d, p);
      };
      const auto alone = [&](const KernelTable& table, float* p) {
        table.add_layer_norm(p, nullptr, gamma.data(), beta.data(), rows, d, p);
      };
      check_in_place(a, 0, sum_in_a);
      check_in_place(a, 1, sum_in_b);
      check_in_place(a, 2, alone);
      // Into another buffer: the inputs stay as they were.
      for (const KernelTable* table : kernel_tables()) {
        Guarded<float> before(rows * d), out(rows * d), in_place(rows * d);
        copy(a, before);
        copy(a, in_place);
        table->add_layer_norm(a.data(), b.data(), gamma.data(), beta.data(), rows, d, out.data());
        sum_in_a(*table, in_place.data());
        REQUIRE(out.intact());
        REQUIRE(out.same_bits(in_place));
        REQUIRE(a.same_bits(before));
      }
    }
  }
}

TEST_CASE("add_layer_norm normalizes", "[float]") {
  Random random(15);
  const std::size_t d = 192;
  Guarded<float> a(d), gamma(d), beta(d), out(d);
  fill(a.span(), Values::kOrdinary, random);
  for (auto& x : gamma.span()) x = 1.0f;
  for (auto& x : beta.span()) x = 0.0f;
  for (const KernelTable* table : kernel_tables()) {
    table->add_layer_norm(a.data(), nullptr, gamma.data(), beta.data(), 1, d, out.data());
    double sum = 0.0, squares = 0.0;
    for (float x : out.span()) {
      sum += static_cast<double>(x);
      squares += static_cast<double>(x) * static_cast<double>(x);
    }
    CHECK(sum / d == Approx(0.0).margin(1e-6));
    CHECK(squares / d == Approx(1.0).epsilon(1e-4));
  }
}

TEST_CASE("multiply, add and dot have the reference's bits", "[float]") {
  Random random(16);
  for (Values values : kAllValues) {
    for (std::size_t n : {4u, 8u, 12u, 16u, 60u, 64u, 1024u}) {
      CAPTURE(static_cast<int>(values), n);
      Guarded<float> x(n, 1), y(n, 2);
      fill(x.span(), values, random);
      fill(y.span(), values, random);
      check_in_place(x, 1, [&](const KernelTable& table, float* p) { table.multiply(p, y.data(), n, p); });
      check_in_place(x, 2, [&](const KernelTable& table, float* p) { table.multiply(y.data(), p, n, p); });
      check_in_place(x, 3, [&](const KernelTable& table, float* p) { table.add(y.data(), n, p); });
      check_in_place(x, 0, [&](const KernelTable& table, float* p) { p[0] = table.dot(p, y.data(), n); });
      REQUIRE(same_bits(reference::kTable.dot(x.data(), y.data(), n), sum4(n, [&](std::size_t i) { return x[i] * y[i]; })));
    }
  }
}

TEST_CASE("weighted_sum has the reference's bits", "[float]") {
  Random random(17);
  for (std::size_t columns : {16u, 32u, 48u, 64u}) {
    for (std::size_t tokens : {1u, 2u, 3u, 7u, 33u}) {
      CAPTURE(columns, tokens);
      const std::size_t stride = 3 * columns + 1;
      const std::size_t rows = 1 + tokens % 3;
      Guarded<float> weight(rows * padded(tokens), 1), values((tokens - 1) * stride + columns, 3), unused(rows * columns);
      random.fill(weight.span(), 0.0f, 1.0f);
      fill(values.span(), Values::kMixed, random);
      for (auto& x : unused.span()) x = 7.0f;  // what is in `out` before must not count
      check_in_place(unused, tokens % 4, [&](const KernelTable& table, float* p) {
        table.weighted_sum(weight.data(), rows, values.data(), stride, tokens, columns, p, columns);
      });
    }
  }
}

TEST_CASE("few-bit rows have the reference's bits, and the reference the equation's", "[float]") {
  Random random(18);
  for (std::uint32_t bits : {1u, 2u, 4u, 8u}) {
    for (std::size_t columns : {64u, 128u, 192u, 1024u}) {
      for (bool accumulate : {false, true}) {
        CAPTURE(bits, columns, accumulate);
        Guarded<std::uint8_t> row(columns * bits / 8, 1 + columns % 5);
        random.fill(row.span());
        Guarded<float> before(columns);
        fill(before.span(), Values::kOrdinary, random);
        const float scale = 0.0137f;
        const auto kernel = [&](const KernelTable& table, float* p) {
          table.add_few_bit_row(row.data(), bits, scale, columns, accumulate, p);
        };
        check_in_place(before, 1, kernel);
        REQUIRE(row.intact());

        Guarded<float> out(columns);
        copy(before, out);
        kernel(reference::kTable, out.data());
        const int m = (1 << bits) - 1;
        for (std::size_t k = 0; k < columns; ++k) {
          int q = 0;
          for (std::uint32_t i = 0; i < bits; ++i) {
            const std::size_t bit = k * bits + i;
            q |= ((row[bit / 8] >> (bit % 8)) & 1) << i;
          }
          const float value = scale * static_cast<float>(2 * q - m);
          REQUIRE(out[k] == (accumulate ? before[k] + value : value));
        }
      }
    }
  }
}

TEST_CASE("elementary functions stay within the bounds of math.h", "[float]") {
  double exp_error = 0.0, ln_error = 0.0, ln_absolute = 0.0, sigmoid_error = 0.0, tanh_error = 0.0;
  const int n = 200000;
  const auto grid = [](float low, float high, int i) {
    return low + (high - low) * (static_cast<float>(i) / static_cast<float>(n));
  };
  for (int i = 0; i <= n; ++i) {
    const float x = grid(-87.0f, 88.0f, i);
    const long double exact = std::exp(static_cast<long double>(x));
    exp_error = std::max(exp_error, static_cast<double>(std::abs(static_cast<long double>(beex::exp(x)) - exact) / exact));

    const float z = grid(-30.0f, 30.0f, i);
    const long double sigmoid_exact = 1.0L / (1.0L + std::exp(-static_cast<long double>(z)));
    sigmoid_error = std::max(sigmoid_error, static_cast<double>(std::abs(static_cast<long double>(beex::sigmoid(z)) - sigmoid_exact)));
    const float w = grid(-12.0f, 12.0f, i);
    const long double tanh_exact = std::tanh(static_cast<long double>(w));
    tanh_error = std::max(tanh_error, static_cast<double>(std::abs(static_cast<long double>(beex::tanh(w)) - tanh_exact)));

    // Every exponent of a normal float, and the neighbourhood of 1, where ln vanishes.
    const auto step = static_cast<std::uint32_t>((0x7f7fffffu - 0x00800000u) / static_cast<unsigned>(n));
    const float y = bits_to_float(0x00800000u + static_cast<std::uint32_t>(i) * step);
    const long double ln_exact = std::log(static_cast<long double>(y));
    if (y < 0.5f || y > 2.0f) {
      ln_error = std::max(ln_error, static_cast<double>(std::abs((static_cast<long double>(ln(y)) - ln_exact) / ln_exact)));
    }
    const float v = grid(0.5f, 2.0f, i);
    const long double near_exact = std::log(static_cast<long double>(v));
    ln_absolute = std::max(ln_absolute, static_cast<double>(std::abs(static_cast<long double>(ln(v)) - near_exact)));
  }
  CAPTURE(exp_error, sigmoid_error, tanh_error, ln_error, ln_absolute);
  CHECK(exp_error < 1.01e-7);
  CHECK(sigmoid_error < 8.9e-8);
  CHECK(tanh_error < 1.8e-7);
  CHECK(ln_error < 1.15e-7);
  CHECK(ln_absolute < 6.6e-8);
}

TEST_CASE("elementary functions at special points", "[float]") {
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(beex::exp(0.0f) == 1.0f);
  CHECK(beex::exp(-0.0f) == 1.0f);
  CHECK(beex::exp(-1e30f) == beex::exp(-87.0f));
  CHECK(beex::exp(1e30f) == beex::exp(88.0f));
  CHECK(beex::exp(infinity) == beex::exp(88.0f));
  CHECK(std::isnormal(beex::exp(-87.0f)));
  CHECK(std::isnormal(beex::exp(88.0f)));
  CHECK(beex::sigmoid(0.0f) == 0.5f);
  CHECK(beex::sigmoid(50.0f) == 1.0f);
  CHECK(beex::tanh(0.0f) == 0.0f);
  CHECK(beex::tanh(40.0f) == 1.0f);
  CHECK(beex::tanh(-40.0f) == -1.0f);
  CHECK(ln(1.0f) == 0.0f);
  CHECK(ln(2.0f) == 0.693147180f);
  CHECK(std::isfinite(ln(std::numeric_limits<float>::min())));
  CHECK(std::isfinite(ln(std::numeric_limits<float>::max())));
}

TEST_CASE("sum4 adds element i to partial sum i mod 4", "[float]") {
  // 2^24 + 1 is not a float: only this order gives this sum.
  const float x[7] = {16777216.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, -16777216.0f};
  const float s[4] = {16777216.0f + 1.0f, 1.0f + 1.0f, 1.0f + -16777216.0f, 1.0f};
  CHECK(same_bits(sum4(7, [&](std::size_t i) { return x[i]; }), (s[0] + s[1]) + (s[2] + s[3])));
  CHECK(sum4(0, [&](std::size_t i) { return x[i]; }) == 0.0f);
}
