// The model graph: token ids through embeddings and blocks to exits (FORMAT.md, "The arithmetic").
//
// It knows no text, no windows and no exit rule: the classifier says how far to run. It owns the re-laid weights and all work
// memory, which is sized once at load from the pack's limits; the pack itself must outlive it. Only `load` fails.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "beex/bytes.h"
#include "beex/observe.h"
#include "beex/pack.h"
#include "beex/status.h"
#include "kernels/kernels.h"
#include "ops/attention.h"
#include "ops/ngrams.h"
#include "ops/slfn.h"

namespace beex {

// Shows intermediate values, for tests against golden vectors. `index` is the block for qkv (tokens, 3d), context (tokens, d),
// attention_state (tokens, d), hidden (tokens, g + f) and block_state (tokens, d), with elimination also
// mass (tokens entering); the exit for pooled (pooled size), logits (class), probabilities (class) and entropy (1), and the block after it for
// skip (1); 0 for embedding (tokens, d) and ngrams (column). From hidden on, tokens are those that were kept.
struct Tap {
  void (*show)(void* context, const char* name, std::uint32_t index, std::span<const float> values) = nullptr;
  void* context = nullptr;

  void operator()(const char* name, std::uint32_t index, std::span<const float> values) const {
    if (show != nullptr) show(context, name, index, values);
  }
};

// What one exit says. The spans hold until two more exits are read, so that an exit rule can go one exit back.
struct ExitAnswer {
  std::span<const float> logits;         // (class), before temperature
  std::span<const float> probabilities;  // (class), calibrated
  float entropy = 0.0f;                  // share of the largest one
  std::span<const float> inverse_temperature;  // (1) or (class), of the pack
};

class Network {
 public:
  // Lays the weights out for `kernels` and allocates the work memory. Fails only with kOutOfMemory.
  static Error load(const Pack& pack, const KernelTable& kernels, Network& network);

  // Starts an input: `ids` with [CLS] and [SEP], at most max_tokens of them, which must stay until exit 0 is read. In a pack for
  // pairs the first `first_length` of them are the first text, the others the second one; neither is empty.
  void embed(std::span<const std::uint32_t> ids, std::size_t first_length);
  // Reads a text of several windows ahead of them, part after part: all its windows have what its n-grams say, instead of their own, until
  // `forget_text`. `ids` before `from` were in the part before; a `from` of 0 begins a text. The pack has n-grams of the whole text.
  void read_ahead(std::span<const std::uint32_t> ids, std::size_t from);
  void forget_text() { text_read_ = false; }
  // What the gate before a block says, in (0, 1): the larger, the less the block is needed. The pack has skip gates.
  float read_skip_gate(std::uint32_t block);
  // Blocks run in order, each once per input or, when it is skipped, not at all. With `gamma` above 0 and a profile in the pack, tokens
  // are eliminated between the block's attention and its SLFN.
  void run_block(std::uint32_t block, float gamma = 0.0f);
  // Reads exit 0 after `embed` and exit i after block i - 1, where it is wanted. Exit 0 must be read before the others, which build on
  // it. The pack has classes.
  ExitAnswer read_exit(std::uint32_t exit);
  // Whether the input has a word of the pack's with which exit 0 must not answer alone (FORMAT.md, "Doubt"). Known once exit 0 was read.
  bool doubtful() const { return doubtful_; }
  // The input as a vector (hidden), not yet of unit length: the pooled state after the last block. Holds until the next input.
  std::span<const float> read_vector();

  // The tokens that are left, as places among those of `embed`, rising. Hold until the next block or input.
  std::span<const std::uint32_t> alive() const { return use_.alive.first(tokens_); }
  // How many of them `block` would leave.
  std::size_t tokens_after(std::uint32_t block, float gamma) const;

  const Config& config() const { return pack_->config; }
  const KernelTable& kernels() const { return *kernels_; }
  std::size_t memory() const { return weights_.size() + work_.size(); }
  void observe(StageObserver observer) { stage_ = observer; }
  void tap(Tap tap) { tap_ = tap; }

 private:
  struct Block {
    QuantizedLinear qkv, output;
    AttentionParameters attention;
    SlfnParameters slfn;
  };

  struct Steps;

  // Spans of work_, for max_tokens tokens. The attention's and the SLFN's share their place: one is done when the other starts.
  struct Work {
    std::span<float> state, branch;  // (tokens, hidden)
    std::span<float> qkv;            // (tokens, 3 hidden)
    AttentionScratch attention;
    SlfnScratch slfn;  // its part for linear layers serves all of them
    std::span<std::uint32_t> alive, kept;       // (tokens)
    std::span<float> mass;                      // (tokens)
    std::span<float> dropped;                   // (inputs, hidden), sums of the tokens that were eliminated
    std::span<float> pooled;                    // (pooled size)
    std::span<float> skip_hidden;               // (skip width)
    NgramSums ngram_sums;                       // of the input, or of the whole text
    std::span<float> ngrams;                    // (n-gram column)
    std::span<float> first_logits, scratch;     // (class); the first are what later exits add
    std::array<std::span<float>, 2> logits;     // (class), of this exit and the one before, by turns
    std::array<std::span<float>, 2> probabilities;
  };

  // Makes spans of the memory at `base` and returns how much they take; with a null base it only measures.
  std::size_t place_weights(std::uint8_t* base);
  std::size_t place_work(std::uint8_t* base);
  // How many of the tokens that are left are the first text's.
  std::size_t first_alive() const;
  void eliminate(std::size_t count);
  void pool(std::uint32_t exit);
  // The weights (pooled size) of one class. They hold until the next ones.
  const float* exit_weights(const ExitWeights& exit, std::size_t label);
  void add_ngrams(std::span<float> logits);
  bool has_doubtful_word() const;

  const Pack* pack_ = nullptr;
  const KernelTable* kernels_ = nullptr;
  Bytes weights_, work_;
  std::array<Block, kMaxBlocks> block_;
  Work use_;
  NgramParameters ngrams_;  // without buckets when the pack has no n-grams
  float inverse_largest_entropy_ = 0.0f;
  std::span<const std::uint32_t> ids_;  // of the input that `embed` started
  std::size_t first_length_ = 0;        // of them, those of the first text; all of a single one
  std::size_t tokens_ = 0;              // that are left
  std::uint32_t exits_read_ = 0;        // of this input
  bool doubtful_ = false;               // the input has a word with which exit 0 does not answer alone
  bool text_read_ = false;              // use_.ngram_sums are those of a whole text
  bool pooled_ = false;                 // use_.pooled is of the state as it is now
  StageObserver stage_;
  Tap tap_;
};

}  // namespace beex
