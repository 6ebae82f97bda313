// Files for the command-line tools of tests/: a pack from disk, lines of text.
#pragma once

#include <cstdio>
#include <string>
#include <utility>

#include "beex/bytes.h"

namespace beex::test {

// The whole file, or nothing when it cannot be read.
inline Bytes read_file(const char* path) {
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) return {};
  std::fseek(file, 0, SEEK_END);
  const long size = std::ftell(file);
  std::fseek(file, 0, SEEK_SET);
  Bytes bytes(size > 0 ? static_cast<std::size_t>(size) : 0);
  const std::size_t read = bytes.size() > 0 ? std::fread(bytes.data(), 1, bytes.size(), file) : 0;
  std::fclose(file);
  return read == bytes.size() ? std::move(bytes) : Bytes();
}

// The next line without its end, or false after the last.
inline bool read_line(std::FILE* file, std::string& line) {
  line.clear();
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) {
    if (c == '\n') return true;
    line += static_cast<char>(c);
  }
  return !line.empty();
}

}  // namespace beex::test
