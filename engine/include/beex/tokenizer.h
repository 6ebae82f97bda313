// Text to tokens: BERT's uncased normalization and greedy WordPiece, streamed so that a text of any length needs no memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "beex/bytes.h"
#include "beex/pack.h"
#include "beex/status.h"

namespace beex {

// One WordPiece. `begin` and `end` are byte offsets into the original UTF-8 text.
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
  // (private members are the implementer's)
};

// Reads the tokens of one text, without [CLS] and [SEP]. Allocates nothing.
// Malformed UTF-8 reads as U+FFFD, one per maximal ill-formed part, which the normalizer then drops as BERT does.
class TokenStream {
 public:
  TokenStream(const Tokenizer& tokenizer, std::string_view text);

  // The next tokens, as many as fit into `out`; 0 at the end of the text.
  std::size_t read(std::span<Token> out);
};

}  // namespace beex
