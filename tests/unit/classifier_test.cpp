#include "beex/classifier.h"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>

#include "beex/tokenizer.h"
#include "model/calibration.h"
#include "model/network.h"
#include "unit/pack_builder.h"

// Counts and refuses allocations, so that "classify allocates nothing" and "load survives an allocator that refuses" can be
// tested. With glibc the functions below stand in front of its own; elsewhere these tests say that they did not run.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define BEEX_WATCH_ALLOCATIONS
#include <malloc.h>

namespace {
struct Watch {
  bool on = false;
  long allocations = 0;
  long allowed = -1;    // how many still succeed; -1 is all of them
  long long live = 0;   // bytes
};
Watch watch;

bool refused() {
  if (!watch.on) return false;
  ++watch.allocations;
  if (watch.allowed == 0) return true;
  if (watch.allowed > 0) --watch.allowed;
  return false;
}

void* counted(void* memory) {
  if (watch.on && memory != nullptr) watch.live += static_cast<long long>(malloc_usable_size(memory));
  return memory;
}
}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t size) { return refused() ? nullptr : counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) { return refused() ? nullptr : counted(__libc_calloc(count, size)); }
void free(void* memory) {
  if (watch.on && memory != nullptr) watch.live -= static_cast<long long>(malloc_usable_size(memory));
  __libc_free(memory);
}
}
#endif

namespace beex {
namespace {

using test::PackBuilder;
using test::PackOptions;
using test::Random;
using test::to_bytes;

std::unique_ptr<Classifier> load(const PackOptions& options, std::string_view kernels = "") {
  std::unique_ptr<Classifier> classifier;
  const Error error = Classifier::load(to_bytes(PackBuilder(options).build()), kernels, classifier);
  INFO(error.message);
  REQUIRE(error.ok());
  return classifier;
}

// `count` one-letter words: one token each.
std::string letters(std::size_t count, std::uint64_t seed = 5) {
  Random random(seed);
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += static_cast<char>('a' + random.below(26));
    text += ' ';
  }
  return text;
}

std::vector<float> copy(std::span<const float> values) { return {values.begin(), values.end()}; }

// A network beside the classifier, driven by hand.
struct ByHand {
  explicit ByHand(const PackOptions& options) : bytes(to_bytes(PackBuilder(options).build())), pack(std::make_unique<Pack>()) {
    REQUIRE(Pack::parse(bytes.view(), *pack).ok());
    REQUIRE(Tokenizer::load(pack->vocabulary, pack->config, tokenizer).ok());
    REQUIRE(Network::load(*pack, *find_kernels("reference"), network).ok());
  }

  std::vector<std::uint32_t> ids(std::string_view text) {
    std::vector<Token> tokens(text.size() + 1);
    tokens.resize(TokenStream(tokenizer, text).read(tokens));
    std::vector<std::uint32_t> result;
    for (const Token& token : tokens) result.push_back(token.id);
    return result;
  }

  // Probabilities of every exit.
  std::vector<std::vector<float>> run(const std::vector<std::uint32_t>& input, std::size_t first_length) {
    std::vector<std::vector<float>> exits;
    network.embed(input, first_length);
    for (std::uint32_t i = 0; i <= pack->config.blocks; ++i) {
      if (i > 0) network.run_block(i - 1);
      exits.push_back(copy(network.read_exit(i).probabilities));
    }
    return exits;
  }

  // Calibrated logits of the last exit.
  std::vector<float> calibrated(const std::vector<std::uint32_t>& input) {
    run(input, 0);
    const ExitAnswer answer = network.read_exit(pack->config.blocks);
    std::vector<float> y;
    for (const float logit : answer.logits) y.push_back(logit * answer.inverse_temperature[0]);
    return y;
  }

  Bytes bytes;
  std::unique_ptr<Pack> pack;
  Tokenizer tokenizer;
  Network network;
};

PackOptions pair_options() {
  PackOptions options;
  options.inputs = 2;
  options.slfn_form = SlfnForm::kBounded;
  options.activation_bits = {1, 1, 1, 1, 1, 1, 1};
  return options;
}

PackOptions multi_label_options() {
  PackOptions options;
  options.task = Task::kMultiLabel;
  options.classes = 7;
  options.slfn_form = SlfnForm::kRectified;
  options.ngram_buckets = 512;
  return options;
}

PackOptions few_bit_exits_options() {
  PackOptions options;
  options.classes = 7;
  options.slfn_form = SlfnForm::kBounded;
  options.exit_bits = 8;
  return options;
}

PackOptions features_options() {
  PackOptions options;
  options.task = Task::kFeatures;
  options.slfn_form = SlfnForm::kBounded;
  return options;
}

}  // namespace

