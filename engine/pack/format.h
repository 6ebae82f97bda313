// Sentences for errors and names of sections: the few conversions of printf that they need. The C library's own would be a tenth of the
// engine over the wire, most of it for floats.
#pragma once

#include <cstdarg>
#include <span>

namespace beex {

// Writes `format` with its arguments into `out`, cut at its size, and a zero byte. Knows %s, %.*s, %u, %x and %%, the numbers also with
// z and ll; anything else is a mistake of the caller and is written as it stands.
void vformat_text(std::span<char> out, const char* format, std::va_list arguments);

// The same with the arguments themselves.
void format_text(std::span<char> out, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace beex
