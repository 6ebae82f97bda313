// The bridge to JavaScript: a few functions, numbers in and numbers out. Not a place for logic: bindings/js/src/engine.ts turns
// this into the public API.
//
// One instance of the wasm is one engine, with one pack: what has no instance needs no handle, and its memory goes with the
// instance. Bytes never cross as C++ strings or containers. JavaScript asks for room (`reservePack`, `reserveInput`), writes there and
// into the settings, makes one call for a batch of texts and reads the answers at a fixed address. All of it is 32-bit words in the
// order of the structs below. The engine owns all memory. Nothing throws: calls that may fail return a Status or a null address, and
// `message` has the sentence. Memory may grow in `reserve…`, `load` and a
// traced `classify`; JavaScript takes its views anew afterwards.
#include <emscripten/bind.h>
#include <emscripten/emscripten.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
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

// How to classify; `#set` in engine.ts, which writes it before a call. The budget is in microseconds, 0 for none.
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

// The answer for one text. After it come f32[classes] of probabilities, f32[classes] of logits and, in multi-label packs, u32[classes],
// of which the first `label_count` are the answer's labels. The trace, as trace.h writes it, is that of the call's last text.
struct Answer {
  std::uint32_t label, exit_block, exit_reason, tokens, windows, truncated, label_count;
  float work;
  Address trace;
  std::uint32_t trace_words;
};
static_assert(sizeof(Answer) == 10 * 4);

// A setting of the pack; `CurveRow` in speed.ts.
struct CurveRow {
  float work, accuracy;
  Settings settings;
  std::uint32_t name;
};
static_assert(sizeof(CurveRow) == 13 * 4);

// Microseconds, as good as the browser's clock.
constexpr beex::Clock kClock{[](void*) { return 1000.0 * emscripten_get_now(); }, nullptr};

// What a loaded pack is, and where things are; `Facts` in engine.ts.
struct Facts {
  std::uint32_t inputs, task, classes, vocabulary_size, hidden_size, blocks, heads, slfn_size, max_tokens, embedding_bits;
  std::uint32_t position_bits, slfn_form, pooling, fold_case, memory;
  std::uint32_t rule_kind;
  float rule_threshold, rule_certain, rule_uncertain;
  std::uint32_t rule_first_exit, rule_keep_lower_entropy;
  std::uint32_t skip_width;
  float elimination;  // how many times as fast it can make the whole network; 1 without it
  Text labels, metadata, kernels;
  Address settings, answers;
  std::uint32_t answer_words, batch;  // words from one answer to the next, and the most texts of one call
  std::uint32_t curve_points;
  CurveRow curve[beex::kMaxCurvePoints];
};
static_assert(sizeof(Facts) == (34 + 13 * beex::kMaxCurvePoints) * 4);

class Engine {
 public:
  // Room for a pack or for texts, at least `size` bytes; 0 when memory is refused. Valid until the next such call.
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

  // Classifies `count` texts, at most `batch`, or as many pairs in a pack for pairs. The input begins with the size of each text in
  // bytes, u32[count] or u32[2 count], and then has the texts in UTF-8, one right after the other. Needs a successful `load`. Returns a
  // Status; once it is 0, the answers are there.
  std::uint32_t classify(std::uint32_t count) {
    const beex::Policy policy = settings_.policy();
    const bool traced = settings_.trace != 0;
    const std::size_t inputs = classifier_->pack().config.inputs;
    const std::uint32_t* size = sizes();
    const char* at = reinterpret_cast<const char*>(size + count * inputs);
    const auto next = [&] {
      const std::string_view text{at, *size++};
      at += text.size();
      return text;
    };
    std::uint32_t* out = reinterpret_cast<std::uint32_t*>(answers_.data());
    error_ = {};
    for (std::uint32_t i = 0; i < count && error_.ok(); ++i, out += facts_.answer_words) {
      beex::Result result;
      const std::string_view a = next();
      if (traced) recorder_.watch(*classifier_);
      error_ = inputs == 1 ? classifier_->classify(a, policy, result) : classifier_->classify_pair(a, next(), policy, result);
      if (traced) recorder_.unwatch(*classifier_);
      if (traced && !recorder_.complete()) error_ = beex::make_error(beex::Status::kOutOfMemory, "not enough memory for the trace of such a long text");
      if (error_.ok()) write(result, traced ? recorder_.words() : std::span<const std::uint32_t>(), out);
    }
    return status();
  }

  // Turns a text into a vector; the input is as for one text of `classify`. Needs a successful `load`. Returns a Status; once it is 0,
  // the vector, f32[hidden_size], is where the answers begin.
  std::uint32_t embed() {
    std::span<const float> vector;
    error_ = classifier_->embed({reinterpret_cast<const char*>(sizes() + 1), *sizes()}, vector);
    if (error_.ok()) std::memcpy(answers_.data(), vector.data(), vector.size_bytes());
    return status();
  }

  double gamma_for(double speedup) const { return classifier_->gamma_for(speedup); }