TEST_CASE("classifier: load reports what is wrong and leaves nothing behind") {
  std::unique_ptr<Classifier> classifier;
  CHECK(Classifier::load(Bytes(), "", classifier).status == Status::kTruncated);
  CHECK(classifier == nullptr);
  const Error error = Classifier::load(to_bytes(PackBuilder().build()), "avx512", classifier);
  CHECK(error.status == Status::kUnknownKernel);
  CHECK_THAT(std::string(error.message), Catch::Contains("\"avx512\""));
  CHECK(classifier == nullptr);
}

TEST_CASE("classifier: the kernels asked for are the ones that run") {
  const auto names = kernel_names();
  REQUIRE(names.size() >= 2);
  CHECK(std::string(names.back()) == "reference");
  CHECK(std::string(load({})->kernels()) == names.front());
  for (const char* name : names) CHECK(std::string(load({}, name)->kernels()) == name);
}

TEST_CASE("classifier: single texts and pairs are not mixed up") {
  Result result;
  CHECK(load({})->classify_pair("a", "b", {}, result).status == Status::kWrongInput);
  CHECK(load(pair_options())->classify("a", {}, result).status == Status::kWrongInput);
}

TEST_CASE("classifier: what a pack has no answer to is refused in words") {
  Result result;
  std::span<const float> vector;
  const auto features = load(features_options());
  for (const Error& error : {features->classify("a", {}, result), features->classify_pair("a", "b", {}, result)}) {
    CHECK(error.status == Status::kWrongInput);
    CHECK(std::string(error.message) == "this pack has no classes: it turns texts into vectors; use embed()");
  }
  const Error error = load(pair_options())->embed("a", vector);
  CHECK(error.status == Status::kWrongInput);
  CHECK_THAT(std::string(error.message), Catch::Contains("only a pack for single texts"));
  CHECK(vector.empty());
}

TEST_CASE("classifier: a result says what was done") {
  const auto classifier = load({});
  Result result;
  REQUIRE(classifier->classify("", {}, result).ok());
  CHECK(result.tokens == 0);
  CHECK(result.windows == 1);
  CHECK(result.exit_block == 2);
  CHECK(result.exit_reason == ExitReason::kLast);
  CHECK(result.blocks_run == 2);
  CHECK_FALSE(result.truncated);
  REQUIRE(result.probabilities.size() == 3);
  REQUIRE(result.logits.size() == 3);
  float sum = 0.0f;
  for (const float probability : result.probabilities) sum += probability;
  CHECK(sum == Approx(1.0f));
  for (const float probability : result.probabilities) CHECK(probability <= result.probabilities[result.label]);
  // Probabilities are of the calibrated logits, logits of the same answer before that.
  const float inverse_temperature = classifier->pack().exit[2].inverse_temperature[0];
  CHECK(std::log(result.probabilities[0] / result.probabilities[1]) ==
        Approx((result.logits[0] - result.logits[1]) * inverse_temperature).epsilon(1e-4));

  REQUIRE(classifier->classify("a b \xFF\xF0 c", {}, result).ok());
  CHECK(result.tokens >= 3);
}

TEST_CASE("classifier: every exit of every kernel table has the reference's bits") {
  for (const PackOptions& base : {PackOptions{}, pair_options(), multi_label_options(), few_bit_exits_options()}) {
    for (const std::uint8_t bits : {std::uint8_t{1}, std::uint8_t{2}, std::uint8_t{4}}) {
      PackOptions options = base;
      options.activation_bits.fill(bits);
      options.heads = bits == 1 ? 4 : 1;
      options.max_tokens = 37;
      options.classes = 2 + bits;
      ByHand by_hand(options);
      for (const char* kernels : kernel_names()) {
        const auto classifier = load(options, kernels);
        for (const std::size_t size : {0u, 1u, 2u, 3u, 16u, 31u}) {
          const std::string text = letters(size);
          std::vector<std::uint32_t> ids = by_hand.ids(text);
          ids.insert(ids.begin(), by_hand.pack->config.cls_id);
          ids.push_back(by_hand.pack->config.sep_id);
          const std::size_t first_length = ids.size();
          Result result;
          if (options.inputs == 1) {
            REQUIRE(classifier->classify(text, {}, result).ok());
          } else {
            ids.push_back(by_hand.pack->config.cls_id);
            ids.push_back(by_hand.ids("x").at(0));
            ids.push_back(by_hand.pack->config.sep_id);
            REQUIRE(classifier->classify_pair(text, "x", {}, result).ok());
          }
          INFO(kernels << ", " << size << " tokens, " << int{bits} << " bits");
          CHECK(copy(result.probabilities) == by_hand.run(ids, first_length).back());
        }
      }
    }
  }
}

