// What a policy does to a text's way through the network (FORMAT.md, "Elimination", "Skip gates", "Exit rule"): against plain loops on
// what the network shows, and against networks that are driven by hand.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <string>

#include "beex/classifier.h"
#include "beex/tokenizer.h"
#include "model/elimination.h"
#include "model/network.h"
#include "unit/pack_builder.h"

namespace beex {
namespace {

using test::PackBuilder;
using test::PackOptions;
using test::Random;
using test::to_bytes;
using Floats = std::vector<float>;

PackOptions adaptive_options() {
  PackOptions options;
  options.blocks = 4;
  options.max_tokens = 40;
  options.slfn_form = SlfnForm::kRectified;
  options.profile = {0.875f, 0.5f, 0.5f, 0.25f};
  options.skip_width = 6;  // no multiple of 4
  options.temperature_by_class = true;
  options.ngram_buckets = 256;
  return options;
}

Floats copy(std::span<const float> values) { return {values.begin(), values.end()}; }

std::vector<std::uint32_t> random_ids(std::size_t count, std::uint64_t seed, std::uint32_t vocabulary_size) {
  Random random(seed);
  std::vector<std::uint32_t> ids(count);
  for (std::uint32_t& id : ids) id = random.below(vocabulary_size);
  return ids;
}

struct Loaded {
  explicit Loaded(const PackBuilder& builder, const char* kernels = "reference")
      : bytes(to_bytes(builder.build())), pack(std::make_unique<Pack>()) {
    const Error error = Pack::parse(bytes.view(), *pack);
    INFO(error.message);
    REQUIRE(error.ok());
    REQUIRE(Network::load(*pack, *find_kernels(kernels), network).ok());
    network.tap({show, this});
  }
  Loaded(const Loaded&) = delete;

  static void show(void* context, const char* name, std::uint32_t index, std::span<const float> values) {
    static_cast<Loaded*>(context)->seen[{name, index}] = copy(values);
  }

  Bytes bytes;
  std::unique_ptr<Pack> pack;
  Network network;
  std::map<std::pair<std::string, std::uint32_t>, Floats> seen;
};

std::unique_ptr<Classifier> load(const PackBuilder& builder, const char* kernels = "") {
  std::unique_ptr<Classifier> classifier;
  const Error error = Classifier::load(to_bytes(builder.build()), kernels, classifier);
  INFO(error.message);
  REQUIRE(error.ok());
  return classifier;
}

std::string letters(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += static_cast<char>('a' + random.below(26));
    text += ' ';
  }
  return text;
}

// Makes a gate that always says the same.
void set_gate(PackBuilder& builder, std::uint32_t block, bool skipped) {
  const std::string name = "block" + std::to_string(block) + ".skip.";
  auto& output = builder.section(name + "output").bytes;
  std::fill(output.begin(), output.end(), std::uint8_t{0});
  test::put(builder.section(name + "output_bias").bytes, 0, skipped ? 10.0f : -10.0f);
}

struct Reading {
  std::uint32_t exit;
  Floats logits;
  bool operator==(const Reading&) const = default;
};

struct Run {
  std::vector<Reading> exits;
  Floats probabilities;
  std::uint32_t exit_block, blocks_run;
  ExitReason reason;
};

Run classify(Classifier& classifier, const std::string& text, const Policy& policy) {
  Run run;
  classifier.observe(ExitObserver{[](void* context, const ExitReading& reading) {
                                    static_cast<Run*>(context)->exits.push_back({reading.exit, copy(reading.logits)});
                                  },
                                  &run});
  Result result;
  REQUIRE(classifier.classify(text, policy, result).ok());
  classifier.observe(ExitObserver{});
  run.probabilities = copy(result.probabilities);
  run.exit_block = result.exit_block;
  run.blocks_run = result.blocks_run;
  run.reason = result.exit_reason;
  return run;
}

}  // namespace

