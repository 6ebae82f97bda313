#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "beex/classifier.h"
#include "beex/pack.h"
#include "pack/crc32.h"
#include "pack/lines.h"
#include "unit/pack_builder.h"

#if defined(__SANITIZE_ADDRESS__)
// An allocation that cannot succeed should fail here as it does without the sanitizer.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
#endif

namespace beex {
namespace {

using test::ExactBytes;
using test::PackBuilder;
using test::PackOptions;
using test::put;
using test::reseal;
using File = std::vector<std::uint8_t>;

Error parse(const File& file) {
  const ExactBytes bytes(file);
  const auto pack = std::make_unique<Pack>();
  return Pack::parse(bytes.view(), *pack);
}

void check_refused(const File& file, Status status, const std::string& part) {
  const Error error = parse(file);
  INFO(error.message);
  CHECK(static_cast<int>(error.status) == static_cast<int>(status));
  CHECK_THAT(std::string(error.message), Catch::Contains(part));
}

void check_refused(const PackBuilder& builder, Status status, const std::string& part) {
  check_refused(builder.build(), status, part);
}

// As small as a pack can be, of the given task; a multi-label one has n-grams too.
PackOptions tiny(Task task = Task::kSingleLabel) {
  PackOptions options;
  options.vocabulary_size = 5;
  options.blocks = 1;
  options.slfn_size = 64;
  options.max_tokens = 8;
  options.embedding_bits = 1;
  options.position_bits = 1;
  options.task = task;
  if (task == Task::kMultiLabel) options.ngram_buckets = 256;
  return options;
}

// With all that a policy can make use of.
PackOptions tiny_adaptive(Task task = Task::kSingleLabel) {
  PackOptions options = tiny(task);
  options.blocks = 2;
  options.profile = {0.75f, 0.5f};
  options.skip_width = 3;
  options.temperature_by_class = true;
  const ExitRule fractional{ExitKind::kFractional, 0.1f, 0.05f, 0.9f, 1, true}, patience{ExitKind::kPatience, 2.0f};
  options.curve = {{0.25f, 0.5f, {fractional, 2.0f, 0.25f}, SpeedName::kFast},
                   {0.5f, 0.75f, {patience, 1.0f, 1.0f}, SpeedName::kNone},
                   {1.5f, 1.0f, {{}, 0.0f, 1.0f}, SpeedName::kAccurate}};
  return options;
}

PackOptions tiny_8_bit_exits(Task task = Task::kSingleLabel) {
  PackOptions options = tiny(task);
  options.exit_bits = 8;
  return options;
}

File with_config_word(std::size_t word, std::uint32_t value, const PackOptions& options = tiny()) {
  PackBuilder builder(options);
  put(builder.section("config").bytes, 4 * word, value);
  return builder.build();
}

File with_text(const char* section, std::string_view text) {
  PackBuilder builder(tiny());
  builder.set_text(section, text);
  return builder.build();
}

std::size_t entry_of(const File& file, const std::string& name) {
  for (std::size_t entry = 64;; entry += 64) {
    REQUIRE(entry + 64 <= file.size());
    if (std::memcmp(file.data() + entry, name.c_str(), name.size() + 1) == 0) return entry;
  }
}

}  // namespace

TEST_CASE("crc32: check value, every short length and every alignment against the definition") {
  const Crc32 crc32;
  const std::string check = "123456789";
  CHECK(crc32({reinterpret_cast<const std::uint8_t*>(check.data()), check.size()}) == 0xCBF43926u);
  test::Random random(11);
  File bytes(80);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.bits());
  const std::span<const std::uint8_t> view = bytes;
  for (std::size_t start = 0; start < 4; ++start) {
    for (std::size_t size = 0; size <= 70; ++size) CHECK(crc32(view.subspan(start, size)) == test::slow_crc32(view.subspan(start, size)));
  }
}

TEST_CASE("bytes: aligned, zeroed, moved, and empty when memory runs out") {
  for (const std::size_t size : {1u, 63u, 64u, 65u, 100000u}) {
    Bytes bytes(size);
    REQUIRE(bytes.size() == size);
    CHECK(reinterpret_cast<std::uintptr_t>(bytes.data()) % Bytes::kAlignment == 0);
    CHECK(std::all_of(bytes.data(), bytes.data() + size, [](std::uint8_t byte) { return byte == 0; }));
    bytes.data()[size - 1] = 7;
    Bytes moved(std::move(bytes));
    CHECK(moved.data()[size - 1] == 7);
    Bytes assigned(3);
    assigned = std::move(moved);
    CHECK(assigned.size() == size);
    CHECK(assigned.data()[size - 1] == 7);
  }
  CHECK(Bytes(0).size() == 0);
  CHECK(Bytes(0).data() == nullptr);
  for (const std::size_t size : {SIZE_MAX, SIZE_MAX - 63, SIZE_MAX / 2}) {
    const Bytes refused(size);
    CHECK(refused.size() == 0);
    CHECK(refused.data() == nullptr);
  }
}

TEST_CASE("utf8: the well-formed prefix") {
  for (const std::string_view good : {"", "a", "\x7F", "\xEF\xBF\xBD", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                                      "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    CHECK(utf8_prefix(good) == good.size());
  }
  for (const std::string_view bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE1\x80",
                                     "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF1\x80\x80", "\xFF"}) {
    CHECK(utf8_prefix(std::string("ok") + std::string(bad)) == 2);
  }
}