TEST_CASE("classifier: 8-bit exit weights answer as the floats that they stand for") {
  PackOptions options;
  options.classes = 5;
  options.exit_bits = 8;
  PackBuilder few_bit(options);
  options.exit_bits = 0;
  PackBuilder floats(few_bit);
  test::put(floats.section("config").bytes, 4 * 21, 0u);
  for (std::uint32_t exit = 0; exit <= options.blocks; ++exit) {
    const std::string name = "exit" + std::to_string(exit);
    const std::vector<std::uint8_t> rows = few_bit.section(name + ".rows").bytes;
    const std::vector<std::uint8_t> scale = few_bit.section(name + ".scale").bytes;
    std::vector<std::uint8_t> weight(rows.size() * sizeof(float));
    for (std::size_t k = 0; k < rows.size(); ++k) {
      const float value = test::get<float>(scale, 4 * (k / options.hidden_size)) * static_cast<float>(2 * int{rows[k]} - 255);
      test::put(weight, 4 * k, value);
    }
    floats.remove(name + ".scale");
    floats.section(name + ".rows").bytes = weight;
    floats.section(name + ".rows").name = name + ".weight";
  }
  for (const char* kernels : kernel_names()) {
    std::vector<float> logits[2];
    for (const PackBuilder* builder : {&few_bit, &floats}) {
      std::unique_ptr<Classifier> classifier;
      REQUIRE(Classifier::load(to_bytes(builder->build()), kernels, classifier).ok());
      Result result;
      REQUIRE(classifier->classify("a b c a", {}, result).ok());
      logits[builder == &few_bit ? 0 : 1] = copy(result.logits);
    }
    INFO(kernels);
    CHECK(logits[0] == logits[1]);
  }
}

TEST_CASE("classifier: logits of 8-bit exit weights against plain loops") {
  struct Seen {
    std::vector<std::vector<float>> pooled, logits;
    static void show(void* context, const char* name, std::uint32_t, std::span<const float> values) {
      auto* seen = static_cast<Seen*>(context);
      if (std::string_view(name) == "pooled") seen->pooled.push_back(copy(values));
      if (std::string_view(name) == "logits") seen->logits.push_back(copy(values));
    }
  };
  PackOptions pair = few_bit_exits_options();
  pair.inputs = 2;
  pair.hidden_size = 128;
  for (const PackOptions& options : {few_bit_exits_options(), pair}) {
    const std::size_t size = options.inputs * options.hidden_size, classes = options.classes;
    PackBuilder builder(options);
    for (const char* name : {"exit0", "exit1", "exit2"}) {  // the ends of the range are among the weights
      auto& rows = builder.section(std::string(name) + ".rows").bytes;
      rows[0] = 0;
      rows[rows.size() - 1] = 255;
    }
    const auto weight = [&](std::uint32_t exit, std::size_t c, std::size_t k) {
      const std::string name = "exit" + std::to_string(exit);
      const int q = builder.section(name + ".rows").bytes[c * size + k];
      return test::get<float>(builder.section(name + ".scale").bytes, 4 * c) * static_cast<float>(2 * q - 255);
    };
    const test::ExactBytes file(builder.build());
    const auto pack = std::make_unique<Pack>();
    REQUIRE(Pack::parse(file.view(), *pack).ok());
    for (const char* kernels : kernel_names()) {
      Network network;
      REQUIRE(Network::load(*pack, *find_kernels(kernels), network).ok());
      for (const std::size_t tokens : {2u, 3u, 12u}) {
        const std::vector<std::uint32_t> ids(tokens, 7);
        Seen seen;
        network.tap({Seen::show, &seen});
        network.embed(ids, 1);
        for (std::uint32_t i = 0; i <= options.blocks; ++i) {
          if (i > 0) network.run_block(i - 1);
          network.read_exit(i);
          for (std::size_t c = 0; c < classes; ++c) {
            float sum[4] = {};
            for (std::size_t k = 0; k < size; ++k) sum[k % 4] = sum[k % 4] + weight(i, c, k) * seen.pooled[i][k];
            float expected = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + pack->exit[i].bias[c];
            if (i > 0) expected = expected + seen.logits[0][c];
            INFO(kernels << ", " << tokens << " tokens, exit " << i << ", class " << c);
            CHECK(seen.logits[i][c] == expected);
          }
        }
      }
    }
  }
}

TEST_CASE("classifier: n-grams add to exit 0, and through it to the later ones") {
  for (const Task task : {Task::kSingleLabel, Task::kMultiLabel}) {
    PackOptions options = multi_label_options();
    options.task = task;
    PackBuilder builder(options);
    const auto with = to_bytes(builder.build());
    auto& scale = builder.section("ngram.scale").bytes;
    std::fill(scale.begin(), scale.end(), std::uint8_t{0});
    const auto without = to_bytes(builder.build());
    std::vector<std::vector<float>> logits[2];
    for (const Bytes* bytes : {&with, &without}) {
      std::unique_ptr<Classifier> classifier;
      REQUIRE(Classifier::load(to_bytes(bytes->view()), "", classifier).ok());
      auto& seen = logits[bytes == &with ? 0 : 1];
      classifier->observe(ExitObserver{[](void* context, const ExitReading& reading) {
                                         static_cast<std::vector<std::vector<float>>*>(context)->push_back(copy(reading.logits));
                                       },
                                       &seen});
      Result result;
      REQUIRE(classifier->classify("a b c a", {}, result).ok());
      REQUIRE(seen.size() == 3);
    }
    for (std::size_t c = 0; c < options.classes; ++c) {
      const float difference = logits[0][0][c] - logits[1][0][c];
      // The first class of a single-label pack has no column.
      CHECK((difference == 0.0f) == (task == Task::kSingleLabel && c == 0));
      for (const std::size_t exit : {1u, 2u}) CHECK(logits[0][exit][c] - logits[1][exit][c] == Approx(difference).margin(1e-5));
    }
  }
}

