// The bridge to JavaScript: one class, numbers in and numbers out. Not a place for logic: bindings/js/src/engine.ts turns
// this into the public API.
//
// Bytes never cross as C++ strings or containers. JavaScript asks for room (`reserve_pack`, `reserve_input`), writes bytes there,
// makes one call and reads the answer at a fixed address, as 32-bit words in the order of the structs below. The engine owns all
// of that memory. Nothing throws: calls that may fail return a Status or a null address, and `message` has the sentence.
// Memory may grow in any call, so JavaScript takes its views anew afterwards.
#include <emscripten/bind.h>
#include <emscripten/emscripten.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "beex/classifier.h"
#include "trace.h"

namespace {

using Address = std::uint32_t;

template <typename T>
Address address_of(const T* pointer) {
  return static_cast<Address>(reinterpret_cast<std::uintptr_t>(pointer));
}

struct Text {
  Address data = 0;
  std::uint32_t size = 0;
};

Text text_of(std::string_view text) { return {address_of(text.data()), static_cast<std::uint32_t>(text.size())}; }

// How to classify; `#settings` in engine.ts, which writes it before a call. The budget is in microseconds, 0 for none.
struct Settings {
  std::uint32_t kind;
  float threshold, certain, uncertain;
  std::uint32_t first_exit, keep_lower_entropy;
  float gamma, skip_threshold, budget;
  std::uint32_t trace;

  beex::Policy policy() const {
    return {{static_cast<beex::ExitKind>(kind), threshold, certain, uncertain, first_exit, keep_lower_entropy != 0}, gamma, skip_threshold, budget};
  }
};

// What the last classification gave; `Answer` in engine.ts. Probabilities and logits are addresses of f32[classes], labels that of
// u32[label_count].
struct Answer {
  std::uint32_t label, exit_block, exit_reason, tokens, windows, truncated;
  Address probabilities, logits, labels;
  std::uint32_t label_count;
  float work;
  Address trace;
  std::uint32_t trace_words;
};
static_assert(sizeof(Answer) == 13 * 4);

// A setting of the pack; `CurveRow` in speed.ts.
struct CurveRow {
  float work, accuracy;
  Settings settings;
  std::uint32_t name;
};
static_assert(sizeof(CurveRow) == 13 * 4);

// Microseconds, as good as the browser's clock.
constexpr beex::Clock kClock{[](void*) { return 1000.0 * emscripten_get_now(); }, nullptr};

// What a loaded pack is; `Facts` in engine.ts.
struct Facts {
  std::uint32_t inputs, task, classes, vocabulary_size, hidden_size, blocks, heads, slfn_size, max_tokens, embedding_bits;
  std::uint32_t position_bits, slfn_form, pooling, fold_case, memory;
  std::uint32_t rule_kind;
  float rule_threshold, rule_certain, rule_uncertain;
  std::uint32_t rule_first_exit, rule_keep_lower_entropy;
  std::uint32_t skip_width, elimination;
  Text labels, metadata, kernels;
  std::uint32_t curve_points;
  CurveRow curve[beex::kMaxCurvePoints];
};
static_assert(sizeof(Facts) == (30 + 13 * beex::kMaxCurvePoints) * 4);

class Engine {
 public:
  // Room for a pack or for UTF-8 text, at least `size` bytes; 0 when memory is refused. Valid until the next such call.
  Address reserve_pack(std::uint32_t size) { return reserve(pack_, size); }
  Address reserve_input(std::uint32_t size) { return reserve(input_, size); }

  // Takes the bytes written into the pack's room. Returns a Status; once it is 0, `facts` are filled.
  std::uint32_t load() {
    error_ = beex::Classifier::load(std::move(pack_), {}, classifier_);
    if (error_.ok()) {
      classifier_->set_clock(kClock);
      fill_facts();
    }
    return status();
  }

  // Classifies the first `size` bytes of the input under `settings`. Needs a successful `load`. Returns a Status; once it is 0, `answer`
  // is filled.
  std::uint32_t classify(std::uint32_t size) {
    return run([&](beex::Result& result) { return classifier_->classify(input(0, size), settings_.policy(), result); });
  }

  // The same for a pair: `a_size` bytes, then `b_size` bytes.
  std::uint32_t classify_pair(std::uint32_t a_size, std::uint32_t b_size) {
    return run([&](beex::Result& result) {
      return classifier_->classify_pair(input(0, a_size), input(a_size, b_size), settings_.policy(), result);
    });
  }