TEST_CASE("pack: every kind of pack is read") {
  for (const SlfnForm form : {SlfnForm::kOpen, SlfnForm::kBounded, SlfnForm::kRectified}) {
    for (const std::uint32_t inputs : {1u, 2u}) {
      for (const std::uint32_t bits : {1u, 2u, 4u, 8u}) {
        PackOptions options;
        options.slfn_form = form;
        options.inputs = inputs;
        options.embedding_bits = bits;
        options.position_bits = 8 / bits;
        options.pooling = inputs == 1 && bits == 1 ? Pooling::kCls : Pooling::kMean;
        options.fold_case = inputs == 1;
        options.blocks = bits == 8 ? kMaxBlocks : 3;
        options.activation_bits = {1, 2, 4, 1, 2, 4, 1};
        options.rule.kind = ExitKind::kFractional;
        options.rule.threshold = 0.25f;
        options.rule.first_exit = 1;
        options.rule.keep_lower_entropy = true;
        PackBuilder builder(options);
        const ExactBytes file(builder.build());
        const auto pack = std::make_unique<Pack>();
        const Error error = Pack::parse(file.view(), *pack);
        INFO(error.message);
        REQUIRE(error.ok());
        const Config& c = pack->config;
        CHECK(c.inputs == inputs);
        CHECK(c.classes == options.classes);
        CHECK(c.vocabulary_size == options.vocabulary_size);
        CHECK(c.hidden_size == 64);
        CHECK(c.blocks == options.blocks);
        CHECK(c.heads == 2);
        CHECK(c.head_size() == 32);
        CHECK(c.slfn_size == 128);
        CHECK(c.gate_rows() == (form == SlfnForm::kOpen ? 128u : 64u));
        CHECK(c.max_tokens == 12);
        CHECK(c.slfn_form == form);
        CHECK(c.pooling == options.pooling);
        CHECK(c.fold_case == options.fold_case);
        CHECK(builder.vocabulary[c.cls_id] == "[CLS]");
        CHECK(builder.vocabulary[c.sep_id] == "[SEP]");
        CHECK(builder.vocabulary[c.unk_id] == "[UNK]");
        CHECK(pack->labels == "label 0\nlabel 1\nlabel 2\n");
        CHECK(pack->embedding.bits == bits);
        CHECK(pack->embedding.rows.size() == options.vocabulary_size * 64 * bits / 8);
        CHECK(pack->segment.rows.size() == (inputs == 2 ? 128u : 0u));
        const BlockWeights& block = pack->block[options.blocks - 1];
        CHECK(block.qkv.rows == 192);
        CHECK(block.hidden.rows == c.gate_rows() + 128);
        CHECK(block.gate.bits.size() == (form == SlfnForm::kOpen ? 64u * 128 / 8 : 0u));
        CHECK(block.content.columns == 128);
        for (std::size_t site = 0; site < kActivationSites; ++site) CHECK(block.quantizer[site].bits == options.activation_bits[site]);
        const auto floats = [&](const std::string& name, std::size_t i) {
          return test::get<float>(builder.section(name).bytes, 4 * i);
        };
        const std::string prefix = "block" + std::to_string(options.blocks - 1);
        CHECK(block.quantizer[6].inverse_step == floats("activation.inverse_step", options.blocks * 7 - 1));
        CHECK(block.score_scale == floats(prefix + ".attention.score_scale", 0));
        CHECK(block.slfn_norm.beta[1] == floats(prefix + ".slfn.norm", 65));
        CHECK(block.hidden.threshold[2] == floats(prefix + ".hidden.threshold", 2));
        CHECK(pack->exit[options.blocks].weight.back() == floats("exit" + std::to_string(options.blocks) + ".weight", 3 * 64 * inputs - 1));
        CHECK(pack->exit[options.blocks].inverse_temperature[0] == floats("exit.inverse_temperature", options.blocks));
        CHECK(pack->exit_rule.kind == ExitKind::kFractional);
        CHECK(pack->exit_rule.threshold == 0.25f);
        CHECK(pack->exit_rule.uncertain == 2.0f);
        CHECK(pack->exit_rule.first_exit == 1);
        CHECK(pack->exit_rule.keep_lower_entropy);
      }
    }
  }
}

TEST_CASE("pack: n-grams, multi-label packs and packs of features are read") {
  for (const std::uint32_t bits : {2u, 4u, 8u}) {
    for (const Task task : {Task::kSingleLabel, Task::kMultiLabel}) {
      PackOptions options = tiny(task);
      options.classes = 5;
      options.ngram_buckets = 512;
      options.ngram_longest = bits == 8 ? 1 : bits;
      options.ngram_bits = bits;
      PackBuilder builder(options);
      const ExactBytes file(builder.build());
      const auto pack = std::make_unique<Pack>();
      const Error error = Pack::parse(file.view(), *pack);
      INFO(error.message);
      REQUIRE(error.ok());
      const bool multi_label = task == Task::kMultiLabel;
      CHECK(pack->config.task == task);
      CHECK(pack->config.ngram_buckets == 512);
      CHECK(pack->config.ngram_longest == options.ngram_longest);
      CHECK(pack->config.ngram_bits == bits);
      CHECK(pack->config.ngram_columns() == (multi_label ? 5u : 4u));
      CHECK(pack->config.ngram_row_bytes() == (multi_label ? (bits * 5 + 7) / 8 : bits / 2));
      CHECK(pack->ngram.kept.size() == 512 / 8);
      std::size_t rows = 0;
      for (const std::uint8_t byte : pack->ngram.kept) rows += static_cast<std::size_t>(std::popcount(byte));
      CHECK((rows > 256 && rows < 512));
      CHECK(pack->ngram.rows.size() == rows * pack->config.ngram_row_bytes());
      CHECK(pack->ngram.rows.back() == builder.section("ngram.rows").bytes.back());
      CHECK(pack->ngram.scale.size() == pack->config.ngram_columns());
      REQUIRE(pack->threshold.size() == (multi_label ? 5u : 0u));
      if (multi_label) CHECK(pack->threshold[4] == test::get<float>(builder.section("threshold.by_label").bytes, 16));
    }
  }
  const ExactBytes file(PackBuilder(tiny(Task::kFeatures)).build());
  const auto pack = std::make_unique<Pack>();
  const Error error = Pack::parse(file.view(), *pack);
  INFO(error.message);
  REQUIRE(error.ok());
  CHECK(pack->config.task == Task::kFeatures);
  CHECK(pack->config.classes == 0);
  CHECK(pack->labels.empty());
  CHECK(pack->ngram.rows.empty());
  CHECK(pack->threshold.empty());
  CHECK(pack->exit[0].weight.empty());
  CHECK(pack->exit_rule.kind == ExitKind::kOff);
}

