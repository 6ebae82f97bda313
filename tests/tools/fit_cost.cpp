// Measures the constants of the cost model (FORMAT.md, "Cost"; engine/model/cost.h, beex_train/cost.py), with the fastest kernels.
//
//   fit_cost PACK…
//
// Runs texts of several lengths through all blocks of every pack. A constant is the time of its stages over what they did (elements, or
// multiply-adds), as a multiple of the time of one binary multiply-add; both are summed over packs and lengths. Last comes, for every
// pack and length, how much of the measured time the cost model with these constants gives, so that one sees how well it holds.
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "beex/classifier.h"
#include "tools/files.h"
#include "tools/timing.h"

namespace {

using beex::Config;
using beex::Stage;
using beex::test::Clock;
using beex::test::StageTimes;

// The terms of the cost model, each with the stages that its time goes to.
enum Term { kBinary, kEmbedding, kNgram, kAttention, kVector, kPooling, kExit, kTerms };
constexpr const char* kTermName[] = {"binary multiply-add", "e embedding", "r n-gram", "a attention", "v vector", "p pooling", "x exit"};

using Terms = std::array<double, kTerms>;

// How often each term's unit occurs in a whole run.
Terms counts_of(const Config& config, std::size_t tokens) {
  const auto n = static_cast<double>(tokens), d = static_cast<double>(config.hidden_size), f = static_cast<double>(config.slfn_size);
  const auto g = static_cast<double>(config.gate_rows()), blocks = static_cast<double>(config.blocks);
  std::size_t runs = 0;
  if (config.ngram_buckets > 0) {
    for (std::size_t k = 0; k < config.ngram_longest && k < tokens; ++k) runs += tokens - k;
  }
  Terms count{};
  count[kBinary] = blocks * (4 * n * d * d + n * (g * d + 2 * f * d + (config.slfn_form == beex::SlfnForm::kOpen ? f * d : 0)));
  count[kEmbedding] = n * d;
  if (runs > 0) count[kNgram] = static_cast<double>(runs) * config.ngram_columns();
  count[kAttention] = blocks * 2 * n * n * d;
  count[kVector] = blocks * (6 * n * d + n * (3 * d + g + 2 * f));
  count[kPooling] = 2 * n * d;
  count[kExit] = 2.0 * config.classes * d;
  return count;
}

Terms times_of(const StageTimes& stages, double runs) {
  const auto spent = [&](Stage stage) { return stages.spent[static_cast<std::size_t>(stage)] / runs; };
  Terms time{};
  time[kBinary] = spent(Stage::kBinaryLinear);
  time[kEmbedding] = spent(Stage::kEmbed);
  time[kNgram] = spent(Stage::kNgrams);
  time[kAttention] = spent(Stage::kAttention);
  time[kVector] = spent(Stage::kQuantize) + spent(Stage::kActivation) + spent(Stage::kNorm);
  time[kPooling] = spent(Stage::kPool);
  time[kExit] = spent(Stage::kExit);
  return time;
}

struct Measured {
  std::string name;
  std::size_t tokens;
  Terms count, time;
};

void classify(beex::Classifier& classifier, const beex::test::Input& input) {
  beex::Result result;
  if (classifier.pack().config.inputs == 1) {
    classifier.classify(input.a, {}, result);
  } else {
    classifier.classify_pair(input.a, input.b, {}, result);
  }
}

// The least time of several rounds for every term: others use this machine, too.
Measured measure(beex::Classifier& classifier, const char* path, std::size_t tokens) {
  constexpr double kMicroseconds = 12000.0;  // of a round; the first one is for a compiler of wasm to notice
  constexpr int kRounds = 12;
  const Config& config = classifier.pack().config;
  const std::size_t specials = config.inputs == 2 ? 3 : 2;
  const beex::test::Input input = beex::test::make_input(classifier.pack(), tokens - specials);
  std::string name(path);
  name.erase(0, name.rfind('/') + 1);
  Measured measured{name, tokens, counts_of(config, tokens), {}};
  for (int round = 0; round <= kRounds; ++round) {
    StageTimes stages;
    double runs = 0.0;
    classifier.observe(beex::StageObserver{StageTimes::enter, &stages});
    for (const Clock::time_point start = Clock::now(); beex::test::microseconds(Clock::now() - start) < kMicroseconds; ++runs) {
      classify(classifier, input);
    }
    classifier.observe(beex::StageObserver{});
    const Terms time = times_of(stages, runs);
    for (std::size_t term = 0; term < kTerms; ++term) measured.time[term] = round <= 1 ? time[term] : std::min(measured.time[term], time[term]);
  }
  return measured;
}

int fail(const char* what, const char* why) {
  std::fprintf(stderr, "fit_cost: %s: %s\n", what, why);
  return 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return fail("usage", "fit_cost PACK…");
  std::vector<Measured> all;
  for (int i = 1; i < count; ++i) {
    beex::Bytes bytes = beex::test::read_file(arguments[i]);
    if (bytes.size() == 0) return fail(arguments[i], "cannot be read, or is empty");
    std::unique_ptr<beex::Classifier> classifier;
    const beex::Error error = beex::Classifier::load(std::move(bytes), "", classifier);
    if (!error.ok()) return fail(arguments[i], error.message);
    if (classifier->pack().config.task == beex::Task::kFeatures) return fail(arguments[i], "it has no classes: there are no exits to measure");
    for (const std::size_t tokens : {8u, 16u, 32u, 64u}) {
      if (tokens <= classifier->pack().config.max_tokens) all.push_back(measure(*classifier, arguments[i], tokens));
    }
  }

  Terms counts{}, times{}, constant{};
  for (const Measured& measured : all) {
    for (std::size_t term = 0; term < kTerms; ++term) {
      if (measured.count[term] == 0.0) continue;
      counts[term] += measured.count[term];
      times[term] += measured.time[term];
    }
  }
  const double unit = times[kBinary] / counts[kBinary];
  std::printf("%.4f ns a binary multiply-add\n", 1000.0 * unit);
  for (std::size_t term = 0; term < kTerms; ++term) {
    constant[term] = counts[term] > 0.0 ? times[term] / counts[term] / unit : 0.0;
    if (term != kBinary) std::printf("  %-12s %6.2f\n", kTermName[term], constant[term]);
  }
  std::printf("share of the measured time that the model gives:\n");
  for (const Measured& measured : all) {
    double predicted = 0.0, spent = 0.0;
    for (std::size_t term = 0; term < kTerms; ++term) {
      predicted += measured.count[term] * constant[term] * unit;
      spent += measured.time[term];
    }
    std::printf("  %-20s %3zu tokens  %4.2f of %7.1f us  ", measured.name.c_str(), measured.tokens, predicted / spent, spent);
    for (std::size_t term = 0; term < kTerms; ++term) {
      if (measured.count[term] > 0.0) std::printf(" %s %.2f", kTermName[term], measured.time[term] / measured.count[term] / unit);
    }
    std::printf("\n");
  }
  return 0;
}
