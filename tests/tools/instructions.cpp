// Classifies texts at full depth, for `scripts/bench --instructions` to count the instructions of `counted` under valgrind.
//
//   instructions PACK KERNELS < texts       prints how many texts there were, and the compiler
#include <memory>
#include <string>
#include <utility>

#include "beex/classifier.h"
#include "tools/files.h"

// What is counted: nothing else calls it, and it is not inlined, so that callgrind finds it by its name.
extern "C" __attribute__((noinline)) void counted(beex::Classifier& classifier, const std::string& text, beex::Result& result) {
  classifier.classify(text, {}, result);
}

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "usage: instructions PACK KERNELS < texts\n");
    return 2;
  }
  beex::Bytes pack = beex::test::read_file(arguments[1]);
  std::unique_ptr<beex::Classifier> classifier;
  const beex::Error error = beex::Classifier::load(std::move(pack), arguments[2], classifier);
  if (!error.ok()) {
    std::fprintf(stderr, "%s: %s\n", arguments[1], error.message);
    return 1;
  }
  beex::Result result;
  std::size_t texts = 0;
  for (std::string line; beex::test::read_line(stdin, line); ++texts) counted(*classifier, line, result);
  std::printf("{\"texts\": %zu, \"compiler\": \"%s\"}\n", texts, __VERSION__);
  return 0;
}
