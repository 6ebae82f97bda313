#include "beex/exit_rule.h"

#include <catch2/catch.hpp>
#include <vector>

namespace beex {
namespace {

struct Step {
  float entropy;
  std::vector<float> probabilities = {0.75f, 0.25f};
};

struct Outcome {
  std::uint32_t exit;
  ExitReason reason;
  bool operator==(const Outcome&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  return out << "exit " << outcome.exit << ", reason " << static_cast<int>(outcome.reason);
}

// Feeds the steps to the rule as exits 0, 1, ... until it stops.
Outcome run(const ExitRule& rule, const std::vector<Step>& steps, bool multi_label = false) {
  const auto last = static_cast<std::uint32_t>(steps.size() - 1);
  ExitState state;
  for (std::uint32_t i = 0; i <= last; ++i) {
    const ExitDecision decision = decide(rule, i, last, steps[i].entropy, steps[i].probabilities, multi_label, state);
    if (decision.stop) return {i, decision.reason};
  }
  FAIL("the last exit did not stop");
  return {};
}

const std::vector<float> kFirst = {0.75f, 0.25f}, kSecond = {0.25f, 0.75f};

}  // namespace

TEST_CASE("exit rule: off runs to the last exit, whatever the entropy") {
  CHECK(run({}, {{0.0f}, {0.0f}, {0.0f}}) == Outcome{2, ExitReason::kLast});
  ExitRule rule;
  rule.certain = 1.0f;  // guards belong to the kinds that can stop
  CHECK(run(rule, {{0.0f}, {0.0f}}) == Outcome{1, ExitReason::kLast});
}

TEST_CASE("exit rule: fractional stops when entropy stops falling") {
  ExitRule rule;
  rule.kind = ExitKind::kFractional;
  rule.threshold = 0.25f;
  SECTION("a drop goes on, a plateau stops") {
    CHECK(run(rule, {{1.0f}, {0.5f}, {0.25f}, {0.25f}, {0.0f}}) == Outcome{3, ExitReason::kReduction});
  }
  SECTION("a reduction equal to the threshold goes on") {
    CHECK(run(rule, {{1.0f}, {0.75f}, {0.5f}, {0.25f}}) == Outcome{3, ExitReason::kLast});
  }
  SECTION("the first exit has nothing to compare with") {
    CHECK(run(rule, {{0.5f}, {0.5f}, {0.5f}}) == Outcome{1, ExitReason::kReduction});
  }
  SECTION("a rise stops; the exit before answers only when asked for") {
    CHECK(run(rule, {{0.5f}, {0.625f}, {0.5f}}) == Outcome{1, ExitReason::kReduction});
    rule.keep_lower_entropy = true;
    CHECK(run(rule, {{0.5f}, {0.625f}, {0.5f}}) == Outcome{1, ExitReason::kRising});
    CHECK(run(rule, {{0.5f}, {0.5f}, {0.5f}}) == Outcome{1, ExitReason::kReduction});
  }
  SECTION("the last exit answers for itself, even when entropy rose") {
    rule.keep_lower_entropy = true;
    CHECK(run(rule, {{0.5f}, {0.75f}}) == Outcome{1, ExitReason::kLast});
  }
  SECTION("after an entropy of zero the reduction is zero") {
    CHECK(run(rule, {{0.0f}, {0.5f}, {0.0f}}) == Outcome{1, ExitReason::kReduction});
    rule.threshold = 0.0f;  // not below 0
    CHECK(run(rule, {{0.0f}, {0.5f}, {0.0f}}) == Outcome{2, ExitReason::kLast});
  }
  SECTION("an uncertain exit goes on") {
    rule.uncertain = 0.5f;
    CHECK(run(rule, {{0.75f}, {0.75f}, {0.5f}, {0.4375f}, {0.0f}}) == Outcome{3, ExitReason::kReduction});
    // Equal to the guard is not below it.
    CHECK(run(rule, {{0.5f}, {0.5f}, {0.5f}}) == Outcome{2, ExitReason::kLast});
    rule.keep_lower_entropy = true;
    CHECK(run(rule, {{0.25f}, {0.75f}, {0.0f}}) == Outcome{2, ExitReason::kLast});
  }
  SECTION("a certain exit stops at once") {
    rule.certain = 0.125f;
    CHECK(run(rule, {{0.0625f}, {0.0f}}) == Outcome{0, ExitReason::kCertain});
    CHECK(run(rule, {{0.125f}, {0.0f}, {0.0f}}) == Outcome{1, ExitReason::kCertain});
  }
  SECTION("exits before the first one do not stop but are what the next is compared with") {
    rule.first_exit = 2;
    rule.certain = 0.125f;
    CHECK(run(rule, {{0.0f}, {0.5f}, {0.5f}, {0.0f}}) == Outcome{2, ExitReason::kReduction});
    CHECK(run(rule, {{0.5f}, {0.5f}, {0.0f}, {0.0f}}) == Outcome{2, ExitReason::kCertain});
    CHECK(run(rule, {{0.5f}, {0.5f}, {0.25f}, {0.25f}, {0.0f}}) == Outcome{3, ExitReason::kReduction});
  }
}

TEST_CASE("exit rule: entropy stops below the threshold") {
  ExitRule rule;
  rule.kind = ExitKind::kEntropy;
  rule.threshold = 0.5f;
  CHECK(run(rule, {{0.25f}, {1.0f}}) == Outcome{0, ExitReason::kEntropy});
  CHECK(run(rule, {{1.0f}, {0.5f}, {0.4375f}, {0.0f}}) == Outcome{2, ExitReason::kEntropy});
  rule.first_exit = 3;
  CHECK(run(rule, {{0.0f}, {0.0f}, {0.0f}, {0.0f}, {0.0f}}) == Outcome{3, ExitReason::kEntropy});
  rule.certain = 0.125f;
  CHECK(run(rule, {{0.0f}, {0.0f}, {0.0f}, {0.0f}, {0.0f}}) == Outcome{3, ExitReason::kCertain});
}

TEST_CASE("exit rule: patience counts agreeing exits, this one included") {
  ExitRule rule;
  rule.kind = ExitKind::kPatience;
  rule.threshold = 2.0f;
  CHECK(run(rule, {{1.0f, kFirst}, {1.0f, kFirst}, {1.0f, kFirst}}) == Outcome{1, ExitReason::kPatience});
  CHECK(run(rule, {{1.0f, kFirst}, {1.0f, kSecond}, {1.0f, kSecond}, {1.0f}}) == Outcome{2, ExitReason::kPatience});
  CHECK(run(rule, {{1.0f, kFirst}, {1.0f, kSecond}, {1.0f, kFirst}, {1.0f, kSecond}}) == Outcome{3, ExitReason::kLast});
  rule.threshold = 1.0f;
  CHECK(run(rule, {{1.0f}, {1.0f}}) == Outcome{0, ExitReason::kPatience});
  rule.threshold = 2.5f;
  CHECK(run(rule, {{1.0f}, {1.0f}, {1.0f}, {1.0f}}) == Outcome{2, ExitReason::kPatience});
  // Exits that may not stop still count.
  rule.threshold = 2.0f;
  rule.first_exit = 2;
  CHECK(run(rule, {{1.0f, kSecond}, {1.0f}, {1.0f}, {1.0f}}) == Outcome{2, ExitReason::kPatience});
}

TEST_CASE("exit rule: of equal probabilities the first is the label") {
  ExitRule rule;
  rule.kind = ExitKind::kPatience;
  rule.threshold = 2.0f;
  CHECK(run(rule, {{1.0f, kFirst}, {1.0f, {0.5f, 0.5f}}, {1.0f}}) == Outcome{1, ExitReason::kPatience});
  CHECK(run(rule, {{1.0f, kSecond}, {1.0f, {0.5f, 0.5f}}, {1.0f, kSecond}}) == Outcome{2, ExitReason::kLast});
}

TEST_CASE("exit rule: probability stops above the threshold") {
  ExitRule rule;
  rule.kind = ExitKind::kProbability;
  rule.threshold = 0.75f;
  CHECK(run(rule, {{1.0f, {0.75f, 0.25f}}, {1.0f, {0.0f, 0.875f}}, {1.0f}}) == Outcome{1, ExitReason::kProbability});
  CHECK(run(rule, {{1.0f}, {1.0f}, {1.0f}}) == Outcome{2, ExitReason::kLast});
}

TEST_CASE("exit rule: of independent labels the least decided one gives the confidence") {
  ExitRule rule;
  rule.kind = ExitKind::kProbability;
  rule.threshold = 0.75f;
  const auto at = [&](const std::vector<float>& probabilities) { return run(rule, {{1.0f, probabilities}, {1.0f}}, true).reason; };
  CHECK(at({0.875f, 0.125f, 0.9375f}) == ExitReason::kProbability);
  CHECK(at({0.0f, 0.125f, 0.0f}) == ExitReason::kProbability);  // no label at all is an answer too
  CHECK(at({0.875f, 0.75f, 0.9375f}) == ExitReason::kLast);     // equal to the threshold is not above it
  CHECK(at({0.875f, 0.25f, 0.9375f}) == ExitReason::kLast);
  CHECK(at({1.0f, 0.5f}) == ExitReason::kLast);
  rule.kind = ExitKind::kPatience;
  rule.threshold = 2.0f;
  CHECK(run(rule, {{1.0f, {0.5f, 0.875f}}, {1.0f, {0.875f, 0.9375f}}, {1.0f}}, true) == Outcome{1, ExitReason::kPatience});
}

TEST_CASE("exit rule: a single exit is the last one") {
  for (const ExitKind kind : {ExitKind::kOff, ExitKind::kFractional, ExitKind::kEntropy, ExitKind::kPatience, ExitKind::kProbability}) {
    ExitRule rule;
    rule.kind = kind;
    rule.threshold = 1.0f;
    rule.certain = 1.0f;
    CHECK(run(rule, {{0.0f}}) == Outcome{0, ExitReason::kLast});
  }
}

}  // namespace beex
