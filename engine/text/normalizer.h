// BERT's text normalization and word splitting in one pass: UTF-8 text in, normalized words with source offsets out.
//
// It follows Hugging Face `tokenizers`: BertNormalizer, then BertPreTokenizer. Always: control, format and private-use
// characters and U+FFFD vanish; white space separates; a CJK ideograph or a punctuation character is a word by itself. When
// folding, also: canonical decomposition (Hangul included), nonspacing marks vanish, lower case character by character.
// It is not a general Unicode normalizer and knows no vocabulary. It owns no memory, allocates nothing and cannot fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace beex {

struct UnicodeTables;

// BERT gives up on longer words; so only their extent is kept, and any text is read with this much memory.
constexpr std::size_t kMaxWordChars = 100;

// A normalized character and the bytes of the text it stands for. The characters that one source character expands to all
// have its offsets; marks that were stripped belong to the character before them.
struct WordChar {
  std::uint32_t code;
  std::uint32_t begin;
  std::uint32_t end;
};

struct Word {
  WordChar chars[kMaxWordChars];  // those from `size` on are never set: clearing them would cost more than reading a word
  std::size_t size = 0;
  bool too_long = false;  // there were more characters; the last one kept extends to the word's end
};

// Reads the next word at `position`, moves `position` past it and returns true; false at the end of the text.
// Takes time linear in the bytes passed. `text` is shorter than 4 GiB.
bool next_word(const UnicodeTables& unicode, std::string_view text, bool fold_case, std::size_t& position, Word& word);

}  // namespace beex
