// The engine against the trainer's simulation: every intermediate of every golden text, bit for bit, with every kernel table.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "beex/classifier.h"
#include "model/network.h"

namespace beex {
namespace {

using Words = std::vector<std::uint32_t>;  // float bit patterns
using Tensors = std::map<std::pair<std::string, std::uint32_t>, Words>;

// What a text gives under one policy; in a `.golden` file the whole network is the only one.
struct GoldenRun {
  Policy policy;
  Tensors tensors;
};

struct GoldenText {
  bool pair = false;
  std::string a, b;
  std::vector<std::uint32_t> ids;
  std::vector<GoldenRun> runs;
};

const std::filesystem::path kFolder = std::filesystem::path(BEEX_SOURCE_DIR) / "model_pack";

std::vector<std::filesystem::path> files_with(const char* extension) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder / "golden")) {
    if (entry.path().extension() == extension) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string from_hex(const std::string& hex) {
  std::string text;
  if (hex == "-") return text;  // the empty text
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) text += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return text;
}

// GAMMA SKIP KIND THRESHOLD CERTAIN UNCERTAIN FIRST FLAGS; floats are words in hex.
Policy read_policy(std::istringstream& words) {
  const auto read_float = [&words] {
    std::uint32_t word = 0;
    REQUIRE(words >> std::hex >> word >> std::dec);
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  };
  Policy policy;
  policy.gamma = read_float();
  policy.skip_threshold = read_float();
  std::uint32_t kind = 0, flags = 0;
  REQUIRE(words >> kind);
  policy.rule.kind = static_cast<ExitKind>(kind);
  policy.rule.threshold = read_float();
  policy.rule.certain = read_float();
  policy.rule.uncertain = read_float();
  REQUIRE(words >> policy.rule.first_exit >> flags);
  policy.rule.keep_lower_entropy = flags == 1;
  return policy;
}

std::vector<GoldenText> read_golden(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  REQUIRE(std::getline(file, line));
  REQUIRE(line == (path.extension() == ".golden" ? "beex-golden 1" : "beex-settings 1"));
  std::vector<GoldenText> texts;
  while (std::getline(file, line) && line != "end") {
    std::istringstream words(line);
    std::string name, hex;
    words >> name;
    if (name == "text" || name == "pair") {
      GoldenText& text = texts.emplace_back();
      if (path.extension() == ".golden") text.runs.emplace_back();
      text.pair = name == "pair";
      words >> hex;
      text.a = from_hex(hex);
      if (text.pair) {
        REQUIRE(words >> hex);
        text.b = from_hex(hex);
      }
      continue;
    }
    REQUIRE_FALSE(texts.empty());
    std::size_t count = 0;
    if (name == "ids") {
      words >> count;
      std::vector<std::uint32_t>& ids = texts.back().ids;
      for (std::uint32_t id; words >> id;) ids.push_back(id);
      REQUIRE(ids.size() == count);
      continue;
    }
    if (name == "setting") {
      texts.back().runs.push_back({read_policy(words), {}});
      continue;
    }
    std::uint32_t index = 0;
    REQUIRE(words >> index >> count);
    REQUIRE_FALSE(texts.back().runs.empty());
    Words& tensor = texts.back().runs.back().tensors[{name, index}];
    REQUIRE(tensor.empty());
    REQUIRE(std::getline(file, line));
    std::istringstream values(line);
    values >> std::hex;
    for (std::uint32_t value; values >> value;) tensor.push_back(value);
    REQUIRE(tensor.size() == count);
  }
  REQUIRE(line == "end");
  REQUIRE_FALSE(texts.empty());
  return texts;
}

// The pack of NAME.golden lies beside it, or among the published packs.
Bytes read_pack(const std::filesystem::path& golden) {
  const std::string name = golden.stem().string() + ".beex";
  for (const std::filesystem::path& path : {kFolder / "golden" / name, kFolder / "packs" / name}) {
    std::ifstream file(path, std::ios::binary);
    if (!file) continue;
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    Bytes bytes(content.size());
    std::memcpy(bytes.data(), content.data(), content.size());
    return bytes;
  }
  FAIL("no pack for " << golden);
  return {};
}

