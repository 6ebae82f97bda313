// Probabilities and entropies of both tasks (FORMAT.md, "Exits") against exact arithmetic, and at their ends.
#include "model/calibration.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <vector>

#include "unit/kernel_buffers.h"

namespace beex {
namespace {

using testing::Random;

struct Calibrated {
  std::vector<float> probabilities;
  float entropy;
};

using Temperatures = std::vector<float>;  // inverse: one, or one per class

Calibrated single_label(const std::vector<float>& logits, const Temperatures& inverse_temperature = {1.0f}) {
  const auto classes = static_cast<std::uint32_t>(logits.size());
  std::vector<float> scratch(classes), probabilities(classes);
  const float entropy =
      calibrate_single_label(logits, inverse_temperature, inverse_largest_entropy(classes, false), scratch, probabilities);
  return {probabilities, entropy};
}

Calibrated multi_label(const std::vector<float>& logits, const Temperatures& inverse_temperature = {1.0f}) {
  const auto classes = static_cast<std::uint32_t>(logits.size());
  std::vector<float> probabilities(classes);
  const float entropy = calibrate_multi_label(logits, inverse_temperature, inverse_largest_entropy(classes, true), probabilities);
  return {probabilities, entropy};
}

std::vector<float> random_logits(std::size_t classes, Random& random) {
  std::vector<float> logits(classes);
  random.fill(std::span<float>(logits), -12.0f, 12.0f);
  return logits;
}

}  // namespace

TEST_CASE("calibration: single label, against exact arithmetic") {
  Random random(31);
  for (const std::size_t classes : {2u, 3u, 5u, 27u, 1000u}) {
    for (const float inverse_temperature : {0.25f, 1.0f, 3.0f}) {
      const auto logits = random_logits(classes, random);
      const Calibrated found = single_label(logits, {inverse_temperature});
      double z = 0.0, entropy = 0.0;
      for (const float logit : logits) z += std::exp(double{logit} * inverse_temperature);
      for (std::size_t c = 0; c < classes; ++c) {
        const double p = std::exp(double{logits[c]} * inverse_temperature) / z;
        CHECK(std::fabs(found.probabilities[c] - p) < 1e-6);
        entropy -= p * std::log(p);
      }
      CHECK(std::fabs(found.entropy - entropy / std::log(static_cast<double>(classes))) < 2e-6);
    }
  }
}

TEST_CASE("calibration: multi-label, against exact arithmetic") {
  Random random(32);
  for (const std::size_t classes : {2u, 3u, 5u, 28u, 1000u}) {
    for (const float inverse_temperature : {0.25f, 1.0f, 3.0f}) {
      const auto logits = random_logits(classes, random);
      const Calibrated found = multi_label(logits, {inverse_temperature});
      double entropy = 0.0;
      for (std::size_t c = 0; c < classes; ++c) {
        const double y = double{logits[c]} * inverse_temperature, p = 1.0 / (1.0 + std::exp(-y)), other = 1.0 / (1.0 + std::exp(y));
        CHECK(std::fabs(found.probabilities[c] - p) < 1e-6);
        entropy -= p * std::log(p) + other * std::log(other);
      }
      CHECK(std::fabs(found.entropy - entropy / (static_cast<double>(classes) * std::log(2.0))) < 2e-6);
    }
  }
}

TEST_CASE("calibration: a temperature per class is as if the logits were divided before") {
  Random random(34);
  for (const std::size_t classes : {2u, 3u, 5u, 27u}) {
    const auto logits = random_logits(classes, random);
    Temperatures inverse(classes);
    random.fill(std::span<float>(inverse), 0.25f, 3.0f);
    std::vector<float> divided(classes);
    for (std::size_t c = 0; c < classes; ++c) divided[c] = logits[c] * inverse[c];
    for (const auto function : {single_label, multi_label}) {
      const Calibrated found = function(logits, inverse), expected = function(divided, {1.0f});
      CHECK(found.probabilities == expected.probabilities);
      CHECK(found.entropy == expected.entropy);
      CHECK(found.probabilities != function(logits, {1.0f}).probabilities);
    }
  }
}

TEST_CASE("calibration: undecided is 1, decided is 0, and nothing is outside or not a number") {
  CHECK(single_label({3.0f, 3.0f, 3.0f}).entropy == Approx(1.0f));
  CHECK(single_label({500.0f, 0.0f}).entropy == Approx(0.0f).margin(1e-6));
  for (const std::size_t classes : {2u, 3u, 28u, 4096u}) {
    CHECK(multi_label(std::vector<float>(classes, 0.0f)).entropy == Approx(1.0f));
    CHECK(multi_label(std::vector<float>(classes, -0.0f)).entropy == Approx(1.0f));
    CHECK(multi_label(std::vector<float>(classes, 100.0f)).entropy == Approx(0.0f).margin(1e-6));
    CHECK(multi_label(std::vector<float>(classes, -100.0f)).entropy == Approx(0.0f).margin(1e-6));
  }
  for (const float largest : {100.0f, 1e9f, 1e31f}) {
    for (const float inverse_temperature : {1e-45f, 1.0f}) {
      const std::vector<float> logits = {largest, -largest, 0.0f, 1.0f};
      for (const Calibrated& found : {single_label(logits, {inverse_temperature}), multi_label(logits, {inverse_temperature})}) {
        CHECK((found.entropy >= 0.0f && found.entropy <= 1.00001f));
        for (const float p : found.probabilities) CHECK((p >= 0.0f && p <= 1.0f));
      }
    }
  }
}

TEST_CASE("calibration: the entropy of a label does not depend on its sign, to the bit") {
  Random random(33);
  for (int i = 0; i < 1000; ++i) {
    const float a = random.between(-20.0f, 20.0f), b = random.between(-20.0f, 20.0f);
    const float entropy = multi_label({a, b}).entropy;
    CHECK(multi_label({-a, b}).entropy == entropy);
    CHECK(multi_label({-a, -b}).entropy == entropy);
  }
}

}  // namespace beex