TEST_CASE("pack: 8-bit exit weights are read") {
  for (const Task task : {Task::kSingleLabel, Task::kMultiLabel}) {
    PackBuilder builder(tiny_8_bit_exits(task));
    const ExactBytes file(builder.build());
    const auto pack = std::make_unique<Pack>();
    const Error error = Pack::parse(file.view(), *pack);
    INFO(error.message);
    REQUIRE(error.ok());
    CHECK(pack->config.exit_bits == 8);
    for (std::uint32_t i = 0; i <= 1; ++i) {
      const ExitWeights& exit = pack->exit[i];
      const std::string name = "exit" + std::to_string(i);
      CHECK(exit.weight.empty());
      CHECK(exit.rows.bits == 8);
      CHECK(exit.rows.columns == 64);
      REQUIRE(exit.rows.rows.size() == 3 * 64);
      CHECK(exit.rows.rows.back() == builder.section(name + ".rows").bytes.back());
      REQUIRE(exit.rows.scale.size() == 3);
      CHECK(exit.rows.scale[2] == test::get<float>(builder.section(name + ".scale").bytes, 8));
      REQUIRE(exit.bias.size() == 3);
      CHECK(exit.bias[2] == test::get<float>(builder.section(name + ".bias").bytes, 8));
    }
  }
}

TEST_CASE("pack: elimination, skip gates, temperatures and the curve are read") {
  for (const Task task : {Task::kSingleLabel, Task::kMultiLabel}) {
    const PackOptions options = tiny_adaptive(task);
    PackBuilder builder(options);
    const ExactBytes file(builder.build());
    const auto pack = std::make_unique<Pack>();
    const Error error = Pack::parse(file.view(), *pack);
    INFO(error.message);
    REQUIRE(error.ok());
    CHECK(pack->config.elimination);
    CHECK(pack->config.skip_width == 3);
    CHECK(pack->config.temperature_by_class);
    CHECK(std::vector<float>(pack->elimination_profile.begin(), pack->elimination_profile.end()) == options.profile);
    const auto last = [&](const std::string& name) {
      const auto& bytes = builder.section(name).bytes;
      return test::get<float>(bytes, bytes.size() - 4);
    };
    for (std::uint32_t i = 0; i < 2; ++i) {
      const SkipGateWeights& gate = pack->block[i].skip;
      const std::string name = "block" + std::to_string(i) + ".skip.";
      REQUIRE(gate.weight.size() == 3 * 64);
      CHECK(gate.weight.back() == last(name + "weight"));
      REQUIRE(gate.bias.size() == 3);
      CHECK(gate.bias.back() == last(name + "bias"));
      REQUIRE(gate.output.size() == 3);
      CHECK(gate.output.back() == last(name + "output"));
      CHECK(gate.output_bias == last(name + "output_bias"));
    }
    for (const std::uint32_t i : {0u, 1u, 2u}) {
      REQUIRE(pack->exit[i].inverse_temperature.size() == 3);
      CHECK(pack->exit[i].inverse_temperature[2] == test::get<float>(builder.section("exit.inverse_temperature").bytes, 4 * (3 * i + 2)));
    }
    REQUIRE(pack->curve_points == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      const CurvePoint &found = pack->curve[i], &expected = options.curve[i];
      CHECK(found.work == expected.work);
      CHECK(found.accuracy == expected.accuracy);
      CHECK(found.policy.gamma == expected.policy.gamma);
      CHECK(found.policy.skip_threshold == expected.policy.skip_threshold);
      CHECK(found.policy.rule.kind == expected.policy.rule.kind);
      CHECK(found.policy.rule.threshold == expected.policy.rule.threshold);
      CHECK(found.policy.rule.certain == expected.policy.rule.certain);
      CHECK(found.policy.rule.uncertain == expected.policy.rule.uncertain);
      CHECK(found.policy.rule.first_exit == expected.policy.rule.first_exit);
      CHECK(found.policy.rule.keep_lower_entropy == expected.policy.rule.keep_lower_entropy);
      CHECK(found.name == expected.name);
    }
    builder.remove("policy.curve");
    CHECK(parse(builder.build()).ok());
  }
  // Elimination alone is for every task.
  PackOptions features = tiny(Task::kFeatures);
  features.profile = {0.5f};
  CHECK(parse(PackBuilder(features).build()).ok());
}

TEST_CASE("pack: the words with which exit 0 does not answer alone") {
  PackOptions options = tiny();
  options.vocabulary_size = 60;  // 8 bytes
  options.doubtful = {1, 2, 3, 4, 5, 6, 7, 15};
  const ExactBytes file(PackBuilder(options).build());
  const auto pack = std::make_unique<Pack>();
  REQUIRE(Pack::parse(file.view(), *pack).ok());
  CHECK(pack->config.doubt);
  CHECK(pack->config.share_in_doubt == 1);
  CHECK(std::vector<std::uint8_t>(pack->doubtful.begin(), pack->doubtful.end()) == options.doubtful);
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{9}}) {
    PackBuilder builder(options);
    builder.section("exit0.doubtful").bytes.resize(size);
    check_refused(builder, Status::kBadSection, "\"exit0.doubtful\" at 0x");
  }
  PackBuilder missing(options);
  missing.remove("exit0.doubtful");
  check_refused(missing, Status::kBadSection, "section \"exit0.doubtful\" is missing");
}

TEST_CASE("pack: the elimination profile") {
  const auto with_profile = [](std::vector<float> profile) {
    PackOptions options = tiny();
    options.blocks = static_cast<std::uint32_t>(profile.size());
    options.profile = std::move(profile);
    return PackBuilder(options).build();
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::vector<float>& good : {std::vector<float>{1.0f}, {1.0f, 1.0f}, {0.5f, 0.5f, 1.0f / 1048576.0f}}) CHECK(parse(with_profile(good)).ok());
  for (const float bad : {0.0f, -0.0f, -0.5f, 1e-45f, 1.0000001f, nan, std::numeric_limits<float>::infinity()}) {
    check_refused(with_profile({1.0f, bad}), Status::kBadValue, "\"elimination.profile\" at 0x");
    check_refused(with_profile({1.0f, bad}), Status::kBadValue, "float 1 is not a number from 2^-20 to 1");
  }
  check_refused(with_profile({0.75f, 0.5f, 0.625f}), Status::kBadValue, "\"elimination.profile\": the share rises after block 1");
}

