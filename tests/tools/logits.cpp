// Prints what a pack answers, as bits, so that two builds can be compared with cmp.
//
//   logits PACK [--kernels NAME] [--own] < texts
//
// Each line of input is a text, or "a<TAB>b" for a pack for pairs. Each line of output is, for every window and exit with the rule
// off, "window.exit:" and the logits. Then comes, for the pack's own rule and for some speeds, what happened and what was answered:
//   | SPEED          own; without --own also those of accurate, fast and middle (of the curve) that the pack has; words (1.25 times by elimination alone)
//   w words          a window
//   e exit entropy probabilities
//   b block skipped gate tokens-in tokens-out dropped-words…     words as places in their window; the gate is - when nobody asked it
//   = exit-block reason label windows probabilities, and for a multi-label pack ";" and the answer's labels
// A pack of features gives "|" and the text's vector. Floats are 8 hexadecimal digits. The kernels' name and the engine's fingerprint go to
// stderr.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "beex/classifier.h"
#include "tools/files.h"

namespace {

void print_floats(std::span<const float> values) {
  for (const float value : values) {
    std::uint32_t word;
    std::memcpy(&word, &value, sizeof word);
    std::printf(" %08x", word);
  }
}

void print_exit(void*, const beex::ExitReading& reading) {
  std::printf("%u.%u:", reading.window, reading.exit);
  print_floats(reading.logits);
  std::printf(" ");
}

beex::Error classify(beex::Classifier& classifier, const std::string& line, const beex::Policy& policy, beex::Result& result) {
  if (classifier.pack().config.inputs == 1) return classifier.classify(line, policy, result);
  const std::size_t tab = line.find('\t');
  return classifier.classify_pair(line.substr(0, tab), tab == std::string::npos ? "" : line.substr(tab + 1), policy, result);
}

// Prints what happens on the way of a text.
class Tracer {
 public:
  // Watches from now on until it goes.
  explicit Tracer(beex::Classifier& classifier) : classifier_(classifier) {
    classifier.observe(beex::TraceObserver{
        [](void* self, const beex::WindowReading& reading) { static_cast<Tracer*>(self)->print(reading); },
        [](void* self, const beex::BlockReading& reading) { static_cast<Tracer*>(self)->print(reading); }, this});
    classifier.observe(beex::ExitObserver{[](void*, const beex::ExitReading& reading) {
                                            std::printf(" e %u", reading.exit);
                                            print_floats({&reading.entropy, 1});
                                            print_floats(reading.probabilities);
                                          },
                                          nullptr});
  }
  ~Tracer() {
    classifier_.observe(beex::TraceObserver{});
    classifier_.observe(beex::ExitObserver{});
  }
  Tracer(const Tracer&) = delete;

 private:
  static constexpr std::size_t kMark = SIZE_MAX;

  // [CLS], the words of one text, [SEP], and in a pair those of the other and [SEP].
  void print(const beex::WindowReading& reading) {
    word_.assign(1, kMark);
    std::size_t words = 0;
    const auto append = [&](std::span<const beex::Token> tokens) {
      for (std::size_t i = 0; i < tokens.size(); ++i) word_.push_back(words++);
      word_.push_back(kMark);
    };
    append(reading.first);
    if (classifier_.pack().config.inputs == 2) append(reading.second);
    alive_.resize(word_.size());
    std::iota(alive_.begin(), alive_.end(), 0u);
    std::printf(" w %zu", words);
  }

  void print(const beex::BlockReading& reading) {
    std::printf(" b %u %u", reading.block + 1, reading.skipped ? 1u : 0u);
    if (reading.gate < 0.0f) {
      std::printf(" -");
    } else {
      print_floats({&reading.gate, 1});
    }
    std::printf(" %zu %zu", alive_.size(), reading.alive.size());
    for (const std::uint32_t place : alive_) {
      const bool left = std::find(reading.alive.begin(), reading.alive.end(), place) != reading.alive.end();
      if (!left && word_[place] != kMark) std::printf(" %zu", word_[place]);
    }
    alive_.assign(reading.alive.begin(), reading.alive.end());
  }

  beex::Classifier& classifier_;
  std::vector<std::size_t> word_;     // (tokens of the window)
  std::vector<std::uint32_t> alive_;  // those that are left
};

void print_under(beex::Classifier& classifier, const std::string& line, const char* name, const beex::Policy& policy) {
  beex::Result result;
  std::printf("| %s", name);
  {
    const Tracer tracer(classifier);
    classify(classifier, line, policy, result);
  }
  std::printf(" = %u %u %u %u", result.exit_block, static_cast<unsigned>(result.exit_reason), result.label, result.windows);
  print_floats(result.probabilities);
  if (classifier.pack().config.task == beex::Task::kMultiLabel) std::printf(" ;");
  for (const std::uint32_t label : result.labels) std::printf(" %u", label);
}

void print_answer(beex::Classifier& classifier, const std::string& line, bool own) {
  const beex::Pack& pack = classifier.pack();
  beex::Result result;
  classifier.observe(beex::ExitObserver{print_exit, nullptr});
  classify(classifier, line, {}, result);
  print_under(classifier, line, "own", {pack.exit_rule});
  if (own) return;
  const std::span<const beex::CurvePoint> curve(pack.curve.data(), pack.curve_points);
  for (const auto& [name, speed] : {std::pair{"accurate", beex::SpeedName::kAccurate}, std::pair{"fast", beex::SpeedName::kFast}}) {
    for (const beex::CurvePoint& point : curve) {
      if (point.name == speed) print_under(classifier, line, name, point.policy);
    }
  }
  if (!curve.empty()) print_under(classifier, line, "middle", curve[curve.size() / 2].policy);
  constexpr double kFaster = 1.25;
  if (classifier.elimination_speedup(beex::kMostGamma) >= kFaster) {
    print_under(classifier, line, "words", {{}, classifier.gamma_for(kFaster)});
  }
}

void print_vector(beex::Classifier& classifier, const std::string& line) {
  std::span<const float> vector;
  classifier.embed(line, vector);
  std::printf("|");
  print_floats(vector);
}

}  // namespace

int main(int count, char** arguments) {
  const char* path = nullptr;
  const char* kernels = "";
  bool own = false;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(arguments[i], "--kernels") == 0 && i + 1 < count) {
      kernels = arguments[++i];
    } else if (std::strcmp(arguments[i], "--own") == 0) {
      own = true;
    } else {
      path = arguments[i];
    }
  }
  if (path == nullptr) {
    std::fprintf(stderr, "usage: logits PACK [--kernels NAME] [--own] < texts\n");
    return 2;
  }
  beex::Bytes pack = beex::test::read_file(path);
  if (pack.size() == 0) {
    std::fprintf(stderr, "%s: cannot be read, or is empty\n", path);
    return 1;
  }
  std::unique_ptr<beex::Classifier> classifier;
  const beex::Error error = beex::Classifier::load(std::move(pack), kernels, classifier);
  if (!error.ok()) {
    std::fprintf(stderr, "%s: %s\n", path, error.message);
    return 1;
  }
  std::fprintf(stderr, "kernels: %s, fingerprint: %08x\n", classifier->kernels(), beex::fingerprint(classifier->kernels()));
  std::string line;
  const bool features = classifier->pack().config.task == beex::Task::kFeatures;
  while (beex::test::read_line(stdin, line)) {
    if (features) {
      print_vector(*classifier, line);
    } else {
      print_answer(*classifier, line, own);
    }
    std::printf("\n");
  }
  return 0;
}
