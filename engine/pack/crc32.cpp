#include "pack/crc32.h"

#include <cstring>

namespace beex {

Crc32::Crc32() {
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0xEDB88320u : 0u);
    table_[0][byte] = remainder;
  }
  for (std::size_t k = 1; k < table_.size(); ++k) {
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = table_[k - 1][byte];
      table_[k][byte] = (before >> 8) ^ table_[0][before & 0xFF];
    }
  }
}

std::uint32_t Crc32::operator()(std::span<const std::uint8_t> bytes) const {
  std::uint32_t crc = 0xFFFFFFFFu;
  std::size_t i = 0;
  for (; i + 4 <= bytes.size(); i += 4) {
    std::uint32_t word;
    std::memcpy(&word, bytes.data() + i, sizeof word);  // little-endian, as everywhere in the engine
    crc ^= word;
    crc = table_[3][crc & 0xFF] ^ table_[2][(crc >> 8) & 0xFF] ^ table_[1][(crc >> 16) & 0xFF] ^ table_[0][crc >> 24];
  }
  for (; i < bytes.size(); ++i) crc = (crc >> 8) ^ table_[0][(crc ^ bytes[i]) & 0xFF];
  return ~crc;
}

}  // namespace beex
