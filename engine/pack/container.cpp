#include "pack/container.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "pack/lines.h"

namespace beex {
namespace {

constexpr std::size_t kHeaderSize = 64;
constexpr std::size_t kEntrySize = 64;
constexpr std::size_t kSectionAlignment = 64;
constexpr std::uint64_t kMaxFileSize = std::uint64_t{256} << 20;
constexpr unsigned kMajorVersion = 1;
constexpr std::uint32_t kRequiredFlag = 1;

// The engine reads numbers as they lie in the file: every machine with WebAssembly and every native target is little-endian.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

template <class T>
T read(const std::uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

bool all_zero(std::span<const std::uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

bool allowed_in_name(std::uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_';
}

// A guess at what a file without the magic bytes is, as the end of a sentence.
const char* describe_stranger(std::span<const std::uint8_t> bytes) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min<std::size_t>(bytes.size(), 256));
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  if (text.starts_with('<')) return "it looks like an HTML page, so the address is probably wrong";
  if (text.starts_with("version https://git-lfs")) return "it is a Git LFS pointer, so the real file was not fetched";
  if (text.starts_with("\x1F\x8B")) return "it is gzip data that nobody unpacked: serve it with Content-Encoding: gzip";
  return "it does not start with BEEX";
}

}  // namespace

Error Container::open(std::span<const std::uint8_t> bytes, Container& container) {
  container.bytes_ = bytes;
  container.count_ = 0;
  const Error error = container.check_header();
  return error.ok() ? container.check_table() : error;
}

const std::uint8_t* Container::entry(std::uint32_t index) const { return bytes_.data() + kHeaderSize + kEntrySize * index; }

Section Container::operator[](std::uint32_t index) const {
  const std::uint8_t* at = entry(index);
  Section section;
  section.name = {reinterpret_cast<const char*>(at), static_cast<std::size_t>(std::find(at, at + kSectionNameSize, 0) - at)};
  section.offset = static_cast<std::size_t>(read<std::uint64_t>(at + 40));
  section.bytes = bytes_.subspan(section.offset, static_cast<std::size_t>(read<std::uint64_t>(at + 48)));
  section.crc = read<std::uint32_t>(at + 56);
  section.required = (read<std::uint32_t>(at + 60) & kRequiredFlag) != 0;
  return section;
}

std::uint32_t Container::find(std::string_view name) const {
  if (name.size() > kSectionNameSize) return count_;
  std::uint8_t padded[kSectionNameSize] = {};
  std::memcpy(padded, name.data(), name.size());
  std::uint32_t index = 0;
  while (index < count_ && std::memcmp(entry(index), padded, sizeof padded) != 0) ++index;
  return index;
}

Error Container::check_sum(std::uint32_t index) const {
  const Section section = (*this)[index];
  if (crc_(section.bytes) == section.crc) return {};
  return make_error(Status::kCorrupt, "section \"%.*s\" at 0x%zx is damaged: its checksum does not match",
                    static_cast<int>(section.name.size()), section.name.data(), section.offset);
}

Error Container::check_header() {
  const std::size_t size = bytes_.size();
  const std::uint8_t* header = bytes_.data();
  if (size == 0) return make_error(Status::kTruncated, "the file is empty");
  if (std::memcmp(header, "BEEX", std::min<std::size_t>(size, 4)) != 0) {
    return make_error(Status::kNotAPack, "not a .beex pack: %s", describe_stranger(bytes_));
  }
  if (size < kHeaderSize) {
    return make_error(Status::kTruncated, "the file has %zu bytes, the header of a pack needs %zu", size, kHeaderSize);
  }
  const unsigned major = read<std::uint16_t>(header + 4);
  if (major != kMajorVersion) {
    return make_error(Status::kUnsupportedVersion, "the pack has format version %u, this engine reads version %u: %s", major,
                      kMajorVersion, major > kMajorVersion ? "update beex" : "make the pack again");
  }
  if (crc_(bytes_.first(60)) != read<std::uint32_t>(header + 60)) {
    return make_error(Status::kCorrupt, "the header is damaged: its checksum does not match");
  }
  if (!all_zero(bytes_.subspan(24, 36))) return make_error(Status::kBadValue, "header: the bytes 24 to 59 must be zero");
  const auto declared = read<std::uint64_t>(header + 16);
  if (declared > kMaxFileSize) {
    return make_error(Status::kBadValue, "header: a file size of %llu bytes, at most 256 MiB are allowed",
                      static_cast<unsigned long long>(declared));
  }
  if (size != declared) {
    return make_error(size < declared ? Status::kTruncated : Status::kBadSection, "the file has %zu bytes, its header says %zu%s", size,
                      static_cast<std::size_t>(declared), size < declared ? ": it was cut off on its way" : "");
  }
  const auto count = read<std::uint32_t>(header + 8);
  if (count > kMaxSections) {
    return make_error(Status::kBadValue, "header: %u sections, at most %u are allowed", count, kMaxSections);
  }
  if (size < kHeaderSize + kEntrySize * count) {
    return make_error(Status::kTruncated, "the file has %zu bytes, a table of %u sections needs %zu", size, count,
                      kHeaderSize + kEntrySize * count);
  }
  count_ = count;
  return {};
}

Error Container::check_table() const {
  const auto table = bytes_.subspan(kHeaderSize, kEntrySize * count_);
  if (crc_(table) != read<std::uint32_t>(bytes_.data() + 12)) {
    return make_error(Status::kCorrupt, "the section table is damaged: its checksum does not match");
  }
  std::size_t end = kHeaderSize + table.size();
  for (std::uint32_t i = 0; i < count_; ++i) {
    const Error error = check_entry(i, end);
    if (!error.ok()) return error;
    end = (*this)[i].offset + (*this)[i].bytes.size();
  }
  if (end != bytes_.size()) {
    return make_error(Status::kBadSection, "the last section ends at 0x%zx, the file at 0x%zx", end, bytes_.size());
  }
  const std::unique_ptr<std::string_view[]> names(new (std::nothrow) std::string_view[count_]);
  if (names == nullptr) return make_error(Status::kOutOfMemory, "not enough memory to check the section table");
  for (std::uint32_t i = 0; i < count_; ++i) names[i] = (*this)[i].name;
  if (sort_and_find_duplicate({names.get(), count_})) {
    return make_error(Status::kBadSection, "section table: two sections have the same name");
  }
  return {};
}

// `end` is where the section before it ends, or the table.
Error Container::check_entry(std::uint32_t index, std::size_t end) const {
  const std::uint8_t* at = entry(index);
  const std::uint8_t* padding = std::find_if_not(at, at + kSectionNameSize, allowed_in_name);
  const auto length_of_name = static_cast<std::size_t>(padding - at);
  if (length_of_name == 0 || !all_zero({padding, kSectionNameSize - length_of_name})) {
    return make_error(Status::kBadSection, "section table: entry %u needs a name of letters, digits, '.' and '_', padded with zeros",
                      index);
  }
  const char* name = reinterpret_cast<const char*>(at);
  const int width = static_cast<int>(length_of_name);
  const auto offset = read<std::uint64_t>(at + 40);
  const auto length = read<std::uint64_t>(at + 48);
  if (offset > bytes_.size() || length > bytes_.size() - offset) {
    return make_error(Status::kTruncated, "section \"%.*s\" at 0x%llx: %llu bytes, but the file has only %zu", width, name,
                      static_cast<unsigned long long>(offset), static_cast<unsigned long long>(length), bytes_.size());
  }
  const auto start = static_cast<std::size_t>(offset);
  if (start % kSectionAlignment != 0) {
    return make_error(Status::kBadSection, "section \"%.*s\" at 0x%zx: the offset is not a multiple of %zu", width, name, start,
                      kSectionAlignment);
  }
  if (start < end) {
    return make_error(Status::kBadSection, "section \"%.*s\" at 0x%zx begins before the end of what precedes it, 0x%zx", width, name,
                      start, end);
  }
  if (start - end >= kSectionAlignment || !all_zero(bytes_.subspan(end, start - end))) {
    return make_error(Status::kBadSection, "section \"%.*s\" at 0x%zx: before it come %zu bytes that should be zeros, fewer than %zu",
                      width, name, start, start - end, kSectionAlignment);
  }
  if ((read<std::uint32_t>(at + 60) & ~kRequiredFlag) != 0) {
    return make_error(Status::kUnsupportedFeature, "section \"%.*s\" has flags that this engine does not know: update beex", width, name);
  }
  return {};
}

}  // namespace beex
