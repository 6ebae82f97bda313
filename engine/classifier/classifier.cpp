#include "beex/classifier.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <new>
#include <utility>

#include "beex/tokenizer.h"
#include "classifier/pace.h"
#include "classifier/run.h"
#include "model/calibration.h"
#include "model/cost.h"
#include "model/elimination.h"
#include "model/fingerprint.h"
#include "model/network.h"

namespace beex {
namespace {

constexpr char kNoClasses[] = "this pack has no classes: it turns texts into vectors; use embed()";

// Special tokens around a single text and around a pair.
constexpr std::size_t kSingleSpecials = 2;
constexpr std::size_t kPairSpecials = 4;

// Of a time budget, as there is work before and after a run; and of predicted times, as none is exact: at 1.1 an AMD EPYC kept 97 % of
// the budgets of `scripts/bench --adaptive budgets`, at 1.4 it keeps 99.
constexpr double kUsable = 0.95, kCaution = 1.4;

// sum += values, or sum = values for the first window of a text.
void accumulate(std::span<const float> values, bool first, std::span<float> sum) {
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = first ? values[i] : sum[i] + values[i];
}

// From the sum of the windows to their mean.
void divide_by(std::uint32_t windows, std::span<float> sum) {
  if (windows == 1) return;
  const float share = 1.0f / static_cast<float>(windows);
  for (float& value : sum) value = value * share;
}

}  // namespace

struct Classifier::State {
  Bytes bytes;
  Pack pack;
  Tokenizer tokenizer;
  Network network;
  CostModel cost;
  Bytes memory;
  std::span<std::uint32_t> ids;  // (max tokens), [CLS] and [SEP] included
  std::span<Token> tokens;       // (2 max tokens): a window, or the kept tokens of a and of b
  std::span<float> pooled;         // (class), sum of the windows' calibrated logits, each times its tokens
  std::span<float> probabilities;  // (class), of several windows
  std::uint32_t pooled_tokens = 0;
  ExitAnswer last;  // of the last window
  std::span<std::uint32_t> ranked;  // (class), of multi-label packs: the answer's labels are its first ones
  std::span<float> vector;       // (hidden)
  StageObserver stage;
  ExitObserver exit;
  TraceObserver trace;
  Clock clock;
  Pace pace;
  bool pace_measured = false;  // only once a budget asks for it
  double started = 0.0;  // the text, by the clock, when there is a budget
  double dense = 0.0;    // cost of the text's windows so far, all blocks on all tokens

