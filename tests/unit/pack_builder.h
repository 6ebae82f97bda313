// Packs made in memory for tests: valid ones with random weights, after FORMAT.md alone, and hostile ones made from them.
//
// It shares no code with the reader, so that a mistake in one does not hide in the other.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "beex/bytes.h"
#include "beex/pack.h"

namespace beex::test {

// A fixed sequence on every machine (xorshift64*); the standard's distributions differ between libraries.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {}
  std::uint32_t bits() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<std::uint32_t>((state_ * 0x2545F4914F6CDD1Dull) >> 32);
  }
  std::uint32_t below(std::size_t n) { return static_cast<std::uint32_t>(bits() % n); }
  // A multiple of 1/256 in [low, high).
  float between(float low, float high) { return low + static_cast<float>(below(256)) / 256.0f * (high - low); }

 private:
  std::uint64_t state_;
};

// Memory of exactly the given size at a multiple of 64, so that a sanitizer sees the first byte read beyond it.
class ExactBytes {
 public:
  explicit ExactBytes(std::span<const std::uint8_t> from) : size_(from.size()) {
    void* at = nullptr;
    if (posix_memalign(&at, 64, std::max<std::size_t>(size_, 1)) != 0) std::abort();
    data_ = static_cast<std::uint8_t*>(at);
    if (size_ > 0) std::memcpy(data_, from.data(), size_);
  }
  ~ExactBytes() { std::free(data_); }
  ExactBytes(const ExactBytes&) = delete;
  ExactBytes& operator=(const ExactBytes&) = delete;
  std::span<const std::uint8_t> view() const { return {data_, size_}; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_;
};

inline Bytes to_bytes(std::span<const std::uint8_t> from) {
  Bytes bytes(from.size());
  if (!from.empty()) std::memcpy(bytes.data(), from.data(), from.size());
  return bytes;
}

// CRC-32 bit by bit.
inline std::uint32_t slow_crc32(std::span<const std::uint8_t> bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xEDB88320u : crc >> 1;
  }
  return ~crc;
}

template <class T>
void put(std::vector<std::uint8_t>& file, std::size_t at, T value) {
  std::memcpy(file.data() + at, &value, sizeof value);
}

template <class T>
T get(std::span<const std::uint8_t> file, std::size_t at) {
  T value;
  std::memcpy(&value, file.data() + at, sizeof value);
  return value;
}

// Makes all checksums of `file` right again, as far as its header and table still make sense.
inline void reseal(std::vector<std::uint8_t>& file) {
  if (file.size() < 64) return;
  const std::span<const std::uint8_t> view = file;
  const std::size_t count = std::min<std::size_t>(get<std::uint32_t>(view, 8), (file.size() - 64) / 64);
  for (std::size_t entry = 64; entry < 64 + 64 * count; entry += 64) {
    const auto offset = get<std::uint64_t>(view, entry + 40), length = get<std::uint64_t>(view, entry + 48);
    if (offset > file.size() || length > file.size() - offset) continue;
    put(file, entry + 56, slow_crc32(view.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(length))));
  }
  put(file, 12, slow_crc32(view.subspan(64, 64 * count)));
  put(file, 60, slow_crc32(view.first(60)));
}

// What to build. The defaults make a small single-text pack in the open form.
struct PackOptions {
  std::uint32_t inputs = 1;
  Task task = Task::kSingleLabel;
  std::uint32_t classes = 3;         // without meaning for features
  std::uint32_t vocabulary_size = 60;  // 4 at least; from 55 on every lower-case word has tokens
  std::uint32_t hidden_size = 64;
  std::uint32_t blocks = 2;
  std::uint32_t heads = 2;
  std::uint32_t slfn_size = 128;
  std::uint32_t max_tokens = 12;
  std::uint32_t embedding_bits = 4;
  std::uint32_t position_bits = 8;
  SlfnForm slfn_form = SlfnForm::kOpen;
  Pooling pooling = Pooling::kMean;
  bool fold_case = true;
  std::uint32_t ngram_buckets = 0;
  std::uint32_t ngram_longest = 3;  // these two only with buckets
  std::uint32_t ngram_bits = 4;
  std::uint32_t exit_bits = 0;  // 0 for float weights, or 8
  std::array<std::uint8_t, kActivationSites> activation_bits = {4, 4, 4, 4, 4, 4, 4};
  ExitRule rule;
  std::vector<float> profile;  // of elimination, a share per block; empty for none
  std::uint32_t skip_width = 0;
  bool temperature_by_class = false;
  bool text_ngrams = false;
  std::vector<std::uint8_t> doubtful;  // a bit per token of the vocabulary; empty for no doubt
  std::uint32_t halvings_in_doubt = 0;
  std::vector<CurvePoint> curve;
  std::uint64_t seed = 1;
};

class PackBuilder {
 public:
  struct Section {
    std::string name;
    std::vector<std::uint8_t> bytes;
    std::uint32_t flags = 1;
  };

