// Prints what a pack answers, as bits, so that two builds can be compared with cmp.
//
//   logits PACK [--kernels NAME] < texts
//
// Each line of input is a text, or "a<TAB>b" for a pack for pairs. Each line of output is, for every window and exit with the rule
// off, "window.exit:" and the logits, then "|" and the answer under the pack's own rule: exit block, reason, label, windows,
// probabilities, and for a multi-label pack ";" and the answer's labels. A pack of features gives "|" and the text's vector. Floats are
// 8 hexadecimal digits. The kernels' name and the engine's fingerprint go to stderr.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

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

void print_answer(beex::Classifier& classifier, const std::string& line) {
  beex::Result result;
  classifier.observe(beex::ExitObserver{print_exit, nullptr});
  classify(classifier, line, {}, result);
  classifier.observe(beex::ExitObserver{});
  classify(classifier, line, {classifier.pack().exit_rule}, result);
  std::printf("| %u %u %u %u", result.exit_block, static_cast<unsigned>(result.exit_reason), result.label, result.windows);
  print_floats(result.probabilities);
  if (classifier.pack().config.task == beex::Task::kMultiLabel) std::printf(" ;");
  for (const std::uint32_t label : result.labels) std::printf(" %u", label);
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
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(arguments[i], "--kernels") == 0 && i + 1 < count) {
      kernels = arguments[++i];
    } else {
      path = arguments[i];
    }
  }
  if (path == nullptr) {
    std::fprintf(stderr, "usage: logits PACK [--kernels NAME] < texts\n");
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
    (features ? print_vector : print_answer)(*classifier, line);
    std::printf("\n");
  }
  return 0;
}