TEST_CASE("pack: the curve") {
  const auto with_word = [](std::size_t row, std::size_t word, auto value, const PackOptions& options = tiny_adaptive()) {
    PackBuilder builder(options);
    put(builder.section("policy.curve").bytes, 48 * row + 4 * word, value);
    return builder.build();
  };
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {0.0f, -1.0f, nan, infinity, 2e9f}) check_refused(with_word(2, 0, bad), Status::kBadValue, "row 2: work must be");
  for (const float bad : {-0.1f, 1.1f, nan}) check_refused(with_word(0, 1, bad), Status::kBadValue, "row 0: work must be");
  for (const float bad : {-0.1f, 16.1f, nan}) check_refused(with_word(0, 2, bad), Status::kBadValue, "row 0: gamma must be");
  for (const float bad : {-0.1f, 1.1f, nan}) check_refused(with_word(0, 3, bad), Status::kBadValue, "row 0: the skip threshold must be");
  check_refused(with_word(0, 4, 5u), Status::kUnsupportedFeature, "\"policy.curve\", row 0: this engine does not know kind 5");
  check_refused(with_word(1, 5, 0.5f), Status::kBadValue, "\"policy.curve\", row 1: its entropies must be numbers from 0 and its threshold");
  check_refused(with_word(0, 8, 3u), Status::kBadValue, "row 0: the first exit is 3, the last is 2");
  check_refused(with_word(0, 9, 2u), Status::kUnsupportedFeature, "flags 0x2");
  check_refused(with_word(0, 10, 4u), Status::kUnsupportedFeature, "does not know name 4");
  check_refused(with_word(0, 11, 1u), Status::kUnsupportedFeature, "last word 1");
  check_refused(with_word(2, 10, 3u), Status::kBadValue, "row 2: its name stands at another row, too");
  check_refused(with_word(1, 0, 0.25f), Status::kBadValue, "row 1: work and accuracy must both be above");
  check_refused(with_word(1, 1, 0.5f), Status::kBadValue, "row 1: work and accuracy must both be above");
  PackOptions plain = tiny_adaptive();
  plain.profile.clear();
  check_refused(PackBuilder(plain), Status::kBadValue, "row 0: gamma must be a number from 0 to 16, and 0 in a pack without elimination");
  plain = tiny_adaptive();
  plain.skip_width = 0;
  check_refused(PackBuilder(plain), Status::kBadValue, "row 0: the skip threshold must be a number from 0 to 1, and 1 in a pack without");
  for (const std::size_t size : {0u, 4u, 47u, 49u, 48u * 65u}) {
    PackBuilder builder(tiny_adaptive());
    builder.section("policy.curve").bytes.resize(size);
    check_refused(builder, Status::kBadSection, "bytes, allowed are 1 to 64 rows of 48");
  }
  PackOptions full = tiny_adaptive();
  full.curve.clear();
  for (int i = 1; i <= 64; ++i) full.curve.push_back({static_cast<float>(i) / 64.0f, static_cast<float>(i) / 64.0f, {}, SpeedName::kNone});
  CHECK(parse(PackBuilder(full).build()).ok());
}

TEST_CASE("pack: what is newer but optional is skipped") {
  PackBuilder builder(tiny());
  builder.add_text("future", "12345", 0);
  builder.add_text("empty", "", 0);
  builder.section("config").bytes.resize(30 * 4, 1);  // more words than this version knows
  builder.remove("metadata");
  File file = builder.build();
  put(file, 6, std::uint16_t{9});  // minor version
  reseal(file);
  const Error error = parse(file);
  INFO(error.message);
  CHECK(error.ok());
}

TEST_CASE("pack: other files are recognised") {
  const auto text = [](std::string_view content) { return File(content.begin(), content.end()); };
  check_refused(text(""), Status::kTruncated, "empty");
  check_refused(text("\xEF\xBB\xBF\n <!doctype html><title>404</title>"), Status::kNotAPack, "HTML page, so the address is probably wrong");
  check_refused(text("<html>"), Status::kNotAPack, "HTML");
  check_refused(text("version https://git-lfs.github.com/spec/v1\n"), Status::kNotAPack, "Git LFS");
  check_refused(text("\x1F\x8B\x08"), Status::kNotAPack, "gzip");
  check_refused(text("PK\x03\x04"), Status::kNotAPack, "does not start with BEEX");
  check_refused(File(1000, 0), Status::kNotAPack, "does not start with BEEX");
}

TEST_CASE("pack: header") {
  const File good = PackBuilder(tiny()).build();
  REQUIRE(parse(good).ok());
  const auto changed = [&](std::size_t at, auto value) {
    File file = good;
    put(file, at, value);
    reseal(file);
    return file;
  };
  check_refused(changed(4, std::uint16_t{2}), Status::kUnsupportedVersion, "update beex");
  check_refused(changed(4, std::uint16_t{0}), Status::kUnsupportedVersion, "version 0");
  check_refused(changed(24, std::uint8_t{1}), Status::kBadValue, "must be zero");
  check_refused(changed(59, std::uint8_t{1}), Status::kBadValue, "must be zero");
  check_refused(changed(8, std::uint32_t{4097}), Status::kBadValue, "4097 sections");
  check_refused(changed(8, std::uint32_t{4096}), Status::kTruncated, "a table of 4096 sections");
  check_refused(changed(8, std::uint32_t{0}), Status::kBadSection, "the last section ends at 0x40");
}