  // Turns the first `size` bytes of the input into a vector. Needs a successful `load`. Returns a Status; once it is 0, `vector` is the
  // address of f32[hidden_size], which holds until the next call.
  std::uint32_t embed(std::uint32_t size) {
    std::span<const float> vector;
    error_ = classifier_->embed(input(0, size), vector);
    vector_ = address_of(vector.data());
    return status();
  }
  Address vector() const { return vector_; }

  // Fixed addresses for the life of the engine. The message ends with a zero byte.
  Address message() const { return address_of(error_.message); }
  Address facts() const { return address_of(&facts_); }
  Address answer() const { return address_of(&answer_); }
  Address settings() const { return address_of(&settings_); }

 private:
  static Address reserve(beex::Bytes& bytes, std::uint32_t size) {
    bytes = beex::Bytes();  // first give back what was there
    bytes = beex::Bytes(size);
    return address_of(bytes.data());
  }

  std::string_view input(std::size_t begin, std::size_t size) const {
    return {reinterpret_cast<const char*>(input_.data()) + begin, size};
  }

  std::uint32_t status() const { return static_cast<std::uint32_t>(error_.status); }

  template <class Classify>
  std::uint32_t run(Classify classify) {
    beex::Result result;
    const bool traced = settings_.trace != 0;
    if (traced) recorder_.watch(*classifier_);
    error_ = classify(result);
    if (traced) recorder_.unwatch(*classifier_);
    if (traced && !recorder_.complete()) error_ = beex::make_error(beex::Status::kOutOfMemory, "not enough memory for the trace of such a long text");
    if (error_.ok()) {
      const std::span<const std::uint32_t> trace = traced ? recorder_.words() : std::span<const std::uint32_t>();
      answer_ = {result.label, result.exit_block, static_cast<std::uint32_t>(result.exit_reason), result.tokens, result.windows,
                 result.truncated, address_of(result.probabilities.data()), address_of(result.logits.data()),
                 address_of(result.labels.data()), static_cast<std::uint32_t>(result.labels.size()), static_cast<float>(result.work),
                 address_of(trace.data()), static_cast<std::uint32_t>(trace.size())};
    }
    return status();
  }

  void fill_facts() {
    const beex::Pack& pack = classifier_->pack();
    const beex::Config& config = pack.config;
    const beex::ExitRule& rule = pack.exit_rule;
    facts_ = {config.inputs, static_cast<std::uint32_t>(config.task), config.classes, config.vocabulary_size, config.hidden_size, config.blocks, config.heads,
              config.slfn_size, config.max_tokens, config.embedding_bits, config.position_bits,
              static_cast<std::uint32_t>(config.slfn_form), static_cast<std::uint32_t>(config.pooling), config.fold_case,
              static_cast<std::uint32_t>(classifier_->memory()), static_cast<std::uint32_t>(rule.kind), rule.threshold,
              rule.certain, rule.uncertain, rule.first_exit, rule.keep_lower_entropy, config.skip_width,
              config.elimination, text_of(pack.labels), text_of(pack.metadata), text_of(classifier_->kernels()), pack.curve_points, {}};
    for (std::uint32_t i = 0; i < pack.curve_points; ++i) {
      const beex::CurvePoint& point = pack.curve[i];
      const beex::Policy& policy = point.policy;
      facts_.curve[i] = {point.work, point.accuracy,
                         {static_cast<std::uint32_t>(policy.rule.kind), policy.rule.threshold, policy.rule.certain, policy.rule.uncertain,
                          policy.rule.first_exit, policy.rule.keep_lower_entropy, policy.gamma, policy.skip_threshold, 0.0f, 0},
                         static_cast<std::uint32_t>(point.name)};
    }
  }

  beex::Bytes pack_, input_;
  std::unique_ptr<beex::Classifier> classifier_;
  beex::Error error_;
  Facts facts_ = {};
  Settings settings_ = {};
  Answer answer_ = {};
  beex::TraceRecorder recorder_{kClock};
  Address vector_ = 0;
};

}  // namespace

EMSCRIPTEN_BINDINGS(beex) {
  emscripten::class_<Engine>("Engine")
      .smart_ptr_constructor("Engine", &std::make_shared<Engine>)
      .function("reservePack", &Engine::reserve_pack)
      .function("reserveInput", &Engine::reserve_input)
      .function("load", &Engine::load)
      .function("classify", &Engine::classify)
      .function("classifyPair", &Engine::classify_pair)
      .function("embed", &Engine::embed)
      .function("vector", &Engine::vector)
      .function("message", &Engine::message)
      .function("facts", &Engine::facts)
      .function("answer", &Engine::answer)
      .function("settings", &Engine::settings);
}
