// What the tools that measure share: texts of a given length, and the time that each stage takes.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "beex/observe.h"
#include "beex/pack.h"

namespace beex::test {

using Clock = std::chrono::steady_clock;
constexpr const char* kStageName[] = {"tokenize", "embed", "quantize", "binary_linear", "attention", "activation", "norm", "pool", "ngrams", "exit"};
constexpr std::size_t kStages = std::size(kStageName);
static_assert(kStages == static_cast<std::size_t>(Stage::kDone));

inline double microseconds(Clock::duration duration) { return std::chrono::duration<double, std::micro>(duration).count(); }

struct Input {
  std::string a, b;
};

struct StageTimes {
  std::array<double, kStages> spent{};
  Clock::time_point since;
  Stage stage = Stage::kDone;

  static void enter(void* context, Stage next) {
    auto& times = *static_cast<StageTimes*>(context);
    const Clock::time_point now = Clock::now();
    if (times.stage != Stage::kDone) times.spent[static_cast<std::size_t>(times.stage)] += microseconds(now - times.since);
    times.stage = next;
    times.since = now;
  }
};

// Whole words of the vocabulary, spread over it, until there are `tokens` of them. Words that the normalizer splits or
// changes would count for more or fewer tokens, so only plain lower-case ones are taken.
inline Input make_input(const Pack& pack, std::size_t tokens) {
  std::vector<std::string_view> words;
  for (std::string_view rest = pack.vocabulary; !rest.empty();) {
    const std::size_t end = rest.find('\n');
    const std::string_view word = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; })) words.push_back(word);
  }
  Input input;
  if (words.empty()) return input;
  for (std::size_t i = 0; i < tokens; ++i) {
    std::string& text = pack.config.inputs == 2 && i >= tokens / 2 ? input.b : input.a;
    text += words[i * 7919 % words.size()];
    text += ' ';
  }
  return input;
}

}  // namespace beex::test