TEST_CASE("classifier: a multi-label answer is what is above its threshold, likeliest first") {
  const PackOptions options = multi_label_options();
  PackBuilder builder(options);
  // Equal labels, for the order of ties: the same head, and n-grams that say nothing.
  for (const char* exit : {"exit0", "exit1", "exit2"}) {
    auto& weight = builder.section(std::string(exit) + ".weight").bytes;
    std::copy_n(weight.begin() + 2 * 64 * 4, 64 * 4, weight.begin() + 5 * 64 * 4);
    auto& bias = builder.section(std::string(exit) + ".bias").bytes;
    std::copy_n(bias.begin() + 2 * 4, 4, bias.begin() + 5 * 4);
  }
  for (const std::size_t c : {2u, 5u}) test::put(builder.section("ngram.scale").bytes, 4 * c, 0.0f);
  std::unique_ptr<Classifier> classifier;
  REQUIRE(Classifier::load(to_bytes(builder.build()), "", classifier).ok());
  // Thresholds in the middle of what texts give, so that every label is now above and now below its own.
  Result some;
  REQUIRE(classifier->classify(letters(9, 99), {}, some).ok());
  for (std::size_t c = 0; c < 7; ++c) {
    test::put(builder.section("threshold.by_label").bytes, 4 * c, some.probabilities[c] * (c == 2 || c == 5 ? 0.9f : 1.0f));
  }
  REQUIRE(Classifier::load(to_bytes(builder.build()), "", classifier).ok());
  const std::span<const float> threshold = classifier->pack().threshold;
  std::size_t sizes = 0;
  bool tied = false;
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    Result result;
    REQUIRE(classifier->classify(letters(1 + seed, seed), {}, result).ok());
    CHECK((result.windows > 1) == (seed >= 10));
    const auto& p = result.probabilities;
    REQUIRE(p.size() == 7);
    CHECK(p[2] == p[5]);
    for (std::uint32_t c = 0; c < 7; ++c) {
      CHECK((p[c] > 0.0f && p[c] < 1.0f));
      CHECK(p[c] <= p[result.label]);
      const auto times = std::count(result.labels.begin(), result.labels.end(), c);
      CHECK(times == (p[c] > threshold[c] ? 1 : 0));
    }
    for (std::size_t i = 1; i < result.labels.size(); ++i) {
      const std::uint32_t before = result.labels[i - 1], label = result.labels[i];
      CHECK((p[before] > p[label] || (p[before] == p[label] && before < label)));
      tied = tied || p[before] == p[label];
    }
    sizes |= std::size_t{1} << result.labels.size();
  }
  CHECK(tied);
  CHECK(std::popcount(sizes) >= 3);

  // Nothing above its threshold is an answer, too; and a single-label pack gives no labels.
  for (std::size_t c = 0; c < 7; ++c) test::put(builder.section("threshold.by_label").bytes, 4 * c, 0.99999994f);
  REQUIRE(Classifier::load(to_bytes(builder.build()), "", classifier).ok());
  Result result;
  REQUIRE(classifier->classify("a b", {}, result).ok());
  CHECK(result.labels.empty());
  REQUIRE(load({})->classify("a b", {}, result).ok());
  CHECK(result.labels.empty());
}

TEST_CASE("classifier: the rule's confidence in independent labels") {
  const auto classifier = load(multi_label_options());
  ExitRule rule;
  rule.kind = ExitKind::kProbability;
  int stopped = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    std::vector<float> confidence;
    classifier->observe(ExitObserver{[](void* context, const ExitReading& reading) {
                                       float least = 1.0f;
                                       for (const float p : reading.probabilities) least = std::min(least, std::max(p, 1.0f - p));
                                       static_cast<std::vector<float>*>(context)->push_back(least);
                                     },
                                     &confidence});
    rule.threshold = 0.5f + 0.01f * static_cast<float>(seed % 10);
    Result result;
    REQUIRE(classifier->classify(letters(1 + seed % 9, seed), {rule}, result).ok());
    for (std::size_t i = 0; i + 1 < confidence.size(); ++i) CHECK(confidence[i] <= rule.threshold);
    if (result.exit_reason != ExitReason::kProbability) continue;
    CHECK(confidence.back() > rule.threshold);
    ++stopped;
  }
  CHECK((stopped > 0 && stopped < 40));
}