Words to_words(std::span<const float> values) {
  Words words(values.size());
  std::memcpy(words.data(), values.data(), values.size_bytes());
  return words;
}

void keep(void* context, const char* name, std::uint32_t index, std::span<const float> values) {
  (*static_cast<Tensors*>(context))[{name, index}] = to_words(values);
}

void compare(const Words& found, const Words& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == expected[i]) continue;
    FAIL("element " << i << " is " << std::hex << found[i] << ", golden is " << expected[i]);
  }
  SUCCEED();
}

}  // namespace

TEST_CASE("golden: every intermediate has the simulation's bits, with every kernel table") {
  const auto files = files_with(".golden");
  REQUIRE(files.size() >= 5);
  for (const auto& path : files) {
    const auto texts = read_golden(path);
    const Bytes bytes = read_pack(path);
    const auto pack = std::make_unique<Pack>();
    const Error error = Pack::parse(bytes.view(), *pack);
    INFO(path.filename().string() << " " << error.message);
    REQUIRE(error.ok());
    for (const KernelTable* kernels : kernel_tables()) {
      Network network;
      REQUIRE(Network::load(*pack, *kernels, network).ok());
      for (const GoldenText& text : texts) {
        Tensors found;
        network.tap({keep, &found});
        const auto sep = std::find(text.ids.begin(), text.ids.end(), pack->config.sep_id);
        network.embed(text.ids, static_cast<std::size_t>(sep - text.ids.begin()) + 1);
        const Config& config = pack->config;
        const bool exits = config.task != Task::kFeatures;
        for (std::uint32_t i = 0; i <= config.blocks; ++i) {
          if (exits) network.read_exit(i);
          if (i == config.blocks) break;
          network.run_block(i);
        }
        if (!exits) network.read_vector();
        // 1 embedding, 5 of each block, 4 of each exit or 1 pooled state, n-grams, the vector of a single text.
        const Tensors& tensors = text.runs[0].tensors;
        REQUIRE(tensors.size() == 1 + 5 * config.blocks + (exits ? 4 * (config.blocks + 1) : 1) + (config.ngram_buckets > 0 ? 1 : 0) +
                                           (config.inputs == 1 ? 1 : 0));
        for (const auto& [key, expected] : tensors) {
          if (key.first == "vector") continue;  // the classifier's, below
          INFO(kernels->name << ", text \"" << text.a << "\", " << key.first << " " << key.second);
          compare(found[key], expected);
        }
      }
    }
  }
}

TEST_CASE("golden: the classifier's exits and vectors have the simulation's bits, from the text on") {
  struct Seen {
    Tensors tensors;
    static void reached(void* context, const ExitReading& reading) {
      if (reading.window != 0) return;  // golden files hold the first window
      Tensors& tensors = static_cast<Seen*>(context)->tensors;
      tensors[{"logits", reading.exit}] = to_words(reading.logits);
      tensors[{"probabilities", reading.exit}] = to_words(reading.probabilities);
      tensors[{"entropy", reading.exit}] = to_words({&reading.entropy, 1});
    }
  };
  for (const auto& path : files_with(".golden")) {
    const auto texts = read_golden(path);
    for (const char* kernels : kernel_names()) {
      std::unique_ptr<Classifier> classifier;
      REQUIRE(Classifier::load(read_pack(path), kernels, classifier).ok());
      REQUIRE(std::string(classifier->kernels()) == kernels);
      for (const GoldenText& text : texts) {
        Seen seen;
        const Config& config = classifier->pack().config;
        std::size_t expected = 0;
        if (config.task != Task::kFeatures) {
          classifier->observe(ExitObserver{Seen::reached, &seen});
          Result result;
          const Error error = text.pair ? classifier->classify_pair(text.a, text.b, {}, result) : classifier->classify(text.a, {}, result);
          REQUIRE(error.ok());
          expected += 3 * (config.blocks + 1);
        }
        if (!text.pair) {
          std::span<const float> vector;
          REQUIRE(classifier->embed(text.a, vector).ok());
          seen.tensors[{"vector", 0}] = to_words(vector);
          ++expected;
        }
        REQUIRE(seen.tensors.size() == expected);
        for (const auto& [key, found] : seen.tensors) {
          INFO(path.filename().string() << ", " << kernels << ", text \"" << text.a << "\", " << key.first << " " << key.second);
          compare(found, text.runs[0].tensors.at(key));
        }
      }
    }
  }
}

