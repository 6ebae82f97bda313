// The engine's own small printf against the C library's.
#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdio>
#include <string>

#include "pack/format.h"

namespace {

// Both texts at every size of buffer: equal, cut alike, and not a byte is written beyond the buffer.
template <class... Arguments>
void check(const char* format, Arguments... arguments) {
  for (std::size_t size = 1; size <= 64; ++size) {
    std::array<char, 65> expected, found;
    expected.fill('?');
    found.fill('?');
    std::snprintf(expected.data(), size, format, arguments...);
    beex::format_text(std::span(found).first(size), format, arguments...);
    CHECK(std::string(found.data()) == expected.data());
    CHECK(found[size] == '?');
  }
}

}  // namespace

TEST_CASE("format_text writes what printf writes") {
  check("plain%s", "");
  check("%s", "");
  check("%%, %s|%s", "text", "");
  check("\"%.*s\" of %u", 3, "abcdef", 7u);
  check("%.*s|", 0, "abc");
  for (const std::uint32_t value : {0u, 9u, 10u, 0xFFFFFFFFu}) {
    check("%u in 0x%x", value, value);
    check("%zu at 0x%zx", std::size_t{value}, std::size_t{value});
    check("%llu at 0x%llx", value * 0x100000001ull, value * 0x100000001ull);
  }
}
