// WordPiece on a sorted vocabulary: the tokens that begin with the same bytes are neighbours, so the longest match is found
// by narrowing one range of lines byte by byte. No tree is built; the tables are four bytes a token.
#include "beex/tokenizer.h"

#include <algorithm>
#include <new>
#include <utility>

#include "text/normalizer.h"
#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace beex {
namespace {

constexpr std::size_t kByteTableSize = 257;
constexpr std::string_view kContinuation = "##";

// Tokens [begin, end): all those whose first `depth` bytes are equal to what has been read so far.
struct Candidates {
  std::uint32_t begin;
  std::uint32_t end;
  std::uint32_t depth;
};

class Lines {
 public:
  Lines(std::string_view text, const std::uint32_t* begin) : text_(text.data()), begin_(begin) {}

  std::uint32_t length(std::uint32_t token) const { return begin_[token + 1] - 1 - begin_[token]; }
  std::uint8_t byte(std::uint32_t token, std::uint32_t i) const {
    return static_cast<std::uint8_t>(text_[begin_[token] + i]);
  }
  // The bytes read so far are a token themselves: the first of the candidates, as the shortest.
  bool is_complete(const Candidates& found) const {
    return found.begin < found.end && length(found.begin) == found.depth;
  }

  // Keeps the candidates whose next byte is `value`, a byte of a word. A complete one has the end of its line there, '\n',
  // which is less than any byte of a word.
  void narrow(Candidates& found, std::uint8_t value) const {
    found.begin = lower_bound(found, value);
    // The last candidate often agrees, always when one is left; then no second search is needed.
    if (found.begin < found.end && byte(found.end - 1, found.depth) != value) found.end = lower_bound(found, value + 1u);
    ++found.depth;
  }

 private:
  // The first candidate whose next byte is not less than `value`.
  std::uint32_t lower_bound(const Candidates& found, std::uint32_t value) const {
    std::uint32_t low = found.begin;
    for (std::uint32_t left = found.end - found.begin; left > 0;) {
      // Multiplied, not branched: no branch predictor foresees where a word stands.
      const std::uint32_t step = (left + 1) / 2;
      low += step * (byte(low + step - 1, found.depth) < value);
      left -= step;
    }
    return low;
  }

  const char* text_;
  const std::uint32_t* begin_;
};

}  // namespace

Error Tokenizer::load(std::string_view vocabulary, const Config& config, Tokenizer& tokenizer) {
  const auto tokens = static_cast<std::size_t>(std::count(vocabulary.begin(), vocabulary.end(), '\n'));
  const std::size_t size = sizeof(UnicodeTables) + (tokens + 1 + 2 * kByteTableSize) * sizeof(std::uint32_t);
  Bytes tables(size);
  if (tables.size() == 0) return make_error(Status::kOutOfMemory, "no memory for the tokenizer's tables: %zu bytes", size);

  auto* const line_begin = reinterpret_cast<std::uint32_t*>(new (tables.data()) UnicodeTables + 1);
  std::uint32_t* const first_byte = line_begin + tokens + 1;
  std::uint32_t* const continuation_byte = first_byte + kByteTableSize;

  // Tokens are counted one place after their byte, and in place 0 if they come before all bytes; running sums over the counts
  // then tell where each byte begins.
  std::uint32_t begin = 0;
  for (std::size_t token = 0; token < tokens; ++token) {
    const auto end = static_cast<std::uint32_t>(vocabulary.find('\n', begin));
    const std::string_view line = vocabulary.substr(begin, end - begin);
    line_begin[token] = begin;
    ++first_byte[line.empty() ? 0 : static_cast<std::uint8_t>(line[0]) + 1];
    if (line <= kContinuation) {
      ++continuation_byte[0];
    } else if (line.starts_with(kContinuation)) {
      ++continuation_byte[static_cast<std::uint8_t>(line[kContinuation.size()]) + 1];
    }
    begin = end + 1;
  }
  line_begin[tokens] = begin;
  for (std::size_t byte = 1; byte < kByteTableSize; ++byte) {
    first_byte[byte] += first_byte[byte - 1];
    continuation_byte[byte] += continuation_byte[byte - 1];
  }

  tokenizer.vocabulary_ = vocabulary;
  tokenizer.size_ = tokens;
  tokenizer.unk_id_ = config.unk_id;
  tokenizer.fold_case_ = config.fold_case;
  tokenizer.tables_ = std::move(tables);
  return {};
}

std::size_t Tokenizer::memory() const { return tables_.size(); }

const UnicodeTables& Tokenizer::unicode() const { return *reinterpret_cast<const UnicodeTables*>(tables_.data()); }
const std::uint32_t* Tokenizer::line_begin() const { return reinterpret_cast<const std::uint32_t*>(&unicode() + 1); }
const std::uint32_t* Tokenizer::first_byte() const { return line_begin() + size_ + 1; }
const std::uint32_t* Tokenizer::continuation_byte() const { return first_byte() + kByteTableSize; }

// Cuts a word into its longest known beginning, the longest known continuation and so on, or reads it as one [UNK].
// Writes at most one piece per character and returns their number.
std::size_t Tokenizer::match_word(const Word& word, Token* pieces) const {
  const Lines lines(vocabulary_, line_begin());
  std::size_t count = 0;
  std::size_t begin = 0;
  while (begin < word.size && !word.too_long) {
    const std::uint32_t* const byte_table = begin == 0 ? first_byte() : continuation_byte();
    Candidates found = {0, 0, 0};
    Token piece = {0, word.chars[begin].begin, 0};
    std::size_t matched = begin;

    for (std::size_t i = begin; i < word.size; ++i) {
      std::uint8_t bytes[4];
      const std::size_t length = encode_utf8(word.chars[i].code, bytes);
      std::size_t k = 0;
      if (i == begin) {
        const auto prefix = begin == 0 ? 0 : static_cast<std::uint32_t>(kContinuation.size());
        found = {byte_table[bytes[0]], byte_table[bytes[0] + 1], prefix + 1};
        k = 1;
      }
      for (; k < length; ++k) lines.narrow(found, bytes[k]);
      if (found.begin == found.end) break;
      if (lines.is_complete(found)) {
        piece.id = found.begin;
        piece.end = word.chars[i].end;
        matched = i + 1;
      }
    }
    if (matched == begin) break;
    pieces[count++] = piece;
    begin = matched;
  }
  if (begin < word.size) {
    pieces[0] = {unk_id_, word.chars[0].begin, word.chars[word.size - 1].end};
    count = 1;
  }
  return count;
}

TokenStream::TokenStream(const Tokenizer& tokenizer, std::string_view text) : tokenizer_(&tokenizer), text_(text) {}

std::size_t TokenStream::read(std::span<Token> out) {
  static_assert(kMaxPieces == kMaxWordChars);
  std::size_t written = 0;
  while (written < out.size()) {
    if (next_piece_ == piece_count_) {
      Word word;
      if (!next_word(tokenizer_->unicode(), text_, tokenizer_->fold_case_, position_, word)) break;
      piece_count_ = tokenizer_->match_word(word, pieces_);
      next_piece_ = 0;
    }
    const std::size_t take = std::min(out.size() - written, piece_count_ - next_piece_);
    std::copy_n(pieces_ + next_piece_, take, out.begin() + static_cast<std::ptrdiff_t>(written));
    next_piece_ += take;
    written += take;
  }
  return written;
}

}  // namespace beex