TEST_CASE("elimination: how many tokens are kept") {
  CHECK(kept_tokens(0.5f, 0.0f, 30, 40) == 30);
  CHECK(kept_tokens(0.5f, 1.0f, 40, 40) == 20);
  CHECK(kept_tokens(0.5f, 1.0f, 39, 39) == 20);  // 19.5
  CHECK(kept_tokens(0.5f, 1.0f, 15, 40) == 15);
  CHECK(kept_tokens(0.5f, 2.0f, 40, 40) == 10);
  CHECK(kept_tokens(0.25f, 0.5f, 40, 40) == 20);
  CHECK(kept_tokens(0.5f, 16.0f, 40, 40) == 4);
  CHECK(kept_tokens(0.5f, 16.0f, 3, 3) == 3);
  CHECK(kept_tokens(1.0f / 1048576.0f, 16.0f, 1024, 1024) == 4);
  for (const float gamma : {0.0f, 1.0f, 16.0f}) {
    for (std::size_t tokens = 2; tokens <= 1024; ++tokens) CHECK(kept_tokens(1.0f, gamma, tokens, tokens) == tokens);
  }
}

TEST_CASE("elimination: the first token and the heaviest, in their order") {
  Random random(3);
  for (const std::size_t tokens : {1u, 2u, 4u, 5u, 33u}) {
    for (std::size_t count = 1; count <= tokens; ++count) {
      Floats mass(tokens);
      for (float& value : mass) value = static_cast<float>(random.below(6));  // many are equal
      mass[0] = 0.0f;
      std::vector<std::uint32_t> order(tokens), room(tokens);
      std::iota(order.begin(), order.end(), 0u);
      std::stable_sort(order.begin() + 1, order.end(), [&](std::uint32_t a, std::uint32_t b) { return mass[a] > mass[b]; });
      order.resize(count);
      std::sort(order.begin(), order.end());
      const auto kept = choose_kept(mass, count, room);
      CHECK(std::vector<std::uint32_t>(kept.begin(), kept.end()) == order);
    }
  }
}

TEST_CASE("elimination: dropped tokens are final and still count in the mean; the others are as without it") {
  for (const Pooling pooling : {Pooling::kMean, Pooling::kCls}) {
    PackOptions options = adaptive_options();
    options.pooling = pooling;
    const PackBuilder builder(options);
    const std::size_t d = options.hidden_size, started = 21;
    const auto ids = random_ids(started, 8, options.vocabulary_size);
    for (const KernelTable* table : kernel_tables()) {
      INFO(table->name);
      Loaded thinned(builder, table->name), dense(builder, table->name);
      dense.network.embed(ids, started);
      dense.network.run_block(0);
      thinned.network.embed(ids, started);
      Floats dropped(d);
      std::vector<std::uint32_t> alive(started);
      std::iota(alive.begin(), alive.end(), 0u);
      for (std::uint32_t i = 0; i < options.blocks; ++i) {
        thinned.network.run_block(i, 1.0f);
        const auto row_of = [d](const Floats& values, std::size_t t) { return copy(std::span(values).subspan(t * d, d)); };
        const auto row = [&](const char* name, std::size_t t) { return row_of(thinned.seen.at({name, i}), t); };
        const std::size_t entering = alive.size(), kept = kept_tokens(options.profile[i], 1.0f, entering, started);
        REQUIRE(thinned.seen.at({"qkv", i}).size() == entering * 3 * d);
        REQUIRE(thinned.seen.at({"hidden", i}).size() == kept * (d + options.slfn_size));
        REQUIRE(thinned.seen.at({"block_state", i}).size() == kept * d);
        CHECK((thinned.seen.count({"mass", i}) == 1) == (kept < entering));
        if (kept < entering) {
          const Floats& mass = thinned.seen.at({"mass", i});
          CHECK(std::accumulate(mass.begin(), mass.end(), 0.0f) == Approx(static_cast<float>(entering * options.heads)));
          std::vector<std::uint32_t> room(entering), left;
          const auto chosen = choose_kept(mass, kept, room);
          for (std::uint32_t t = 0; t < entering; ++t) {
            if (std::binary_search(chosen.begin(), chosen.end(), t)) {
              left.push_back(alive[t]);
            } else {
              const Floats state = row("attention_state", t);
              for (std::size_t k = 0; k < d; ++k) dropped[k] = dropped[k] + state[k];
            }
          }
          alive = left;
        }
        const auto found = thinned.network.alive();
        REQUIRE(std::vector<std::uint32_t>(found.begin(), found.end()) == alive);
        if (i == 0) {  // the SLFN goes row by row
          const Floats& all = dense.seen.at({"block_state", 0});
          for (std::size_t t = 0; t < kept; ++t) CHECK(row("block_state", t) == row_of(all, alive[t]));
        }
        thinned.network.read_exit(i + 1);
        Floats pooled = pooling == Pooling::kMean ? dropped : row("block_state", 0);
        if (pooling == Pooling::kMean) {
          for (std::size_t t = 0; t < kept; ++t) {
            const Floats state = row("block_state", t);
            for (std::size_t k = 0; k < d; ++k) pooled[k] = pooled[k] + state[k];
          }
          for (float& value : pooled) value = value * (1.0f / static_cast<float>(started));
        }
        CHECK(thinned.seen.at({"pooled", i + 1}) == pooled);
      }
      CHECK(alive.size() == 6);  // ceil(0.25 * 21)
    }
  }
}

