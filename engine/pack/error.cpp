#include <cstddef>
#include <cstdint>

#include "beex/status.h"
#include "pack/format.h"

namespace beex {
namespace {

// Appends to a buffer and forgets what does not fit.
class Writer {
 public:
  explicit Writer(std::span<char> out) : out_(out) {}
  ~Writer() { out_[used_] = '\0'; }

  void put(char byte) {
    if (used_ + 1 < out_.size()) out_[used_++] = byte;
  }

  // Up to `most` bytes of a text that ends with a zero byte, if not before.
  void put(const char* text, std::size_t most) {
    for (std::size_t i = 0; i < most && text[i] != '\0'; ++i) put(text[i]);
  }

  void put(std::uint64_t value, unsigned base) {
    char digits[20];
    std::size_t count = 0;
    do {
      digits[count++] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    while (count > 0) put(digits[--count]);
  }

 private:
  std::span<char> out_;
  std::size_t used_ = 0;
};

}  // namespace

void vformat_text(std::span<char> out, const char* format, std::va_list arguments) {
  Writer writer(out);
  for (; *format != '\0'; ++format) {
    if (*format != '%') {
      writer.put(*format);
      continue;
    }
    const char* const conversion = format++;
    std::size_t width = SIZE_MAX;
    unsigned bytes = sizeof(unsigned);
    if (format[0] == '.' && format[1] == '*') {
      width = static_cast<std::size_t>(va_arg(arguments, int));
      format += 2;
    } else if (format[0] == 'z') {
      bytes = sizeof(std::size_t);
      format += 1;
    } else if (format[0] == 'l' && format[1] == 'l') {
      bytes = sizeof(unsigned long long);
      format += 2;
    }
    switch (*format) {
      case 's':
        writer.put(va_arg(arguments, const char*), width);
        break;
      case 'u':
      case 'x':
        writer.put(bytes == sizeof(unsigned) ? va_arg(arguments, unsigned) : va_arg(arguments, unsigned long long), *format == 'x' ? 16 : 10);
        break;
      case '%':
        writer.put('%');
        break;
      default:
        writer.put(conversion, SIZE_MAX);
        return;
    }
  }
}

void format_text(std::span<char> out, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  vformat_text(out, format, arguments);
  va_end(arguments);
}

Error make_error(Status status, const char* format, ...) {
  Error error;
  error.status = status;
  std::va_list arguments;
  va_start(arguments, format);
  vformat_text(error.message, format, arguments);
  va_end(arguments);
  return error;
}

}  // namespace beex
