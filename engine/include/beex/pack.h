// A validated view of a `.beex` file (model_pack/FORMAT.md). It owns nothing: the bytes must outlive it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "beex/exit_rule.h"
#include "beex/policy.h"
#include "beex/status.h"

namespace beex {

constexpr std::uint32_t kMaxBlocks = 24;
constexpr std::uint32_t kMaxCurvePoints = 64;
constexpr std::uint32_t kMaxNgramLength = 4;  // in ids

enum class Task : std::uint32_t {
  kSingleLabel = 0,
  kMultiLabel = 1,
  kFeatures = 2,  // no classes: the pack only turns texts into vectors
};
enum class SlfnForm : std::uint32_t { kOpen = 0, kBounded = 1, kRectified = 2 };
enum class Pooling : std::uint32_t { kMean = 0, kCls = 1 };

// Every float of a pack is within this. Far above any trained weight, and low enough that no step of FORMAT.md's arithmetic can subtract
// infinities or multiply one by zero: with it NaN cannot arise in the network, whatever the pack holds.
constexpr float kLargestFloat = 1073741824.0f;  // 2^30

// The `config` section, checked against the table of FORMAT.md.
struct Config {
  std::uint32_t inputs = 1;  // 1 text or 2 (a pair)
  Task task = Task::kSingleLabel;
  std::uint32_t classes = 0;  // 0 for features
  std::uint32_t vocabulary_size = 0;
  std::uint32_t hidden_size = 0;
  std::uint32_t blocks = 0;
  std::uint32_t heads = 0;
  std::uint32_t slfn_size = 0;
  std::uint32_t max_tokens = 0;
  std::uint32_t embedding_bits = 0;
  std::uint32_t position_bits = 0;
  SlfnForm slfn_form = SlfnForm::kOpen;
  Pooling pooling = Pooling::kMean;
  bool fold_case = true;  // lower-case and strip accents
  std::uint32_t cls_id = 0;
  std::uint32_t sep_id = 0;
  std::uint32_t unk_id = 0;
  std::uint32_t ngram_buckets = 0;  // 0 without n-grams
  std::uint32_t ngram_longest = 0;
  std::uint32_t ngram_bits = 0;
  std::uint32_t exit_bits = 0;  // of the exits' weights, or 0 for floats
  std::uint32_t skip_width = 0;  // of the skip gates' hidden layer, 0 without gates
  bool elimination = false;      // the pack has a profile
  bool temperature_by_class = false;
  bool text_ngrams = false;    // n-grams are those of the whole text, each bucket once; or else of a window, every run
  bool doubt = false;          // the pack has words with which exit 0 does not answer alone
  float share_in_doubt = 1;    // of exit 0's logits, which later exits add where there is such a word

  std::uint32_t head_size() const { return hidden_size / heads; }
  // Numbers that an exit or a gate reads: of a pair, how its two texts' vectors differ and agree.
  std::uint32_t pooled_size() const { return hidden_size * inputs; }
  // Rows of the gate half of the SLFN's hidden matrix.
  std::uint32_t gate_rows() const { return slfn_form == SlfnForm::kOpen ? slfn_size : hidden_size; }
  // Columns of an n-gram row: the first class of a single-label pack has none.
  std::uint32_t ngram_columns() const { return task == Task::kMultiLabel ? classes : classes - 1; }
  std::size_t ngram_row_bytes() const { return (std::size_t{ngram_columns()} * ngram_bits + 7) / 8; }
};

// Few-bit rows: value = scale[row] * (2q - (2^bits - 1)).
struct FewBitRows {
  std::span<const std::uint8_t> rows;  // (row, column) packed, `bits` each
  std::span<const float> scale;        // (row)
  std::uint32_t bits = 0;
  std::uint32_t columns = 0;
};

// A binary linear layer: y = D * scale + bias (FORMAT.md, "Binary linear").
struct BinaryLinearWeights {
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;
  std::span<const std::uint8_t> bits;  // (row, column / 8)
  std::span<const float> scale;        // (row)
  std::span<const float> bias;         // (row)
  std::span<const float> threshold;    // (column), of the input's quantizer
};

struct NormWeights {
  std::span<const float> gamma;  // (hidden)
  std::span<const float> beta;   // (hidden)
};

// Places where floats become few-bit integers; the order is that of `activation.bits`.
enum ActivationSite : std::uint32_t { kQkvInput, kQuery, kKey, kOutputInput, kSlfnInput, kGateHidden, kContentHidden, kActivationSites };

struct Quantizer {
  std::uint32_t bits = 1;
  float inverse_step = 1.0f;
};

// A block's skip gate: two layers on the pooled state; empty in packs without gates.
struct SkipGateWeights {
  std::span<const float> weight;  // (skip width, hidden)
  std::span<const float> bias;    // (skip width)
  std::span<const float> output;  // (skip width)
  float output_bias = 0.0f;
};

struct BlockWeights {
  BinaryLinearWeights qkv, output, hidden, gate, content;  // `gate` is empty unless the form is the open one
  NormWeights attention_norm, slfn_norm;
  float score_scale = 0.0f;
  SkipGateWeights skip;
  std::array<Quantizer, kActivationSites> quantizer;
};

// Rows of the hashed n-grams (FORMAT.md, "n-grams"); empty without them.
struct NgramWeights {
  std::span<const std::uint8_t> kept;  // (bucket / 8), a bit for each bucket that has a row
  std::span<const std::uint8_t> rows;  // (bucket that has one, row bytes)
  std::span<const float> scale;        // (column)
};

struct ExitWeights {
  std::span<const float> weight;  // (class, hidden); empty with few-bit weights
  FewBitRows rows;                // (class, hidden); empty with float weights
  std::span<const float> bias;    // (class)
  std::span<const float> inverse_temperature;  // (1), or (class) with a temperature per class
};

class Pack {
 public:
  // Checks everything and fills `pack` with views into `bytes`. `bytes` must be aligned to 64 and outlive `pack`.
  // On an error `pack` is unusable and the message says which section, where, what was found and what was expected.
  static Error parse(std::span<const std::uint8_t> bytes, Pack& pack);

  Config config;
  std::string_view metadata;    // JSON, for people; empty when the pack has none
  std::string_view labels;      // one a line
  std::string_view vocabulary;  // one a line, ascending
  FewBitRows embedding, position, segment;  // `segment` is empty unless inputs is 2
  NormWeights embedding_norm;
  std::array<BlockWeights, kMaxBlocks> block;
  NgramWeights ngram;
  std::array<ExitWeights, kMaxBlocks + 1> exit;  // empty for features, as is the rule
  std::span<const float> threshold;              // (class), of multi-label packs
  std::span<const std::uint8_t> doubtful;        // (vocabulary / 8), a bit for each token with which exit 0 does not answer alone; or empty
  ExitRule exit_rule;
  std::span<const float> elimination_profile;    // (block), of packs with elimination
  std::uint32_t curve_points = 0;                // 0 without a curve
  std::array<CurvePoint, kMaxCurvePoints> curve;  // the first curve_points of it, work and accuracy rising
};

}  // namespace beex
