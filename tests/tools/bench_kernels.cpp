// Speed of binary_linear, for every kernel table of the build, next to a plain float matrix product in the same run.
//
//   bench_kernels [rounds]          natively, or: node --no-experimental-fetch bench_kernels.js [rounds]
//
// A round times every way once, so that a busy machine disturbs all of them alike. Of the rounds (default 25) the table shows the
// median and the best time; G/s and the ratios come from the best, which other work on the machine disturbs least. G/s counts
// 2 * tokens * rows * columns operations, whatever the bits: it is the speed of the layer as the model sees it. The float product
// takes four tokens by eight rows a step, in four-lane floats (registers when the build has SIMD).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "beex/bytes.h"
#include "kernels/kernels.h"
#include "kernels/vector.h"
#if defined(BEEX_SIMD128)
#include "kernels/vector_simd128.h"
#endif

using namespace beex;

namespace {

constexpr std::size_t kTokens = 32;

struct Shape {
  std::size_t columns, rows;
};
constexpr Shape kShapes[] = {{192, 576}, {256, 768}, {256, 1024}, {512, 256}, {384, 1536}};

#if defined(BEEX_SIMD128)
using Float4 = simd128::Float4;
#else
using Float4 = scalar::Float4;
#endif

// y = x W, 4 tokens by 8 rows of accumulators; the weights are packed for it, as (rows / 8, columns, 8).
void float_product(const float* x, const float* weights, Shape shape, float* y) {
  for (std::size_t r = 0; r < shape.rows; r += 8) {
    const float* panel = weights + r * shape.columns;
    for (std::size_t t = 0; t < kTokens; t += 4) {
      Float4 sum[4][2];
      for (auto& pair : sum) pair[0] = pair[1] = Float4(0.0f);
      for (std::size_t k = 0; k < shape.columns; ++k) {
        const Float4 w0 = Float4::load(panel + 8 * k);
        const Float4 w1 = Float4::load(panel + 8 * k + 4);
        for (std::size_t i = 0; i < 4; ++i) {
          const Float4 input(x[(t + i) * shape.columns + k]);
          sum[i][0] = sum[i][0] + input * w0;
          sum[i][1] = sum[i][1] + input * w1;
        }
      }
      for (std::size_t i = 0; i < 4; ++i) {
        sum[i][0].store(y + (t + i) * shape.rows + r);
        sum[i][1].store(y + (t + i) * shape.rows + r + 4);
      }
    }
  }
}

// Seconds a call, over as many calls as fill about two milliseconds.
template <class Call>
double seconds(Call call) {
  using Clock = std::chrono::steady_clock;
  int calls = 0;
  const auto start = Clock::now();
  double elapsed = 0.0;
  do {
    call();
    ++calls;
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  } while (elapsed < 0.002);
  return elapsed / calls;
}

bool bench(Shape shape, std::uint32_t bits, int rounds) {
  std::mt19937 random(7);
  const auto fill = [&](std::vector<std::uint8_t>& bytes) {
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  };
  std::vector<std::uint8_t> weights(shape.rows * shape.columns / 8), levels(kTokens * shape.columns);
  fill(weights);
  fill(levels);
  for (auto& q : levels) q = static_cast<std::uint8_t>(q & ((1u << bits) - 1u));
  Bytes scratch(kLinearScratch);
  const std::vector<float> scale(shape.rows, 0.01f), bias(shape.rows, 0.5f);
  const std::vector<float> x(kTokens * shape.columns, 0.3f), float_weights(shape.rows * shape.columns, 0.7f);
  std::vector<float> y(kTokens * shape.rows), first;

  // The reference takes seconds, so it is not timed.
  const auto tables = kernel_tables().first(kernel_tables().size() - 1);
  std::vector<std::vector<std::uint8_t>> laid_out;
  for (const KernelTable* table : tables) {
    laid_out.emplace_back(table->laid_out_size(shape.rows, shape.columns));
    table->lay_out(weights.data(), shape.rows, shape.columns, laid_out.back().data());
  }
  const auto run = [&](std::size_t i) {
    tables[i]->binary_linear({laid_out[i].data(), scale.data(), bias.data(), shape.rows, shape.columns},
                             {levels.data(), kTokens, shape.columns, bits}, scratch.data(), y.data());
  };

  for (std::size_t i = 0; i < tables.size(); ++i) {
    run(i);
    if (i == 0) first = y;
    if (std::memcmp(first.data(), y.data(), y.size() * sizeof(float)) != 0) {
      std::printf("%s differs from %s\n", tables[i]->name, tables[0]->name);
      return false;
    }
  }

  std::vector<std::vector<double>> times(tables.size() + 1);  // the last one is the float product
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < tables.size(); ++i) times[i].push_back(seconds([&] { run(i); }));
    times.back().push_back(seconds([&] { float_product(x.data(), float_weights.data(), shape, y.data()); }));
  }

  const double operations = 2.0 * static_cast<double>(kTokens * shape.rows * shape.columns);
  for (auto& way : times) std::sort(way.begin(), way.end());
  const double float_time = times.back().front();
  const double scalar_time = times[tables.size() - 1].front();
  for (std::size_t i = 0; i <= tables.size(); ++i) {
    const double median = times[i][times[i].size() / 2], best = times[i].front();
    std::printf("%4zu x %-5zu %4u  %-10s %9.1f %8.1f %8.1f %9.2f %9.2f\n", shape.columns, shape.rows, bits,
                i < tables.size() ? tables[i]->name : "float", median * 1e6, best * 1e6, operations / best * 1e-9,
                scalar_time / best, float_time / best);
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 25;
  std::printf("%zu tokens, %d rounds\n", kTokens, rounds);
  std::printf("columns x rows bits  %-10s %9s %8s %8s %9s %9s\n", "kernels", "median us", "best us", "G/s", "x scalar", "x float");
  for (Shape shape : kShapes) {
    for (std::uint32_t bits : {1u, 2u, 4u}) {
      if (!bench(shape, bits, rounds)) return 1;
    }
  }
  return 0;
}
