// Reading and writing single UTF-8 characters. Nothing here allocates or can fail: bad bytes read as U+FFFD.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace beex {

constexpr std::uint32_t kReplacementCharacter = 0xFFFD;

struct DecodedChar {
  std::uint32_t code = 0;
  std::uint32_t length = 0;  // bytes it takes in the text, 1 to 4
};

// The character at `position` < text.size(). An ill-formed sequence gives U+FFFD for its maximal subpart: the longest start
// of a well-formed sequence, or one byte (Unicode 15.0, section 3.9, table 3-8). Surrogates and overlong forms are
// ill-formed.
inline DecodedChar decode_utf8(std::string_view text, std::size_t position) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[position + i]); };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xC2 || lead > 0xF4) return {kReplacementCharacter, 1};

  const std::uint32_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range is narrower after these leads; this is what excludes overlong forms, surrogates and > U+10FFFF.
  std::uint32_t lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  std::uint32_t highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  const std::size_t left = text.size() - position;
  std::uint32_t code = lead & (0x7Fu >> length);
  for (std::uint32_t i = 1; i < length; ++i) {
    if (i >= left || byte(i) < lowest || byte(i) > highest) return {kReplacementCharacter, i};
    code = code << 6 | (byte(i) & 0x3Fu);
    lowest = 0x80;
    highest = 0xBF;
  }
  return {code, length};
}

// Writes `code`, a Unicode scalar value, and returns its length, 1 to 4 bytes.
inline std::size_t encode_utf8(std::uint32_t code, std::uint8_t out[4]) {
  if (code < 0x80) {
    out[0] = static_cast<std::uint8_t>(code);
    return 1;
  }
  const std::size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (std::size_t i = length - 1; i > 0; --i) {
    out[i] = static_cast<std::uint8_t>(0x80 | (code & 0x3F));
    code >>= 6;
  }
  out[0] = static_cast<std::uint8_t>((0xF00u >> length) | code);  // 110xxxxx, 1110xxxx or 11110xxx
  return length;
}

}  // namespace beex