TEST_CASE("pack: section table") {
  const File good = PackBuilder(tiny()).build();
  const std::size_t entry = entry_of(good, "labels"), next = entry + 64;
  const auto changed = [&](std::size_t at, auto value) {
    File file = good;
    put(file, at, value);
    reseal(file);
    return file;
  };
  const auto offset = test::get<std::uint64_t>(good, entry + 40), length = test::get<std::uint64_t>(good, entry + 48);
  check_refused(changed(entry, std::uint8_t{0}), Status::kBadSection, "needs a name");
  check_refused(changed(entry, std::uint8_t{'-'}), Status::kBadSection, "needs a name");
  check_refused(changed(entry + 39, std::uint8_t{'x'}), Status::kBadSection, "needs a name");
  check_refused(changed(entry + 40, offset + 32), Status::kBadSection, "not a multiple of 64");
  check_refused(changed(entry + 40, offset + 64), Status::kBadSection, "\"labels\"");
  check_refused(changed(entry + 40, offset - 64), Status::kBadSection, "begins before the end");
  check_refused(changed(entry + 40, std::uint64_t{good.size() + 64}), Status::kTruncated, "\"labels\"");
  check_refused(changed(entry + 40, ~std::uint64_t{63}), Status::kTruncated, "\"labels\" at 0xffffffffffffffc0");
  check_refused(changed(entry + 48, ~std::uint64_t{0}), Status::kTruncated, "\"labels\"");
  check_refused(changed(entry + 48, length + 64), Status::kBadSection, "begins before the end");
  check_refused(changed(entry + 60, std::uint32_t{3}), Status::kUnsupportedFeature, "flags");
  check_refused(changed(static_cast<std::size_t>(offset + length), std::uint8_t{1}), Status::kBadSection, "should be zeros");
  File doubled = good;
  std::copy_n(doubled.begin() + static_cast<std::ptrdiff_t>(entry), 40, doubled.begin() + static_cast<std::ptrdiff_t>(next));
  reseal(doubled);
  check_refused(doubled, Status::kBadSection, "same name");
  File longer = good;
  longer.resize(good.size() + 64);
  check_refused(longer, Status::kBadSection, "its header says");
  put(longer, 16, std::uint64_t{longer.size()});
  reseal(longer);
  check_refused(longer, Status::kBadSection, "the last section ends at");
  File shuffled = good;
  std::swap_ranges(shuffled.begin() + static_cast<std::ptrdiff_t>(entry), shuffled.begin() + static_cast<std::ptrdiff_t>(next),
                   shuffled.begin() + static_cast<std::ptrdiff_t>(next));
  reseal(shuffled);
  check_refused(shuffled, Status::kBadSection, "should be zeros");
}

TEST_CASE("pack: damage is found by checksums") {
  const File good = PackBuilder(tiny()).build();
  for (std::size_t entry = 64; test::get<std::uint64_t>(good, entry + 40) + 64 < good.size(); entry += 64) {
    File file = good;
    file[static_cast<std::size_t>(test::get<std::uint64_t>(good, entry + 40))] ^= 1;
    check_refused(file, Status::kCorrupt, std::string("section \"") + reinterpret_cast<const char*>(&good[entry]) + "\"");
  }
}

TEST_CASE("pack: missing, unknown and misplaced sections") {
  for (const PackOptions& options : {tiny(), tiny(Task::kMultiLabel), tiny(Task::kFeatures), tiny_8_bit_exits(), tiny_adaptive()}) {
    const PackBuilder good(options);
    for (const PackBuilder::Section& section : good.sections) {
      PackBuilder builder(options);
      builder.remove(section.name);
      if (section.name == "metadata" || section.name == "policy.curve") {
        CHECK(parse(builder.build()).ok());
      } else {
        check_refused(builder, Status::kBadSection, "section \"" + section.name + "\" is missing");
      }
    }
  }
  PackBuilder newer(tiny());
  newer.add_text("embedding.projection", "future");
  newer.remove("embedding.rows");  // what the new section explains
  check_refused(newer, Status::kUnsupportedFeature, "\"embedding.projection\", which this engine does not know: update beex");

  for (const auto& [form, name] : {std::pair{SlfnForm::kBounded, "bounded"}, {SlfnForm::kRectified, "rectified"}}) {
    for (const std::string part : {"threshold", "bits", "scale", "bias"}) {
      PackOptions options = tiny();
      options.slfn_form = form;
      PackBuilder gated(options);
      gated.add_text("block0.gate." + part, "");
      check_refused(gated, Status::kBadSection, "does not belong in a pack for the " + std::string(name) + " SLFN");
    }
  }
  const auto check_foreign = [](Task task, const std::string& section, const std::string& owner) {
    PackBuilder builder(tiny(task));
    builder.add_text(section, "1234");
    check_refused(builder, Status::kBadSection, "section \"" + section + "\" at 0x");
    check_refused(builder, Status::kBadSection, "does not belong in a pack for " + owner);
  };
  check_foreign(Task::kSingleLabel, "ngram.kept", "no n-grams");
  check_foreign(Task::kSingleLabel, "ngram.rows", "no n-grams");
  check_foreign(Task::kSingleLabel, "ngram.scale", "no n-grams");
  check_foreign(Task::kSingleLabel, "threshold.by_label", "single labels");
  check_foreign(Task::kSingleLabel, "elimination.profile", "no elimination");
  check_foreign(Task::kSingleLabel, "exit0.doubtful", "no doubt");
  for (const char* part : {"weight", "bias", "output", "output_bias"}) {
    check_foreign(Task::kSingleLabel, std::string("block0.skip.") + part, "no skip gates");
  }
  for (const char* section : {"threshold.by_label", "exit0.weight", "exit0.rows", "exit0.scale", "exit0.bias", "exit1.weight", "exit1.rows",
                              "exit1.scale", "exit1.bias", "exit.inverse_temperature", "exit.rule", "policy.curve"}) {
    check_foreign(Task::kFeatures, section, "features");
  }
  check_foreign(Task::kSingleLabel, "exit1.rows", "float exit weights");
  check_foreign(Task::kSingleLabel, "exit1.scale", "float exit weights");
  PackBuilder both(tiny_8_bit_exits());
  both.add_text("exit1.weight", "1234");
  check_refused(both, Status::kBadSection, "does not belong in a pack for 8-bit exit weights");
  // The sections of one kind under the config of the other.
  check_refused(with_config_word(21, 8), Status::kBadSection, "section \"exit0.weight\" at 0x");
  check_refused(with_config_word(21, 0, tiny_8_bit_exits()), Status::kBadSection, "section \"exit0.rows\" at 0x");
  PackBuilder single(tiny());
  single.add_text("segment.scale", "12345678", 0);
  check_refused(single, Status::kBadSection, "\"segment.scale\"");
  PackOptions pair = tiny();
  pair.inputs = 2;
  PackBuilder without(pair);
  without.remove("segment.rows");
  check_refused(without, Status::kBadSection, "\"segment.rows\" is missing");
  PackBuilder more(tiny());
  more.add_text("block1.qkv.bits", "");
  check_refused(more, Status::kUnsupportedFeature, "\"block1.qkv.bits\"");
}

