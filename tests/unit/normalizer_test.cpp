#include "text/normalizer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace beex {
namespace {

using namespace std::string_literals;

const UnicodeTables kUnicode;

// On the heap and of the exact size, so that a sanitizer sees a read beyond the end.
class ExactText {
 public:
  explicit ExactText(std::string_view text) : bytes_(text.begin(), text.end()) { bytes_.shrink_to_fit(); }
  std::string_view view() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::vector<char> bytes_;
};

std::string to_utf8(std::uint32_t code) {
  std::uint8_t bytes[4];
  const std::size_t length = encode_utf8(code, bytes);
  return {bytes, bytes + length};
}

std::vector<Word> read_words(std::string_view text, bool fold_case) {
  const ExactText exact(text);
  std::vector<Word> words;
  Word word;
  std::size_t position = 0;
  while (next_word(kUnicode, exact.view(), fold_case, position, word)) words.push_back(word);
  REQUIRE(position == text.size());
  return words;
}

// The normalized words, joined by '|'. Only words that are kept whole can be shown.
std::string normalized(std::string_view text, bool fold_case) {
  std::string result;
  for (const Word& word : read_words(text, fold_case)) {
    REQUIRE_FALSE(word.too_long);
    if (!result.empty()) result += '|';
    for (std::size_t i = 0; i < word.size; ++i) result += to_utf8(word.chars[i].code);
  }
  return result;
}

// The words' extents, as "begin-end begin-end".
std::string extents(std::string_view text) {
  std::string result;
  for (const Word& word : read_words(text, true)) {
    if (!result.empty()) result += ' ';
    result += std::to_string(word.chars[0].begin) + "-" + std::to_string(word.chars[word.size - 1].end);
  }
  return result;
}

std::string repeated(std::string_view unit, std::size_t count) {
  std::string result;
  for (std::size_t i = 0; i < count; ++i) result += unit;
  return result;
}

std::vector<std::uint32_t> decode_all(std::string_view text) {
  const ExactText exact(text);
  std::vector<std::uint32_t> codes;
  for (std::size_t at = 0; at < text.size();) {
    const DecodedChar decoded = decode_utf8(exact.view(), at);
    REQUIRE(decoded.length >= 1);
    REQUIRE(decoded.length <= text.size() - at);
    codes.push_back(decoded.code);
    at += decoded.length;
  }
  return codes;
}

}  // namespace

