// The container of a `.beex` file: its header and its table of sections (model_pack/FORMAT.md, "Container").
//
// It knows nothing of what sections mean; that is reader.cpp. It owns no memory: the bytes must outlive it. After `open` every
// section lies inside the file, aligned to 64 bytes, and names are unique. Only `open` and `check_sum` fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "beex/status.h"
#include "pack/crc32.h"

namespace beex {

constexpr std::uint32_t kMaxSections = 4096;
constexpr std::size_t kSectionNameSize = 40;

struct Section {
  std::string_view name;
  std::size_t offset = 0;  // from the start of the file
  std::span<const std::uint8_t> bytes;
  std::uint32_t crc = 0;
  bool required = false;
};

class Container {
 public:
  // Checks everything but the sections' own checksums.
  static Error open(std::span<const std::uint8_t> bytes, Container& container);

  std::uint32_t size() const { return count_; }
  Section operator[](std::uint32_t index) const;
  // Index of the section of that name, or size().
  std::uint32_t find(std::string_view name) const;
  // kCorrupt when the section's bytes do not match its checksum.
  Error check_sum(std::uint32_t index) const;

 private:
  Error check_header();
  Error check_table() const;
  Error check_entry(std::uint32_t index, std::size_t end) const;
  const std::uint8_t* entry(std::uint32_t index) const;

  std::span<const std::uint8_t> bytes_;
  std::uint32_t count_ = 0;
  Crc32 crc_;
};


}  // namespace beex
