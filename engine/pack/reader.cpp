// Pack::parse: a file from anywhere becomes views that the rest of the engine can trust (model_pack/FORMAT.md, "Sections").
//
// Cheap before expensive: container and sizes first, then the checksums, then what is inside the sections.
#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstring>
#include <functional>
#include <memory>
#include <new>

#include "beex/pack.h"
#include "pack/container.h"
#include "pack/format.h"
#include "pack/lines.h"

namespace beex {
namespace {

constexpr std::size_t kConfigWords = 24;
constexpr std::size_t kRuleSize = 24;
constexpr std::size_t kCurvePointSize = 48;
constexpr std::uint32_t kMaxSkipWidth = 64;
constexpr std::uint32_t kElimination = 1u << 0, kTemperatureByClass = 1u << 1, kTextNgrams = 1u << 2, kDoubt = 1u << 3;  // features, bits of a config word,
constexpr std::uint32_t kHalvingsShift = 4, kMostHalvings = 3;  // and a number of two bits
constexpr float kLeastShare = 1.0f / 1048576.0f;
constexpr std::uint32_t kMaxClasses = 4096;
constexpr std::uint32_t kMaxHiddenSize = 1024;
constexpr std::uint32_t kMaxSlfnSize = 4096;
constexpr std::uint32_t kMaxActivationBits = 4;
constexpr std::uint32_t kMinNgramBuckets = 1u << 8, kMaxNgramBuckets = 1u << 20;
// The format's limit of a whole pack. No other table can reach it, and sizes must fit a 32-bit machine.
constexpr std::uint32_t kMaxNgramBytes = 1u << 28;

// Kernels count the integer dot of a binary linear layer in 16 bits; no config within the limits needs more.
static_assert(std::max(kMaxHiddenSize, kMaxSlfnSize) * ((1u << kMaxActivationBits) - 1) <= 65535);

using ConfigWords = std::array<std::uint32_t, kConfigWords>;

std::string_view as_text(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const float> as_floats(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

Config make_config(const ConfigWords& word) {
  Config config;
  config.inputs = word[0];
  config.task = static_cast<Task>(word[1]);
  config.classes = word[2];
  config.vocabulary_size = word[3];
  config.hidden_size = word[4];
  config.blocks = word[5];
  config.heads = word[6];
  config.slfn_size = word[7];
  config.max_tokens = word[8];
  config.embedding_bits = word[9];
  config.position_bits = word[10];
  config.slfn_form = static_cast<SlfnForm>(word[11]);
  config.pooling = static_cast<Pooling>(word[12]);
  config.fold_case = word[14] != 0;
  config.cls_id = word[15];
  config.sep_id = word[16];
  config.unk_id = word[17];
  config.ngram_buckets = word[18];
  config.ngram_longest = word[19];
  config.ngram_bits = word[20];
  config.exit_bits = word[21];
  config.skip_width = word[22];
  config.elimination = (word[23] & kElimination) != 0;
  config.temperature_by_class = (word[23] & kTemperatureByClass) != 0;
  config.text_ngrams = (word[23] & kTextNgrams) != 0;
  config.doubt = (word[23] & kDoubt) != 0;
  config.share_in_doubt = 1.0f / static_cast<float>(1u << (word[23] >> kHalvingsShift & kMostHalvings));
  return config;
}

// What inputs and task ask of the other words.
Error check_task(const Config& config) {
  if (config.inputs == 2 && config.pooling != Pooling::kMean) {
    return make_error(Status::kBadValue, "config: pooling is %u, but pairs are pooled by their texts' means (0)", static_cast<unsigned>(config.pooling));
  }
  if (config.task != Task::kFeatures) return {};
  if (config.classes != 0) return make_error(Status::kBadValue, "config: classes is %u, but features (task 2) have none", config.classes);
  if (config.inputs != 1) return make_error(Status::kBadValue, "config: inputs is %u, but features (task 2) are of single texts", config.inputs);
  if (config.ngram_buckets != 0) return make_error(Status::kBadValue, "config: n-grams need classes, but features (task 2) have none");
  if (config.exit_bits != 0) {
    return make_error(Status::kBadValue, "config: exit weight bits is %u, but features (task 2) have no exits", config.exit_bits);
  }
  if (config.skip_width != 0) {
    return make_error(Status::kBadValue, "config: skip gate width is %u, but features (task 2) run every block", config.skip_width);
  }
  if (config.temperature_by_class || config.doubt) {
    return make_error(Status::kBadValue, "config: temperatures and doubt need classes, but features (task 2) have none");
  }
  return {};
}

Error check_ngrams(const Config& config) {
  const std::uint32_t buckets = config.ngram_buckets, longest = config.ngram_longest, bits = config.ngram_bits;
  if (buckets == 0) {
    if (config.text_ngrams) return make_error(Status::kBadValue, "config: n-grams of the whole text (features bit 2) without buckets");
    if (longest == 0 && bits == 0) return {};
    return make_error(Status::kBadValue, "config: longest n-gram is %u and n-gram bits %u, but without buckets both are 0", longest, bits);
  }
  if (buckets < kMinNgramBuckets || buckets > kMaxNgramBuckets || (buckets & (buckets - 1)) != 0) {
    return make_error(Status::kBadValue, "config: n-gram buckets is %u, allowed are 0 and powers of two from %u to %u", buckets,
                      kMinNgramBuckets, kMaxNgramBuckets);
  }
  if (longest < 1 || longest > kMaxNgramLength || (bits != 2 && bits != 4 && bits != 8)) {
    return make_error(Status::kBadValue, "config: longest n-gram is %u and n-gram bits %u, allowed are 1 to %u and 2, 4 and 8", longest, bits, kMaxNgramLength);
  }
  if (config.ngram_row_bytes() <= kMaxNgramBytes / buckets) return {};
  return make_error(Status::kBadValue, "config: n-gram buckets is %u, too many for rows of %zu bytes", buckets, config.ngram_row_bytes());
}

// FORMAT.md, table of `config`.
Error check_config(const ConfigWords& word, Config& config) {
  struct Range {
    std::size_t word;
    const char* name;
    std::uint32_t low, high, step;
  };
  static constexpr Range kRanges[] = {
      {0, "inputs", 1, 2, 1},          {2, "classes", 2, kMaxClasses, 1},         {3, "vocabulary size", 4, 65536, 1},
      {4, "hidden size", 64, kMaxHiddenSize, 64}, {5, "blocks", 1, kMaxBlocks, 1}, {6, "attention heads", 1, kMaxHiddenSize / 16, 1},
      {7, "SLFN width", 64, kMaxSlfnSize, 64},    {8, "most tokens", 8, 1024, 1},  {9, "embedding bits", 1, 8, 1},
      {10, "position bits", 1, 8, 1},  {11, "SLFN form", 0, 2, 1},                {12, "pooling", 0, 1, 1},
      {14, "normalizer", 0, 1, 1},    {22, "skip gate width", 0, kMaxSkipWidth, 1},
  };
  // What a later version may give a meaning to is no mistake of the pack.
  if (word[1] > static_cast<std::uint32_t>(Task::kFeatures)) {
    return make_error(Status::kUnsupportedFeature, "config: this engine does not know task %u: update beex", word[1]);
  }
  if (word[13] != 0) {
    return make_error(Status::kUnsupportedFeature, "config: this engine does not know attention %u: update beex", word[13]);
  }
  if ((word[23] & ~(kElimination | kTemperatureByClass | kTextNgrams | kDoubt | kMostHalvings << kHalvingsShift)) != 0) {
    return make_error(Status::kUnsupportedFeature, "config: this engine does not know features 0x%x: update beex", word[23]);
  }
  for (const Range& range : kRanges) {
    const std::uint32_t value = word[range.word];
    if (value >= range.low && value <= range.high && value % range.step == 0) continue;
    if (range.word == 2 && word[1] == static_cast<std::uint32_t>(Task::kFeatures)) continue;
    return make_error(Status::kBadValue, "config: %s is %u, allowed are %u to %u in steps of %u", range.name, value, range.low,
                      range.high, range.step);
  }
  for (const std::size_t i : {std::size_t{9}, std::size_t{10}}) {
    if ((word[i] & (word[i] - 1)) == 0) continue;
    return make_error(Status::kBadValue, "config: %s is %u, allowed are 1, 2, 4 and 8", i == 9 ? "embedding bits" : "position bits",
                      word[i]);
  }
  if (word[4] % word[6] != 0 || word[4] / word[6] % 16 != 0) {
    return make_error(Status::kBadValue, "config: %u attention heads do not split a hidden size of %u into multiples of 16", word[6],
                      word[4]);
  }
  static constexpr const char* kSpecial[] = {"[CLS]", "[SEP]", "[UNK]"};
  for (std::size_t i = 0; i < 3; ++i) {
    if (word[15 + i] < word[3]) continue;
    return make_error(Status::kBadValue, "config: the id of %s is %u, but the vocabulary has %u tokens", kSpecial[i], word[15 + i],
                      word[3]);
  }
  if (word[21] != 0 && word[21] != 8) {
    return make_error(Status::kBadValue, "config: exit weight bits is %u, allowed are 0 and 8", word[21]);
  }
  config = make_config(word);
  const Error error = check_task(config);
  return error.ok() ? check_ngrams(config) : error;
}

// Fills a Pack from one file. Sections are first *claimed*: looked up by name, measured and noted for the checks of their content.
class Reader {
 public:
  Error read(std::span<const std::uint8_t> bytes, Pack& pack);

 private:
  // What a claimed section holds, hence how its content is checked.
  enum class Content : std::uint8_t { kUnclaimed, kRaw, kText, kFloats, kPositiveFloats, kProbabilities, kShares };

  Error read_config(Config& config);
  void claim_all(Pack& pack);
  void claim_block(const Config& config, std::uint32_t index, BlockWeights& block);
  void claim_skip_gate(const Config& config, std::uint32_t index, SkipGateWeights& gate);
  void claim_elimination(const Config& config, Pack& pack);
  void claim_ngrams(const Config& config, NgramWeights& ngram);
  void claim_exits(const Config& config, Pack& pack);
  void claim_exit(const Config& config, std::uint32_t index, ExitWeights& exit);
  void claim_curve();
  BinaryLinearWeights claim_linear(std::uint32_t block, const char* name, std::size_t rows, std::size_t columns);
  FewBitRows claim_few_bit(const char* name, std::size_t rows, std::size_t columns, std::uint32_t bits);
  NormWeights claim_norm(std::size_t hidden_size, const char* format, ...) __attribute__((format(printf, 3, 4)));
  std::span<const float> claim_floats(Content content, std::size_t count, const char* format, ...)
      __attribute__((format(printf, 4, 5)));
  std::span<const std::uint8_t> claim_bytes(std::size_t size, const char* format, ...) __attribute__((format(printf, 3, 4)));
  std::string_view claim_text(const char* name);
  std::span<const std::uint8_t> claim(Content content, std::size_t size, const char* format, std::va_list arguments);
  void forbid(const char* owner, const char* format, ...) __attribute__((format(printf, 3, 4)));
  void fail(const Error& error);

  Error refuse_unknown() const;
  Error check_sums() const;
  Error check_content() const;
  static Error check_floats(const Section& section, Content content);
  static Error check_labels(const Pack& pack);
  static Error check_vocabulary(const Pack& pack);
  Error read_sites(Pack& pack) const;
  static Error check_profile(const Pack& pack);
  static Error read_rule(std::span<const std::uint8_t> words, const Pack& pack, const char* where, ExitRule& rule);
  Error read_curve(Pack& pack) const;
  static Error read_point(std::span<const std::uint8_t> words, const Pack& pack, const char* where, CurvePoint& point);

  Container container_;
  std::array<Content, kMaxSections> content_{};
  // The first error of the claims. It is reported only after unknown required sections: they would explain it.
  Error first_error_;
  std::span<const std::uint8_t> sites_, rule_, curve_;
  std::span<const float> inverse_step_, inverse_temperature_, score_scale_[kMaxBlocks], skip_output_bias_[kMaxBlocks];
};

Error Reader::read(std::span<const std::uint8_t> bytes, Pack& pack) {
  pack = Pack{};
  Error error = Container::open(bytes, container_);
  if (error.ok()) error = read_config(pack.config);
  if (!error.ok()) return error;
  claim_all(pack);
  error = refuse_unknown();
  if (error.ok()) error = first_error_;
  if (error.ok()) error = check_sums();
  if (error.ok()) error = check_content();
  if (error.ok()) error = check_labels(pack);
  if (error.ok()) error = check_vocabulary(pack);
  if (error.ok()) error = read_sites(pack);
  if (error.ok()) error = check_profile(pack);
  if (error.ok() && !rule_.empty()) error = read_rule(rule_, pack, "section \"exit.rule\"", pack.exit_rule);
  if (error.ok()) error = read_curve(pack);
  if (!error.ok()) return error;
  const Config& config = pack.config;
  const std::size_t temperatures = config.temperature_by_class ? config.classes : 1;
  for (std::size_t i = 0; i * temperatures < inverse_temperature_.size(); ++i) {
    pack.exit[i].inverse_temperature = inverse_temperature_.subspan(i * temperatures, temperatures);
  }
  for (std::uint32_t i = 0; i < config.blocks; ++i) {
    pack.block[i].score_scale = score_scale_[i][0];
    if (config.skip_width > 0) pack.block[i].skip.output_bias = skip_output_bias_[i][0];
  }
  return {};
}

Error Reader::read_config(Config& config) {
  const std::uint32_t index = container_.find("config");
  if (index == container_.size()) return make_error(Status::kBadSection, "section \"config\" is missing");
  content_[index] = Content::kRaw;
  const Section section = container_[index];
  ConfigWords word;
  if (section.bytes.size() < sizeof word || section.bytes.size() % sizeof word[0] != 0) {
    return make_error(Status::kBadSection, "section \"config\" at 0x%zx: %zu bytes, at least %zu are needed, in words of 4",
                      section.offset, section.bytes.size(), sizeof word);
  }
  Error error = container_.check_sum(index);
  if (!error.ok()) return error;
  std::memcpy(word.data(), section.bytes.data(), sizeof word);
  return check_config(word, config);
}

// FORMAT.md, table of sections: names, shapes and where they go.
void Reader::claim_all(Pack& pack) {
  const Config& config = pack.config;
  const std::size_t d = config.hidden_size;
  const std::size_t sites = std::size_t{config.blocks} * kActivationSites;
  if (container_.find("metadata") != container_.size()) pack.metadata = claim_text("metadata");
  pack.labels = claim_text("labels");
  pack.vocabulary = claim_text("vocabulary");
  sites_ = claim_bytes(sites, "activation.bits");
  inverse_step_ = claim_floats(Content::kPositiveFloats, sites, "activation.inverse_step");
  pack.embedding = claim_few_bit("embedding", config.vocabulary_size, d, config.embedding_bits);
  pack.position = claim_few_bit("position", config.max_tokens, d, config.position_bits);
  if (config.inputs == 2) {
    pack.segment = claim_few_bit("segment", 2, d, 8);
  } else {
    forbid("single texts", "segment.rows");
    forbid("single texts", "segment.scale");
  }
  pack.embedding_norm = claim_norm(d, "embedding.norm");
  for (std::uint32_t i = 0; i < config.blocks; ++i) claim_block(config, i, pack.block[i]);
  claim_elimination(config, pack);
  claim_ngrams(config, pack.ngram);
  claim_exits(config, pack);
}

void Reader::claim_elimination(const Config& config, Pack& pack) {
  if (config.elimination) {
    pack.elimination_profile = claim_floats(Content::kShares, config.blocks, "elimination.profile");
  } else {
    forbid("no elimination", "elimination.profile");
  }
}

void Reader::claim_ngrams(const Config& config, NgramWeights& ngram) {
  if (config.ngram_buckets == 0) {
    for (const char* part : {"kept", "rows", "scale"}) forbid("no n-grams", "ngram.%s", part);
    return;
  }
  ngram.kept = claim_bytes(config.ngram_buckets / 8, "ngram.kept");
  std::size_t rows = 0;
  for (const std::uint8_t byte : ngram.kept) rows += static_cast<std::size_t>(std::popcount(byte));
  ngram.rows = claim_bytes(rows * config.ngram_row_bytes(), "ngram.rows");
  ngram.scale = claim_floats(Content::kFloats, config.ngram_columns(), "ngram.scale");
}

void Reader::claim_exits(const Config& config, Pack& pack) {
  if (config.doubt) {
    pack.doubtful = claim_bytes((config.vocabulary_size + std::size_t{7}) / 8, "exit0.doubtful");
  } else {
    forbid("no doubt", "exit0.doubtful");
  }
  if (config.task == Task::kMultiLabel) {
    pack.threshold = claim_floats(Content::kProbabilities, config.classes, "threshold.by_label");
  } else {
    forbid(config.task == Task::kFeatures ? "features" : "single labels", "threshold.by_label");
  }
  if (config.task == Task::kFeatures) {
    for (std::uint32_t i = 0; i <= config.blocks; ++i) {
      for (const char* part : {"weight", "rows", "scale", "bias"}) forbid("features", "exit%u.%s", i, part);
    }
    forbid("features", "exit.inverse_temperature");
    forbid("features", "exit.rule");
    forbid("features", "policy.curve");
    return;
  }
  for (std::uint32_t i = 0; i <= config.blocks; ++i) claim_exit(config, i, pack.exit[i]);
  const std::size_t temperatures = config.temperature_by_class ? config.classes : 1;
  inverse_temperature_ = claim_floats(Content::kPositiveFloats, (config.blocks + std::size_t{1}) * temperatures, "exit.inverse_temperature");
  rule_ = claim_bytes(kRuleSize, "exit.rule");
  claim_curve();
}

// The only section that says itself how long it is.
void Reader::claim_curve() {
  const std::uint32_t index = container_.find("policy.curve");
  if (index == container_.size()) return;
  content_[index] = Content::kRaw;
  const Section section = container_[index];
  const std::size_t size = section.bytes.size();
  if (size == 0 || size % kCurvePointSize != 0 || size > kMaxCurvePoints * kCurvePointSize) {
    fail(make_error(Status::kBadSection, "section \"policy.curve\" at 0x%zx: %zu bytes, allowed are 1 to %u rows of %zu", section.offset, size,
                    kMaxCurvePoints, kCurvePointSize));
    return;
  }
  curve_ = section.bytes;
}

void Reader::claim_exit(const Config& config, std::uint32_t index, ExitWeights& exit) {
  const std::size_t classes = config.classes, size = config.pooled_size();
  if (config.exit_bits == 0) {
    for (const char* part : {"rows", "scale"}) forbid("float exit weights", "exit%u.%s", index, part);
    exit.weight = claim_floats(Content::kFloats, classes * size, "exit%u.weight", index);
  } else {
    forbid("8-bit exit weights", "exit%u.weight", index);
    char name[kSectionNameSize + 1];
    format_text(name, "exit%u", index);
    exit.rows = claim_few_bit(name, classes, size, config.exit_bits);
  }
  exit.bias = claim_floats(Content::kFloats, classes, "exit%u.bias", index);
}

void Reader::claim_block(const Config& config, std::uint32_t index, BlockWeights& block) {
  const std::size_t d = config.hidden_size, f = config.slfn_size;
  block.qkv = claim_linear(index, "qkv", 3 * d, d);
  score_scale_[index] = claim_floats(Content::kFloats, 1, "block%u.attention.score_scale", index);
  block.output = claim_linear(index, "output", d, d);
  block.attention_norm = claim_norm(d, "block%u.attention.norm", index);
  block.hidden = claim_linear(index, "hidden", config.gate_rows() + f, d);
  if (config.slfn_form == SlfnForm::kOpen) {
    block.gate = claim_linear(index, "gate", d, f);
  } else {
    const char* form = config.slfn_form == SlfnForm::kBounded ? "the bounded SLFN" : "the rectified SLFN";
    for (const char* part : {"threshold", "bits", "scale", "bias"}) forbid(form, "block%u.gate.%s", index, part);
  }
  block.content = claim_linear(index, "content", d, f);
  block.slfn_norm = claim_norm(d, "block%u.slfn.norm", index);
  claim_skip_gate(config, index, block.skip);
}

void Reader::claim_skip_gate(const Config& config, std::uint32_t index, SkipGateWeights& gate) {
  const std::size_t width = config.skip_width;
  if (width == 0) {
    for (const char* part : {"weight", "bias", "output", "output_bias"}) forbid("no skip gates", "block%u.skip.%s", index, part);
    return;
  }
  gate.weight = claim_floats(Content::kFloats, width * config.pooled_size(), "block%u.skip.weight", index);
  gate.bias = claim_floats(Content::kFloats, width, "block%u.skip.bias", index);
  gate.output = claim_floats(Content::kFloats, width, "block%u.skip.output", index);
  skip_output_bias_[index] = claim_floats(Content::kFloats, 1, "block%u.skip.output_bias", index);
}

BinaryLinearWeights Reader::claim_linear(std::uint32_t block, const char* name, std::size_t rows, std::size_t columns) {
  BinaryLinearWeights linear;
  linear.rows = static_cast<std::uint32_t>(rows);
  linear.columns = static_cast<std::uint32_t>(columns);
  linear.threshold = claim_floats(Content::kFloats, columns, "block%u.%s.threshold", block, name);
  linear.bits = claim_bytes(rows * (columns / 8), "block%u.%s.bits", block, name);
  linear.scale = claim_floats(Content::kFloats, rows, "block%u.%s.scale", block, name);
  linear.bias = claim_floats(Content::kFloats, rows, "block%u.%s.bias", block, name);
  return linear;
}

FewBitRows Reader::claim_few_bit(const char* name, std::size_t rows, std::size_t columns, std::uint32_t bits) {
  FewBitRows few_bit;
  few_bit.rows = claim_bytes(rows * (columns / 8) * bits, "%s.rows", name);
  few_bit.scale = claim_floats(Content::kFloats, rows, "%s.scale", name);
  few_bit.bits = bits;
  few_bit.columns = static_cast<std::uint32_t>(columns);
  return few_bit;
}

NormWeights Reader::claim_norm(std::size_t hidden_size, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  const auto floats = as_floats(claim(Content::kFloats, 2 * hidden_size * sizeof(float), format, arguments));
  va_end(arguments);
  if (floats.empty()) return {};
  return {floats.first(hidden_size), floats.last(hidden_size)};
}

std::span<const float> Reader::claim_floats(Content content, std::size_t count, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  const auto bytes = claim(content, count * sizeof(float), format, arguments);
  va_end(arguments);
  return as_floats(bytes);
}

std::span<const std::uint8_t> Reader::claim_bytes(std::size_t size, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  const auto bytes = claim(Content::kRaw, size, format, arguments);
  va_end(arguments);
  return bytes;
}

std::string_view Reader::claim_text(const char* name) {
  const std::uint32_t index = container_.find(name);
  if (index == container_.size()) {
    fail(make_error(Status::kBadSection, "section \"%s\" is missing", name));
    return {};
  }
  content_[index] = Content::kText;
  return as_text(container_[index].bytes);
}

// The bytes of a section of exactly `size` bytes, or nothing after noting what is wrong.
std::span<const std::uint8_t> Reader::claim(Content content, std::size_t size, const char* format, std::va_list arguments) {
  char name[kSectionNameSize + 1];
  vformat_text(name, format, arguments);
  const std::uint32_t index = container_.find(name);
  if (index == container_.size()) {
    fail(make_error(Status::kBadSection, "section \"%s\" is missing", name));
    return {};
  }
  content_[index] = content;
  const Section section = container_[index];
  if (section.bytes.size() == size) return section.bytes;
  fail(make_error(Status::kBadSection, "section \"%s\" at 0x%zx: %zu bytes, config needs %zu", name, section.offset,
                  section.bytes.size(), size));
  return {};
}

void Reader::forbid(const char* owner, const char* format, ...) {
  char name[kSectionNameSize + 1];
  std::va_list arguments;
  va_start(arguments, format);
  vformat_text(name, format, arguments);
  va_end(arguments);
  const std::uint32_t index = container_.find(name);
  if (index == container_.size()) return;
  content_[index] = Content::kRaw;
  fail(make_error(Status::kBadSection, "section \"%s\" at 0x%zx does not belong in a pack for %s", name, container_[index].offset,
                  owner));
}

void Reader::fail(const Error& error) {
  if (first_error_.ok()) first_error_ = error;
}

Error Reader::refuse_unknown() const {
  for (std::uint32_t i = 0; i < container_.size(); ++i) {
    const Section section = container_[i];
    if (content_[i] != Content::kUnclaimed || !section.required) continue;
    return make_error(Status::kUnsupportedFeature, "the pack needs section \"%.*s\", which this engine does not know: update beex",
                      static_cast<int>(section.name.size()), section.name.data());
  }
  return {};
}

Error Reader::check_sums() const {
  for (std::uint32_t i = 0; i < container_.size(); ++i) {
    const Error error = container_.check_sum(i);
    if (!error.ok()) return error;
  }
  return {};
}

Error Reader::check_content() const {
  for (std::uint32_t i = 0; i < container_.size(); ++i) {
    const Section section = container_[i];
    const int width = static_cast<int>(section.name.size());
    if (content_[i] == Content::kText) {
      const std::size_t valid = utf8_prefix(as_text(section.bytes));
      if (valid == section.bytes.size()) continue;
      return make_error(Status::kBadValue, "section \"%.*s\" at 0x%zx: byte %zu is not UTF-8", width, section.name.data(),
                        section.offset, valid);
    }
    const Error error = check_floats(section, content_[i]);
    if (!error.ok()) return error;
  }
  return {};
}

Error Reader::check_floats(const Section& section, Content content) {
  // A NaN fails both comparisons.
  bool (*allowed)(float) = nullptr;
  const char* what = "";
  switch (content) {
    case Content::kUnclaimed:
    case Content::kRaw:
    case Content::kText:
      return {};
    case Content::kFloats:
      allowed = [](float x) { return x >= -kLargestFloat && x <= kLargestFloat; };
      what = "within plus or minus 2^30";
      break;
    case Content::kPositiveFloats:
      allowed = [](float x) { return x > 0.0f && x <= kLargestFloat; };
      what = "above 0 and up to 2^30";
      break;
    case Content::kProbabilities:
      allowed = [](float x) { return x > 0.0f && x < 1.0f; };
      what = "above 0 and below 1";
      break;
    case Content::kShares:
      allowed = [](float x) { return x >= kLeastShare && x <= 1.0f; };
      what = "from 2^-20 to 1";
      break;
  }
  const auto floats = as_floats(section.bytes);
  const auto bad = std::find_if_not(floats.begin(), floats.end(), allowed);
  if (bad == floats.end()) return {};
  return make_error(Status::kBadValue, "section \"%.*s\" at 0x%zx: float %zu is not a number %s", static_cast<int>(section.name.size()),
                    section.name.data(), section.offset, static_cast<std::size_t>(bad - floats.begin()), what);
}

Error Reader::check_labels(const Pack& pack) {
  const std::uint32_t classes = pack.config.classes;
  const std::unique_ptr<std::string_view[]> label(new (std::nothrow) std::string_view[classes]);
  if (label == nullptr) return make_error(Status::kOutOfMemory, "not enough memory to check the labels");
  std::string_view rest = pack.labels;
  for (std::uint32_t i = 0; i < classes; ++i) {
    if (!take_line(rest, label[i])) return make_error(Status::kBadValue, "section \"labels\": %u lines, config needs %u", i, classes);
    if (label[i].empty()) return make_error(Status::kBadValue, "section \"labels\": line %u is empty", i);
  }
  if (!rest.empty()) return make_error(Status::kBadValue, "section \"labels\": more than the %u lines of config", classes);
  if (sort_and_find_duplicate({label.get(), classes})) {
    return make_error(Status::kBadValue, "section \"labels\": two labels are the same");
  }
  return {};
}

Error Reader::check_vocabulary(const Pack& pack) {
  const std::uint32_t size = pack.config.vocabulary_size;
  std::string_view rest = pack.vocabulary, before, token;
  for (std::uint32_t i = 0; i < size; ++i, before = token) {
    if (!take_line(rest, token)) return make_error(Status::kBadValue, "section \"vocabulary\": %u lines, config needs %u", i, size);
    if (token.empty() || token <= before) {
      return make_error(Status::kBadValue, "section \"vocabulary\": line %u is %s", i,
                        token.empty() ? "empty" : "not above the line before it");
    }
    if (has_control_character(token)) {
      return make_error(Status::kBadValue, "section \"vocabulary\": line %u holds a control character", i);
    }
  }
  if (!rest.empty()) return make_error(Status::kBadValue, "section \"vocabulary\": more than the %u lines of config", size);
  return {};
}

Error Reader::read_sites(Pack& pack) const {
  for (std::uint32_t i = 0; i < pack.config.blocks; ++i) {
    for (std::uint32_t site = 0; site < kActivationSites; ++site) {
      const std::size_t at = std::size_t{i} * kActivationSites + site;
      const std::uint32_t bits = sites_[at];
      if (bits != 1 && bits != 2 && bits != kMaxActivationBits) {
        return make_error(Status::kBadValue, "section \"activation.bits\": block %u, site %u has %u bits, allowed are 1, 2 and 4", i, site,
                          bits);
      }
      pack.block[i].quantizer[site] = {bits, inverse_step_[at]};
    }
  }
  return {};
}

// Tokens never come back.
Error Reader::check_profile(const Pack& pack) {
  const std::span<const float> profile = pack.elimination_profile;
  const auto rise = std::adjacent_find(profile.begin(), profile.end(), std::less<>{});
  if (rise == profile.end()) return {};
  return make_error(Status::kBadValue, "section \"elimination.profile\": the share rises after block %u",
                    static_cast<unsigned>(rise - profile.begin()));
}

// `where` names the place for messages.
Error Reader::read_rule(std::span<const std::uint8_t> words, const Pack& pack, const char* where, ExitRule& rule) {
  struct {
    std::uint32_t kind;
    float threshold, certain, uncertain;
    std::uint32_t first_exit, flags;
  } word;
  static_assert(sizeof word == kRuleSize);
  std::memcpy(&word, words.data(), sizeof word);
  if (word.kind > static_cast<std::uint32_t>(ExitKind::kProbability) || (word.flags & ~1u) != 0) {
    return make_error(Status::kUnsupportedFeature, "%s: this engine does not know kind %u with flags 0x%x: update beex", where, word.kind,
                      word.flags);
  }
  const auto within = [](float x, float low) { return x >= low && x <= kLargestFloat; };
  const bool patience = word.kind == static_cast<std::uint32_t>(ExitKind::kPatience);
  if (!within(word.threshold, patience ? 1.0f : -kLargestFloat) || !within(word.certain, 0.0f) || !within(word.uncertain, 0.0f)) {
    return make_error(Status::kBadValue, "%s: its entropies must be numbers from 0 and its threshold a number%s", where,
                      patience ? " of exits, 1 or more" : "");
  }
  if (word.first_exit > pack.config.blocks) {
    return make_error(Status::kBadValue, "%s: the first exit is %u, the last is %u", where, word.first_exit, pack.config.blocks);
  }
  rule = {static_cast<ExitKind>(word.kind), word.threshold, word.certain, word.uncertain, word.first_exit, (word.flags & 1) != 0};
  return {};
}

Error Reader::read_curve(Pack& pack) const {
  std::uint32_t named = 0;  // bit n: name n was seen
  for (std::size_t at = 0; at < curve_.size(); at += kCurvePointSize) {
    const std::uint32_t row = pack.curve_points;
    char where[40];
    format_text(where, "section \"policy.curve\", row %u", row);
    CurvePoint& point = pack.curve[row];
    const Error error = read_point(curve_.subspan(at, kCurvePointSize), pack, where, point);
    if (!error.ok()) return error;
    const CurvePoint* before = row > 0 ? &pack.curve[row - 1] : nullptr;
    if (before != nullptr && !(point.work > before->work && point.accuracy > before->accuracy)) {
      return make_error(Status::kBadValue, "%s: work and accuracy must both be above those of the row before", where);
    }
    const std::uint32_t bit = point.name == SpeedName::kNone ? 0 : 1u << static_cast<std::uint32_t>(point.name);
    if ((named & bit) != 0) return make_error(Status::kBadValue, "%s: its name stands at another row, too", where);
    named |= bit;
    ++pack.curve_points;
  }
  return {};
}

Error Reader::read_point(std::span<const std::uint8_t> words, const Pack& pack, const char* where, CurvePoint& point) {
  struct {
    float work, accuracy, gamma, skip_threshold;
    std::uint8_t rule[kRuleSize];
    std::uint32_t name, zero;
  } word;
  static_assert(sizeof word == kCurvePointSize);
  std::memcpy(&word, words.data(), sizeof word);
  if (word.name > static_cast<std::uint32_t>(SpeedName::kFast) || word.zero != 0) {
    return make_error(Status::kUnsupportedFeature, "%s: this engine does not know name %u with last word %u: update beex", where, word.name,
                      word.zero);
  }
  const auto within = [](float x, float low, float high) { return x >= low && x <= high; };
  if (!(word.work > 0.0f && word.work <= kLargestFloat) || !within(word.accuracy, 0.0f, 1.0f)) {
    return make_error(Status::kBadValue, "%s: work must be a number above 0, and accuracy one from 0 to 1", where);
  }
  if (!within(word.gamma, 0.0f, pack.config.elimination ? kMostGamma : 0.0f)) {
    return make_error(Status::kBadValue, "%s: gamma must be a number from 0 to 16, and 0 in a pack without elimination", where);
  }
  if (!within(word.skip_threshold, pack.config.skip_width > 0 ? 0.0f : 1.0f, 1.0f)) {
    return make_error(Status::kBadValue, "%s: the skip threshold must be a number from 0 to 1, and 1 in a pack without skip gates", where);
  }
  point = {word.work, word.accuracy, {{}, word.gamma, word.skip_threshold}, static_cast<SpeedName>(word.name)};
  return read_rule(word.rule, pack, where, point.policy.rule);
}

}  // namespace

Error Pack::parse(std::span<const std::uint8_t> bytes, Pack& pack) { return Reader{}.read(bytes, pack); }

}  // namespace beex
