#include "beex/tokenizer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "text/normalizer.h"
#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace beex {

// A stream owns no memory besides itself, and is small enough for the stack of a WebAssembly module.
static_assert(std::is_trivially_copyable_v<TokenStream> && sizeof(TokenStream) < 2048);

static bool operator==(const Token& a, const Token& b) { return a.id == b.id && a.begin == b.begin && a.end == b.end; }

static std::ostream& operator<<(std::ostream& out, const Token& token) {
  return out << token.id << ":" << token.begin << "-" << token.end;
}

namespace {

// A tokenizer with the text of its vocabulary, in memory of the exact size.
class Vocabulary {
 public:
  explicit Vocabulary(const std::set<std::string>& tokens, bool fold_case = true) : tokens_(tokens.begin(), tokens.end()) {
    std::string text;
    for (const std::string& token : tokens_) text += token + "\n";
    text_ = std::make_unique<char[]>(text.size());
    std::copy(text.begin(), text.end(), text_.get());
    Config config;
    config.fold_case = fold_case;
    config.unk_id = id("[UNK]");
    REQUIRE(Tokenizer::load({text_.get(), text.size()}, config, tokenizer).ok());
  }

  std::uint32_t id(const std::string& token) const {
    const auto at = std::lower_bound(tokens_.begin(), tokens_.end(), token);
    REQUIRE((at != tokens_.end() && *at == token));
    return static_cast<std::uint32_t>(at - tokens_.begin());
  }
  const std::string& token(std::uint32_t number) const { return tokens_.at(number); }

  Tokenizer tokenizer;

 private:
  std::vector<std::string> tokens_;
  std::unique_ptr<char[]> text_;
};

std::vector<Token> read_all(const Tokenizer& tokenizer, std::string_view text, std::size_t span = 64) {
  std::vector<Token> tokens, buffer(span);
  TokenStream stream(tokenizer, text);
  for (std::size_t n = span; n == span;) {
    n = stream.read(buffer);
    tokens.insert(tokens.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n));
  }
  CHECK(stream.read(buffer) == 0);
  return tokens;
}

// "token@begin-end token@begin-end"
std::string shown(const Vocabulary& vocabulary, std::string_view text) {
  std::string result;
  for (const Token& token : read_all(vocabulary.tokenizer, text)) {
    if (!result.empty()) result += ' ';
    result += vocabulary.token(token.id) + "@" + std::to_string(token.begin) + "-" + std::to_string(token.end);
  }
  return result;
}

// Greedy longest match, slow and obvious: every prefix is looked up in a set, the longest first.
std::vector<Token> reference_tokens(const Vocabulary& vocabulary, const std::set<std::string>& tokens, bool fold_case,
                                    std::string_view text) {
  static const UnicodeTables unicode;
  std::vector<Token> result;
  Word word;
  for (std::size_t position = 0; next_word(unicode, text, fold_case, position, word);) {
    std::vector<Token> pieces;
    std::size_t begin = 0;
    while (begin < word.size && !word.too_long) {
      std::size_t end = word.size;
      for (; end > begin; --end) {
        std::string piece = begin > 0 ? "##" : "";
        for (std::size_t i = begin; i < end; ++i) {
          std::uint8_t bytes[4];
          piece.append(bytes, bytes + encode_utf8(word.chars[i].code, bytes));
        }
        if (tokens.count(piece) > 0) {
          pieces.push_back({vocabulary.id(piece), word.chars[begin].begin, word.chars[end - 1].end});
          break;
        }
      }
      if (end == begin) break;
      begin = end;
    }
    if (begin < word.size) pieces = {{vocabulary.id("[UNK]"), word.chars[0].begin, word.chars[word.size - 1].end}};
    result.insert(result.end(), pieces.begin(), pieces.end());
  }
  return result;
}

std::string repeated(std::string_view unit, std::size_t count) {
  std::string result;
  for (std::size_t i = 0; i < count; ++i) result += unit;
  return result;
}

}  // namespace

TEST_CASE("tokenizer: the longest beginning, then the longest continuations") {
  const Vocabulary vocabulary(
      {"[UNK]", "##able", "##a", "##aff", "##ffa", "##ffable", "##fable", "un", "una", "unaffected", "a", ",", "."});
  CHECK(shown(vocabulary, "unaffable") == "una@0-3 ##ffable@3-9");
  CHECK(shown(vocabulary, "Unaffected, unable.") == "unaffected@0-10 ,@10-11 [UNK]@12-18 .@18-19");
  CHECK(shown(vocabulary, "un a unaff") == "un@0-2 a@3-4 [UNK]@5-10");
  CHECK(shown(vocabulary, "") == "");
  CHECK(shown(vocabulary, "  \n ") == "");
}