TEST_CASE("pack: sizes must be what the config says") {
  for (const PackOptions& options : {tiny(Task::kMultiLabel), tiny_8_bit_exits(), tiny_adaptive()}) {
    const PackBuilder good(options);
    for (const PackBuilder::Section& section : good.sections) {
      if (section.name == "metadata") continue;
      for (const int change : {-1, 1, 64}) {
        PackBuilder builder(options);
        auto& bytes = builder.section(section.name).bytes;
        bytes.resize(static_cast<std::size_t>(static_cast<int>(bytes.size()) + change), 'x');
        const Error error = parse(builder.build());
        INFO(section.name << " " << change << ": " << error.message);
        if (section.name == "config" && change == 64) {
          CHECK(error.ok());
        } else {
          CHECK_FALSE(error.ok());
          CHECK_THAT(std::string(error.message), Catch::Contains("\"" + section.name + "\""));
        }
      }
    }
  }
  PackBuilder builder(tiny());
  builder.section("block0.hidden.bits").bytes.resize(1000);
  const File file = builder.build();
  char sentence[100];
  std::snprintf(sentence, sizeof sentence, "section \"block0.hidden.bits\" at 0x%llx: 1000 bytes, config needs 1024",
                static_cast<unsigned long long>(test::get<std::uint64_t>(file, entry_of(file, "block0.hidden.bits") + 40)));
  check_refused(file, Status::kBadSection, sentence);
}

TEST_CASE("pack: config values") {
  const std::uint32_t large = 0xFFFFFFFFu;
  const std::vector<std::pair<std::size_t, std::vector<std::uint32_t>>> bad = {
      {0, {0, 3, large}},       {2, {0, 1, 4097, large}},   {3, {0, 3, 65537, large}}, {4, {0, 63, 96, 1088, large}},
      {5, {0, 25, large}},      {6, {0, 3, 8, 64, large}},  {7, {0, 65, 4160, large}}, {8, {0, 7, 1025, large}},
      {9, {0, 3, 5, 6, 7, 16}}, {10, {0, 3, 5, 6, 7, 16}},  {11, {3, large}},          {12, {2, large}},
      {14, {2, large}},         {15, {5, large}},           {16, {5, large}},          {17, {5, large}},
      {21, {1, 2, 4, 7, 9, 32, large}}, {22, {65, large}},
  };
  for (const auto& [word, values] : bad) {
    for (const std::uint32_t value : values) {
      INFO("word " << word << " = " << value);
      check_refused(with_config_word(word, value), Status::kBadValue, "config: ");
    }
  }
  check_refused(with_config_word(13, 1), Status::kUnsupportedFeature, "does not know attention 1: update beex");
  for (const std::uint32_t value : {64u, 65u, 1u << 31, large}) {
    check_refused(with_config_word(23, value), Status::kUnsupportedFeature, "config: this engine does not know features 0x");
  }
  check_refused(with_config_word(1, 3), Status::kUnsupportedFeature, "does not know task 3: update beex");
}

TEST_CASE("pack: config values of n-grams, exit weights and features") {
  const std::uint32_t large = 0xFFFFFFFFu;
  const auto refused = [](Task task, std::size_t word, const std::vector<std::uint32_t>& values, const std::string& part) {
    for (const std::uint32_t value : values) {
      INFO("word " << word << " = " << value);
      check_refused(with_config_word(word, value, tiny(task)), Status::kBadValue, part);
    }
  };
  // Of a pack with n-grams, and of one without.
  refused(Task::kMultiLabel, 18, {1, 128, 255, 257, 384, 1u << 21, 1u << 31, large}, "powers of two from 256 to 1048576");
  refused(Task::kMultiLabel, 18, {0}, "without buckets both are 0");
  refused(Task::kMultiLabel, 19, {0, 5, large}, "longest n-gram");
  refused(Task::kMultiLabel, 20, {0, 1, 3, 5, 6, 7, 16, large}, "n-gram bits");
  refused(Task::kSingleLabel, 18, {256}, "longest n-gram is 0");
  refused(Task::kSingleLabel, 19, {1, large}, "without buckets both are 0");
  refused(Task::kSingleLabel, 20, {2, large}, "without buckets both are 0");
  refused(Task::kFeatures, 0, {2}, "features (task 2) are of single texts");
  refused(Task::kFeatures, 2, {1, 2, 4096, large}, "features (task 2) have none");
  refused(Task::kFeatures, 18, {256}, "n-grams need classes");
  refused(Task::kMultiLabel, 21, {4}, "config: exit weight bits is 4, allowed are 0 and 8");
  refused(Task::kFeatures, 21, {8}, "features (task 2) have no exits");
  refused(Task::kFeatures, 22, {1, 64}, "features (task 2) run every block");
  refused(Task::kFeatures, 23, {2, 3, 8, 9}, "config: temperatures and doubt need classes");
  refused(Task::kSingleLabel, 23, {4}, "config: n-grams of the whole text (features bit 2) without buckets");
  refused(Task::kSingleLabel, 2, {0}, "config: classes is 0");
  refused(Task::kMultiLabel, 2, {0}, "config: classes is 0");

  PackOptions pair = tiny();
  pair.inputs = 2;
  check_refused(with_config_word(12, 1, pair), Status::kBadValue, "config: pooling is 1, but pairs are pooled by their texts' means (0)");

  // A size that a 32-bit machine would count as 0.
  PackBuilder huge(tiny(Task::kMultiLabel));
  put(huge.section("config").bytes, 4 * 2, 4096u);
  put(huge.section("config").bytes, 4 * 18, 1u << 20);
  put(huge.section("config").bytes, 4 * 20, 8u);
  check_refused(huge, Status::kBadValue, "config: n-gram buckets is 1048576, too many for rows of 4096 bytes");
}

TEST_CASE("pack: as many rows of n-grams as buckets that have one") {
  const PackOptions options = tiny(Task::kMultiLabel);
  PackBuilder builder(options);
  auto& kept = builder.section("ngram.kept").bytes;
  kept[0] = static_cast<std::uint8_t>(kept[0] ^ 1u);
  check_refused(builder, Status::kBadSection, "\"ngram.rows\"");

  PackBuilder none(options);
  for (const char* section : {"ngram.kept", "ngram.rows"}) {
    auto& bytes = none.section(section).bytes;
    std::string_view(section) == "ngram.kept" ? std::fill(bytes.begin(), bytes.end(), std::uint8_t{0}) : bytes.clear();
  }
  CHECK(parse(none.build()).ok());
}