TEST_CASE("elimination: gamma 0, a profile of ones or a short text is the dense network, bit for bit") {
  const PackOptions options = adaptive_options();
  PackOptions ones = options;
  std::fill(ones.profile.begin(), ones.profile.end(), 1.0f);
  for (const char* kernels : kernel_names()) {
    const auto thinning = load(PackBuilder(options), kernels), all_kept = load(PackBuilder(ones), kernels);
    for (const std::size_t size : {0u, 1u, 2u, 9u, 38u, 90u}) {
      const std::string text = letters(size, size);
      const Run dense = classify(*thinning, text, {});
      CHECK(dense.exits == classify(*all_kept, text, {}).exits);
      CHECK(dense.exits == classify(*all_kept, text, {{}, 3.0f}).exits);
      CHECK((dense.exits == classify(*thinning, text, {{}, 3.0f}).exits) == (size <= 2));
    }
  }
}

TEST_CASE("skip gates: what a gate says, against plain arithmetic") {
  const PackOptions options = adaptive_options();
  const PackBuilder builder(options);
  Loaded loaded(builder);
  const auto ids = random_ids(11, 4, options.vocabulary_size);
  loaded.network.embed(ids, ids.size());
  for (std::uint32_t i = 0; i < options.blocks; ++i) {
    const float found = loaded.network.read_skip_gate(i);
    const Floats& pooled = loaded.seen.at({"pooled", i});
    const SkipGateWeights& gate = loaded.pack->block[i].skip;
    double output = gate.output_bias;
    for (std::size_t k = 0; k < options.skip_width; ++k) {
      double hidden = gate.bias[k];
      for (std::size_t j = 0; j < 64; ++j) hidden += double{gate.weight[k * 64 + j]} * double{pooled[j]};
      output += gate.output[k] * std::max(0.0, hidden);
    }
    CHECK(found == Approx(1.0 / (1.0 + std::exp(-output))).epsilon(1e-5));
    CHECK(loaded.seen.at({"skip", i}) == Floats{found});
    loaded.network.run_block(i);
  }
}

