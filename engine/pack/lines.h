// Text inside a pack: UTF-8, lines, and whether two strings are the same. Views only; owns nothing.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace beex {

// Offset of the first byte of `text` that is not well-formed UTF-8, or text.size().
std::size_t utf8_prefix(std::string_view text);

// True when `text`, which is well-formed UTF-8, holds C0, DEL or C1 characters.
bool has_control_character(std::string_view text);

// Takes the first line off `text` and gives it without its '\n'. False when no '\n' is left.
bool take_line(std::string_view& text, std::string_view& line);

// True when two of `values` are equal. Sorts them: n log n comparisons, even for a hostile file.
bool sort_and_find_duplicate(std::span<std::string_view> values);

}  // namespace beex
