// How fast the engine is, kernel table by kernel table, as JSON.
//
//   bench_engine PACK [--tokens N] [--runs R] [--texts FILE]
//
// Runs one text of exactly N tokens through all blocks R times, with every table but the reference, and prints the median and the
// 10th and 90th percentile in microseconds and each stage's share of the time. With FILE (a text, or "a<TAB>b", a line) also a pass
// over its lines under the pack's own rule. Shares come from runs of their own: looking at the clock costs time.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "beex/classifier.h"
#include "tools/files.h"
#include "tools/timing.h"

namespace {

using beex::test::Clock;
using beex::test::Input;
using beex::test::kStageName;
using beex::test::kStages;
using beex::test::microseconds;
using beex::test::StageTimes;

beex::Result classify(beex::Classifier& classifier, const Input& input, const beex::Policy& policy) {
  beex::Result result;
  if (classifier.pack().config.inputs == 1) {
    classifier.classify(input.a, policy, result);
  } else {
    classifier.classify_pair(input.a, input.b, policy, result);
  }
  return result;
}

double percentile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5)];
}

void print_spread(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  std::printf("\"median_us\": %.1f, \"p10_us\": %.1f, \"p90_us\": %.1f", percentile(times, 0.5), percentile(times, 0.1), percentile(times, 0.9));
}

template <class Function>
double time_of(Function function) {
  const Clock::time_point start = Clock::now();
  function();
  return microseconds(Clock::now() - start);
}

void bench_full_depth(beex::Classifier& classifier, const Input& input, int runs) {
  for (int i = 0; i < runs / 10 + 1; ++i) classify(classifier, input, {});  // warm caches and the compiler of a wasm engine
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) times.push_back(time_of([&] { classify(classifier, input, {}); }));
  print_spread(times);
  StageTimes stages;
  classifier.observe(beex::StageObserver{StageTimes::enter, &stages});
  for (int i = 0; i < runs; ++i) classify(classifier, input, {});
  classifier.observe(beex::StageObserver{});
  double all = 0.0;
  for (const double spent : stages.spent) all += spent;
  std::printf(", \"share\": {");
  for (std::size_t i = 0; i < kStages; ++i) std::printf("%s\"%s\": %.3f", i == 0 ? "" : ", ", kStageName[i], stages.spent[i] / all);
  std::printf("}");
}

void bench_texts(beex::Classifier& classifier, const std::vector<Input>& inputs) {
  for (const Input& input : inputs) classify(classifier, input, {classifier.pack().exit_rule});
  std::vector<double> times;
  double tokens = 0.0, blocks = 0.0;
  for (const Input& input : inputs) {
    beex::Result result;
    times.push_back(time_of([&] { result = classify(classifier, input, {classifier.pack().exit_rule}); }));
    tokens += result.tokens;
    blocks += result.blocks_run;
  }
  const auto count = static_cast<double>(inputs.size());
  std::printf(", \"texts\": {\"count\": %zu, \"mean_tokens\": %.1f, \"mean_blocks\": %.2f, ", inputs.size(), tokens / count, blocks / count);
  print_spread(times);
  std::printf("}");
}

// One input a line; only a pack for pairs gives a meaning to tabs.
std::vector<Input> read_inputs(const char* path, bool pairs) {
  std::vector<Input> inputs;
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) return inputs;
  for (std::string line; beex::test::read_line(file, line);) {
    const std::size_t tab = pairs ? line.find('\t') : std::string::npos;
    inputs.push_back({line.substr(0, tab), tab == std::string::npos ? "" : line.substr(tab + 1)});
  }
  std::fclose(file);
  return inputs;
}

int fail(const char* what, const char* why) {
  std::fprintf(stderr, "bench_engine: %s: %s\n", what, why);
  return 1;
}

}  // namespace

int main(int count, char** arguments) {
  const char* path = nullptr;
  const char* texts = nullptr;
  std::size_t tokens = 32;
  int runs = 200;
  for (int i = 1; i < count; ++i) {
    const auto option = [&](const char* name) { return std::strcmp(arguments[i], name) == 0 && i + 1 < count; };
    if (option("--tokens")) {
      tokens = std::strtoul(arguments[++i], nullptr, 10);
    } else if (option("--runs")) {
      runs = std::max(1, std::atoi(arguments[++i]));
    } else if (option("--texts")) {
      texts = arguments[++i];
    } else {
      path = arguments[i];
    }
  }
  if (path == nullptr) return fail("usage", "bench_engine PACK [--tokens N] [--runs R] [--texts FILE]");
  bool first = true;
  for (const char* kernels : beex::kernel_names()) {
    if (std::strcmp(kernels, "reference") == 0) continue;
    beex::Bytes pack = beex::test::read_file(path);
    if (pack.size() == 0) return fail(path, "cannot be read, or is empty");
    std::unique_ptr<beex::Classifier> classifier;
    const beex::Error error = beex::Classifier::load(std::move(pack), kernels, classifier);
    if (!error.ok()) return fail(path, error.message);
    if (classifier->pack().config.task == beex::Task::kFeatures) return fail(path, "it has no classes: there are no exits to measure");
    const std::vector<Input> inputs =
        texts != nullptr ? read_inputs(texts, classifier->pack().config.inputs == 2) : std::vector<Input>();
    if (texts != nullptr && inputs.empty()) return fail(texts, "no texts");
    const Input input = beex::test::make_input(classifier->pack(), tokens);
    const beex::Result result = classify(*classifier, input, {});
    if (result.tokens != tokens || result.windows != 1 || result.truncated) return fail("--tokens", "no text of that many tokens fits this pack");
    if (first) {
      const beex::Config& config = classifier->pack().config;
      std::printf("{\"tokens\": %zu, \"hidden_size\": %u, \"slfn_size\": %u, \"blocks\": %u, \"runs\": %d, \"memory\": %zu, \"kernels\": {",
                  tokens, config.hidden_size, config.slfn_size, config.blocks, runs, classifier->memory());
    }
    std::printf("%s\n  \"%s\": {", first ? "" : ",", kernels);
    bench_full_depth(*classifier, input, runs);
    if (texts != nullptr) bench_texts(*classifier, inputs);
    std::printf("}");
    first = false;
  }
  std::printf("\n}}\n");
  return 0;
}