TEST_CASE("skip gates: a skipped block neither runs nor answers") {
  PackOptions options = adaptive_options();
  for (std::uint32_t pattern = 0; pattern < 16; ++pattern) {  // bit i: block i is skipped
    PackBuilder builder(options);
    for (std::uint32_t i = 0; i < options.blocks; ++i) set_gate(builder, i, (pattern >> i & 1) != 0);
    Loaded by_hand(builder);
    const std::string text = letters(7, pattern);
    const auto classifier = load(builder);
    std::vector<Token> tokens(7);
    Tokenizer tokenizer;
    REQUIRE(Tokenizer::load(by_hand.pack->vocabulary, by_hand.pack->config, tokenizer).ok());
    REQUIRE(TokenStream(tokenizer, text).read(tokens) == 7);
    std::vector<std::uint32_t> ids = {by_hand.pack->config.cls_id};
    for (const Token& token : tokens) ids.push_back(token.id);
    ids.push_back(by_hand.pack->config.sep_id);

    by_hand.network.embed(ids, ids.size());
    std::vector<Reading> exits = {{0, copy(by_hand.network.read_exit(0).logits)}};
    Floats probabilities = by_hand.seen.at({"probabilities", 0});
    for (std::uint32_t i = 0; i < options.blocks; ++i) {
      if ((pattern >> i & 1) != 0) continue;
      by_hand.network.run_block(i, 1.0f);
      exits.push_back({i + 1, copy(by_hand.network.read_exit(i + 1).logits)});
      probabilities = by_hand.seen.at({"probabilities", i + 1});
    }
    INFO("pattern " << pattern);
    for (const ExitKind kind : {ExitKind::kOff, ExitKind::kEntropy}) {  // an entropy is never below 0
      const Policy policy{{kind}, 1.0f, 0.5f};
      const Run run = classify(*classifier, text, policy);
      CHECK(run.exits == exits);
      CHECK(run.probabilities == probabilities);
      CHECK(run.reason == ExitReason::kLast);
      CHECK(run.exit_block == exits.back().exit);
      CHECK(run.blocks_run == exits.size() - 1);
      // Nobody watches, so exits in between are left out; the answer is the same.
      Result result;
      REQUIRE(classifier->classify(text, policy, result).ok());
      CHECK(copy(result.probabilities) == probabilities);
    }
    // A threshold of 1 skips none.
    CHECK(classify(*classifier, text, {{}, 1.0f, 1.0f}).blocks_run == 4);
  }
}

TEST_CASE("skip gates: the rule compares with the last exit that ran") {
  PackBuilder builder(adaptive_options());
  set_gate(builder, 0, false);
  set_gate(builder, 1, true);
  set_gate(builder, 2, false);
  set_gate(builder, 3, false);
  const auto classifier = load(builder);
  std::size_t rising = 0, reduction = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    struct Seen {
      std::vector<std::uint32_t> exits;
      Floats entropy;
      std::vector<Floats> probabilities;
    } seen;
    classifier->observe(ExitObserver{[](void* context, const ExitReading& reading) {
                                       auto* all = static_cast<Seen*>(context);
                                       all->exits.push_back(reading.exit);
                                       all->entropy.push_back(reading.entropy);
                                       all->probabilities.push_back(copy(reading.probabilities));
                                     },
                                     &seen});
    ExitRule rule{ExitKind::kFractional, 0.3f};
    rule.first_exit = 3;
    rule.keep_lower_entropy = true;
    Result result;
    REQUIRE(classifier->classify(letters(5 + seed % 20, seed), {rule, 0.5f, 0.5f}, result).ok());
    REQUIRE(seen.exits.size() >= 3);
    CHECK(std::vector<std::uint32_t>(seen.exits.begin(), seen.exits.begin() + 3) == std::vector<std::uint32_t>{0, 1, 3});
    const float before = seen.entropy[1], entropy = seen.entropy[2];
    const bool stops = (before - entropy) / before < 0.3f && entropy < 2.0f;
    CHECK((seen.exits.size() == 3) == stops);
    if (!stops) continue;
    CHECK((result.exit_reason == ExitReason::kRising) == (entropy > before));
    CHECK(copy(result.probabilities) == seen.probabilities[entropy > before ? 1 : 2]);
    (entropy > before ? rising : reduction) += 1;
  }
  CHECK(rising > 0);
  CHECK(reduction > 0);
}