TEST_CASE("UTF-8: every scalar value is written and read back") {
  std::size_t wrong = 0;
  for (std::uint32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    const std::string bytes = to_utf8(code);
    const std::size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    const DecodedChar decoded = decode_utf8(bytes, 0);
    if (bytes.size() != length || decoded.code != code || decoded.length != length) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("UTF-8: an ill-formed sequence reads as one U+FFFD for each maximal subpart") {
  constexpr std::uint32_t kBad = kReplacementCharacter;
  using Codes = std::vector<std::uint32_t>;
  // The example of the Unicode standard, table 3-8.
  CHECK(decode_all("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64") ==
        Codes{'a', kBad, kBad, kBad, 'b', kBad, 'c', kBad, kBad, 'd'});
  CHECK(decode_all("\xC0\x80") == Codes{kBad, kBad});                          // overlong
  CHECK(decode_all("\xE0\x9F\xBF") == Codes{kBad, kBad, kBad});                // overlong
  CHECK(decode_all("\xF0\x8F\xBF\xBF") == Codes{kBad, kBad, kBad, kBad});      // overlong
  CHECK(decode_all("\xED\xA0\x80") == Codes{kBad, kBad, kBad});                // a surrogate
  CHECK(decode_all("\xED\x9F\xBF\xEE\x80\x80") == Codes{0xD7FF, 0xE000});      // their neighbours
  CHECK(decode_all("\xF4\x90\x80\x80") == Codes{kBad, kBad, kBad, kBad});      // above U+10FFFF
  CHECK(decode_all("\xF8\x88\x80\x80\x80") == Codes(5, kBad));
  CHECK(decode_all("\xE2\x82") == Codes{kBad});                                // cut at the end of the text
  CHECK(decode_all("\xF0\x9F\x98") == Codes{kBad});
  CHECK(decode_all("\xF0\x9F\x98z") == Codes{kBad, 'z'});
}

TEST_CASE("character tables: ascending, complete, and alike for ASCII") {
  const auto& [class_ranges, fold_ranges, fold_targets] = kUnicode;
  REQUIRE(class_ranges[0] >> 8 == 0);
  REQUIRE(class_ranges.back() >> 8 < 0x110000);
  for (std::size_t i = 1; i < kClassRanges; ++i) REQUIRE(class_ranges[i - 1] >> 8 < class_ranges[i] >> 8);
  for (std::uint32_t code = 0; code < 128; ++code) {
    const auto next = std::upper_bound(class_ranges.begin(), class_ranges.end(), code << 8 | 0xFF);
    CHECK(static_cast<CharClass>(*(next - 1) & 0xFF) == kAsciiClass[code]);
  }
  REQUIRE(fold_ranges.back() >> 9 < 0x110000);
  for (std::size_t i = 1; i < kFoldRanges; ++i) REQUIRE(fold_ranges[i - 1] >> 9 < fold_ranges[i] >> 9);
}

TEST_CASE("folding: lower case, no accents, words and punctuation apart") {
  struct Case {
    std::string text, folded, kept;
  };
  const Case cases[] = {
      {"", "", ""},
      {" \t\r\n ", "", ""},
      {"Hello, World!", "hello|,|world|!", "Hello|,|World|!"},
      {"don't [x]_^`{|}~", "don|'|t|[|x|]|_|^|`|{|||}|~", "don|'|t|[|x|]|_|^|`|{|||}|~"},
      {"Café Ärger", "cafe|arger", "Café|Ärger"},
      {"Cafe\u0301", "cafe", "Cafe\u0301"},
      {"ǅ ẞ Ł Ø", "ǆ|ß|ł|ø", "ǅ|ẞ|Ł|Ø"},
      {"İI ıi", "ii|ıi", "İI|ıi"},
      {"ΟΔΥΣΣΕΎΣ", "οδυσσευσ", "ΟΔΥΣΣΕΎΣ"},
      {"Ёлка Їжак", "елка|іжак", "Ёлка|Їжак"},
      {"ガ", "カ", "ガ"},
      {"a≠b", "a|=|b", "a≠b"},                      // U+2260 is a symbol, its decomposition punctuation
      {"a\u037Eb\u1FEFc", "a|;|b|`|c", "a|\u037E|b\u1FEFc"},
      {"K Å", "k|a", "K|Å"},                        // Kelvin and Angstrom signs
      {"中文x文", "中|文|x|文", "中|文|x|文"},
      {"\uF900\U0002F800\uFACF", "\u8C48|\u4E3D|\U0002284A", "\uF900|\U0002F800|\uFACF"},
      {"가 각 힣", "\u1100\u1161|\u1100\u1161\u11A8|\u1112\u1175\u11C2", "가|각|힣"},
      {"কো", "ক\u09C7\u09BE", "কো"},                // expands to marks that stay
      {"𐐀", "𐐨", "𐐀"},
      {"a\u00A0b\u3000c\u2028d", "a|b|c|d", "a|b|c|d"},
      {"a\0b\x07\u00AD\u200D\uFEFF\uFFFD\uE000\u0085z"s, "abz", "abz"},
      {"a\xFF\xC3z\xED\xA0\x80", "az", "az"},
      {"«q» – 、。", "«|q|»|–|、|。", "«|q|»|–|、|。"},
      {"\u0301", "", "\u0301"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    CHECK(normalized(c.text, true) == c.folded);
    CHECK(normalized(c.text, false) == c.kept);
  }
}

TEST_CASE("folding twice is folding once, for every code point") {
  std::size_t wrong = 0;
  for (std::uint32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    Word word, again;
    std::size_t position = 0;
    if (!next_word(kUnicode, to_utf8(code), true, position, word)) continue;
    std::string folded;
    for (std::size_t i = 0; i < word.size; ++i) folded += to_utf8(word.chars[i].code);
    position = 0;
    bool same = next_word(kUnicode, folded, true, position, again) && position == folded.size() && again.size == word.size;
    for (std::size_t i = 0; same && i < word.size; ++i) same = word.chars[i].code == again.chars[i].code;
    if (!same) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("kept marks are put into canonical order") {
  // U+302E has combining class 224, U+1D165 has 216; U+0301 (230) is stripped, U+0B3F (class 0) is stripped too.
  CHECK(normalized("a\u302E\U0001D165", true) == "a\U0001D165\u302E");
  CHECK(normalized("a\U0001D165\u302E", true) == "a\U0001D165\u302E");
  CHECK(normalized("a\u302E\u0301\U0001D165", true) == "a\U0001D165\u302E");
  CHECK(normalized("a\u302E\u0B3F\U0001D165", true) == "a\u302E\U0001D165");
  CHECK(normalized("a\u302Eb\U0001D165", true) == "a\u302Eb\U0001D165");
  CHECK(normalized("a\u302E \U0001D165", true) == "a\u302E|\U0001D165");
  CHECK(normalized("a\u302E\U0001D165", false) == "a\u302E\U0001D165");
  const Word word = read_words("a\u302E\U0001D165", true).at(0);
  CHECK(word.chars[1].end <= word.chars[2].begin);
}

TEST_CASE("offsets cover the source of a character and the marks stripped after it") {
  CHECK(extents("ab cd") == "0-2 3-5");
  CHECK(extents("é") == "0-2");
  CHECK(extents("e\u0301x") == "0-4");
  CHECK(extents("e\u0301 x") == "0-3 4-5");
  CHECK(extents("!\u0301x") == "0-3 3-4");
  CHECK(extents("中\u0301文") == "0-5 5-8");
  CHECK(extents(" \u0301a") == "3-4");
  CHECK(extents("각") == "0-3");
  CHECK(extents("\xFF" "a\xFF" "b\xFF") == "1-4");
  CHECK(extents("a\0\0"s) == "0-1");
  const Word word = read_words("각a", true).at(0);
  REQUIRE(word.size == 4);
  for (std::size_t i = 0; i < 3; ++i) CHECK((word.chars[i].begin == 0 && word.chars[i].end == 3));
  CHECK(word.chars[3].begin == 3);
}

TEST_CASE("a word of more than a hundred characters is only measured") {
  const auto check = [](const std::string& text, std::size_t size, bool too_long) {
    const std::vector<Word> words = read_words(text + " b", true);
    REQUIRE(words.size() == 2);
    CHECK(words[0].size == size);
    CHECK(words[0].too_long == too_long);
    CHECK(words[0].chars[0].begin == 0);
    CHECK(words[0].chars[words[0].size - 1].end == text.size());
  };
  check(std::string(99, 'a'), 99, false);
  check(std::string(100, 'a'), 100, false);
  check(std::string(101, 'a'), 100, true);
  check(repeated("e\u0301", 100), 100, false);
  check(repeated("e\u0301", 101), 100, true);
  check(repeated("각", 33), 99, false);
  check(repeated("각", 34), 100, true);
  check(repeated("\u302E\U0001D165", 60), 100, true);
}

TEST_CASE("a megabyte of anything is read") {
  constexpr std::size_t kSize = std::size_t{1} << 20;
  CHECK(read_words(std::string(kSize, ' '), true).empty());
  CHECK(read_words(std::string(kSize, '\x01'), true).empty());
  CHECK(read_words(std::string(kSize, '\xFF'), true).empty());
  CHECK(read_words(repeated("\u0301", kSize / 2), true).empty());
  for (const std::string& text :
       {std::string(kSize, 'a'), "a" + repeated("\u0301", kSize / 2), repeated("\U0001D165\u302E", kSize / 7)}) {
    const std::vector<Word> words = read_words(text, true);
    REQUIRE(words.size() == 1);
    CHECK(words[0].chars[words[0].size - 1].end == text.size());
  }
}

TEST_CASE("random bytes: words lie in order inside the text") {
  std::mt19937 random(7);
  const std::string parts[] = {"a",  "Z",      " ",          "!",        "é",    "\u0301", "中", "각",
                               "😀", "\u302E", "\U0001D165", "\xE2\x82", "\xF0", "\x80",   "\n"};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (std::size_t n = random() % 40; n > 0; --n) {
      text += random() % 4 == 0 ? std::string(1, static_cast<char>(random() % 256)) : parts[random() % std::size(parts)];
    }
    for (const bool fold_case : {true, false}) {
      std::uint32_t last = 0;
      bool ordered = true;
      for (const Word& word : read_words(text, fold_case)) {
        ordered = ordered && word.size > 0 && word.size <= kMaxWordChars && word.chars[0].begin >= last;
        for (std::size_t i = 0; i < word.size; ++i) {
          ordered = ordered && word.chars[i].begin < word.chars[i].end;
          ordered = ordered && (i == 0 || word.chars[i].begin >= word.chars[i - 1].begin);
        }
        last = word.chars[word.size - 1].end;
      }
      REQUIRE((ordered && last <= text.size()));
    }
  }
}

}  // namespace beex