  // Fixed addresses. The message ends with a zero byte.
  Address message() const { return address_of(error_.message); }
  Address facts() const { return address_of(&facts_); }

 private:
  static Address reserve(beex::Bytes& bytes, std::uint32_t size) {
    bytes = beex::Bytes();  // first give back what was there
    bytes = beex::Bytes(size);
    return address_of(bytes.data());
  }

  const std::uint32_t* sizes() const { return reinterpret_cast<const std::uint32_t*>(input_.data()); }
  std::uint32_t status() const { return static_cast<std::uint32_t>(error_.status); }

  static void write(const beex::Result& result, std::span<const std::uint32_t> trace, std::uint32_t* out) {
    const Answer answer{result.label, result.exit_block, static_cast<std::uint32_t>(result.exit_reason), result.tokens, result.windows,
                        result.truncated, static_cast<std::uint32_t>(result.labels.size()),
                        static_cast<float>(result.work), address_of(trace.data()), static_cast<std::uint32_t>(trace.size())};
    const auto append = [&out](const void* words, std::size_t bytes) {
      std::memcpy(out, words, bytes);
      out += bytes / sizeof *out;
    };
    append(&answer, sizeof answer);
    append(result.probabilities.data(), result.probabilities.size_bytes());
    append(result.logits.data(), result.logits.size_bytes());
    append(result.labels.data(), result.labels.size_bytes());
  }

  void fill_facts() {
    constexpr std::size_t kAnswerBytes = 16384;  // for small memory; a call for so many texts costs nothing beside them
    const beex::Pack& pack = classifier_->pack();
    const beex::Config& config = pack.config;
    const beex::ExitRule& rule = pack.exit_rule;
    const std::uint32_t answer_words =
        static_cast<std::uint32_t>(sizeof(Answer) / 4) + (config.task == beex::Task::kMultiLabel ? 3 : 2) * config.classes;
    const std::uint32_t batch = std::max<std::uint32_t>(1, kAnswerBytes / (4 * answer_words));
    answers_ = beex::Bytes(4 * std::max<std::size_t>(std::size_t{answer_words} * batch, config.hidden_size));
    if (answers_.size() == 0) error_ = beex::make_error(beex::Status::kOutOfMemory, "not enough memory for the answers");
    facts_ = {config.inputs, static_cast<std::uint32_t>(config.task), config.classes, config.vocabulary_size, config.hidden_size, config.blocks, config.heads,
              config.slfn_size, config.max_tokens, config.embedding_bits, config.position_bits,
              static_cast<std::uint32_t>(config.slfn_form), static_cast<std::uint32_t>(config.pooling), config.fold_case,
              static_cast<std::uint32_t>(classifier_->memory() + answers_.size()), static_cast<std::uint32_t>(rule.kind), rule.threshold,
              rule.certain, rule.uncertain, rule.first_exit, rule.keep_lower_entropy, config.skip_width,
              static_cast<float>(classifier_->elimination_speedup(beex::kMostGamma)), text_of(pack.labels), text_of(pack.metadata), text_of(classifier_->kernels()), address_of(&settings_),
              address_of(answers_.data()), answer_words, batch, pack.curve_points, {}};
    for (std::uint32_t i = 0; i < pack.curve_points; ++i) {
      const beex::CurvePoint& point = pack.curve[i];
      const beex::Policy& policy = point.policy;
      facts_.curve[i] = {point.work, point.accuracy,
                         {static_cast<std::uint32_t>(policy.rule.kind), policy.rule.threshold, policy.rule.certain, policy.rule.uncertain,
                          policy.rule.first_exit, policy.rule.keep_lower_entropy, policy.gamma, policy.skip_threshold, 0.0f, 0},
                         static_cast<std::uint32_t>(point.name)};
    }
  }

  beex::Bytes pack_, input_, answers_;
  std::unique_ptr<beex::Classifier> classifier_;
  beex::Error error_;
  Facts facts_ = {};
  Settings settings_ = {};
  beex::TraceRecorder recorder_{kClock};
};

// The engine of this instance.
Engine& engine() {
  static Engine instance;
  return instance;
}

}  // namespace

// Without RTTI, Embind prints the addresses of types for its messages, and all of printf would come along for that: 2.4 kB over the wire.
// Nobody but our own TypeScript meets these messages, and they do without.
extern "C" int siprintf(char* out, const char*, ...) {
  *out = '\0';
  return 0;
}

EMSCRIPTEN_BINDINGS(beex) {
  using emscripten::function;
  function("reservePack", +[](std::uint32_t size) { return engine().reserve_pack(size); });
  function("reserveInput", +[](std::uint32_t size) { return engine().reserve_input(size); });
  function("load", +[] { return engine().load(); });
  function("classify", +[](std::uint32_t count) { return engine().classify(count); });
  function("embed", +[] { return engine().embed(); });
  function("gammaFor", +[](double speedup) { return engine().gamma_for(speedup); });
  function("message", +[] { return engine().message(); });
  function("facts", +[] { return engine().facts(); });
  function("fingerprint", +[] { return beex::fingerprint({}); });
}