TEST_CASE("policy: every kernel table gives the same bits") {
  for (const Task task : {Task::kSingleLabel, Task::kMultiLabel}) {
    PackOptions options = adaptive_options();
    options.task = task;
    options.pooling = task == Task::kSingleLabel ? Pooling::kMean : Pooling::kCls;
    const PackBuilder builder(options);
    const auto expected = load(builder, "reference");
    std::size_t skipped = 0;
    for (const char* kernels : kernel_names()) {
      const auto classifier = load(builder, kernels);
      for (const std::size_t size : {0u, 3u, 17u, 38u, 100u}) {
        for (const Policy& policy : {Policy{{}, 1.0f, 1.0f}, Policy{{}, 2.5f, 0.5f}, Policy{{ExitKind::kFractional, 0.05f}, 0.5f, 0.4f}}) {
          const Run found = classify(*classifier, letters(size, size), policy), want = classify(*expected, letters(size, size), policy);
          INFO(kernels << ", " << size << " tokens, gamma " << policy.gamma);
          CHECK(found.exits == want.exits);
          CHECK(found.probabilities == want.probabilities);
          CHECK(found.blocks_run == want.blocks_run);
          skipped += policy.skip_threshold < 1.0f && found.blocks_run < 4 ? 1 : 0;
        }
      }
    }
    CHECK(skipped > 0);
  }
}

TEST_CASE("policy: with the rule off only the first exit and the last are read, unless somebody watches") {
  const auto classifier = load(PackBuilder(adaptive_options()));
  std::size_t readings = 0;
  classifier->observe(StageObserver{[](void* context, Stage stage) { *static_cast<std::size_t*>(context) += stage == Stage::kPool ? 1 : 0; },
                                    &readings});
  Result result;
  REQUIRE(classifier->classify("a b c", {}, result).ok());
  CHECK(readings == 2);
  readings = 0;
  REQUIRE(classifier->classify("a b c", {{ExitKind::kEntropy}}, result).ok());
  CHECK(readings == 5);
  readings = 0;
  CHECK(classify(*classifier, "a b c", {}).exits.size() == 5);
  CHECK(readings == 5);
}

TEST_CASE("work: the whole network is 1, less is less, and watching does not change it") {
  const auto classifier = load(PackBuilder(adaptive_options()));
  for (const std::size_t size : {0u, 5u, 38u, 100u}) {
    const std::string text = letters(size, size);
    const auto work = [&](const Policy& policy) {
      Result result;
      REQUIRE(classifier->classify(text, policy, result).ok());
      const double alone = result.work;
      classifier->observe(ExitObserver{[](void*, const ExitReading&) {}, nullptr});
      REQUIRE(classifier->classify(text, policy, result).ok());
      classifier->observe(ExitObserver{});
      CHECK(result.work == alone);
      return alone;
    };
    CHECK(work({}) == Approx(1.0));
    CHECK(work({{ExitKind::kEntropy}}) > work({}));  // reads every exit and never stops
    CHECK(work({{ExitKind::kEntropy, 2.0f}}) < 0.2);
    if (size > 2) CHECK(work({{}, 1.0f}) < work({}));
    if (size > 2) CHECK(work({{}, 2.0f}) < work({{}, 1.0f}));
  }
}