TEST_CASE("golden: under every setting masses, tokens, gates, exits, answers and work are the simulation's, bit for bit") {
  const auto files = files_with(".settings");
  REQUIRE(files.size() >= 2);
  const std::vector<std::string> told = {"mass", "skip", "pooled", "logits", "probabilities", "entropy"};
  struct Seen {
    const std::vector<std::string>& told;
    Tensors tensors;
    static void show(void* context, const char* name, std::uint32_t index, std::span<const float> values) {
      auto* seen = static_cast<Seen*>(context);
      if (std::count(seen->told.begin(), seen->told.end(), name) > 0) keep(&seen->tensors, name, index, values);
    }
  };
  for (const auto& path : files) {
    const auto texts = read_golden(path);
    const Bytes bytes = read_pack(path);
    const auto pack = std::make_unique<Pack>();
    REQUIRE(Pack::parse(bytes.view(), *pack).ok());
    for (const KernelTable* kernels : kernel_tables()) {
      Network network;
      REQUIRE(Network::load(*pack, *kernels, network).ok());
      std::unique_ptr<Classifier> classifier;
      REQUIRE(Classifier::load(read_pack(path), kernels->name, classifier).ok());
      for (const GoldenText& text : texts) {
        REQUIRE_FALSE(text.runs.empty());
        for (const GoldenRun& run : text.runs) {
          Seen seen{told, {}};
          network.tap({Seen::show, &seen});
          const auto sep = std::find(text.ids.begin(), text.ids.end(), pack->config.sep_id);
          network.embed(text.ids, static_cast<std::size_t>(sep - text.ids.begin()) + 1);
          network.read_exit(0);
          for (std::uint32_t i = 0; i < pack->config.blocks; ++i) {
            if (run.policy.skip_threshold < 1.0f && network.read_skip_gate(i) > run.policy.skip_threshold) continue;
            const std::size_t entering = network.alive().size();
            network.run_block(i, run.policy.gamma);
            const auto alive = network.alive();
            if (alive.size() < entering) seen.tensors[{"kept", i}] = Words(alive.begin(), alive.end());
            network.read_exit(i + 1);
          }
          Result result;
          const Error error =
              text.pair ? classifier->classify_pair(text.a, text.b, run.policy, result) : classifier->classify(text.a, run.policy, result);
          REQUIRE(error.ok());
          seen.tensors[{"result", 0}] = to_words(result.probabilities);
          seen.tensors[{"answer", 0}] = {result.exit_block, static_cast<std::uint32_t>(result.exit_reason), result.label, result.blocks_run,
                                         result.windows};
          std::uint64_t work;
          std::memcpy(&work, &result.work, sizeof work);
          seen.tensors[{"work", 0}] = {static_cast<std::uint32_t>(work), static_cast<std::uint32_t>(work >> 32)};
          REQUIRE(seen.tensors.size() == run.tensors.size());
          for (const auto& [key, expected] : run.tensors) {
            INFO(path.filename().string() << ", " << kernels->name << ", gamma " << run.policy.gamma << ", skip " << run.policy.skip_threshold
                                          << ", text \"" << text.a << "\", " << key.first << " " << key.second);
            REQUIRE(seen.tensors.count(key) == 1);
            compare(seen.tensors[key], expected);
          }
        }
      }
    }
  }
}

}  // namespace beex
