#include "pack/lines.h"

#include <algorithm>

#include "text/utf8.h"

namespace beex {
std::size_t utf8_prefix(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const DecodedChar decoded = decode_utf8(text, i);
    // U+FFFD is also how ill-formed bytes read; only its own sequence is well-formed.
    if (decoded.code == kReplacementCharacter && text.substr(i, decoded.length) != "\xEF\xBF\xBD") break;
    i += decoded.length;
  }
  return i;
}

bool has_control_character(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7F) return true;
    // C1 is C2 80 .. C2 9F.
    if (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) return true;
  }
  return false;
}

bool take_line(std::string_view& text, std::string_view& line) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return false;
  line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return true;
}

bool sort_and_find_duplicate(std::span<std::string_view> values) {
  // Heap sort: the lists are short, and std::sort takes kilobytes of code.
  std::make_heap(values.begin(), values.end());
  std::sort_heap(values.begin(), values.end());
  return std::adjacent_find(values.begin(), values.end()) != values.end();
}

}  // namespace beex
