// Tokenizes lines: `tokens VOCABULARY FOLD [SPAN]`, FOLD 0 or 1, SPAN the number of tokens asked for at a time (64).
// Reads texts from standard input, one a line, any bytes; prints for each a line of `id:begin-end`, separated by blanks.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "beex/tokenizer.h"

namespace {

std::string read_all(std::FILE* file) {
  std::string text;
  char buffer[1 << 14];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, n);
  return text;
}

// The line number of `token`, or -1.
long find_line(std::string_view lines, std::string_view token) {
  long number = 0;
  for (std::size_t begin = 0, end; (end = lines.find('\n', begin)) != std::string_view::npos; begin = end + 1, ++number) {
    if (lines.substr(begin, end - begin) == token) return number;
  }
  return -1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: tokens VOCABULARY FOLD [SPAN] < texts\n");
    return 2;
  }
  std::FILE* file = std::fopen(argv[1], "rb");
  if (file == nullptr) {
    std::fprintf(stderr, "tokens: cannot open %s\n", argv[1]);
    return 1;
  }
  const std::string vocabulary = read_all(file);
  std::fclose(file);
  const long unk = find_line(vocabulary, "[UNK]");
  if (unk < 0) {
    std::fprintf(stderr, "tokens: %s has no line [UNK]\n", argv[1]);
    return 1;
  }

  beex::Config config;
  config.fold_case = std::string_view(argv[2]) == "1";
  config.unk_id = static_cast<std::uint32_t>(unk);
  beex::Tokenizer tokenizer;
  const beex::Error error = beex::Tokenizer::load(vocabulary, config, tokenizer);
  if (!error.ok()) {
    std::fprintf(stderr, "tokens: %s\n", error.message);
    return 1;
  }

  std::vector<beex::Token> span(argc == 4 ? std::max<std::size_t>(1, std::strtoul(argv[3], nullptr, 10)) : 64);
  const std::string input = read_all(stdin);
  for (std::size_t begin = 0; begin < input.size();) {
    const std::size_t end = std::min(input.find('\n', begin), input.size());
    beex::TokenStream stream(tokenizer, std::string_view(input).substr(begin, end - begin));
    const char* separator = "";
    for (std::size_t n; (n = stream.read(span)) > 0;) {
      for (std::size_t i = 0; i < n; ++i, separator = " ") {
        std::printf("%s%u:%u-%u", separator, span[i].id, span[i].begin, span[i].end);
      }
    }
    std::printf("\n");
    begin = end + 1;
  }
  return 0;
}