TEST_CASE("classifier: a text's vector is the pooled state after the last block, of unit length") {
  PackOptions cls = multi_label_options();
  cls.pooling = Pooling::kCls;
  for (const PackOptions& options : {PackOptions{}, features_options(), cls}) {  // 12 tokens, so windows of 10 that start 8 apart
    ByHand by_hand(options);
    const std::size_t room = options.max_tokens - 2, stride = room - room / 4;
    for (const char* kernels : kernel_names()) {
      const auto classifier = load(options, kernels);
      for (const std::size_t count : {0u, 1u, 9u, 10u, 11u, 60u}) {
        const std::string text = letters(count, count + 1);
        const auto all = by_hand.ids(text);
        std::vector<float> expected;
        std::size_t windows = 0;
        for (std::size_t start = 0;; start += stride) {
          const std::size_t end = std::min(start + room, count);
          std::vector<std::uint32_t> ids = {by_hand.pack->config.cls_id};
          ids.insert(ids.end(), all.begin() + static_cast<std::ptrdiff_t>(start), all.begin() + static_cast<std::ptrdiff_t>(end));
          ids.push_back(by_hand.pack->config.sep_id);
          by_hand.network.embed(ids, 0);
          for (std::uint32_t i = 0; i < options.blocks; ++i) by_hand.network.run_block(i);
          const auto state = copy(by_hand.network.read_vector());
          if (windows++ == 0) {
            expected = state;
          } else {
            for (std::size_t k = 0; k < state.size(); ++k) expected[k] = expected[k] + state[k];
          }
          if (end == count) break;
        }
        if (windows > 1) {
          for (float& value : expected) value = value * (1.0f / static_cast<float>(windows));
        }
        const float inverse = 1.0f / std::sqrt(find_kernels("reference")->dot(expected.data(), expected.data(), expected.size()));
        for (float& value : expected) value = value * inverse;

        std::span<const float> vector;
        REQUIRE(classifier->embed(text, vector).ok());
        INFO(kernels << ", " << count << " tokens");
        CHECK(copy(vector) == expected);
        double square = 0.0;
        for (const float value : vector) square += double{value} * double{value};
        CHECK(square == Approx(1.0));
      }
    }
  }
}

TEST_CASE("classifier: the vector of a state of zeros is zeros") {
  PackBuilder builder(features_options());
  auto& norm = builder.section("block1.slfn.norm").bytes;
  std::fill(norm.begin(), norm.end(), std::uint8_t{0});
  std::unique_ptr<Classifier> classifier;
  REQUIRE(Classifier::load(to_bytes(builder.build()), "", classifier).ok());
  std::span<const float> vector;
  REQUIRE(classifier->embed("a b", vector).ok());
  CHECK(copy(vector) == std::vector<float>(64, 0.0f));
}

TEST_CASE("classifier: with a doubtful word exit 0 does not answer, and the rule does not see it") {
  PackOptions options;
  ByHand by_hand(options);
  const std::uint32_t doubtful = by_hand.ids("n")[0];
  options.doubtful.resize((options.vocabulary_size + 7) / 8);
  options.doubtful[doubtful / 8] = static_cast<std::uint8_t>(1u << doubtful % 8);
  const auto classifier = load(options);
  struct Case {
    ExitRule rule;
    std::uint32_t exit, exit_in_doubt;
  };
  const Case cases[] = {
      {{ExitKind::kEntropy, 2.0f}, 0, 1},
      {{ExitKind::kProbability, 0.0f}, 0, 1},
      {{ExitKind::kPatience, 1.0f}, 0, 1},
      {{ExitKind::kOff, 0.0f, 2.0f}, 2, 2},
      {{ExitKind::kFractional, -2.0f, 2.0f}, 0, 1},  // certain
      {{ExitKind::kFractional, 2.0f}, 1, 2},         // needs an exit before
  };
  for (const Case& each : cases) {
    INFO("kind " << static_cast<std::uint32_t>(each.rule.kind));
    Result result;
    REQUIRE(classifier->classify("a b m", {each.rule}, result).ok());
    CHECK(result.exit_block == each.exit);
    const double work = result.work;
    REQUIRE(classifier->classify("a b n", {each.rule}, result).ok());
    CHECK(result.exit_block == each.exit_in_doubt);
    CHECK((result.work > work) == (each.exit_in_doubt > each.exit));
  }
}

