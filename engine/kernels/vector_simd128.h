// The 128-bit lane type of vector.h, and the WebAssembly SIMD intrinsics it is made of: natively the same names come from SIMDe.
// Included by simd128.cpp only; SIMDe is large.
#pragma once

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#else
// Natively the same intrinsics come from SIMDe, whose headers do not compile under our warnings.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/wasm/simd128.h>
#pragma GCC diagnostic pop
#endif

namespace beex {
namespace simd128 {

struct Float4 {
  v128_t lanes;

  Float4() = default;
  explicit Float4(v128_t x) : lanes(x) {}
  explicit Float4(float x) : lanes(wasm_f32x4_splat(x)) {}
  static Float4 load(const float* x) { return Float4(wasm_v128_load(x)); }
  void store(float* x) const { wasm_v128_store(x, lanes); }
};

inline Float4 operator+(Float4 a, Float4 b) { return Float4(wasm_f32x4_add(a.lanes, b.lanes)); }
inline Float4 operator-(Float4 a, Float4 b) { return Float4(wasm_f32x4_sub(a.lanes, b.lanes)); }
inline Float4 operator*(Float4 a, Float4 b) { return Float4(wasm_f32x4_mul(a.lanes, b.lanes)); }
inline Float4 operator/(Float4 a, Float4 b) { return Float4(wasm_f32x4_div(a.lanes, b.lanes)); }
inline Float4 round_down(Float4 x) { return Float4(wasm_f32x4_floor(x.lanes)); }
// pmax(a, b) is a < b ? b : a, and pmin(a, b) is b < a ? b : a; unlike max and min they are one instruction everywhere.
inline Float4 larger(Float4 a, Float4 b) { return Float4(wasm_f32x4_pmax(a.lanes, b.lanes)); }
inline Float4 clamp(Float4 x, Float4 low, Float4 high) {
  return Float4(wasm_f32x4_pmin(high.lanes, wasm_f32x4_pmax(low.lanes, x.lanes)));
}
inline Float4 power_of_two(Float4 n) {
  return Float4(wasm_i32x4_shl(wasm_f32x4_add(n.lanes, wasm_f32x4_splat(127.0f + 8388608.0f)), 23));
}
inline Float4 first_lanes(Float4 x, std::size_t count) {
  const v128_t number = wasm_i32x4_make(0, 1, 2, 3);
  return Float4(wasm_v128_and(x.lanes, wasm_i32x4_lt(number, wasm_i32x4_splat(static_cast<std::int32_t>(count)))));
}

}  // namespace simd128

}  // namespace beex
