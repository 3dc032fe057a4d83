#include "client/cli/text.h"

#include <absl/time/time.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "client/cli/json.h"
#include "server/core/erased_event.h"
#include "server/core/json_check.h"
#include "server/core/validation.h"

namespace eventstore::cli {
namespace {

// Columns are separated by this many spaces.
constexpr std::size_t kColumnGap = 2;
// The widest a column is padded to; a longer cell pushes its row only.
constexpr std::size_t kColumnWidthMax = 60;

// Decodes the code point at the start of `text`. Returns its length in bytes, or 0 if the bytes
// there are no UTF-8.
std::size_t Decode(std::string_view text, char32_t* code_point) {
  const auto byte = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) {
    *code_point = first;
    return 1;
  }
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  char32_t value = first & (0xFFu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    value = (value << 6) | (byte(i) & 0x3Fu);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kSmallest[length] || value > 0x10FFFF || surrogate) return 0;
  *code_point = value;
  return length;
}

// Whether a terminal could take this for a command, or show what is not there.
bool IsDangerous(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0x2028 || c == 0x2029 ||
         (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

}  // namespace

std::string Escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    char32_t c = 0;
    const std::size_t length = Decode(text, &c);
    if (length == 0) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(text[0]));
      text.remove_prefix(1);
      continue;
    }
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (IsDangerous(c)) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(c));
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  return out;
}

std::size_t WidthOf(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string FormatTime(const google::protobuf::Timestamp& time) {
  const absl::Time value =
      absl::FromUnixSeconds(time.seconds()) + absl::Microseconds(time.nanos() / 1000);
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E6SZ", value, absl::UTCTimeZone());
}

std::optional<google::protobuf::Timestamp> ParseTime(std::string_view text) {
  const std::string copy(text);
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, copy, &time, &error) &&
      !absl::ParseTime("%Y-%m-%d", copy, absl::UTCTimeZone(), &time, &error)) {
    return std::nullopt;
  }
  google::protobuf::Timestamp out;
  FromUnixMicros(absl::ToUnixMicros(time), &out);
  return out;
}

std::string FormatStream(const v1::StreamId& stream) {
  std::string out = Escape(stream.aggregate_type()) + "/" + Escape(stream.aggregate_id());
  if (!stream.tenant_id().empty()) out += " [" + Escape(stream.tenant_id()) + "]";
  return out;
}

std::string FormatPayload(std::string_view payload, std::string_view content_type) {
  if (IsJsonContentType(content_type)) {
    if (const auto compact = CompactJson(payload)) return Escape(*compact);
  }
  if (content_type == kErasedContentType && payload.empty()) return "<erased>";
  if (IsCleanUtf8(payload)) return Escape(payload);
  return fmt::format("<{} of {}>", Count(static_cast<std::int64_t>(payload.size()), "byte"),
                     Escape(content_type));
}

std::string Grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::size_t first = digits[0] == '-' ? 1 : 0;
  for (std::size_t end = digits.size(); end > first + 3; end -= 3) digits.insert(end - 3, 1, ',');
  return digits;
}

std::string Count(std::int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", Grouped(count), noun, count == 1 ? "" : "s");
}

Table::Table(std::vector<std::string> header) : header_(std::move(header)) {
  for (const std::string& cell : header_) widths_.push_back(WidthOf(cell));
}

void Table::Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

void Table::AppendRow(const std::vector<std::string>& cells, std::string* out) const {
  for (std::size_t i = 0; i < cells.size(); ++i) {
    *out += cells[i];
    if (i + 1 == cells.size()) break;  // No spaces at the end of a line.
    const std::size_t width = WidthOf(cells[i]);
    out->append(std::max(widths_[i], width) - width + kColumnGap, ' ');
  }
  *out += '\n';
}

std::string Table::Take() {
  if (rows_.empty()) return "";
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths_[i] = std::max(widths_[i], std::min(WidthOf(row[i]), kColumnWidthMax));
    }
  }
  std::string out;
  if (!std::exchange(header_printed_, true)) AppendRow(header_, &out);
  for (const auto& row : rows_) AppendRow(row, &out);
  rows_.clear();
  return out;
}

}  // namespace eventstore::cli