TEST_CASE("classifier: with a doubtful word later exits add all of exit 0's logits, or a part of them") {
  const auto logits_of = [](const PackOptions& options, std::string_view text) {
    const auto classifier = load(options);
    std::vector<std::vector<float>> exits;
    classifier->observe(ExitObserver{[](void* context, const ExitReading& reading) {
      static_cast<std::vector<std::vector<float>>*>(context)->push_back(copy(reading.logits));
    }, &exits});
    Result result;
    REQUIRE(classifier->classify(text, {}, result).ok());
    return exits;
  };
  PackOptions sure, doubting;
  sure.ngram_buckets = doubting.ngram_buckets = 512;
  const std::uint32_t doubtful = ByHand(doubting).ids("n")[0];
  doubting.doubtful.resize((doubting.vocabulary_size + 7) / 8);
  doubting.doubtful[doubtful / 8] = static_cast<std::uint8_t>(1u << doubtful % 8);
  const auto said = logits_of(sure, "a b n");
  CHECK(logits_of(doubting, "a b n") == said);
  const auto [halvings, share] = GENERATE(std::pair{1u, 0.5f}, std::pair{2u, 0.25f}, std::pair{3u, 0.125f});
  doubting.halvings_in_doubt = halvings;
  CHECK(logits_of(doubting, "a b m") == logits_of(sure, "a b m"));
  const auto doubted = logits_of(doubting, "a b n");
  REQUIRE(said.size() == 3);
  CHECK(doubted[0] == said[0]);
  for (std::size_t exit = 1; exit < said.size(); ++exit) {
    for (std::size_t c = 0; c < said[0].size(); ++c) {
      CHECK(doubted[exit][c] == Approx(said[exit][c] - (1 - share) * said[0][c]).margin(1e-5));
    }
    CHECK(doubted[exit] != said[exit]);
  }
}

TEST_CASE("classifier: long texts are read in overlapping windows and pooled") {
  PackOptions options;  // 12 tokens, so windows of 10 that start 8 apart
  options.ngram_buckets = GENERATE(0u, 512u);  // with them, those of the whole text
  options.text_ngrams = options.ngram_buckets > 0;
  const auto classifier = load(options);
  ByHand by_hand(options);
  const std::size_t room = options.max_tokens - 2, stride = room - room / 4;
  for (const std::size_t count : {9u, 10u, 11u, 17u, 18u, 19u, 26u, 27u, 60u, 1001u}) {
    const std::string text = letters(count, count);
    const auto all = by_hand.ids(text);
    REQUIRE(all.size() == count);
    if (options.text_ngrams) {
      std::vector<std::uint32_t> whole = {by_hand.pack->config.cls_id};
      whole.insert(whole.end(), all.begin(), all.end());
      whole.push_back(by_hand.pack->config.sep_id);
      by_hand.network.read_ahead(whole, 0);
    }
    std::vector<float> sum(options.classes, 0.0f), expected(options.classes), last;
    std::uint32_t windows = 0, read = 0;
    for (std::size_t start = 0;; start += stride) {
      const std::size_t end = std::min(start + room, count);
      std::vector<std::uint32_t> ids = {by_hand.pack->config.cls_id};
      ids.insert(ids.end(), all.begin() + static_cast<std::ptrdiff_t>(start), all.begin() + static_cast<std::ptrdiff_t>(end));
      ids.push_back(by_hand.pack->config.sep_id);
      const auto y = by_hand.calibrated(ids);
      last = by_hand.run(ids, 0).back();
      for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += y[c] * static_cast<float>(ids.size());
      ++windows;
      read += static_cast<std::uint32_t>(ids.size());
      if (end == count) break;
    }
    const float share = 1.0f / static_cast<float>(read);
    for (float& value : sum) value *= share;
    std::vector<float> scratch(options.classes);
    calibrate_single_label(sum, std::vector<float>{1.0f}, 1.0f, scratch, expected);
    if (windows == 1) expected = last;
    Result result;
    REQUIRE(classifier->classify(text, {}, result).ok());
    INFO(count << " tokens");
    CHECK(result.windows == windows);
    CHECK(result.tokens == count);
    CHECK(result.blocks_run == windows * options.blocks);
    CHECK(copy(result.probabilities) == expected);
    CHECK_FALSE(result.truncated);
  }
}

TEST_CASE("classifier: a pair that does not fit loses the end of the longer text") {
  PackOptions options = pair_options();  // 12 tokens, 8 of them for the two texts
  const auto classifier = load(options);
  ByHand by_hand(options);
  const std::size_t room = options.max_tokens - 4;
  for (const auto& [size_a, size_b] : std::vector<std::pair<std::size_t, std::size_t>>{
           {0, 0}, {3, 5}, {4, 4}, {5, 4}, {8, 0}, {0, 8}, {9, 0}, {0, 9}, {2, 7}, {20, 3}, {3, 20}, {50, 50}, {50, 51}, {500, 40}}) {
    const std::string a = letters(size_a, 1), b = letters(size_b, 2);
    auto ids_a = by_hand.ids(a), ids_b = by_hand.ids(b);
    const bool truncated = ids_a.size() + ids_b.size() > room;
    while (ids_a.size() + ids_b.size() > room) (ids_a.size() >= ids_b.size() ? ids_a : ids_b).pop_back();
    std::vector<std::uint32_t> ids = {by_hand.pack->config.cls_id};
    ids.insert(ids.end(), ids_a.begin(), ids_a.end());
    ids.push_back(by_hand.pack->config.sep_id);
    const std::size_t first_length = ids.size();
    ids.push_back(by_hand.pack->config.cls_id);
    ids.insert(ids.end(), ids_b.begin(), ids_b.end());
    ids.push_back(by_hand.pack->config.sep_id);
    Result result;
    REQUIRE(classifier->classify_pair(a, b, {}, result).ok());
    INFO(size_a << " and " << size_b << " tokens");
    CHECK(result.truncated == truncated);
    CHECK(result.tokens == size_a + size_b);
    CHECK(result.windows == 1);
    CHECK(copy(result.probabilities) == by_hand.run(ids, first_length).back());
  }
  // The segments matter: the same tokens the other way round are another input.
  Result result;
  REQUIRE(classifier->classify_pair("a b", "c", {}, result).ok());
  const auto one = copy(result.probabilities);
  REQUIRE(classifier->classify_pair("a", "b c", {}, result).ok());
  CHECK(copy(result.probabilities) != one);
}