TEST_CASE("pack: floats must be finite, and above zero where they divide") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const auto with_float = [](const std::string& section, float value) {
    PackBuilder builder(tiny());
    auto& bytes = builder.section(section).bytes;
    put(bytes, bytes.size() - 4, value);
    return builder.build();
  };
  for (const char* section : {"embedding.scale", "position.scale", "embedding.norm", "block0.qkv.threshold", "block0.qkv.scale",
                              "block0.qkv.bias", "block0.attention.score_scale", "block0.output.threshold", "block0.output.scale",
                              "block0.output.bias", "block0.attention.norm", "block0.hidden.threshold", "block0.hidden.scale",
                              "block0.hidden.bias", "block0.gate.threshold", "block0.gate.scale", "block0.gate.bias",
                              "block0.content.threshold", "block0.content.scale", "block0.content.bias", "block0.slfn.norm",
                              "exit0.weight", "exit0.bias", "exit1.weight", "exit1.bias"}) {
    for (const float value : {nan, infinity, -infinity, 2e9f, -2e9f}) {
      check_refused(with_float(section, value), Status::kBadValue, std::string("section \"") + section + "\"");
    }
    CHECK(parse(with_float(section, 0.0f)).ok());
    CHECK(parse(with_float(section, -1e9f)).ok());
  }
  for (const char* section : {"block0.skip.weight", "block0.skip.bias", "block0.skip.output", "block1.skip.output_bias"}) {
    for (const float value : {nan, infinity, -infinity, 2e9f, -2e9f}) {
      PackBuilder builder(tiny_adaptive());
      put(builder.section(section).bytes, 0, value);
      check_refused(builder, Status::kBadValue, std::string("section \"") + section + "\"");
    }
  }
  for (const char* section : {"exit0.scale", "exit1.scale"}) {
    for (const float value : {nan, infinity, -infinity, 2e9f, -2e9f}) {
      PackBuilder builder(tiny_8_bit_exits());
      put(builder.section(section).bytes, 8, value);
      check_refused(builder, Status::kBadValue, std::string("section \"") + section + "\"");
    }
  }
  for (const char* section : {"activation.inverse_step", "exit.inverse_temperature"}) {
    for (const float value : {nan, infinity, -infinity, 2e9f, 0.0f, -0.0f, -1.0f}) {
      check_refused(with_float(section, value), Status::kBadValue, std::string("section \"") + section + "\"");
    }
    CHECK(parse(with_float(section, 1e-45f)).ok());
  }

  const auto with_multi_label_float = [](const std::string& section, float value) {
    PackBuilder builder(tiny(Task::kMultiLabel));
    auto& bytes = builder.section(section).bytes;
    put(bytes, bytes.size() - 4, value);
    return builder.build();
  };
  for (const float value : {nan, infinity, -infinity, 2e9f, -2e9f}) {
    check_refused(with_multi_label_float("ngram.scale", value), Status::kBadValue, "\"ngram.scale\"");
  }
  CHECK(parse(with_multi_label_float("ngram.scale", 0.0f)).ok());
  for (const float value : {nan, infinity, -infinity, 1.5f, 1.0f, 0.0f, -0.0f, -0.5f}) {
    check_refused(with_multi_label_float("threshold.by_label", value), Status::kBadValue, "float 2 is not a number above 0 and below 1");
  }
  for (const float value : {1e-45f, 0.5f, 0.99999994f}) CHECK(parse(with_multi_label_float("threshold.by_label", value)).ok());
}

TEST_CASE("pack: activation bits, labels and vocabulary") {
  for (const unsigned bits : {0u, 3u, 5u, 8u, 255u}) {
    PackBuilder builder(tiny());
    builder.section("activation.bits").bytes[6] = static_cast<std::uint8_t>(bits);
    check_refused(builder, Status::kBadValue, "\"activation.bits\": block 0, site 6");
  }
  check_refused(with_text("labels", "a\nb\n"), Status::kBadValue, "2 lines, config needs 3");
  check_refused(with_text("labels", "a\nb\nc"), Status::kBadValue, "2 lines, config needs 3");
  check_refused(with_text("labels", "a\nb\nc\nd\n"), Status::kBadValue, "more than the 3 lines");
  check_refused(with_text("labels", "a\n\nc\n"), Status::kBadValue, "line 1 is empty");
  check_refused(with_text("labels", "a\nb\na\n"), Status::kBadValue, "the same");
  check_refused(with_text("labels", "a\nb\n\xFF\n"), Status::kBadValue, "byte 4 is not UTF-8");
  check_refused(with_text("labels", ""), Status::kBadValue, "0 lines");
  PackBuilder labelled(tiny(Task::kFeatures));
  labelled.set_text("labels", "a\n");
  check_refused(labelled, Status::kBadValue, "more than the 0 lines");
  CHECK(parse(with_text("labels", "\xE2\x99\xA5\na b\nc\n")).ok());
  check_refused(with_text("metadata", "{\"name\": \"\xC3\"}"), Status::kBadValue, "\"metadata\"");
  check_refused(with_text("vocabulary", "a\nb\nc\nd\n"), Status::kBadValue, "4 lines, config needs 5");
  check_refused(with_text("vocabulary", "a\nb\nc\nd\ne"), Status::kBadValue, "4 lines, config needs 5");
  check_refused(with_text("vocabulary", "a\nb\nc\nd\ne\nf\n"), Status::kBadValue, "more than the 5 lines");
  check_refused(with_text("vocabulary", "\na\nb\nc\nd\n"), Status::kBadValue, "line 0 is empty");
  check_refused(with_text("vocabulary", "a\nb\nb\nd\ne\n"), Status::kBadValue, "line 2 is not above");
  check_refused(with_text("vocabulary", "a\nc\nb\nd\ne\n"), Status::kBadValue, "line 2 is not above");
  check_refused(with_text("vocabulary", "a\nb\nc\nd\ne\t\n"), Status::kBadValue, "line 4 holds a control character");
  check_refused(with_text("vocabulary", "a\nb\nc\nd\n\xC2\x85\n"), Status::kBadValue, "line 4 holds a control character");
  check_refused(with_text("vocabulary", "a\nb\nc\nd\n\xC2\n"), Status::kBadValue, "not UTF-8");
  // Byte order, not the order of signed chars.
  CHECK(parse(with_text("vocabulary", "a\nb\nz\n\xC3\xA9\n\xE4\xB8\xAD\n")).ok());
}