TEST_CASE("tokenizer: one unknown part makes the whole word unknown") {
  const Vocabulary vocabulary({"[UNK]", "a", "b", "##b", "##c"});
  CHECK(shown(vocabulary, "abc abx xab b") == "a@0-1 ##b@1-2 ##c@2-3 [UNK]@4-7 [UNK]@8-11 b@12-13");
  CHECK(shown(vocabulary, "c") == "[UNK]@0-1");          // known as a continuation only
  CHECK(shown(vocabulary, "aa") == "[UNK]@0-2");         // known as a beginning only
}

TEST_CASE("tokenizer: tokens in the text that look special are plain text") {
  const Vocabulary vocabulary({"#", "##", "###", "##a", "[", "]", "[CLS]", "[UNK]", "unk", "a"});
  CHECK(shown(vocabulary, "[UNK]") == "[@0-1 unk@1-4 ]@4-5");
  CHECK(shown(vocabulary, "##a") == "#@0-1 #@1-2 a@2-3");
  CHECK(shown(vocabulary, "aa") == "a@0-1 ##a@1-2");
  CHECK(shown(vocabulary, "[CLS]") == "[@0-1 [UNK]@1-4 ]@4-5");
}

TEST_CASE("tokenizer: offsets point into the original text") {
  const Vocabulary vocabulary({"[UNK]", "cafe", "##s", "\u1100", "##\u1161\u11A8", "\u4E2D", "!", "a", "##b"});
  CHECK(shown(vocabulary, "CAFÉS") == "cafe@0-5 ##s@5-6");
  CHECK(shown(vocabulary, "cafe\u0301s\u0301!") == "cafe@0-6 ##s@6-9 !@9-10");
  CHECK(shown(vocabulary, "각") == "\u1100@0-3 ##\u1161\u11A8@0-3");
  CHECK(shown(vocabulary, "a中!") == "a@0-1 \u4E2D@1-4 !@4-5");
  CHECK(shown(vocabulary, "a\u00AD\u200Db") == "a@0-1 ##b@6-7");
  CHECK(shown(vocabulary, "\xFF" "a\xF0\x9F" "b\xC3") == "a@1-2 ##b@4-5");
}

TEST_CASE("tokenizer: case and accents are kept when the pack says so") {
  const Vocabulary vocabulary({"[UNK]", "É", "##a", "e", "ea", "A"}, false);
  CHECK(shown(vocabulary, "Éa ea EA A") == "É@0-2 ##a@2-3 ea@4-6 [UNK]@7-9 A@10-11");
}

TEST_CASE("tokenizer: words of a hundred characters are cut, longer ones are unknown") {
  const Vocabulary vocabulary({"[UNK]", "a", "##a", "##aaaa"});
  CHECK(read_all(vocabulary.tokenizer, std::string(100, 'a')).size() == 1 + 24 + 3);
  CHECK(shown(vocabulary, std::string(101, 'a') + " a") == "[UNK]@0-101 a@102-103");
}

