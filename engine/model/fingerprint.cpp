#include "model/fingerprint.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "beex/pack.h"
#include "model/network.h"

namespace beex {
namespace {

constexpr std::uint32_t kHidden = 64, kSlfn = 128, kClasses = 5, kVocabulary = 32, kBlocks = 2;
constexpr std::uint32_t kTokens = 21;  // whole and broken tiles of every kernel; half of them are left after the first block

class SelfTest {
 public:
  SelfTest() {
    for (std::uint8_t& byte : bytes_) byte = static_cast<std::uint8_t>(random() >> 24);
    for (float& number : numbers_) number = static_cast<float>(static_cast<std::int32_t>(random())) * 0x1p-31f;
    for (std::uint32_t& id : ids_) id = random() % kVocabulary;
  }

  // Puts all that one of the three networks computes into the hash; false when there is no memory.
  bool run(std::uint32_t form, const KernelTable& kernels) {
    make_pack(form);
    if (!Network::load(pack_, kernels, network_).ok()) return false;
    network_.tap({[](void* self, const char*, std::uint32_t, std::span<const float> values) { static_cast<SelfTest*>(self)->add(values); }, this});
    network_.embed(ids_, kTokens / 3);
    network_.read_exit(0);
    for (std::uint32_t i = 0; i < kBlocks; ++i) {
      network_.read_skip_gate(i);
      network_.run_block(i, 1.0f);
      network_.read_exit(i + 1);
    }
    return true;
  }

  std::uint32_t hash() const { return hash_; }

 private:
  // xorshift32.
  std::uint32_t random() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    return random_;
  }

  void add(std::span<const float> values) {
    for (const float& value : values) {
      std::uint32_t word;
      std::memcpy(&word, &value, sizeof word);
      hash_ = (hash_ ^ word) * 0x9E3779B1u;
      hash_ ^= hash_ >> 15;
    }
  }

  // Other numbers of the same pool every time.
  std::span<const float> numbers(std::size_t count) {
    if (count > numbers_.size() - next_) next_ = 0;
    next_ += count;
    return std::span<const float>(numbers_).subspan(next_ - count, count);
  }

  FewBitRows rows(std::uint32_t count, std::uint32_t bits, std::uint32_t columns = kHidden) { return {bytes_, numbers(count), bits, columns}; }
  NormWeights norm() { return {numbers(kHidden), numbers(kHidden)}; }
  BinaryLinearWeights linear(std::uint32_t rows, std::uint32_t columns) {
    return {rows, columns, bytes_, numbers(rows), numbers(rows), numbers(columns)};
  }

  void make_pack(std::uint32_t form) {
    pack_ = Pack{};
    Config& config = pack_.config;
    config.inputs = form == 1 ? 2 : 1;
    config.task = form == 1 ? Task::kMultiLabel : Task::kSingleLabel;
    config.classes = kClasses;
    config.vocabulary_size = kVocabulary;
    config.hidden_size = kHidden;
    config.blocks = kBlocks;
    config.heads = 1u << form;
    config.slfn_size = kSlfn;
    config.max_tokens = kTokens;
    config.slfn_form = static_cast<SlfnForm>(form);
    config.pooling = form == 2 ? Pooling::kCls : Pooling::kMean;
    config.ngram_buckets = 256;
    config.ngram_longest = 3;
    config.ngram_bits = 2u << form;
    config.text_ngrams = form == 2;
    config.exit_bits = form == 0 ? 0 : 8;
    config.skip_width = 3;
    pack_.embedding = rows(kVocabulary, 1u << form);
    pack_.position = rows(kTokens, 8);
    pack_.segment = rows(2, 8);
    pack_.embedding_norm = norm();
    for (std::uint32_t i = 0; i < kBlocks; ++i) {
      BlockWeights& block = pack_.block[i];
      block.qkv = linear(3 * kHidden, kHidden);
      block.output = linear(kHidden, kHidden);
      block.hidden = linear(config.gate_rows() + kSlfn, kHidden);
      block.gate = linear(kHidden, kSlfn);
      block.content = linear(kHidden, kSlfn);
      block.attention_norm = norm();
      block.slfn_norm = norm();
      block.score_scale = 0.03f;
      block.skip = {numbers(config.skip_width * config.pooled_size()), numbers(config.skip_width), numbers(config.skip_width), 0.1f};
      for (std::uint32_t site = 0; site < kActivationSites; ++site) block.quantizer[site] = {1u << (form + site + i) % 3, 2.3f};
    }
    pack_.ngram = {bytes_, bytes_, numbers(kClasses)};
    for (std::uint32_t i = 0; i <= kBlocks; ++i) {
      pack_.exit[i] = {numbers(kClasses * config.pooled_size()), rows(kClasses, 8, config.pooled_size()), numbers(kClasses), kTemperature};
    }
    pack_.elimination_profile = kProfile;
  }

  static constexpr std::array<float, 1> kTemperature{0.7f};
  static constexpr std::array<float, kBlocks> kProfile{0.5f, 0.3f};

  std::uint32_t random_ = 1, hash_ = 0;
  std::size_t next_ = 0;
  std::array<std::uint8_t, kVocabulary * kHidden> bytes_;  // enough for any of the matrices and tables
  std::array<float, 1000> numbers_;                        // in [-1, 1)
  std::array<std::uint32_t, kTokens> ids_;
  Pack pack_;
  Network network_;
};

}  // namespace

std::uint32_t fingerprint(const KernelTable& kernels) {
  const std::unique_ptr<SelfTest> test(new (std::nothrow) SelfTest);
  if (test == nullptr) return 0;
  for (std::uint32_t form = 0; form < 3; ++form) {
    if (!test->run(form, kernels)) return 0;
  }
  return test->hash();
}

}  // namespace beex
