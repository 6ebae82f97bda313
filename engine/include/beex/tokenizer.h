// Text to tokens: BERT's normalization and greedy WordPiece, streamed so that a text of any length needs no memory.
//
// It knows neither [CLS] and [SEP] nor windows. A Tokenizer owns its tables and borrows the vocabulary; a TokenStream
// borrows both tokenizer and text. Only `load` allocates and can fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "beex/bytes.h"
#include "beex/pack.h"
#include "beex/status.h"

namespace beex {

struct UnicodeTables;
struct Word;

// One WordPiece. `begin` and `end` are byte offsets into the original UTF-8 text, from the first to the last character that
// the piece stands for, with the combining marks after it that folding stripped.
struct Token {
  std::uint32_t id = 0;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

// The vocabulary with its look-up tables. Immutable after `load`; the text it was loaded from must outlive it.
class Tokenizer {
 public:
  // `vocabulary` has been checked by Pack::parse. Fails only when memory runs out.
  static Error load(std::string_view vocabulary, const Config& config, Tokenizer& tokenizer);

  std::size_t memory() const;  // bytes held besides the vocabulary itself

 private:
  friend class TokenStream;

  const UnicodeTables& unicode() const;
  const std::uint32_t* line_begin() const;         // (tokens + 1), offsets into the vocabulary
  const std::uint32_t* first_byte() const;         // (257), tokens that begin with byte b: from entry b to entry b + 1
  const std::uint32_t* continuation_byte() const;  // (257), the same for tokens that begin with "##" and b
  std::size_t match_word(const Word& word, Token* pieces) const;

  std::string_view vocabulary_;
  std::size_t size_ = 0;  // tokens
  std::uint32_t unk_id_ = 0;
  bool fold_case_ = true;
  Bytes tables_;
};

// Reads the tokens of one text, without [CLS] and [SEP]. Allocates nothing.
// Malformed UTF-8 reads as U+FFFD, one per maximal ill-formed part, which the normalizer then drops as BERT does.
class TokenStream {
 public:
  // `text` is shorter than 4 GiB.
  TokenStream(const Tokenizer& tokenizer, std::string_view text);

  // The next tokens, as many as fit into `out`; fewer only at the end of the text. The sequence of tokens does not depend on
  // the sizes of the spans.
  std::size_t read(std::span<Token> out);

 private:
  static constexpr std::size_t kMaxPieces = 100;  // of a word: BERT reads longer ones as one [UNK]

  const Tokenizer* tokenizer_;
  std::string_view text_;
  std::size_t position_ = 0;  // in text_, after the word that pieces_ belong to
  Token pieces_[kMaxPieces];  // of the last word read
  std::size_t piece_count_ = 0;
  std::size_t next_piece_ = 0;  // not yet handed out
};

}  // namespace beex
