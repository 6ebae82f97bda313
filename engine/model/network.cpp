#include "model/network.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "kernels/math.h"
#include "model/calibration.h"
#include "model/elimination.h"

namespace beex {
namespace {

// Share of exit 0's logits that later exits add, in packs that ask for it, when the input has a doubtful word (FORMAT.md, "Doubt").

// Hands out aligned pieces of a block of memory. Without memory it hands out nothing and only adds up.
class Carver {
 public:
  explicit Carver(std::uint8_t* base) : base_(base) {}

  template <class T>
  std::span<T> take(std::size_t count) {
    const std::size_t start = (used_ + Bytes::kAlignment - 1) / Bytes::kAlignment * Bytes::kAlignment;
    used_ = start + count * sizeof(T);
    if (base_ == nullptr) return {};
    return {reinterpret_cast<T*>(base_ + start), count};
  }

  std::size_t used() const { return used_; }

 private:
  std::uint8_t* base_;
  std::size_t used_ = 0;
};

// Lays a binary matrix out for `kernels`, and puts the quantizer of its input beside it.
QuantizedLinear quantized(const KernelTable& kernels, const BinaryLinearWeights& weights, const Quantizer& quantizer,
                          Carver& carver) {
  const std::span<std::uint8_t> out = carver.take<std::uint8_t>(kernels.laid_out_size(weights.rows, weights.columns));
  if (!out.empty()) kernels.lay_out(weights.bits.data(), weights.rows, weights.columns, out.data());
  return {{out.data(), weights.scale.data(), weights.bias.data(), weights.rows, weights.columns},
          {weights.threshold.data(), quantizer.inverse_step, quantizer.bits}};
}

// `rows` more rows of few-bit values on top of `out`, or in its place.
void add_row(const KernelTable& kernels, const FewBitRows& rows, std::size_t index, bool accumulate, float* out) {
  const std::size_t row_bytes = std::size_t{rows.columns} / 8 * rows.bits;
  kernels.add_few_bit_row(rows.rows.data() + index * row_bytes, rows.bits, rows.scale[index], rows.columns, accumulate, out);
}

}  // namespace

Error Network::load(const Pack& pack, const KernelTable& kernels, Network& network) {
  network = Network{};
  network.pack_ = &pack;
  network.kernels_ = &kernels;
  const Config& config = pack.config;
  if (config.task != Task::kFeatures) {
    network.inverse_largest_entropy_ = inverse_largest_entropy(config.classes, config.task == Task::kMultiLabel);
  }
  if (config.ngram_buckets > 0) {
    network.ngrams_ = {pack.ngram.kept.data(), nullptr,           pack.ngram.rows.data(), pack.ngram.scale.data(), config.ngram_buckets,
                       config.ngram_longest,   config.ngram_bits, config.ngram_columns()};
  }

  const std::size_t weights_size = network.place_weights(nullptr);
  network.weights_ = Bytes(weights_size);
  if (network.weights_.size() != weights_size) {
    return make_error(Status::kOutOfMemory, "not enough memory for the weights: %zu bytes", weights_size);
  }
  network.place_weights(network.weights_.data());

  const std::size_t work_size = network.place_work(nullptr);
  network.work_ = Bytes(work_size);
  if (network.work_.size() != work_size) {
    return make_error(Status::kOutOfMemory, "not enough memory to classify texts of up to %u tokens: %zu bytes",
                      config.max_tokens, work_size);
  }
  network.place_work(network.work_.data());
  return {};
}

std::size_t Network::place_weights(std::uint8_t* base) {
  const Config& config = pack_->config;
  Carver carver(base);
  // So that a row is found by counting the bits of one word.
  const std::span<std::uint32_t> before = carver.take<std::uint32_t>(config.ngram_buckets / 64);
  std::uint32_t rows = 0;
  for (std::size_t i = 0; i < 8 * before.size(); ++i) {
    if (i % 8 == 0) before[i / 8] = rows;
    rows += static_cast<std::uint32_t>(std::popcount(pack_->ngram.kept[i]));
  }
  ngrams_.before = before.data();
  for (std::uint32_t i = 0; i < config.blocks; ++i) {
    const BlockWeights& from = pack_->block[i];
    Block& block = block_[i];
    block.qkv = quantized(*kernels_, from.qkv, from.quantizer[kQkvInput], carver);
    block.attention = {config.heads,
                       config.hidden_size,
                       from.quantizer[kQuery].bits,
                       from.quantizer[kQuery].inverse_step,
                       from.quantizer[kKey].bits,
                       from.quantizer[kKey].inverse_step,
                       from.score_scale};
    block.output = quantized(*kernels_, from.output, from.quantizer[kOutputInput], carver);
    block.slfn.hidden = quantized(*kernels_, from.hidden, from.quantizer[kSlfnInput], carver);
    if (config.slfn_form == SlfnForm::kOpen) {
      block.slfn.gate = quantized(*kernels_, from.gate, from.quantizer[kGateHidden], carver);
    }
    block.slfn.content = quantized(*kernels_, from.content, from.quantizer[kContentHidden], carver);
    block.slfn.rectified = config.slfn_form == SlfnForm::kRectified;
  }
  return carver.used();
}

std::size_t Network::place_work(std::uint8_t* base) {
  const Config& config = pack_->config;
  const std::size_t tokens = config.max_tokens, d = config.hidden_size, classes = config.classes;
  Carver carver(base);
  use_.state = carver.take<float>(tokens * d);
  use_.branch = carver.take<float>(tokens * d);
  use_.alive = carver.take<std::uint32_t>(tokens);
  use_.kept = carver.take<std::uint32_t>(tokens);
  use_.mass = carver.take<float>(tokens);
  use_.dropped = carver.take<float>(config.pooled_size());
  use_.pooled = carver.take<float>(config.pooled_size());
  use_.skip_hidden = carver.take<float>(config.skip_width);
  use_.ngram_sums.sum = carver.take<std::int32_t>(ngrams_.columns);
  use_.ngram_sums.seen = carver.take<std::uint8_t>(config.text_ngrams ? config.ngram_buckets / 8 : 0);
  use_.ngrams = carver.take<float>(ngrams_.columns);
  use_.first_logits = carver.take<float>(classes);
  use_.scratch = carver.take<float>(classes);
  for (std::span<float>& logits : use_.logits) logits = carver.take<float>(classes);
  for (std::span<float>& probabilities : use_.probabilities) probabilities = carver.take<float>(classes);
  use_.slfn.linear.levels = carver.take<std::uint8_t>(tokens * std::max<std::size_t>(d, config.slfn_size));
  use_.slfn.linear.kernel = carver.take<std::uint8_t>(kLinearScratch);
  Carver slfn = carver;
  use_.qkv = carver.take<float>(tokens * 3 * d);
  use_.attention.query = carver.take<std::int8_t>(tokens * d);
  use_.attention.key = carver.take<std::int8_t>(tokens * d);
  use_.attention.weight = carver.take<float>(kAttentionRows * padded(tokens));
  use_.slfn.hidden = slfn.take<float>(tokens * std::max<std::size_t>(config.gate_rows() + config.slfn_size, d));
  use_.slfn.content = slfn.take<float>(tokens * d);
  return std::max(carver.used(), slfn.used());
}

void Network::embed(std::span<const std::uint32_t> ids, std::size_t first_length) {
  const std::size_t d = pack_->config.hidden_size;
  const bool pair = pack_->config.inputs == 2;
  const NormWeights& norm = pack_->embedding_norm;
  ids_ = ids;
  first_length_ = pair ? first_length : ids.size();
  tokens_ = ids.size();
  exits_read_ = 0;
  pooled_ = false;
  std::iota(use_.alive.begin(), use_.alive.begin() + static_cast<std::ptrdiff_t>(tokens_), 0u);
  std::fill(use_.dropped.begin(), use_.dropped.end(), 0.0f);
  stage_(Stage::kEmbed);
  for (std::size_t t = 0; t < tokens_; ++t) {
    float* row = use_.state.data() + t * d;
    add_row(*kernels_, pack_->embedding, ids[t], false, row);
    const bool second = t >= first_length_;
    add_row(*kernels_, pack_->position, second ? t - first_length_ : t, true, row);
    if (pair) add_row(*kernels_, pack_->segment, second ? 1 : 0, true, row);
  }
  kernels_->add_layer_norm(use_.state.data(), nullptr, norm.gamma.data(), norm.beta.data(), tokens_, d, use_.state.data());
  tap_("embedding", 0, use_.state.first(tokens_ * d));
}

// Passes the steps inside an op on as stages. The SLFN's hidden values are there to see when its first activation starts.
struct Network::Steps {
  Network& network;
  std::uint32_t block;
  bool hidden_shown = false;

