// What the normalizer must know about characters. Over the wire most of it is differences of a byte or two; UnicodeTables spells them out.
//
// The definitions are written by generate_unicode_tables.py, which says where the data comes from; the look-ups that give
// the tables their meaning are in normalizer.cpp. Nothing here allocates or can fail.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace beex {

enum class CharClass : std::uint8_t {
  kOther,        // part of a word
  kSpace,        // between words
  kIgnored,      // removed first: control, format and private-use characters, U+FFFD
  kIdeograph,    // a word by itself, as BERT treats CJK ideographs
  kPunctuation,  // a word by itself
  kMark,         // nonspacing mark, removed when folding; transparent to canonical ordering
  kStarterMark,  // the same with combining class 0: marks are not reordered across it
  kCombining,    // kCombining + n: kept, and put into canonical order; n ranks the combining classes
};

// How a range of UnicodeTables::fold_ranges maps its characters.
enum class FoldKind : std::uint8_t {
  kSame,       // all of them to the target
  kShift,      // the k-th to target + k
  kAlternate,  // every other character: the one at distance 2k to target + 2k; those between stay
  kExpand,     // a single one to kFoldExpansions[target]
};

constexpr std::size_t kClassRanges = 935, kFoldRanges = 516;

// What UnicodeTables is spelled out from. A number stands in groups of seven bits, the lowest first, and all of its bytes
// but the last have their top bit set; one of either sign as 2n or, below 0, -2n - 1.
extern const std::uint8_t kClassGaps[];           // from each range's first code point to that of the next
extern const CharClass kClasses[kClassRanges];
extern const std::uint8_t kFoldGaps[];            // the same for folding
extern const std::uint8_t kFolds[];               // count << 2 | kind
extern const std::uint8_t kFoldDistances[];       // from the first code point to its target, either sign; expansions have none, they are in order

// The tables that are searched: 7 kB, owned by whoever makes them.
struct UnicodeTables {
  UnicodeTables();

  // Class by code point for all of Unicode: (first code point << 8) | class, ascending; a range ends where the next begins.
  std::array<std::uint32_t, kClassRanges> class_ranges;

  // Folding: canonical decomposition, without nonspacing marks, in lower case. What no table mentions folds to itself.
  // (first code point << 9) | (count << 2) | kind, ascending. A target has the plane (code >> 16) of its source.
  std::array<std::uint32_t, kFoldRanges> fold_ranges;
  std::array<std::uint16_t, kFoldRanges> fold_targets;  // (range)
};

extern const CharClass kAsciiClass[128];
extern const std::uint16_t kFoldExpansions[][3];  // padded with 0

// Targets of the compatibility ideographs, those from U+F900 on followed by those from U+2F800 on: the lower 16 bits, and
// one bit that tells plane 2 from plane 0.
constexpr std::uint32_t kIdeographsBmp = 0x1DA;
constexpr std::uint32_t kIdeographsSupplement = 0x21E;
extern const std::uint16_t kIdeographs[kIdeographsBmp + kIdeographsSupplement];
extern const std::uint8_t kIdeographInPlane2[(kIdeographsBmp + kIdeographsSupplement + 7) / 8];

}  // namespace beex
