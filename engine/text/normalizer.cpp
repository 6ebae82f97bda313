#include "text/normalizer.h"

#include <algorithm>
#include <utility>

#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace beex {
namespace {

// The next number of unicode_tables.h.
std::uint32_t read_number(const std::uint8_t*& at) {
  std::uint32_t value = 0, shift = 0;
  do {
    value |= (*at & 127u) << shift;
    shift += 7;
  } while (*at++ >= 128);
  return value;
}

CharClass class_of(const UnicodeTables& unicode, std::uint32_t code) {
  if (code < 0x80) return kAsciiClass[code];
  const auto next = std::upper_bound(unicode.class_ranges.begin(), unicode.class_ranges.end(), code << 8 | 0xFF);
  return static_cast<CharClass>(*(next - 1) & 0xFF);
}

struct Folded {
  std::uint32_t codes[3] = {};
  std::size_t size = 1;
};

// Unicode 15.0, section 3.12, "Hangul Syllable Decomposition".
constexpr std::uint32_t kHangulFirst = 0xAC00, kHangulCount = 11172;

Folded decompose_hangul(std::uint32_t index) {
  constexpr std::uint32_t kVowels = 21, kTrails = 28;  // "no trailing consonant" is the first of the trails
  const std::uint32_t trail = index % kTrails;
  return {{0x1100 + index / (kVowels * kTrails), 0x1161 + index / kTrails % kVowels, 0x11A7 + trail}, trail == 0 ? 2u : 3u};
}

Folded fold_ideograph(std::uint32_t index) {
  const std::uint32_t plane = (kIdeographInPlane2[index / 8] >> index % 8 & 1u) << 17;
  return {{plane | kIdeographs[index]}};
}

Folded fold(const UnicodeTables& unicode, std::uint32_t code) {
  if (code < 0x80) return {{code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code}};
  // Unsigned differences: a code below the first wraps to a large number.
  if (code - kHangulFirst < kHangulCount) return decompose_hangul(code - kHangulFirst);
  if (code - 0xF900 < kIdeographsBmp) return fold_ideograph(code - 0xF900);
  if (code - 0x2F800 < kIdeographsSupplement) return fold_ideograph(kIdeographsBmp + code - 0x2F800);

  const auto begin = unicode.fold_ranges.begin(), next = std::upper_bound(begin, unicode.fold_ranges.end(), code << 9 | 0x1FF);
  if (next == begin) return {{code}};
  const std::uint32_t range = *(next - 1);
  const std::uint32_t distance = code - (range >> 9);
  const std::uint32_t count = range >> 2 & 0x7F;
  const std::uint32_t target = unicode.fold_targets[static_cast<std::size_t>(next - 1 - begin)];
  const std::uint32_t plane = code & ~0xFFFFu;
  switch (static_cast<FoldKind>(range & 3)) {
    case FoldKind::kSame:
      if (distance < count) return {{plane | target}};
      break;
    case FoldKind::kShift:
      if (distance < count) return {{plane | (target + distance)}};
      break;
    case FoldKind::kAlternate:
      if (distance < 2 * count && distance % 2 == 0) return {{plane | (target + distance)}};
      break;
    case FoldKind::kExpand:
      if (distance == 0) {
        const std::uint16_t* part = kFoldExpansions[target];
        return {{plane | part[0], plane | part[1], plane | part[2]}, part[2] == 0 ? 2u : 3u};
      }
      break;
  }
  return {{code}};
}

// Appends a character; one with a combining class moves before those of a higher class, but not before `first_movable`.
// Offsets stay where they are, so that those of a word always ascend.
void append(const UnicodeTables& unicode, Word& word, WordChar added, CharClass added_class, std::size_t first_movable) {
  if (word.size == kMaxWordChars) {
    word.too_long = true;
    word.chars[kMaxWordChars - 1].end = added.end;
    return;
  }
  std::size_t at = word.size++;
  word.chars[at] = added;
  if (added_class < CharClass::kCombining) return;
  for (; at > first_movable && class_of(unicode, word.chars[at - 1].code) > added_class; --at) {
    std::swap(word.chars[at - 1].code, word.chars[at].code);
  }
}

}  // namespace

UnicodeTables::UnicodeTables() {
  const std::uint8_t *gap = kClassGaps, *fold = kFolds, *distance = kFoldDistances;
  std::uint32_t first = 0;
  for (std::size_t i = 0; i < kClassRanges; ++i) {
    first += read_number(gap);
    class_ranges[i] = first << 8 | static_cast<std::uint32_t>(kClasses[i]);
  }
  gap = kFoldGaps;
  first = 0;
  std::uint16_t expansions = 0;
  for (std::size_t i = 0; i < kFoldRanges; ++i) {
    first += read_number(gap);
    const std::uint32_t count_and_kind = read_number(fold);
    fold_ranges[i] = first << 9 | count_and_kind;
    if (static_cast<FoldKind>(count_and_kind & 3) == FoldKind::kExpand) {
      fold_targets[i] = expansions++;
    } else {
      const std::uint32_t to = read_number(distance);
      fold_targets[i] = static_cast<std::uint16_t>(first + (to >> 1 ^ (0 - (to & 1))));
    }
  }
}

bool next_word(const UnicodeTables& unicode, std::string_view text, bool fold_case, std::size_t& position, Word& word) {
  word.size = 0;
  word.too_long = false;
  bool complete = false;  // the word is a punctuation character or an ideograph: only stripped marks may follow
  std::size_t first_movable = fold_case ? 0 : kMaxWordChars;  // canonical ordering moves no character before this index

  while (position < text.size()) {
    const DecodedChar source = decode_utf8(text, position);
    const auto begin = static_cast<std::uint32_t>(position);
    const std::uint32_t end = begin + source.length;
    const CharClass source_class = class_of(unicode, source.code);

    if (source_class == CharClass::kIgnored) {
      position = end;
      continue;
    }
    if (source_class == CharClass::kSpace) {
      position = end;
      if (word.size > 0) return true;
      continue;
    }
    if (fold_case && (source_class == CharClass::kMark || source_class == CharClass::kStarterMark)) {
      position = end;
      if (word.size > 0) word.chars[word.size - 1].end = end;
      if (source_class == CharClass::kStarterMark) first_movable = word.size;
      continue;
    }
    if (complete) return true;

    // Ideographs are recognized before folding, punctuation after it: U+2260 folds to '='.
    const Folded folded = fold_case ? fold(unicode, source.code) : Folded{{source.code}};
    const CharClass folded_class = folded.codes[0] == source.code ? source_class : class_of(unicode, folded.codes[0]);
    complete = source_class == CharClass::kIdeograph || folded_class == CharClass::kPunctuation;
    if (complete && word.size > 0) return true;
    append(unicode, word, {folded.codes[0], begin, end}, folded_class, first_movable);
    for (std::size_t i = 1; i < folded.size; ++i) {
      append(unicode, word, {folded.codes[i], begin, end}, class_of(unicode, folded.codes[i]), first_movable);
    }
    position = end;
  }
  return word.size > 0;
}

}  // namespace beex