  void enter(Step step) {
    if (step == Step::kActivation && !hidden_shown) {
      const std::size_t rows = network.block_[block].slfn.hidden.matrix.rows;
      network.tap_("hidden", block, network.use_.slfn.hidden.first(network.tokens_ * rows));
      hidden_shown = true;
    }
    static constexpr Stage kStage[] = {Stage::kQuantize, Stage::kBinaryLinear, Stage::kActivation};
    network.stage_(kStage[static_cast<std::size_t>(step)]);
  }
};

float Network::read_skip_gate(std::uint32_t index) {
  const SkipGateWeights& gate = pack_->block[index].skip;
  const std::size_t size = use_.pooled.size();
  pool(index);
  stage_(Stage::kExit);
  for (std::size_t k = 0; k < use_.skip_hidden.size(); ++k) {
    use_.skip_hidden[k] = std::max(0.0f, kernels_->dot(gate.weight.data() + k * size, use_.pooled.data(), size) + gate.bias[k]);
  }
  const float output = sum4(gate.output.size(), [&](std::size_t k) { return gate.output[k] * use_.skip_hidden[k]; });
  const float value = sigmoid(output + gate.output_bias);
  tap_("skip", index, {&value, 1});
  return value;
}

std::size_t Network::tokens_after(std::uint32_t block, float gamma) const {
  const std::span<const float> profile = pack_->elimination_profile;
  return profile.empty() ? tokens_ : kept_tokens(profile[block], gamma, tokens_, ids_.size());
}

void Network::run_block(std::uint32_t index, float gamma) {
  const Block& block = block_[index];
  const std::size_t d = pack_->config.hidden_size;
  const std::size_t kept = tokens_after(index, gamma);
  std::span<float> state = use_.state.first(tokens_ * d), branch = use_.branch.first(tokens_ * d);
  const auto add_and_norm = [&](const NormWeights& norm) {
    stage_(Stage::kNorm);
    kernels_->add_layer_norm(state.data(), branch.data(), norm.gamma.data(), norm.beta.data(), state.size() / d, d, state.data());
  };
  Steps watch{*this, index};
  StepObserver steps;
  if (stage_.enter != nullptr || tap_.show != nullptr) {
    steps = {[](void* context, Step step) { static_cast<Steps*>(context)->enter(step); }, &watch};
  }
  pooled_ = false;

  quantized_linear(*kernels_, block.qkv, state.data(), d, tokens_, use_.slfn.linear, use_.qkv.data(), steps);
  tap_("qkv", index, use_.qkv.first(tokens_ * 3 * d));
  stage_(Stage::kAttention);
  const std::span<float> mass = kept < tokens_ ? use_.mass.first(tokens_) : std::span<float>();
  // The texts of a pair do not see each other.
  const auto attend = [&](std::size_t begin, std::size_t count) {
    if (count == 0) return;
    attention(*kernels_, block.attention, use_.qkv.subspan(begin * 3 * d), count, use_.attention, branch.subspan(begin * d, count * d),
              mass.empty() ? mass : mass.subspan(begin, count));
  };
  const std::size_t first = first_alive();
  attend(0, first);
  attend(first, tokens_ - first);
  tap_("context", index, branch);
  quantized_linear(*kernels_, block.output, branch.data(), d, tokens_, use_.slfn.linear, branch.data(), steps);
  add_and_norm(pack_->block[index].attention_norm);
  tap_("attention_state", index, state);
  if (!mass.empty()) {
    tap_("mass", index, mass);
    eliminate(kept);
    state = state.first(tokens_ * d), branch = branch.first(tokens_ * d);
  }

  slfn(*kernels_, block.slfn, state, tokens_, use_.slfn, branch, steps);
  add_and_norm(pack_->block[index].slfn_norm);
  tap_("block_state", index, state);
}

std::size_t Network::first_alive() const {
  const std::span<const std::uint32_t> places = alive();
  return static_cast<std::size_t>(std::lower_bound(places.begin(), places.end(), first_length_) - places.begin());
}

// Moves the `count` tokens that go on to the front, in their order, and adds the others up, as their states are final.
void Network::eliminate(std::size_t count) {
  const std::size_t d = pack_->config.hidden_size;
  const std::span<const std::uint32_t> kept = choose_kept(use_.mass.first(tokens_), count, use_.kept);
  std::size_t next = 0;
  for (std::size_t t = 0; t < tokens_; ++t) {
    const float* row = use_.state.data() + t * d;
    if (next == count || kept[next] != t) {
      kernels_->add(row, d, use_.dropped.data() + (use_.alive[t] < first_length_ ? 0 : d));
      continue;
    }
    if (next != t) {
      std::copy_n(row, d, use_.state.data() + next * d);
      use_.alive[next] = use_.alive[t];
    }
    ++next;
  }
  tokens_ = count;
}

ExitAnswer Network::read_exit(std::uint32_t index) {
  const ExitWeights& exit = pack_->exit[index];
  const std::size_t size = use_.pooled.size(), turn = exits_read_++ % 2;
  const std::span<float> logits = use_.logits[turn], probabilities = use_.probabilities[turn];
  pool(index);
  stage_(Stage::kExit);
  for (std::size_t c = 0; c < logits.size(); ++c) {
    logits[c] = kernels_->dot(exit_weights(exit, c), use_.pooled.data(), size) + exit.bias[c];
    if (index > 0) logits[c] = logits[c] + use_.first_logits[c];
  }
  if (index == 0) {
    if (ngrams_.buckets > 0) add_ngrams(logits);
    doubtful_ = has_doubtful_word();
    const float share = doubtful_ ? pack_->config.share_in_doubt : 1.0f;
    for (std::size_t c = 0; c < logits.size(); ++c) use_.first_logits[c] = share * logits[c];
  }
  const float entropy =
      pack_->config.task == Task::kMultiLabel
          ? calibrate_multi_label(logits, exit.inverse_temperature, inverse_largest_entropy_, probabilities)
          : calibrate_single_label(logits, exit.inverse_temperature, inverse_largest_entropy_, use_.scratch, probabilities);
  tap_("logits", index, logits);
  tap_("probabilities", index, probabilities);
  tap_("entropy", index, {&entropy, 1});
  return {logits, probabilities, entropy, exit.inverse_temperature};
}

bool Network::has_doubtful_word() const {
  const std::span<const std::uint8_t> doubtful = pack_->doubtful;
  if (doubtful.empty()) return false;
  return std::any_of(ids_.begin(), ids_.end(), [&](std::uint32_t id) { return (doubtful[id / 8] >> (id % 8) & 1) != 0; });
}

// Few-bit weights become floats in `branch`, which only blocks use.
const float* Network::exit_weights(const ExitWeights& exit, std::size_t label) {
  if (pack_->config.exit_bits == 0) return exit.weight.data() + label * use_.pooled.size();
  add_row(*kernels_, exit.rows, label, false, use_.branch.data());
  return use_.branch.data();
}

std::span<const float> Network::read_vector() {
  pool(pack_->config.blocks);
  return use_.pooled;
}

// The mean of all tokens, eliminated ones too, or [CLS]; of a pair, how the means of its texts differ and agree. A gate and an exit that
// read the same state share it.
void Network::pool(std::uint32_t exit) {
  if (pooled_) return;
  pooled_ = true;
  stage_(Stage::kPool);
  const std::size_t d = pack_->config.hidden_size;
  const float* row = use_.state.data();
  if (pack_->config.pooling == Pooling::kCls) {
    std::copy_n(row, d, use_.pooled.data());
  } else {
    std::copy(use_.dropped.begin(), use_.dropped.end(), use_.pooled.begin());
    const auto take_mean = [&](std::size_t begin, std::size_t end, std::size_t started, std::span<float> mean) {
      for (std::size_t t = begin; t < end; ++t) kernels_->add(row + t * d, d, mean.data());
      const float share = 1.0f / static_cast<float>(started);
      for (float& value : mean) value = value * share;
    };
    const std::size_t first = first_alive();
    take_mean(0, first, first_length_, use_.pooled.first(d));
    if (pack_->config.inputs == 2) {
      take_mean(first, tokens_, ids_.size() - first_length_, use_.pooled.last(d));
      for (std::size_t k = 0; k < d; ++k) {
        const float u = use_.pooled[k], v = use_.pooled[d + k];
        use_.pooled[k] = std::fabs(u - v);
        use_.pooled[d + k] = std::clamp(u * v, -kLargestFloat, kLargestFloat);
      }
    }
  }
  tap_("pooled", exit, use_.pooled);
}

void Network::read_ahead(std::span<const std::uint32_t> ids, std::size_t from) {
  stage_(Stage::kNgrams);
  if (from == 0) use_.ngram_sums.clear();
  beex::add_ngrams(ngrams_, ids, from, use_.ngram_sums);
  text_read_ = true;
}

// The first class of a single-label pack has no column.
void Network::add_ngrams(std::span<float> logits) {
  stage_(Stage::kNgrams);
  if (!text_read_) {
    use_.ngram_sums.clear();
    beex::add_ngrams(ngrams_, ids_, 0, use_.ngram_sums);
  }
  read_ngrams(ngrams_, use_.ngram_sums, use_.ngrams);
  tap_("ngrams", 0, use_.ngrams);
  stage_(Stage::kExit);
  const std::span<float> added = logits.last(use_.ngrams.size());
  for (std::size_t r = 0; r < added.size(); ++r) added[r] = added[r] + use_.ngrams[r];
}

}  // namespace beex