TEST_CASE("tokenizer: vocabularies at the edges of what the format allows") {
  SECTION("the smallest") {
    const Vocabulary vocabulary({"[CLS]", "[SEP]", "[UNK]", "a"});
    CHECK(shown(vocabulary, "a b") == "a@0-1 [UNK]@2-3");
    CHECK(vocabulary.tokenizer.memory() > 0);
  }
  SECTION("nothing but continuations") {
    const Vocabulary vocabulary({"##a", "##b", "[UNK]"});
    CHECK(shown(vocabulary, "ab") == "[UNK]@0-2");
  }
  SECTION("first and last byte values") {
    const Vocabulary vocabulary({"!", "##\U0010FFFD", "[UNK]", "\U00100000", "\U0003FFFFx"});
    CHECK(shown(vocabulary, "!") == "!@0-1");
    CHECK(shown(vocabulary, "\U0003FFFFx \U0003FFFF") == "\U0003FFFFx@0-5 [UNK]@6-10");
  }
  SECTION("the last token is a prefix of the word") {
    const Vocabulary vocabulary({"[UNK]", "zz"});
    CHECK(shown(vocabulary, "zz zzz z") == "zz@0-2 [UNK]@3-6 [UNK]@7-8");
  }
  SECTION("65,536 tokens") {
    std::set<std::string> tokens = {"[UNK]"};
    for (int i = 0; tokens.size() < 65536; ++i) tokens.insert((i % 2 == 0 ? "##" : "") + std::to_string(i / 2));
    const Vocabulary vocabulary(tokens);
    CHECK(shown(vocabulary, "32766") == "32766@0-5");
    CHECK(shown(vocabulary, "3276632766") == "32766@0-5 ##32766@5-10");
    CHECK(shown(vocabulary, "40000") == "4000@0-4 ##0@4-5");
    CHECK(vocabulary.tokenizer.memory() < 300'000);
  }
}

TEST_CASE("tokenizer: it can be moved") {
  Vocabulary vocabulary({"[UNK]", "a", "##b"});
  const Tokenizer moved = std::move(vocabulary.tokenizer);
  CHECK(read_all(moved, "ab") == std::vector<Token>{{vocabulary.id("a"), 0, 1}, {vocabulary.id("##b"), 1, 2}});
}

TEST_CASE("tokenizer: random texts and vocabularies give the tokens of the obvious algorithm, in spans of any size") {
  std::mt19937 random(11);
  const std::string chars[] = {"a", "b", "c", "é", "E\u0301", "ж", "中", "각", "😀", "#", "!", " ", "  ", "\u0301", "\xFF", "ﷺ"};
  const std::string letters[] = {"a", "b", "c", "e", "é", "ж", "\u1100", "\u1161", "\u11A8", "😀", "中", "#", "!", "ﷺ"};
  for (int round = 0; round < 300; ++round) {
    std::set<std::string> tokens = {"[UNK]"};
    for (std::size_t n = random() % 80; n > 0; --n) {
      std::string token = random() % 2 == 0 ? "##" : "";
      for (std::size_t k = 1 + random() % 4; k > 0; --k) token += letters[random() % std::size(letters)];
      tokens.insert(token);
    }
    for (const std::string& letter : letters) {
      if (random() % 8 != 0) tokens.insert({letter, "##" + letter});
    }
    const bool fold_case = random() % 2 == 0;
    const Vocabulary vocabulary(tokens, fold_case);
    for (int repeat = 0; repeat < 10; ++repeat) {
      std::string text;
      const std::size_t word = 1 + random() % 12;  // mostly letters: about this many in a row
      for (std::size_t n = random() % 200; n > 0; --n) {
        const std::size_t choices = random() % word == 0 ? std::size(chars) : 9;
        text += chars[random() % choices];
      }
      const std::vector<Token> expected = reference_tokens(vocabulary, tokens, fold_case, text);
      for (const std::size_t span : {1u, 2u, 7u, 1000u}) {
        REQUIRE(read_all(vocabulary.tokenizer, text, span) == expected);
      }
    }
  }
}

TEST_CASE("tokenizer: an empty span takes nothing and loses nothing") {
  const Vocabulary vocabulary({"[UNK]", "a", "##b"});
  TokenStream stream(vocabulary.tokenizer, "ab");
  Token token;
  CHECK(stream.read({}) == 0);
  CHECK(stream.read({&token, 1}) == 1);
  CHECK(stream.read({}) == 0);
  CHECK(stream.read({&token, 1}) == 1);
  CHECK(token == Token{vocabulary.id("##b"), 1, 2});
  CHECK(stream.read({&token, 1}) == 0);
}

TEST_CASE("tokenizer: a megabyte of anything is read in full") {
  constexpr std::size_t kSize = std::size_t{1} << 20;
  const Vocabulary vocabulary({"[UNK]", "a", "##a", "!", "\u4E2D"});
  CHECK(shown(vocabulary, std::string(kSize, 'a')) == "[UNK]@0-1048576");
  CHECK(shown(vocabulary, "a" + repeated("\u0301", kSize / 2)) == "a@0-1048577");
  CHECK(shown(vocabulary, std::string(kSize, ' ') + "a") == "a@1048576-1048577");
  CHECK(read_all(vocabulary.tokenizer, std::string(kSize, '!')).size() == kSize);
  CHECK(read_all(vocabulary.tokenizer, repeated("\u4E2D", kSize / 3)).size() == kSize / 3);
  const std::vector<Token> pairs = read_all(vocabulary.tokenizer, repeated("aa ", kSize / 3), 3);
  REQUIRE(pairs.size() == kSize / 3 * 2);
  CHECK(pairs.back().end == kSize / 3 * 3 - 1);
}

}  // namespace beex
