#include <cstdarg>
#include <cstdio>

#include "beex/status.h"

namespace beex {

Error make_error(Status status, const char* format, ...) {
  Error error;
  error.status = status;
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(error.message, sizeof error.message, format, arguments);
  va_end(arguments);
  return error;
}

}  // namespace beex
