// What can go wrong, as values. The engine never throws and never aborts on bad input.
#pragma once

#include <cstdint>

namespace beex {

enum class Status : std::uint8_t {
  kOk = 0,
  kNotAPack,            // the magic bytes are missing: another kind of file, or an error page
  kTruncated,           // the file ends before a section does
  kUnsupportedVersion,  // another major format version
  kUnsupportedFeature,  // a required section or a config value that this engine does not know
  kCorrupt,             // a checksum does not match
  kBadSection,          // missing, doubled, overlapping or of the wrong size
  kBadValue,            // a config value, float, label or token that breaks a rule of FORMAT.md
  kOutOfMemory,         // the allocator refused
  kWrongInput,          // a pair for a single-text pack or the other way round, or a call that the pack's task has no answer to
  kUnknownKernel,       // no implementation of that name in this build
};

// A status with a sentence for people: which section, which offset, what was found and what was expected.
struct Error {
  Status status = Status::kOk;
  char message[232] = {};

  bool ok() const { return status == Status::kOk; }
};

// Builds an Error with a printf-style message, cut at the size of the buffer.
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
Error make_error(Status status, const char* format, ...);

}  // namespace beex
