// What the machine could do at most, as JSON: 1-bit and float32 operations a second when nothing but registers is used.
//
//   bench_limits          as WebAssembly: node --no-experimental-fetch bench_limits.js
//
// popcount_gops: xor, population count and add of 16 bytes a step; two operations (a multiply and an add) a bit, as in bench_kernels.
// float_gops: multiply and add of four floats a step. Both keep as many independent sums as hide latency and fit in 16 registers.
// Without SIMD, words of 64 bits and single floats.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <type_traits>

#if defined(BEEX_SIMD128)
#include "kernels/vector_simd128.h"  // for the intrinsics
#else
#include <bit>
#endif

namespace {

constexpr std::size_t kSteps = 200'000;
constexpr int kRounds = 15;

#if defined(BEEX_SIMD128)
using Bits = v128_t;
using Floats = v128_t;
constexpr double kBits = 128, kFloats = 4;
Bits bits_of(std::size_t i) { return wasm_i32x4_splat(static_cast<std::int32_t>((i + 1) * 2654435761u)); }
Floats floats_of(std::size_t i) { return wasm_f32x4_splat(1.0f / static_cast<float>(i + 2)); }
Bits count_step(Bits sum, Bits x) { return wasm_i8x16_add(sum, wasm_i8x16_popcnt(wasm_v128_xor(sum, x))); }
Floats multiply_step(Floats sum, Floats x) { return wasm_f32x4_add(x, wasm_f32x4_mul(sum, x)); }
double number(v128_t value) { return wasm_f32x4_extract_lane(value, 0); }
#else
using Bits = std::uint64_t;
using Floats = float;
constexpr double kBits = 64, kFloats = 1;
Bits bits_of(std::size_t i) { return (i + 1) * 0x9E3779B97F4A7C15u; }
Floats floats_of(std::size_t i) { return 1.0f / static_cast<float>(i + 2); }
Bits count_step(Bits sum, Bits x) { return sum + static_cast<Bits>(std::popcount(sum ^ x)); }
Floats multiply_step(Floats sum, Floats x) { return x + sum * x; }
double number(Bits value) { return static_cast<double>(value); }
double number(Floats value) { return static_cast<double>(value); }
#endif

volatile double sink;  // somebody reads the sums, so that they are computed

// Steps a second at best. Every step needs the sum of the one before, so that none can be left out.
template <std::size_t kSums, class Start, class Step>
double steps_per_second(Start start_of, Step step) {
  const auto x = start_of(0);
  double best = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    std::array<std::remove_const_t<decltype(x)>, kSums> sums;
    for (std::size_t i = 0; i < kSums; ++i) sums[i] = start_of(i + 1);
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < kSteps; ++i) {
      for (auto& sum : sums) sum = step(sum, x);
    }
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    double total = 0.0;
    for (const auto& sum : sums) total += number(sum);
    sink = total;
  }
  return static_cast<double>(kSums * kSteps) / best;
}

}  // namespace

int main() {
  const double popcount = steps_per_second<8>(bits_of, count_step) * 2.0 * kBits * 1e-9;
  const double floating = steps_per_second<12>(floats_of, multiply_step) * 2.0 * kFloats * 1e-9;
  std::printf("{\"popcount_gops\": %.1f, \"float_gops\": %.1f}\n", popcount, floating);
  return 0;
}