TEST_CASE("pack: exit rule") {
  const auto with_rule = [](std::size_t at, auto value) {
    PackOptions options = tiny();
    options.rule.kind = ExitKind::kPatience;
    options.rule.threshold = 1.0f;
    PackBuilder builder(options);
    put(builder.section("exit.rule").bytes, at, value);
    return builder.build();
  };
  CHECK(parse(with_rule(16, 1u)).ok());
  check_refused(with_rule(0, 5u), Status::kUnsupportedFeature, "kind 5");
  check_refused(with_rule(20, 2u), Status::kUnsupportedFeature, "flags 0x2");
  check_refused(with_rule(4, 0.5f), Status::kBadValue, "1 or more");
  check_refused(with_rule(4, std::numeric_limits<float>::quiet_NaN()), Status::kBadValue, "threshold");
  check_refused(with_rule(8, -1.0f), Status::kBadValue, "entropies");
  check_refused(with_rule(12, std::numeric_limits<float>::infinity()), Status::kBadValue, "entropies");
  check_refused(with_rule(16, 2u), Status::kBadValue, "the first exit is 2, the last is 1");
}

TEST_CASE("pack: a file cut anywhere is refused") {
  const File good = PackBuilder(tiny()).build();
  for (std::size_t size = 0; size < good.size(); ++size) {
    File cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    Error error = parse(cut);
    if (error.status != Status::kTruncated) FAIL("cut at " << size << ": " << error.message);
    // The same with a header that owns up to the size.
    if (size < 64) continue;
    put(cut, 16, std::uint64_t{size});
    reseal(cut);
    error = parse(cut);
    if (error.ok()) FAIL("cut at " << size << " was read");
  }
}

TEST_CASE("pack: every changed byte of header and table is refused or harmless") {
  const File good = PackBuilder(tiny()).build();
  const std::size_t end = 64 + 64 * test::get<std::uint32_t>(good, 8);
  for (std::size_t at = 0; at < end; ++at) {
    for (const unsigned change : {1u << at % 8, 0xFFu}) {
      File file = good;
      file[at] = static_cast<std::uint8_t>(file[at] ^ change);
      if (parse(file).ok()) FAIL("byte " << at << " was changed by " << change << " and nobody noticed");
      reseal(file);
      parse(file);  // may be legal (the minor version, an optional flag); it must be safe
    }
  }
}

TEST_CASE("pack: 20,000 seeded mutations with right checksums are safe") {
  PackOptions pair = tiny();
  pair.inputs = 2;
  pair.slfn_form = SlfnForm::kBounded;
  PackOptions rectified = tiny(Task::kMultiLabel);
  rectified.slfn_form = SlfnForm::kRectified;
  const File seeds[] = {PackBuilder(tiny()).build(), PackBuilder(pair).build(), PackBuilder(rectified).build(),
                        PackBuilder(tiny(Task::kFeatures)).build(), PackBuilder(tiny_8_bit_exits(Task::kMultiLabel)).build(),
                        PackBuilder(tiny_8_bit_exits()).build(), PackBuilder(tiny_adaptive()).build(),
                        PackBuilder(tiny_adaptive(Task::kMultiLabel)).build()};
  const std::uint32_t special[] = {0, 1, 2, 63, 64, 0x7F, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu, 0x7F800000u, 0x7FC00000u, 0x4E800000u};
  test::Random random(20251);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    File file = seeds[static_cast<std::size_t>(round) % std::size(seeds)];
    const std::size_t table = 64 + 64 * test::get<std::uint32_t>(file, 8);
    for (std::uint32_t change = 1 + random.below(4); change > 0; --change) {
      const std::size_t range = random.below(2) == 0 ? table : file.size();  // half of them where the structure is
      const std::size_t at = random.below(range - 4);
      if (random.below(2) == 0) {
        file[at] = static_cast<std::uint8_t>(random.bits());
      } else {
        put(file, at / 4 * 4, special[random.below(std::size(special))]);
      }
    }
    std::memcpy(file.data(), "BEEX\1\0", 6);
    put(file, 16, std::uint64_t{file.size()});
    reseal(file);
    if (!parse(file).ok()) continue;
    // What is accepted must also run, and give probabilities or a vector.
    std::unique_ptr<Classifier> classifier;
    REQUIRE(Classifier::load(test::to_bytes(file), "", classifier).ok());
    ++accepted;
    const Config& config = classifier->pack().config;
    if (config.inputs == 1) {
      std::span<const float> vector;
      REQUIRE(classifier->embed("a b cab [x]", vector).ok());
      float square = 0.0f;
      for (const float value : vector) square += value * value;
      if (!(square < 1.001f)) FAIL("round " << round << ": a vector of square length " << square);
    }
    if (config.task == Task::kFeatures) continue;
    Result result;
    const Pack& pack = classifier->pack();
    const Policy policy = pack.curve_points > 0 ? pack.curve[0].policy : Policy{pack.exit_rule, config.elimination ? 16.0f : 0.0f, 0.0f};
    const Error error = config.inputs == 1 ? classifier->classify("a b cab [x]", policy, result)
                                           : classifier->classify_pair("a b", "", policy, result);
    REQUIRE(error.ok());
    float sum = 0.0f;
    for (const float probability : result.probabilities) {
      if (!(probability >= 0.0f && probability <= 1.0f)) FAIL("round " << round << ": a probability is " << probability);
      sum += probability;
    }
    if (config.task == Task::kSingleLabel && !(std::fabs(sum - 1.0f) < 1e-3f)) FAIL("round " << round << ": probabilities add up to " << sum);
  }
  // Both ways must have been taken often.
  CHECK(accepted > 1000);
  CHECK(accepted < 19000);
}

}  // namespace beex
