// Speed of binary_linear, for every kernel table of the build, next to a plain float matrix product in the same run.
//
//   bench_kernels [rounds]          natively, or: node --no-experimental-fetch bench_kernels.js [rounds]
//
// A round times every way once, so that a busy machine disturbs all of them alike. Of the rounds (default 25) the table shows the
// median and the best time; G/s and the ratios come from the best, which other work on the machine disturbs least. G/s counts
// 2 * tokens * rows * columns operations, whatever the bits: it is the speed of the layer as the model sees it. The float product
// takes four tokens by eight rows a step, in four-lane floats (registers when the build has SIMD). With 1-bit activations there is a
// yardstick beside them: what 1-bit products are in plain SIMD, without the tables and the exactness for more bits that the engine's have.
#include <algorithm>
#include <bit>
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

#if defined(BEEX_SIMD128)
// y = (K - 2 popcount(x ^ w)) * scale + bias for 1-bit activations: two tokens by 64 rows a step. A nibble of activations chooses one of 16
// tables of popcount(x ^ w), and a swizzle looks a nibble of weights of 16 rows up in it.
class Yardstick {
 public:
  Yardstick(const std::uint8_t* bits, Shape shape) : shape_(shape), weights_(shape.rows * shape.columns / 4) {
    const std::size_t nibbles = shape.columns / 4;
    for (std::size_t r = 0; r < shape.rows; ++r) {
      for (std::size_t k = 0; k < nibbles; ++k) weights_[(r / 64 * nibbles + k) * 64 + r % 64] = nibble(bits + r * nibbles / 2, k);
    }
    for (int x = 0; x < 16; ++x) {
      for (int w = 0; w < 16; ++w) table_[x][w] = static_cast<std::uint8_t>(std::popcount(static_cast<unsigned>(x ^ w)));
    }
  }

  // `levels` is (tokens, columns), each 0 or 1.
  void operator()(const std::uint8_t* levels, const float* scale, const float* bias, float* y) {
    const std::size_t nibbles = shape_.columns / 4;
    std::vector<std::uint8_t>& x = packed_;
    x.resize(kTokens * nibbles);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<std::uint8_t>(levels[4 * i] | levels[4 * i + 1] << 1 | levels[4 * i + 2] << 2 | levels[4 * i + 3] << 3);
    }
    for (std::size_t r = 0; r < shape_.rows; r += 64) {
      for (std::size_t t = 0; t < kTokens; t += 2) tile(x.data() + t * nibbles, r, scale, bias, y + t * shape_.rows);
    }
  }

 private:
  static std::uint8_t nibble(const std::uint8_t* row, std::size_t k) { return static_cast<std::uint8_t>(row[k / 2] >> (k % 2 * 4) & 15); }

  void tile(const std::uint8_t* x, std::size_t r, const float* scale, const float* bias, float* y) const {
    const std::size_t nibbles = shape_.columns / 4;
    const std::uint8_t* weights = weights_.data() + r * nibbles;
    v128_t sums[2][4][2];
    for (auto& token : sums) {
      for (auto& rows : token) rows[0] = rows[1] = wasm_i32x4_splat(0);
    }
    for (std::size_t k = 0; k < nibbles;) {
      v128_t bytes[2][4];
      for (auto& token : bytes) token[0] = token[1] = token[2] = token[3] = wasm_i32x4_splat(0);
      for (const std::size_t end = std::min(nibbles, k + 63); k < end; ++k, weights += 64) {  // 63 times 4 fits a byte
        const v128_t first = wasm_v128_load(table_[x[k]]), second = wasm_v128_load(table_[x[nibbles + k]]);
        for (std::size_t g = 0; g < 4; ++g) {
          const v128_t w = wasm_v128_load(weights + 16 * g);
          bytes[0][g] = wasm_i8x16_add(bytes[0][g], wasm_i8x16_swizzle(first, w));
          bytes[1][g] = wasm_i8x16_add(bytes[1][g], wasm_i8x16_swizzle(second, w));
        }
      }
      for (std::size_t t = 0; t < 2; ++t) {
        for (std::size_t g = 0; g < 4; ++g) {
          sums[t][g][0] = wasm_i16x8_add(sums[t][g][0], wasm_u16x8_extend_low_u8x16(bytes[t][g]));
          sums[t][g][1] = wasm_i16x8_add(sums[t][g][1], wasm_u16x8_extend_high_u8x16(bytes[t][g]));
        }
      }
    }
    const v128_t all = wasm_i32x4_splat(static_cast<std::int32_t>(shape_.columns));
    for (std::size_t t = 0; t < 2; ++t) {
      for (std::size_t i = 0; i < 64; i += 4) {
        const v128_t half = sums[t][i / 16][i / 8 % 2];
        const v128_t differing = i % 8 == 0 ? wasm_u32x4_extend_low_u16x8(half) : wasm_u32x4_extend_high_u16x8(half);
        const Float4 d(wasm_f32x4_convert_i32x4(wasm_i32x4_sub(all, wasm_i32x4_add(differing, differing))));
        (d * Float4::load(scale + r + i) + Float4::load(bias + r + i)).store(y + t * shape_.rows + r + i);
      }
    }
  }

  Shape shape_;
  std::vector<std::uint8_t> weights_, packed_;  // [rows / 64][columns / 4][64], a nibble a byte
  alignas(16) std::uint8_t table_[16][16];
};
#endif

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

#if defined(BEEX_SIMD128)
  Yardstick yardstick(weights.data(), shape);
  const auto run_yardstick = [&] { yardstick(levels.data(), scale.data(), bias.data(), y.data()); };
  if (bits == 1) run_yardstick();
  if (std::memcmp(first.data(), y.data(), y.size() * sizeof(float)) != 0) {
    std::printf("the yardstick differs from %s\n", tables[0]->name);
    return false;
  }
  std::vector<double> yardstick_times;
#endif

  std::vector<std::vector<double>> times(tables.size() + 1);  // the last one is the float product
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < tables.size(); ++i) times[i].push_back(seconds([&] { run(i); }));
#if defined(BEEX_SIMD128)
    if (bits == 1) yardstick_times.push_back(seconds(run_yardstick));
#endif
    times.back().push_back(seconds([&] { float_product(x.data(), float_weights.data(), shape, y.data()); }));
  }

  const double operations = 2.0 * static_cast<double>(kTokens * shape.rows * shape.columns);
  for (auto& way : times) std::sort(way.begin(), way.end());
#if defined(BEEX_SIMD128)
  if (bits == 1) {
    std::sort(yardstick_times.begin(), yardstick_times.end());
    times.push_back(yardstick_times);
  }
#endif
  const double float_time = times[tables.size()].front();
  const double scalar_time = times[tables.size() - 1].front();
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double median = times[i][times[i].size() / 2], best = times[i].front();
    const char* name = i < tables.size() ? tables[i]->name : i == tables.size() ? "float" : "yardstick";
    std::printf("%4zu x %-5zu %4u  %-10s %9.1f %8.1f %8.1f %9.2f %9.2f\n", shape.columns, shape.rows, bits, name, median * 1e6, best * 1e6,
                operations / best * 1e-9, scalar_time / best, float_time / best);
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