TEST_CASE("tuning: gamma for a speed-up is the least that gives a full window so little work") {
  const auto classifier = load(PackBuilder(adaptive_options()));
  const std::string text = letters(38, 1);  // 40 tokens
  const auto speedup = [&](float gamma) {
    Result result;
    REQUIRE(classifier->classify(text, {{}, gamma}, result).ok());
    REQUIRE(result.tokens == 38);
    CHECK(1.0 / result.work == Approx(classifier->elimination_speedup(gamma)));
    return 1.0 / result.work;
  };
  CHECK(speedup(0.0f) == Approx(1.0));
  const double most = speedup(kMostGamma);
  for (const double wanted : {1.0, 1.2, 1.5, 0.99 * most}) {
    const float gamma = classifier->gamma_for(wanted);
    INFO("gamma " << gamma << " for " << wanted << " of " << most);
    CHECK(speedup(gamma) >= wanted - 1e-9);
    CHECK(speedup(gamma) < 1.2 * wanted);  // a token of 40 is a large step
    if (wanted > 1.0) CHECK(speedup(gamma - 1e-5f) < wanted);
  }
  CHECK(classifier->gamma_for(1.01 * most) == kMostGamma);

  PackOptions plain = adaptive_options();
  plain.profile = {};
  CHECK(load(PackBuilder(plain))->elimination_speedup(4.0f) == Approx(1.0));
}

namespace {

// A clock of its own time: every look at it takes `step` microseconds, every block that runs `block`.
struct TestClock {
  double time = 0.0, step = 1.0, block = 0.0;
  static double now(void* context) {
    auto* clock = static_cast<TestClock*>(context);
    return clock->time += clock->step;
  }
  static void ran(void* context, const BlockReading& reading) {
    auto* clock = static_cast<TestClock*>(context);
    if (!reading.skipped) clock->time += clock->block;
  }
};

}  // namespace

TEST_CASE("budget: needs a clock") {
  const auto classifier = load(PackBuilder(adaptive_options()));
  Policy policy;
  policy.budget = 100.0;
  Result result;
  const Error error = classifier->classify("a b", policy, result);
  CHECK(error.status == Status::kWrongInput);
  CHECK_THAT(std::string(error.message), Catch::Contains("needs a clock"));
}

TEST_CASE("budget: no block is begun that would end too late, and no window after the first") {
  PackOptions options = adaptive_options();
  options.max_tokens = 12;
  const auto classifier = load(PackBuilder(options));
  TestClock clock;
  classifier->set_clock({TestClock::now, &clock});
  classifier->observe(TraceObserver{nullptr, TestClock::ran, &clock});
  for (const std::size_t size : {3u, 60u}) {
    const std::string text = letters(size, size);
    const Run whole = classify(*classifier, text, {});
    const Policy first_exit{{ExitKind::kEntropy, 2.0f}};
    Result result;
    REQUIRE(classifier->classify(text.substr(0, 2 * 10), first_exit, result).ok());
    REQUIRE(result.windows == 1);
    const Floats first = copy(result.probabilities);
    REQUIRE(classifier->classify(text, first_exit, result).ok());
    const std::uint32_t windows = result.windows;
    clock.block = 1000.0;
    std::uint32_t before = 0, windows_before = 0;
    bool between = false;
    for (const double budget : {0.5, 900.0, 2500.0, 5000.0, 9000.0, 1e6}) {
      Policy policy;
      policy.budget = budget;
      const double start = clock.time;
      REQUIRE(classifier->classify(text, policy, result).ok());
      INFO(size << " tokens, " << budget << " us, " << result.blocks_run << " blocks");
      CHECK(result.windows >= windows_before);
      CHECK(result.truncated == (result.windows < windows));
      CHECK(result.tokens == (result.windows < windows ? 10 + 8 * (result.windows - 1) : size));
      CHECK(result.blocks_run >= before);
      before = result.blocks_run;
      windows_before = result.windows;
      // Predicted times are of the clock without blocks; so at most one block per window comes too late.
      CHECK(clock.time - start <= budget + 1000.0 * windows + 500.0 * clock.step);
      if (budget == 0.5) {
        CHECK(result.windows == 1);
        CHECK(result.exit_reason == ExitReason::kBudget);
        CHECK(result.blocks_run == 0);
        CHECK(copy(result.probabilities) == first);
      }
      if (budget == 1e6) {
        CHECK(result.exit_reason == ExitReason::kLast);
        CHECK(copy(result.probabilities) == whole.probabilities);
      }
      between = between || (result.blocks_run > 0 && result.blocks_run < windows * options.blocks);
    }
    CHECK(between);
    CHECK(result.blocks_run == windows * options.blocks);
  }
}