  explicit PackBuilder(const PackOptions& options = {}) : random_(options.seed), options_(options) {
    const PackOptions& o = options;
    const std::size_t d = o.hidden_size, f = o.slfn_size, pooled = o.inputs * d;
    make_vocabulary();
    const bool features = o.task == Task::kFeatures, multi_label = o.task == Task::kMultiLabel, ngrams = o.ngram_buckets > 0;
    const std::uint32_t classes = features ? 0 : o.classes;
    std::array<std::uint32_t, 24> config{};
    config = {o.inputs, static_cast<std::uint32_t>(o.task), classes, o.vocabulary_size, o.hidden_size, o.blocks, o.heads, o.slfn_size,
              o.max_tokens, o.embedding_bits, o.position_bits, static_cast<std::uint32_t>(o.slfn_form),
              static_cast<std::uint32_t>(o.pooling), 0, o.fold_case ? 1u : 0u, id("[CLS]"), id("[SEP]"), id("[UNK]"),
              o.ngram_buckets, ngrams ? o.ngram_longest : 0, ngrams ? o.ngram_bits : 0, o.exit_bits, o.skip_width,
              (o.profile.empty() ? 0u : 1u) + (o.temperature_by_class ? 2u : 0u) + (o.text_ngrams ? 4u : 0u) + (o.doubtful.empty() ? 0u : 8u) + (o.halvings_in_doubt << 4)};
    add("config", config);
    add_text("metadata", "{\"name\": \"made for a test\"}", 0);
    std::string labels;
    for (std::uint32_t i = 0; i < classes; ++i) labels += "label " + std::to_string(i) + "\n";
    add_text("labels", labels);
    std::string lines;
    for (const std::string& token : vocabulary) lines += token + "\n";
    add_text("vocabulary", lines);
    std::vector<std::uint8_t> bits;
    for (std::uint32_t i = 0; i < o.blocks; ++i) bits.insert(bits.end(), o.activation_bits.begin(), o.activation_bits.end());
    add("activation.bits", bits);
    add_floats("activation.inverse_step", bits.size(), 1.0f, 3.0f);
    add_rows("embedding", o.vocabulary_size, d, o.embedding_bits);
    add_rows("position", o.max_tokens, d, o.position_bits);
    if (o.inputs == 2) add_rows("segment", 2, d, 8);
    add_norm("embedding.norm", d);
    for (std::uint32_t i = 0; i < o.blocks; ++i) {
      const std::string block = "block" + std::to_string(i);
      const std::size_t g = o.slfn_form == SlfnForm::kOpen ? f : d;
      add_linear(block + ".qkv", 3 * d, d);
      add_floats(block + ".attention.score_scale", 1, 0.01f, 0.1f);
      add_linear(block + ".output", d, d);
      add_norm(block + ".attention.norm", d);
      add_linear(block + ".hidden", g + f, d);
      if (o.slfn_form == SlfnForm::kOpen) add_linear(block + ".gate", d, f);
      add_linear(block + ".content", d, f);
      add_norm(block + ".slfn.norm", d);
      if (o.skip_width == 0) continue;
      add_floats(block + ".skip.weight", o.skip_width * pooled, -0.5f, 0.5f);
      add_floats(block + ".skip.bias", o.skip_width, -0.5f, 0.5f);
      add_floats(block + ".skip.output", o.skip_width, -1.0f, 1.0f);
      add_floats(block + ".skip.output_bias", 1, -0.5f, 0.5f);
    }
    if (!o.profile.empty()) add("elimination.profile", o.profile);
    if (ngrams) add_ngrams(multi_label ? classes : classes - 1);
    if (!o.doubtful.empty()) add("exit0.doubtful", o.doubtful);
    if (features) return;
    for (std::uint32_t i = 0; i <= o.blocks; ++i) {
      const std::string exit = "exit" + std::to_string(i);
      if (o.exit_bits == 0) {
        add_floats(exit + ".weight", o.classes * pooled, -0.2f, 0.2f);
      } else {
        add_rows(exit, o.classes, pooled, o.exit_bits);
      }
      add_floats(exit + ".bias", o.classes, -0.5f, 0.5f);
    }
    add_floats("exit.inverse_temperature", (o.blocks + 1) * (o.temperature_by_class ? o.classes : 1), 0.5f, 2.0f);
    if (multi_label) add_floats("threshold.by_label", classes, 0.125f, 0.875f);
    std::vector<std::uint8_t> rule(24);
    put_rule(rule, 0, o.rule);
    add("exit.rule", rule);
    if (!o.curve.empty()) add_curve();
  }

  Section& section(std::string_view name) {
    for (Section& section : sections) {
      if (section.name == name) return section;
    }
    std::abort();
  }

  void remove(std::string_view name) {
    std::erase_if(sections, [&](const Section& section) { return section.name == name; });
  }

  void add_text(std::string name, std::string_view text, std::uint32_t flags = 1) {
    sections.push_back({std::move(name), {text.begin(), text.end()}, flags});
  }

  void set_text(std::string_view name, std::string_view text) { section(name).bytes.assign(text.begin(), text.end()); }

