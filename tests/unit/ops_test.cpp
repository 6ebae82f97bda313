// Attention, SLFN and n-grams: the bits of the equations of FORMAT.md ("Block", "n-grams"), written out here without the ops; of the
// first two with every table.
#include <catch2/catch.hpp>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/kernels.h"
#include "ops/attention.h"
#include "ops/ngrams.h"
#include "ops/slfn.h"
#include "unit/kernel_buffers.h"

using namespace beex;
using beex::testing::Guarded;
using beex::testing::Random;

namespace {

// A random binary matrix with everything that goes with it; `view` lays it out for a table.
class RandomLinear {
 public:
  RandomLinear(std::size_t rows, std::size_t columns, std::uint32_t bits, Random& random)
      : rows_(rows), columns_(columns), bits_(bits), inverse_step_(random.between(0.5f, 3.0f)), weights_(rows * columns / 8),
        scale_(rows), bias_(rows), threshold_(columns) {
    random.fill(weights_);
    random.fill(std::span<float>(scale_), 0.01f, 0.05f);
    random.fill(std::span<float>(bias_), -0.5f, 0.5f);
    random.fill(std::span<float>(threshold_), -0.2f, 0.2f);
  }

  QuantizedLinear view(const KernelTable& table) {
    laid_out_.resize(table.laid_out_size(rows_, columns_));
    table.lay_out(weights_.data(), rows_, columns_, laid_out_.data());
    return {{laid_out_.data(), scale_.data(), bias_.data(), rows_, columns_}, {threshold_.data(), inverse_step_, bits_}};
  }

  // linear(x) by the reference table's kernels.
  std::vector<float> apply(const std::vector<float>& x) {
    const std::size_t tokens = x.size() / columns_;
    std::vector<std::uint8_t> q(x.size());
    const Levels levels{q.data(), tokens, columns_, bits_};
    reference::kTable.quantize(x.data(), columns_, threshold_.data(), inverse_step_, levels);
    std::vector<float> y(tokens * rows_);
    reference::kTable.binary_linear(view(reference::kTable).matrix, levels, nullptr, y.data());
    return y;
  }

 private:
  std::size_t rows_, columns_;
  std::uint32_t bits_;
  float inverse_step_;
  std::vector<std::uint8_t> weights_, laid_out_;
  std::vector<float> scale_, bias_, threshold_;
};

std::vector<float> expected_slfn(RandomLinear& hidden, RandomLinear* gate, RandomLinear& content, std::size_t f, bool rectified,
                                 const std::vector<float>& a, std::size_t tokens) {
  const std::vector<float> h = hidden.apply(a);
  const std::size_t rows = h.size() / tokens;
  std::vector<float> g, t;
  for (std::size_t i = 0; i < h.size(); ++i) (i % rows < rows - f ? g : t).push_back(h[i]);
  reference::kTable.sigmoid(g.data(), g.size());
  if (gate != nullptr) g = gate->apply(g);
  if (!rectified) reference::kTable.tanh(t.data(), t.size());
  t = content.apply(t);
  REQUIRE(g.size() == t.size());
  for (std::size_t i = 0; i < g.size(); ++i) g[i] = g[i] * t[i];
  return g;
}

}  // namespace

