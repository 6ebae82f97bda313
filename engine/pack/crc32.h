// CRC-32 as zlib and PNG compute it: polynomial 0xEDB88320, reflected, initial and final inversion.
//
// It finds damage, not malice: whoever changes a file on purpose can repair the checksum. Owns its tables (4 KiB, made when
// constructed, so that they cost nothing over the wire). Nothing fails.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace beex {

class Crc32 {
 public:
  Crc32();
  std::uint32_t operator()(std::span<const std::uint8_t> bytes) const;

 private:
  // table_[k][b] is the remainder of byte b followed by k zero bytes: four bytes are folded in at once.
  std::array<std::array<std::uint32_t, 256>, 4> table_;
};

}  // namespace beex