  std::vector<std::uint8_t> build() const {
    std::vector<std::uint8_t> file(64 + 64 * sections.size());
    std::size_t entry = 64;
    for (const Section& section : sections) {
      file.resize((file.size() + 63) / 64 * 64);
      std::memcpy(file.data() + entry, section.name.data(), section.name.size());
      put(file, entry + 40, std::uint64_t{file.size()});
      put(file, entry + 48, std::uint64_t{section.bytes.size()});
      put(file, entry + 60, section.flags);
      file.insert(file.end(), section.bytes.begin(), section.bytes.end());
      entry += 64;
    }
    std::memcpy(file.data(), "BEEX", 4);
    put(file, 4, std::uint16_t{1});
    put(file, 8, static_cast<std::uint32_t>(sections.size()));
    put(file, 16, std::uint64_t{file.size()});
    reseal(file);
    return file;
  }

  std::vector<Section> sections;
  std::vector<std::string> vocabulary;  // ascending

 private:
  std::uint32_t id(std::string_view token) const {
    return static_cast<std::uint32_t>(std::find(vocabulary.begin(), vocabulary.end(), token) - vocabulary.begin());
  }

  void make_vocabulary() {
    vocabulary = {"[CLS]", "[SEP]", "[UNK]"};
    for (char c = 'a'; c <= 'z'; ++c) {
      vocabulary.push_back(std::string(1, c));
      vocabulary.push_back(std::string("##") + c);
    }
    for (std::uint32_t i = 0; vocabulary.size() < options_.vocabulary_size; ++i) {
      std::string word = "w";  // w, then i in letters: distinct and never one of the above
      for (std::uint32_t rest = i + 26; rest > 0; rest /= 26) word += static_cast<char>('a' + rest % 26);
      vocabulary.push_back(word);
    }
    vocabulary.resize(options_.vocabulary_size);
    std::sort(vocabulary.begin(), vocabulary.end());
  }

  template <class Container>
  void add(std::string name, const Container& values) {
    const auto* from = reinterpret_cast<const std::uint8_t*>(values.data());
    sections.push_back({std::move(name), {from, from + values.size() * sizeof(values[0])}});
  }

  void add_floats(std::string name, std::size_t count, float low, float high) {
    std::vector<float> values(count);
    for (float& value : values) value = random_.between(low, high);
    add(std::move(name), values);
  }

  void add_random(std::string name, std::size_t size) {
    std::vector<std::uint8_t> bytes(size);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random_.bits());
    add(std::move(name), bytes);
  }

  void add_rows(const std::string& name, std::size_t rows, std::size_t columns, std::uint32_t bits) {
    add_random(name + ".rows", rows * columns * bits / 8);
    const float levels = static_cast<float>(1u << bits);
    add_floats(name + ".scale", rows, 0.5f / levels, 1.5f / levels);
  }

  void add_linear(const std::string& name, std::size_t rows, std::size_t columns) {
    add_floats(name + ".threshold", columns, -0.5f, 0.5f);
    add_random(name + ".bits", rows * columns / 8);
    add_floats(name + ".scale", rows, -0.05f, 0.05f);
    add_floats(name + ".bias", rows, -0.5f, 0.5f);
  }

  void add_ngrams(std::size_t columns) {
    const std::size_t row_bytes = (columns * options_.ngram_bits + 7) / 8;
    // Two of three buckets have a row.
    std::vector<std::uint8_t> kept(options_.ngram_buckets / 8);
    for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = std::array<std::uint8_t, 3>{0b11011011, 0b10110110, 0b01101101}[i % 3];
    std::size_t count = 0;
    for (const std::uint8_t byte : kept) count += static_cast<std::size_t>(std::popcount(byte));
    add("ngram.kept", kept);
    std::vector<std::uint8_t> rows(count * row_bytes);
    for (std::uint8_t& byte : rows) byte = static_cast<std::uint8_t>(random_.bits());
    add("ngram.rows", rows);
    add_floats("ngram.scale", columns, 0.05f, 0.25f);
  }

  static void put_rule(std::vector<std::uint8_t>& file, std::size_t at, const ExitRule& rule) {
    put(file, at, static_cast<std::uint32_t>(rule.kind));
    put(file, at + 4, rule.threshold);
    put(file, at + 8, rule.certain);
    put(file, at + 12, rule.uncertain);
    put(file, at + 16, rule.first_exit);
    put(file, at + 20, rule.keep_lower_entropy ? 1u : 0u);
  }

  void add_curve() {
    std::vector<std::uint8_t> rows(48 * options_.curve.size());
    for (std::size_t i = 0; i < options_.curve.size(); ++i) {
      const CurvePoint& point = options_.curve[i];
      put(rows, 48 * i, point.work);
      put(rows, 48 * i + 4, point.accuracy);
      put(rows, 48 * i + 8, point.policy.gamma);
      put(rows, 48 * i + 12, point.policy.skip_threshold);
      put_rule(rows, 48 * i + 16, point.policy.rule);
      put(rows, 48 * i + 40, static_cast<std::uint32_t>(point.name));
    }
    sections.push_back({"policy.curve", rows, 0});
  }

  void add_norm(const std::string& name, std::size_t d) { add_floats(name, 2 * d, 0.25f, 1.25f); }

  Random random_;
  PackOptions options_;
};

}  // namespace beex::test