  Error allocate();
  Error start(const Policy& policy);
  void measure_pace();
  bool in_time(std::size_t id_count, const Policy& policy, const Result& result) const;
  void run_window(std::size_t id_count, std::size_t first_length, double share, const Policy& policy, Result& result);
  void read_ahead(std::string_view text, const Policy& policy);
  template <class Window>
  std::uint32_t read_windows(std::string_view text, Window window);
  void classify(std::string_view text, const Policy& policy, Result& result);
  void classify_pair(std::string_view a, std::string_view b, const Policy& policy, Result& result);
  void embed(std::string_view text);
  void pool_windows();
  void finish(Result& result);
  std::size_t rank_labels(std::span<const float> probability);
};

Error Classifier::State::allocate() {
  const Config& config = pack.config;
  const std::size_t ranked_count = config.task == Task::kMultiLabel ? config.classes : 0;
  memory = Bytes(2 * config.max_tokens * sizeof(Token) + config.max_tokens * sizeof(std::uint32_t) +
                 2 * config.classes * sizeof(float) + ranked_count * sizeof(std::uint32_t) + config.hidden_size * sizeof(float));
  if (memory.size() == 0) return make_error(Status::kOutOfMemory, "not enough memory for the buffers of a text");
  std::uint8_t* next = memory.data();
  const auto take = [&next]<class T>(std::span<T>& span, std::size_t count) {
    span = {reinterpret_cast<T*>(next), count};
    next += span.size_bytes();
  };
  take(tokens, 2 * std::size_t{config.max_tokens});
  take(ids, config.max_tokens);
  take(pooled, config.classes);
  take(probabilities, config.classes);
  take(ranked, ranked_count);
  take(vector, config.hidden_size);
  return {};
}

// Prepares for a text. Fails when there is a budget and no clock.
Error Classifier::State::start(const Policy& policy) {
  dense = 0.0;
  pooled_tokens = 0;
  network.forget_text();
  if (!(policy.budget > 0.0)) return {};
  if (clock.now == nullptr) return make_error(Status::kWrongInput, "a time budget needs a clock, and nobody has set one");
  if (!pace_measured) measure_pace();
  started = clock();
  return {};
}

// Runs a made-up input for some milliseconds, which also lets a compiler of wasm notice.
void Classifier::State::measure_pace() {
  constexpr double kMicroseconds = 6000.0;
  constexpr int kMostRuns = 200;  // in case the clock stands still
  const std::span<std::uint32_t> input = ids.first(std::min<std::size_t>(32, ids.size()));
  std::fill(input.begin(), input.end(), pack.config.unk_id);
  pace_measured = true;
  const double begin = clock();
  double before = begin;
  for (int i = 0; i < kMostRuns && before - begin < kMicroseconds; ++i) {
    const double units = run(network, cost, input, input.size() / 2, {}, {}, {}).work;
    const double now = clock();
    pace.add(units, now - before);
    before = now;
  }
}

// Whether exit 0 can answer for a window before the text's time is up. The first one is read in any case.
bool Classifier::State::in_time(std::size_t id_count, const Policy& policy, const Result& result) const {
  if (!(policy.budget > 0.0) || result.windows == 0) return true;
  const double units = cost.embedding(id_count) + cost.pooling(id_count) + cost.exit();
  return clock() + units * pace.unit_time() * kCaution <= started + policy.budget * kUsable;
}

// Runs the network on the first `id_count` of `ids`, which go up to `share` of the text, and adds the answer to `result`. The first window
// sets what the others only add to.
void Classifier::State::run_window(std::size_t id_count, std::size_t first_length, double share, const Policy& policy, Result& result) {
  const bool limited = policy.budget > 0.0;
  Deadline deadline;
  if (limited) deadline = {clock, started + share * policy.budget * kUsable, pace.unit_time() * kCaution};
  const double begin = limited ? clock() : 0.0;
  const RunAnswer window = run(network, cost, ids.first(id_count), first_length, policy, deadline, {result.windows, exit, trace});
  if (limited) pace.add(window.work, clock() - begin);
  last = window.answer;
  const auto weight = static_cast<float>(id_count);
  for (std::size_t c = 0; c < pooled.size(); ++c) {
    const float value = calibrated(last.logits, last.inverse_temperature, c) * weight;
    pooled[c] = result.windows == 0 ? value : pooled[c] + value;
  }
  pooled_tokens += static_cast<std::uint32_t>(id_count);
  if (result.windows == 0 || window.exit > result.exit_block) {
    result.exit_block = window.exit;
    result.exit_reason = window.reason;
  }
  result.logits = window.answer.logits;
  result.blocks_run += window.blocks;
  result.work += window.work;
  dense += cost.dense(id_count);
  ++result.windows;
}

// The n-grams of a text that is longer than a window, all of it (FORMAT.md, "Windows"), or as far as a quarter of a time budget lasts.
void Classifier::State::read_ahead(std::string_view text, const Policy& policy) {
  constexpr std::size_t kBefore = kMaxNgramLength - 1;  // ids of the part before with which a run may begin
  std::array<Token, 64> part;
  std::array<std::uint32_t, kBefore + part.size() + 1> run;
  TokenStream stream(tokenizer, text);
  std::size_t count = 0, from = 0;
  run[count++] = pack.config.cls_id;
  for (bool more = true; more;) {
    stage(Stage::kTokenize);
    const std::size_t fresh = stream.read(part);
    for (std::size_t i = 0; i < fresh; ++i) run[count++] = part[i].id;
    more = fresh == part.size() && !(policy.budget > 0.0 && clock() > started + policy.budget / 4);
    if (!more) run[count++] = pack.config.sep_id;
    network.read_ahead(std::span(run).first(count), from);
    from = std::min(count, kBefore);
    std::copy_n(run.begin() + static_cast<std::ptrdiff_t>(count - from), from, run.begin());
    count = from;
  }
}

// Windows of max_tokens - 2 tokens that overlap by a quarter (FORMAT.md, "Windows"), read as a stream: the overlap is moved to the
// front of the buffer and the text goes on behind it. Calls `window` with the number of `ids` for each, until it says that it is enough,
// and returns the number of tokens that were read.
template <class Window>
std::uint32_t Classifier::State::read_windows(std::string_view text, Window window) {
  const std::size_t room = pack.config.max_tokens - kSingleSpecials;
  const std::size_t overlap = room / 4;
  stage(Stage::kTokenize);
  TokenStream stream(tokenizer, text);
  std::size_t count = stream.read(tokens.first(room)), fresh = count;
  std::uint32_t total = 0;
  do {
    ids[0] = pack.config.cls_id;
    for (std::size_t i = 0; i < count; ++i) ids[1 + i] = tokens[i].id;
    ids[1 + count] = pack.config.sep_id;
    if (!window(count + kSingleSpecials)) break;
    total += static_cast<std::uint32_t>(fresh);
    if (count < room) break;
    stage(Stage::kTokenize);
    std::copy_n(tokens.begin() + static_cast<std::ptrdiff_t>(room - overlap), overlap, tokens.begin());
    fresh = stream.read(tokens.subspan(overlap, room - overlap));
    count = overlap + fresh;
  } while (fresh > 0);
  return total;
}

void Classifier::State::classify(std::string_view text, const Policy& policy, Result& result) {
  result.tokens = read_windows(text, [&](std::size_t id_count) {
    const std::size_t count = id_count - kSingleSpecials;
    if (!in_time(id_count, policy, result)) {
      result.truncated = true;
      return false;
    }
    const bool full = id_count == ids.size();  // so others may follow
    if (full && result.windows == 0 && pack.config.text_ngrams) read_ahead(text, policy);
    if (trace.window != nullptr) trace.window(trace.context, {result.windows, tokens.first(count), {}});
    run_window(id_count, 0, full ? tokens[count - 1].end / static_cast<double>(text.size()) : 1.0, policy, result);
    return true;
  });
  finish(result);
}

void Classifier::State::embed(std::string_view text) {
  std::uint32_t windows = 0;
  read_windows(text, [&](std::size_t id_count) {
    network.embed(ids.first(id_count), 0);
    for (std::uint32_t i = 0; i < pack.config.blocks; ++i) network.run_block(i);
    accumulate(network.read_vector(), windows++ == 0, vector);
    return true;
  });
  divide_by(windows, vector);
  const float square = network.kernels().dot(vector.data(), vector.data(), vector.size());
  if (square > 0.0f) {
    const float inverse = 1.0f / std::sqrt(square);
    for (float& value : vector) value = value * inverse;
  }
  stage(Stage::kDone);
}

void Classifier::State::classify_pair(std::string_view a, std::string_view b, const Policy& policy, Result& result) {
  const std::size_t room = pack.config.max_tokens - kPairSpecials;
  const std::span<Token> first = tokens.first(room), second = tokens.subspan(room, room);
  std::array<std::size_t, 2> kept{};
  stage(Stage::kTokenize);
  for (std::size_t side = 0; side < kept.size(); ++side) {
    // Tokens beyond `room` of one text never fit; they are only counted.
    TokenStream stream(tokenizer, side == 0 ? a : b);
    kept[side] = stream.read(side == 0 ? first : second);
    std::array<Token, 32> rest;
    std::size_t total = kept[side];
    while (const std::size_t more = stream.read(rest)) total += more;
    result.tokens += static_cast<std::uint32_t>(total);
  }
  result.truncated = result.tokens > room;
  while (kept[0] + kept[1] > room) --kept[kept[0] >= kept[1] ? 0 : 1];

  std::size_t count = 0;
  ids[count++] = pack.config.cls_id;
  for (const Token& token : first.first(kept[0])) ids[count++] = token.id;
  ids[count++] = pack.config.sep_id;
  const std::size_t first_length = count;
  ids[count++] = pack.config.cls_id;
  for (const Token& token : second.first(kept[1])) ids[count++] = token.id;
  ids[count++] = pack.config.sep_id;
  if (trace.window != nullptr) trace.window(trace.context, {0, first.first(kept[0]), second.first(kept[1])});
  run_window(count, first_length, 1.0, policy, result);
  finish(result);
}

// From the sum of the windows to the probabilities of the text (FORMAT.md, "Windows").
void Classifier::State::pool_windows() {
  constexpr float kCalibrated[] = {1.0f};
  const float share = 1.0f / static_cast<float>(pooled_tokens);
  for (float& value : pooled) value = value * share;
  if (pack.config.task == Task::kMultiLabel) {
    calibrate_multi_label(pooled, kCalibrated, 0.0f, probabilities);
  } else {
    calibrate_single_label(pooled, kCalibrated, 0.0f, pooled, probabilities);
  }
}

void Classifier::State::finish(Result& result) {
  result.work = result.work / dense;
  result.probabilities = last.probabilities;
  if (result.windows > 1) {
    pool_windows();
    result.probabilities = probabilities;
  }
  const auto likeliest = std::max_element(result.probabilities.begin(), result.probabilities.end());
  result.label = static_cast<std::uint32_t>(likeliest - result.probabilities.begin());
  result.labels = ranked.first(rank_labels(result.probabilities));
  stage(Stage::kDone);
}

// Puts the classes above their thresholds at the front of `ranked`, likeliest first, and returns how many there are: none in packs
// without thresholds.
std::size_t Classifier::State::rank_labels(std::span<const float> probability) {
  std::size_t count = 0;
  for (std::uint32_t c = 0; c < ranked.size(); ++c) {
    if (probability[c] > pack.threshold[c]) ranked[count++] = c;
  }
  // By class where equal, so that the order is one and the same everywhere. A heap, as std::sort takes kilobytes of code.
  const auto end = ranked.begin() + static_cast<std::ptrdiff_t>(count);
  const auto likelier = [probability](std::uint32_t a, std::uint32_t b) {
    return probability[a] != probability[b] ? probability[a] > probability[b] : a < b;
  };
  std::make_heap(ranked.begin(), end, likelier);
  std::sort_heap(ranked.begin(), end, likelier);
  return count;
}

Error Classifier::load(Bytes pack, std::string_view kernels, std::unique_ptr<Classifier>& classifier) {
  const KernelTable* table = find_kernels(kernels);
  if (table == nullptr) {
    return make_error(Status::kUnknownKernel, "this build has no kernels named \"%.*s\"", static_cast<int>(kernels.size()), kernels.data());
  }
  std::unique_ptr<State> state(new (std::nothrow) State);
  if (state == nullptr) return make_error(Status::kOutOfMemory, "not enough memory for a classifier");
  state->bytes = std::move(pack);
  Error error = Pack::parse(state->bytes.view(), state->pack);
  if (error.ok()) error = Tokenizer::load(state->pack.vocabulary, state->pack.config, state->tokenizer);
  if (error.ok()) error = Network::load(state->pack, *table, state->network);
  if (error.ok()) error = state->allocate();
  if (!error.ok()) return error;
  state->cost = CostModel(state->pack.config);
  classifier.reset(new (std::nothrow) Classifier(std::move(state)));
  return classifier != nullptr ? Error{} : make_error(Status::kOutOfMemory, "not enough memory for a classifier");
}

Classifier::Classifier(std::unique_ptr<State> state) : state_(std::move(state)) {}
Classifier::~Classifier() = default;

Error Classifier::classify(std::string_view text, const Policy& policy, Result& result) {
  result = {};
  if (state_->pack.config.task == Task::kFeatures) return make_error(Status::kWrongInput, "%s", kNoClasses);
  if (state_->pack.config.inputs != 1) return make_error(Status::kWrongInput, "this pack classifies pairs of texts, not single ones");
  const Error error = state_->start(policy);
  if (error.ok()) state_->classify(text, policy, result);
  return error;
}

Error Classifier::classify_pair(std::string_view a, std::string_view b, const Policy& policy, Result& result) {
  result = {};
  if (state_->pack.config.task == Task::kFeatures) return make_error(Status::kWrongInput, "%s", kNoClasses);
  if (state_->pack.config.inputs != 2) return make_error(Status::kWrongInput, "this pack classifies single texts, not pairs");
  const Error error = state_->start(policy);
  if (error.ok()) state_->classify_pair(a, b, policy, result);
  return error;
}

double Classifier::elimination_speedup(float gamma) const {
  return beex::elimination_speedup(state_->cost, state_->pack.elimination_profile, state_->pack.config.max_tokens, gamma);
}

float Classifier::gamma_for(double speedup) const {
  float low = 0.0f, high = kMostGamma;
  for (int i = 0; i < 24; ++i) {
    const float middle = 0.5f * (low + high);
    (elimination_speedup(middle) < speedup ? low : high) = middle;
  }
  return high;
}

Error Classifier::embed(std::string_view text, std::span<const float>& vector) {
  vector = {};
  if (state_->pack.config.inputs != 1) {
    return make_error(Status::kWrongInput, "this pack compares pairs of texts; only a pack for single texts turns a text into a vector");
  }
  state_->embed(text);
  vector = state_->vector;
  return {};
}

const Pack& Classifier::pack() const { return state_->pack; }
const char* Classifier::kernels() const { return state_->network.kernels().name; }

std::size_t Classifier::memory() const {
  return sizeof(Classifier) + sizeof(State) + state_->bytes.size() + state_->tokenizer.memory() + state_->network.memory() +
         state_->memory.size();
}

void Classifier::observe(StageObserver observer) {
  state_->stage = observer;
  state_->network.observe(observer);
}

void Classifier::observe(ExitObserver observer) { state_->exit = observer; }
void Classifier::observe(TraceObserver observer) { state_->trace = observer; }

void Classifier::set_clock(Clock clock) {
  state_->clock = clock;
  state_->pace = Pace();
  state_->pace_measured = false;
}

std::span<const char* const> kernel_names() {
  static const auto names = [] {
    std::array<const char*, 8> all{};
    std::size_t count = 0;
    for (const KernelTable* table : kernel_tables()) all[count++] = table->name;
    return all;
  }();
  return {names.data(), kernel_tables().size()};
}

std::uint32_t fingerprint(std::string_view kernels) {
  const KernelTable* table = find_kernels(kernels);
  return table != nullptr ? fingerprint(*table) : 0;
}

}  // namespace beex
