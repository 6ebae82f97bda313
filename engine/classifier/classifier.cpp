#include "beex/classifier.h"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "beex/tokenizer.h"
#include "model/network.h"

namespace beex {
namespace {

// Special tokens around a single text and around a pair.
constexpr std::size_t kSingleSpecials = 2;
constexpr std::size_t kPairSpecials = 3;

}  // namespace

// What one window, or one pair, answered.
struct WindowAnswer {
  ExitAnswer answer;
  std::uint32_t exit = 0;
  ExitReason reason = ExitReason::kLast;
};

struct Classifier::State {
  Bytes bytes;
  Pack pack;
  Tokenizer tokenizer;
  Network network;
  Bytes memory;
  std::span<std::uint32_t> ids;  // (max tokens), [CLS] and [SEP] included
  std::span<Token> tokens;       // (2 max tokens): a window, or the kept tokens of a and of b
  std::span<float> pooled;       // (class), sum of the windows' probabilities
  StageObserver stage;
  ExitObserver exit;

  Error allocate();
  WindowAnswer run(std::size_t id_count, std::size_t first_segment, std::uint32_t window, const ExitRule& rule);
  void classify(std::string_view text, const ExitRule& rule, Result& result);
  void classify_pair(std::string_view a, std::string_view b, const ExitRule& rule, Result& result);
  void add(const WindowAnswer& window, Result& result);
  void finish(Result& result);
};

Error Classifier::State::allocate() {
  const std::size_t tokens_size = 2 * pack.config.max_tokens * sizeof(Token);
  const std::size_t ids_size = pack.config.max_tokens * sizeof(std::uint32_t);
  const std::size_t pooled_size = pack.config.classes * sizeof(float);
  memory = Bytes(tokens_size + ids_size + pooled_size);
  if (memory.size() == 0) return make_error(Status::kOutOfMemory, "not enough memory for the buffers of a text");
  tokens = {reinterpret_cast<Token*>(memory.data()), 2 * std::size_t{pack.config.max_tokens}};
  ids = {reinterpret_cast<std::uint32_t*>(memory.data() + tokens_size), pack.config.max_tokens};
  pooled = {reinterpret_cast<float*>(memory.data() + tokens_size + ids_size), pack.config.classes};
  return {};
}

// Runs the network on the first `id_count` of `ids`, exit by exit, until `rule` stops it.
WindowAnswer Classifier::State::run(std::size_t id_count, std::size_t first_segment, std::uint32_t window, const ExitRule& rule) {
  const std::uint32_t last = pack.config.blocks;
  network.embed(ids.first(id_count), first_segment);
  ExitState seen;
  ExitAnswer before;
  for (std::uint32_t i = 0;; ++i) {
    const ExitAnswer answer = network.read_exit(i);
    if (exit.reached != nullptr) exit.reached(exit.context, {window, i, answer.logits, answer.probabilities, answer.entropy});
    const ExitDecision decision = decide(rule, i, last, answer.entropy, answer.probabilities, seen);
    if (decision.stop) return {decision.reason == ExitReason::kRising ? before : answer, i, decision.reason};
    before = answer;
    network.run_block(i);
  }
}

// Windows of max_tokens - 2 tokens that overlap by a quarter (FORMAT.md, "Windows"), read as a stream: the overlap is moved to the
// front of the buffer and the text goes on behind it.
void Classifier::State::classify(std::string_view text, const ExitRule& rule, Result& result) {
  const std::size_t room = pack.config.max_tokens - kSingleSpecials;
  const std::size_t overlap = room / 4;
  stage(Stage::kTokenize);
  TokenStream stream(tokenizer, text);
  std::size_t count = stream.read(tokens.first(room)), fresh = count;
  do {
    ids[0] = pack.config.cls_id;
    for (std::size_t i = 0; i < count; ++i) ids[1 + i] = tokens[i].id;
    ids[1 + count] = pack.config.sep_id;
    result.tokens += static_cast<std::uint32_t>(fresh);
    add(run(count + kSingleSpecials, 0, result.windows, rule), result);
    if (count < room) break;
    stage(Stage::kTokenize);
    std::copy_n(tokens.begin() + static_cast<std::ptrdiff_t>(room - overlap), overlap, tokens.begin());
    fresh = stream.read(tokens.subspan(overlap, room - overlap));
    count = overlap + fresh;
  } while (fresh > 0);
  finish(result);
}

void Classifier::State::classify_pair(std::string_view a, std::string_view b, const ExitRule& rule, Result& result) {
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
  const std::size_t first_segment = count;
  for (const Token& token : second.first(kept[1])) ids[count++] = token.id;
  ids[count++] = pack.config.sep_id;
  add(run(count, first_segment, 0, rule), result);
  finish(result);
}

// Adds one window's answer to `result`. The first window sets what the others only add to.
void Classifier::State::add(const WindowAnswer& window, Result& result) {
  if (result.windows == 0) {
    std::copy(window.answer.probabilities.begin(), window.answer.probabilities.end(), pooled.begin());
  } else {
    for (std::size_t c = 0; c < pooled.size(); ++c) pooled[c] = pooled[c] + window.answer.probabilities[c];
  }
  if (result.windows == 0 || window.exit > result.exit_block) {
    result.exit_block = window.exit;
    result.exit_reason = window.reason;
  }
  result.logits = window.answer.logits;
  result.blocks_run += window.exit;
  ++result.windows;
}

void Classifier::State::finish(Result& result) {
  if (result.windows > 1) {
    const float share = 1.0f / static_cast<float>(result.windows);
    for (float& probability : pooled) probability = probability * share;
  }
  result.probabilities = pooled;
  result.label = static_cast<std::uint32_t>(std::max_element(pooled.begin(), pooled.end()) - pooled.begin());
  stage(Stage::kDone);
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
  classifier.reset(new (std::nothrow) Classifier(std::move(state)));
  return classifier != nullptr ? Error{} : make_error(Status::kOutOfMemory, "not enough memory for a classifier");
}

Classifier::Classifier(std::unique_ptr<State> state) : state_(std::move(state)) {}
Classifier::~Classifier() = default;

Error Classifier::classify(std::string_view text, const ExitRule& rule, Result& result) {
  result = {};
  if (state_->pack.config.inputs != 1) return make_error(Status::kWrongInput, "this pack classifies pairs of texts, not single ones");
  state_->classify(text, rule, result);
  return {};
}

Error Classifier::classify_pair(std::string_view a, std::string_view b, const ExitRule& rule, Result& result) {
  result = {};
  if (state_->pack.config.inputs != 2) return make_error(Status::kWrongInput, "this pack classifies single texts, not pairs");
  state_->classify_pair(a, b, rule, result);
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

std::span<const char* const> kernel_names() {
  static const auto names = [] {
    std::array<const char*, 8> all{};
    std::size_t count = 0;
    for (const KernelTable* table : kernel_tables()) all[count++] = table->name;
    return all;
  }();
  return {names.data(), kernel_tables().size()};
}

}  // namespace beex