TEST_CASE("budget: a quarter of it at most goes into the n-grams of a long text") {
  PackOptions options = adaptive_options();
  options.max_tokens = 12;
  options.ngram_buckets = 512;
  options.text_ngrams = true;
  const auto classifier = load(PackBuilder(options));
  TestClock clock;
  classifier->set_clock({TestClock::now, &clock});
  std::uint32_t parts = 0;
  classifier->observe(StageObserver{[](void* context, Stage stage) { *static_cast<std::uint32_t*>(context) += stage == Stage::kNgrams; }, &parts});
  const std::string text = letters(6400, 1);  // parts of 64 tokens
  Result result;
  REQUIRE(classifier->classify(text, {{ExitKind::kEntropy, 2.0f}}, result).ok());
  CHECK(parts >= 100 + result.windows);
  CHECK_FALSE(result.truncated);
  Policy policy{{ExitKind::kEntropy, 2.0f}};
  policy.budget = 80.0;  // every part looks at the clock once
  REQUIRE(classifier->classify("a", policy, result).ok());  // the first budget measures the machine's pace
  parts = 0;
  REQUIRE(classifier->classify(text, policy, result).ok());
  CHECK((parts - result.windows >= 15 && parts - result.windows <= 21));
  CHECK(result.truncated);
}

TEST_CASE("trace: windows with their tokens, then every block with those that are left") {
  struct Seen {
    std::vector<std::vector<Token>> windows;
    std::vector<BlockReading> blocks;
    std::vector<std::vector<std::uint32_t>> alive;
  } seen;
  PackBuilder builder(adaptive_options());
  set_gate(builder, 1, true);
  const auto classifier = load(builder);
  classifier->observe(TraceObserver{[](void* context, const WindowReading& reading) {
                                      auto* all = static_cast<Seen*>(context);
                                      CHECK(reading.window == all->windows.size());
                                      CHECK(reading.second.empty());
                                      all->windows.emplace_back(reading.first.begin(), reading.first.end());
                                    },
                                    [](void* context, const BlockReading& reading) {
                                      auto* all = static_cast<Seen*>(context);
                                      all->blocks.push_back(reading);
                                      all->alive.emplace_back(reading.alive.begin(), reading.alive.end());
                                    },
                                    &seen});
  const std::string text = letters(50, 50);
  Result result;
  REQUIRE(classifier->classify(text, {{}, 1.0f, 0.999f}, result).ok());
  REQUIRE(result.windows == 2);
  REQUIRE(seen.windows.size() == 2);
  CHECK(seen.windows[0].size() == 38);
  CHECK(seen.windows[1].size() == 50 - 38 + 9);
  CHECK(seen.windows[1][9].begin == 2 * 38);
  REQUIRE(seen.blocks.size() == 8);
  std::uint32_t ran = 0;
  for (std::uint32_t i = 0; i < 8; ++i) {
    const BlockReading& reading = seen.blocks[i];
    const std::uint32_t window = i / 4, block = i % 4;
    CHECK(reading.window == window);
    CHECK(reading.block == block);
    CHECK(reading.skipped == (reading.gate > 0.999f));
    CHECK((block != 1 || reading.skipped));
    const std::size_t started = seen.windows[window].size() + 2;
    CHECK(reading.entering == (block == 0 ? started : seen.alive[i - 1].size()));
    CHECK(seen.alive[i].size() == (reading.skipped ? reading.entering : kept_tokens(adaptive_options().profile[block], 1.0f, reading.entering, started)));
    CHECK(seen.alive[i].front() == 0);
    CHECK(std::is_sorted(seen.alive[i].begin(), seen.alive[i].end()));
    ran += reading.skipped ? 0 : 1;
  }
  CHECK(result.blocks_run == ran);
}

}  // namespace beex