TEST_CASE("attention has the bits of its equation", "[ops]") {
  Random random(21);
  for (std::size_t heads : {1u, 2u, 4u}) {
    for (std::size_t tokens : {1u, 2u, 5u, 33u}) {
      for (std::uint32_t bits : {1u, 2u, 4u}) {
        CAPTURE(heads, tokens, bits);
        const std::size_t d = 64, head_size = d / heads;
        const std::uint32_t key_bits = bits == 4 ? 2 : bits;
        const int query_largest = (1 << bits) - 1, key_largest = (1 << key_bits) - 1;
        std::vector<float> qkv(tokens * 3 * d);
        random.fill(std::span<float>(qkv), -2.0f, 2.0f);
        const AttentionParameters parameters{heads, d, bits, 1.3f, key_bits, 0.7f, 0.11f};

        std::vector<std::int8_t> query(tokens * d), key(tokens * d);
        reference::kTable.quantize_signed(qkv.data(), 3 * d, tokens, d, 1.3f, bits, query.data());
        reference::kTable.quantize_signed(qkv.data() + d, 3 * d, tokens, d, 0.7f, key_bits, key.data());
        REQUIRE(*std::max_element(query.begin(), query.end()) <= query_largest);
        REQUIRE(*std::max_element(key.begin(), key.end()) <= key_largest);
        std::vector<float> expected(tokens * d), expected_mass(tokens);
        for (std::size_t first = 0; first < d; first += head_size) {
          for (std::size_t i = 0; i < tokens; ++i) {
            std::vector<float> p(padded(tokens));
            for (std::size_t j = 0; j < tokens; ++j) {
              int score = 0;
              for (std::size_t k = first; k < first + head_size; ++k) score += query[i * d + k] * key[j * d + k];
              p[j] = static_cast<float>(score) * 0.11f;
            }
            std::fill(p.begin() + static_cast<std::ptrdiff_t>(tokens), p.end(), p[tokens - 1]);
            reference::kTable.softmax(p.data(), 1, tokens);
            for (std::size_t j = 0; j < tokens; ++j) {
              expected_mass[j] = expected_mass[j] + p[j];
              for (std::size_t c = first; c < first + head_size; ++c) expected[i * d + c] += p[j] * qkv[j * 3 * d + 2 * d + c];
            }
          }
        }

        for (const KernelTable* table : kernel_tables()) {
          CAPTURE(table->name);
          Guarded<std::int8_t> query_scratch(tokens * d, 1), key_scratch(tokens * d, 1);
          Guarded<float> weight(kAttentionRows * padded(tokens), 1), context(tokens * d, 1), mass(tokens, 1);
          for (const bool with_mass : {false, true}) {
            attention(*table, parameters, qkv, tokens, {query_scratch.span(), key_scratch.span(), weight.span()}, context.span(),
                      with_mass ? mass.span() : std::span<float>());
            REQUIRE(query_scratch.intact());
            REQUIRE(key_scratch.intact());
            REQUIRE(weight.intact());
            REQUIRE(context.intact());
            REQUIRE(mass.intact());
            REQUIRE(std::memcmp(context.data(), expected.data(), expected.size() * sizeof(float)) == 0);
          }
          REQUIRE(std::memcmp(mass.data(), expected_mass.data(), tokens * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_CASE("the SLFN has the bits of its equations, open, bounded and rectified, also in place", "[ops]") {
  Random random(22);
  for (const auto& [open, rectified] : {std::pair{true, false}, {false, false}, {false, true}}) {
    for (std::size_t f : {64u, 128u, 192u}) {
      for (std::size_t tokens : {1u, 3u, 19u}) {
        CAPTURE(f, tokens);
        INFO("open " << open << ", rectified " << rectified);
        const std::size_t d = 128;
        const bool with_gate = open;  // a structured binding cannot be captured below
        const std::size_t g = open ? f : d;
        RandomLinear hidden(g + f, d, 2, random), gate(d, f, 4, random), content(d, f, 1, random);
        std::vector<float> a(tokens * d);
        random.fill(std::span<float>(a), -2.0f, 2.0f);

        const auto run = [&, rectified = rectified](const KernelTable& table, bool in_place) {
          SlfnParameters parameters;
          parameters.rectified = rectified;
          parameters.hidden = hidden.view(table);
          if (with_gate) parameters.gate = gate.view(table);
          parameters.content = content.view(table);
          REQUIRE(parameters.open() == with_gate);
          Guarded<std::uint8_t> levels(tokens * std::max(d, f), 1), kernel(kLinearScratch);
          Guarded<float> hidden_scratch(tokens * std::max(g + f, d), 1), content_scratch(tokens * d, 1), out(tokens * d, 1);
          std::copy(a.begin(), a.end(), out.data());
          const std::span<const float> input = in_place ? std::span<const float>(out.span()) : std::span<const float>(a);
          const LinearScratch linear{levels.span(), kernel.span()};
          slfn(table, parameters, input, tokens, {linear, hidden_scratch.span(), content_scratch.span()}, out.span());
          REQUIRE(levels.intact());
          REQUIRE(kernel.intact());
          REQUIRE(hidden_scratch.intact());
          REQUIRE(content_scratch.intact());
          REQUIRE(out.intact());
          return std::vector<float>(out.span().begin(), out.span().end());
        };

        const std::vector<float> expected = expected_slfn(hidden, open ? &gate : nullptr, content, f, rectified, a, tokens);
        for (const KernelTable* table : kernel_tables()) {
          for (bool in_place : {false, true}) {
            CAPTURE(table->name, in_place);
            const std::vector<float> out = run(*table, in_place);
            REQUIRE(out.size() == expected.size());
            REQUIRE(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)) == 0);
          }
        }
      }
    }
  }
}

TEST_CASE("the SLFN reports its steps in order", "[ops]") {
  Random random(23);
  RandomLinear hidden(128, 64, 1, random), content(64, 64, 1, random);
  const KernelTable& table = scalar::kTable;
  SlfnParameters parameters;
  parameters.hidden = hidden.view(table);
  parameters.content = content.view(table);
  std::vector<float> a(64, 0.3f), hidden_scratch(128), content_scratch(64);
  std::vector<std::uint8_t> levels(64);
  Guarded<std::uint8_t> kernel(kLinearScratch);
  std::vector<Step> steps;
  const StepObserver observer{[](void* context, Step step) { static_cast<std::vector<Step>*>(context)->push_back(step); }, &steps};
  slfn(table, parameters, a, 1, {{levels, kernel.span()}, hidden_scratch, content_scratch}, a, observer);
  CHECK(steps == std::vector<Step>{Step::kQuantize, Step::kBinaryLinear, Step::kActivation, Step::kQuantize, Step::kBinaryLinear,
                                   Step::kActivation});
}

TEST_CASE("n-gram buckets are what they were when packs were trained", "[ops]") {
  const std::vector<std::uint32_t> ids = {0, 1, 65535};
  const std::span<const std::uint32_t> all = ids;
  const std::uint32_t count = 1u << 16;
  const std::vector<std::uint32_t> found = {ngram_bucket(all.subspan(0, 1), count), ngram_bucket(all.subspan(1, 1), count),
                                            ngram_bucket(all.subspan(2, 1), count), ngram_bucket(all.subspan(0, 2), count),
                                            ngram_bucket(all.subspan(1, 2), count), ngram_bucket(all, count)};
  CHECK(found == std::vector<std::uint32_t>{48678, 9520, 38090, 56206, 57035, 15604});
}

TEST_CASE("n-grams have the bits of their equation", "[ops]") {
  Random random(24);
  for (std::uint32_t bits : {2u, 4u, 8u}) {
    for (std::size_t columns : {1u, 2u, 3u, 4u, 5u, 27u, 28u, 64u}) {
      for (std::uint32_t longest : {1u, 2u, 3u, 4u}) {
        const std::uint32_t buckets = longest % 2 == 0 ? 256 : 4096;
        const std::size_t row_bytes = (columns * bits + 7) / 8;
        // A row for some of the buckets, for none, or for all.
        std::vector<std::uint8_t> kept(buckets / 8, columns == 4 ? 0 : 255);
        if (columns % 2 == 1) random.fill(kept);
        std::vector<std::size_t> row_of(buckets, buckets);
        std::vector<std::uint32_t> rows_before;
        std::size_t count = 0;
        for (std::size_t bucket = 0; bucket < buckets; ++bucket) {
          if (bucket % 64 == 0) rows_before.push_back(static_cast<std::uint32_t>(count));
          if ((kept[bucket / 8] >> bucket % 8 & 1) != 0) row_of[bucket] = count++;
        }
        std::vector<std::uint8_t> rows(count * row_bytes);  // ends with the last row, so that a sanitizer sees the byte after it
        random.fill(rows);
        std::vector<float> scale(columns);
        random.fill(std::span<float>(scale), -0.5f, 0.5f);
        const NgramParameters parameters{kept.data(), rows_before.data(), rows.data(), scale.data(), buckets, longest, bits, columns};
        for (std::size_t tokens : {1u, 2u, 3u, 4u, 33u, 1024u}) {
          CAPTURE(bits, columns, longest, tokens);
          std::vector<std::uint32_t> ids(tokens);
          for (std::uint32_t& id : ids) id = random.below(65536);

          std::vector<long long> sum(columns);
          std::vector<bool> seen(buckets);
          const bool once = (bits + columns + longest + tokens) % 2 == 1;  // each bucket counts once
          int runs = 0;
          for (std::size_t n = 1; n <= longest; ++n) {
            for (std::size_t start = 0; start + n <= tokens; ++start) {
              std::uint64_t h = n * 0x9E3779B1ull % (1ull << 32);
              for (std::size_t i = start; i < start + n; ++i) h = (h ^ ids[i]) * 0x01000193ull % (1ull << 32);
              h ^= h >> 15;
              h = h * 0x2C1B3C6Dull % (1ull << 32);
              h ^= h >> 12;
              const auto bucket = static_cast<std::size_t>(h % buckets);
              if (once && seen[bucket]) continue;
              seen[bucket] = true;
              ++runs;
              if (row_of[bucket] == buckets) continue;
              const std::size_t row = row_of[bucket] * row_bytes;
              for (std::size_t r = 0; r < columns; ++r) {
                int q = 0;
                for (std::uint32_t bit = 0; bit < bits; ++bit) {
                  const std::size_t at = r * bits + bit;
                  q |= (rows[row + at / 8] >> at % 8 & 1) << bit;
                }
                sum[r] += q - (1 << (bits - 1));
              }
            }
          }

          Guarded<std::int32_t> sum_scratch(columns, 1);
          Guarded<float> out(columns, 1);
          Guarded<std::uint8_t> seen_scratch(once ? buckets / 8 : 1, 1);
          sum_scratch[0] = 7, seen_scratch[0] = 7;
          NgramSums sums{sum_scratch.span(), once ? seen_scratch.span() : std::span<std::uint8_t>(), 3};
          sums.clear();
          // In parts, each with the ids before it with which a run may begin.
          for (std::size_t begin = 0, size = 1; begin < tokens; begin += size, size = 2 * size + 1) {
            const std::size_t before = std::min<std::size_t>(begin, longest - 1), end = std::min(tokens, begin + size);
            add_ngrams(parameters, std::span(ids).subspan(begin - before, end - begin + before), before, sums);
          }
          read_ngrams(parameters, sums, out.span());
          REQUIRE(sums.runs == runs);
          REQUIRE(sum_scratch.intact());
          REQUIRE(seen_scratch.intact());
          REQUIRE(out.intact());
          for (std::size_t r = 0; r < columns; ++r) {
            const float expected = (static_cast<float>(sum[r]) * scale[r]) * (1.0f / std::sqrt(static_cast<float>(runs)));
            REQUIRE(std::memcmp(&out[r], &expected, sizeof expected) == 0);
          }
        }
      }
    }
  }
}