TEST_CASE("classifier: the exit rule decides how deep a text goes and who answers") {
  struct Exits {
    std::vector<std::vector<float>> logits;
    std::vector<float> entropy;
    static void reached(void* context, const ExitReading& reading) {
      auto* exits = static_cast<Exits*>(context);
      REQUIRE(reading.exit == exits->entropy.size());
      exits->logits.push_back(copy(reading.logits));
      exits->entropy.push_back(reading.entropy);
    }
  };
  PackOptions options;
  options.blocks = 5;
  const auto classifier = load(options);
  int rising = 0, reduction = 0, early = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const std::string text = letters(1 + seed % 9, seed);
    Exits all, seen;
    Result result;
    classifier->observe(ExitObserver{Exits::reached, &all});
    REQUIRE(classifier->classify(text, {}, result).ok());
    REQUIRE(all.entropy.size() == 6);
    for (const float entropy : all.entropy) CHECK((entropy >= 0.0f && entropy <= 1.00001f));

    ExitRule rule;
    rule.kind = ExitKind::kFractional;
    rule.threshold = 0.01f;
    rule.keep_lower_entropy = true;
    classifier->observe(ExitObserver{Exits::reached, &seen});
    REQUIRE(classifier->classify(text, {rule}, result).ok());
    REQUIRE(seen.entropy.size() == result.exit_block + 1);
    CHECK(result.blocks_run == result.exit_block);
    for (std::size_t i = 0; i < seen.entropy.size(); ++i) CHECK(seen.logits[i] == all.logits[i]);
    early += result.exit_block < 5 ? 1 : 0;
    const std::vector<float> answer = copy(result.logits);
    if (result.exit_reason == ExitReason::kRising) {
      ++rising;
      CHECK(seen.entropy.back() > seen.entropy[seen.entropy.size() - 2]);
      CHECK(answer == seen.logits[seen.logits.size() - 2]);
    } else {
      reduction += result.exit_reason == ExitReason::kReduction ? 1 : 0;
      CHECK(answer == seen.logits.back());
    }
  }
  CHECK(rising > 0);
  CHECK(early > 0);
  INFO(rising << " rising, " << reduction << " reduction");

  ExitRule at_once;
  at_once.kind = ExitKind::kEntropy;
  at_once.threshold = 2.0f;
  Result result;
  classifier->observe(ExitObserver{});
  REQUIRE(classifier->classify(letters(30), {at_once}, result).ok());
  CHECK(result.exit_block == 0);
  CHECK(result.blocks_run == 0);
  CHECK(result.windows > 1);
  CHECK(result.exit_reason == ExitReason::kEntropy);
}

TEST_CASE("classifier: the deepest window gives the exit block and its reason") {
  PackOptions options;
  options.blocks = 4;
  const auto classifier = load(options);
  std::vector<std::uint32_t> deepest;  // exit reached, by window
  classifier->observe(ExitObserver{[](void* context, const ExitReading& reading) {
                                     auto& exits = *static_cast<std::vector<std::uint32_t>*>(context);
                                     exits.resize(reading.window + 1);
                                     exits[reading.window] = reading.exit;
                                   },
                                   &deepest});
  ExitRule rule;
  rule.kind = ExitKind::kFractional;
  rule.threshold = 0.02f;
  bool differ = false;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    deepest.clear();
    Result result;
    REQUIRE(classifier->classify(letters(40, seed), {rule}, result).ok());
    REQUIRE(deepest.size() == result.windows);
    CHECK(result.exit_block == *std::max_element(deepest.begin(), deepest.end()));
    std::uint32_t sum = 0;
    for (const std::uint32_t exit : deepest) sum += exit;
    CHECK(result.blocks_run == sum);
    CHECK((result.exit_reason == ExitReason::kLast) == (result.exit_block == 4));
    differ = differ || *std::min_element(deepest.begin(), deepest.end()) < result.exit_block;
  }
  CHECK(differ);
}

