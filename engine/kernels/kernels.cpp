#include "kernels/kernels.h"

#include <array>

namespace beex {
namespace {

constexpr auto kTables = std::to_array<const KernelTable*>({
#if defined(BEEX_SIMD128)
    &simd128::kTable,
#endif
#if defined(BEEX_ALL_KERNELS) || !defined(BEEX_SIMD128)
    &scalar::kTable,
#endif
#if defined(BEEX_ALL_KERNELS)
    &reference::kTable,
#endif
});

}  // namespace

std::span<const KernelTable* const> kernel_tables() { return kTables; }

const KernelTable* find_kernels(std::string_view name) {
  if (name.empty()) return kTables.front();
  for (const KernelTable* table : kTables) {
    if (name == table->name) return table;
  }
  return nullptr;
}

}  // namespace beex