TEST_CASE("classifier: stages are told in order") {
  const auto classifier = load({});
  std::vector<Stage> stages;
  classifier->observe(StageObserver{[](void* context, Stage stage) { static_cast<std::vector<Stage>*>(context)->push_back(stage); }, &stages});
  Result result;
  REQUIRE(classifier->classify("a b c", {}, result).ok());
  const std::vector<Stage> block = {Stage::kQuantize, Stage::kBinaryLinear, Stage::kAttention,    Stage::kQuantize,   Stage::kBinaryLinear,
                                    Stage::kNorm,     Stage::kQuantize,     Stage::kBinaryLinear, Stage::kActivation, Stage::kQuantize,
                                    Stage::kBinaryLinear, Stage::kQuantize, Stage::kBinaryLinear, Stage::kActivation, Stage::kNorm};
  std::vector<Stage> expected = {Stage::kTokenize, Stage::kEmbed, Stage::kPool, Stage::kExit};
  for (int i = 0; i < 2; ++i) expected.insert(expected.end(), block.begin(), block.end());
  expected.insert(expected.end(), {Stage::kPool, Stage::kExit, Stage::kDone});
  CHECK((stages == expected));
  stages.clear();
  classifier->observe(StageObserver{});
  REQUIRE(classifier->classify("a b c", {}, result).ok());
  CHECK(stages.empty());
}

TEST_CASE("classifier: an answer does not depend on what was classified before") {
  const auto classifier = load({});
  Result result;
  REQUIRE(classifier->classify("a b", {}, result).ok());
  const auto before = copy(result.probabilities);
  REQUIRE(classifier->classify(letters(500), {}, result).ok());
  REQUIRE(classifier->classify("a b", {}, result).ok());
  CHECK(copy(result.probabilities) == before);
  CHECK(result.windows == 1);
}

#if defined(BEEX_WATCH_ALLOCATIONS)

TEST_CASE("classifier: classifying allocates nothing") {
  const auto single = load({});
  const auto pair = load(pair_options());
  const auto multi_label = load(multi_label_options());
  const auto few_bit_exits = load(few_bit_exits_options());
  const auto features = load(features_options());
  PackOptions adaptive_options;
  adaptive_options.profile = {0.75f, 0.5f};
  adaptive_options.skip_width = 8;
  const auto adaptive = load(adaptive_options);
  const std::string text = letters(3000) + "un\xC3\xAF\x63od\xC3\xA9 \xE4\xB8\xAD\xE6\x96\x87 averyveryverylongword \xFF";
  const ExitRule rules[] = {{}, {ExitKind::kFractional, 0.1f, 0.0f, 2.0f, 0, true}};
  for (const ExitRule& rule : rules) {
    Result result;
    std::span<const float> vector;
    watch = {.on = true};
    const bool ok = multi_label->classify(text, {rule}, result).ok() && multi_label->embed(text, vector).ok() &&
                    features->embed(text, vector).ok() && few_bit_exits->classify(text, {rule}, result).ok() &&
                    single->classify(text, {rule}, result).ok() && single->classify("", {rule}, result).ok() &&
                    pair->classify_pair(text, text, {rule}, result).ok() && adaptive->classify(text, {rule, 1.5f, 0.5f}, result).ok();
    watch.on = false;
    CHECK(ok);
    CHECK(watch.allocations == 0);
  }
}

TEST_CASE("classifier: memory() is what load allocated, pack included") {
  for (const char* kernels : kernel_names()) {
    PackOptions options;
    options.vocabulary_size = 3000;
    options.hidden_size = 256;
    options.slfn_size = 512;
    options.max_tokens = 128;
    options.task = Task::kMultiLabel;
    options.ngram_buckets = 4096;
    const auto file = PackBuilder(options).build();
    std::unique_ptr<Classifier> classifier;
    watch = {.on = true};
    const bool ok = Classifier::load(to_bytes(file), kernels, classifier).ok();
    watch.on = false;
    REQUIRE(ok);
    INFO(kernels << ": " << watch.live << " bytes allocated, memory() says " << classifier->memory());
    CHECK(static_cast<double>(classifier->memory()) == Approx(static_cast<double>(watch.live)).epsilon(0.01));
  }
}

TEST_CASE("classifier: load survives an allocator that refuses, at every allocation") {
  const auto file = PackBuilder().build();
  bool ok = false;
  long refusals = 0;
  for (long allowed = 0; !ok; ++allowed) {
    REQUIRE(allowed < 100);
    Bytes bytes = to_bytes(file);
    std::unique_ptr<Classifier> classifier;
    watch = {.on = true, .allowed = allowed};
    const Error error = Classifier::load(std::move(bytes), "", classifier);
    watch.on = false;
    ok = error.ok();
    CHECK((classifier != nullptr) == ok);
    if (ok) continue;
    INFO("after " << allowed << " allocations: " << error.message);
    CHECK(error.status == Status::kOutOfMemory);
    ++refusals;
  }
  CHECK(refusals >= 7);  // section names, state, labels, tokenizer, weights, work, buffers
}

#else

TEST_CASE("classifier: allocation tests") { WARN("SKIP: allocations are counted only with glibc and without AddressSanitizer"); }

#endif

}  // namespace beex
