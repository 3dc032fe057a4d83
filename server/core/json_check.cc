#include "server/core/json_check.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

// This file's own copy of RapidJSON: a broken invariant of it throws here, and is caught here,
// instead of ending the process. The namespace keeps that from other users of the library.
#define RAPIDJSON_NAMESPACE eventstore_rapidjson
#define RAPIDJSON_NAMESPACE_BEGIN namespace eventstore_rapidjson {
#define RAPIDJSON_NAMESPACE_END }
#define RAPIDJSON_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : throw std::logic_error("RapidJSON: " #condition))
#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>

namespace eventstore {
namespace {

namespace json = eventstore_rapidjson;

// What PostgreSQL's numeric can hold, whatever our own limit says: digits before and after the
// decimal point (https://www.postgresql.org/docs/15/datatype-numeric.html).
constexpr std::int64_t kNumericIntegerDigitsMax = 131072;
constexpr std::int64_t kNumericFractionDigitsMax = 16383;

// Beyond it an exponent is refused whatever the mantissa; reading stops adding up its digits.
constexpr std::int64_t kExponentMax = 1'000'000;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNumberStart(char c) { return IsDigit(c) || c == '-'; }
bool IsNumberPart(char c) {
  return IsNumberStart(c) || c == '+' || c == '.' || c == 'e' || c == 'E';
}

// A number as PostgreSQL prints it.
struct NumberShape {
  std::int64_t digits;       // all of them, before and after the point
  std::int64_t bytes;        // with sign and point
  bool fits_numeric = true;  // whether numeric can hold it
};

// Reads a number by RFC 8259's grammar; `text` must be all of it. Numeric keeps the scale that the
// number was written with (1.50 stays 1.50; 5e-3 becomes 0.005) and prints no exponent.
std::optional<NumberShape> ReadNumber(std::string_view text) {
  std::size_t at = 0;
  const auto count_digits = [&] {
    const std::size_t start = at;
    while (at < text.size() && IsDigit(text[at])) ++at;
    return static_cast<std::int64_t>(at - start);
  };
  const bool negative = text[at] == '-';
  if (negative) ++at;
  const std::size_t integer_start = at;
  const std::int64_t integer = count_digits();
  if (integer == 0 || (integer > 1 && text[integer_start] == '0')) return std::nullopt;
  std::int64_t fraction = 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    fraction = count_digits();
    if (fraction == 0) return std::nullopt;
  }
  const std::string_view mantissa = text.substr(integer_start, at - integer_start);
  std::int64_t exponent = 0;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    const bool minus = at < text.size() && text[at] == '-';
    if (at < text.size() && (minus || text[at] == '+')) ++at;
    const std::size_t exponent_start = at;
    if (count_digits() == 0) return std::nullopt;
    for (std::size_t i = exponent_start; i < at && exponent <= kExponentMax; ++i) {
      exponent = exponent * 10 + (text[i] - '0');
    }
    if (minus) exponent = -exponent;
  }
  if (at != text.size()) return std::nullopt;

  // Leading zeros are not printed, except for the one before the point.
  std::int64_t integer_printed = 1;
  if (const std::size_t significant = mantissa.find_first_of("123456789");
      significant != std::string_view::npos) {
    const bool after_point = static_cast<std::int64_t>(significant) > integer;
    const std::int64_t zeros = static_cast<std::int64_t>(significant) - (after_point ? 1 : 0);
    integer_printed = std::max<std::int64_t>(1, integer + exponent - zeros);
  }
  const std::int64_t fraction_printed = std::max<std::int64_t>(0, fraction - exponent);
  NumberShape shape;
  shape.digits = integer_printed + fraction_printed;
  shape.bytes = (negative ? 1 : 0) + shape.digits + (fraction_printed > 0 ? 1 : 0);
  shape.fits_numeric = integer_printed <= kNumericIntegerDigitsMax &&
                       fraction_printed <= kNumericFractionDigitsMax && exponent <= kExponentMax;
  return shape;
}

// What has been found out about a text so far.
struct Findings {
  std::int64_t printed_bytes = 0;
  std::string problem;  // the first one; empty: none
  std::size_t problem_offset = 0;

  void Report(std::size_t offset, std::string text) {
    if (!problem.empty()) return;
    problem = std::move(text);
    problem_offset = offset;
  }
};

// Feeds the parser, and checks each number on the way, of which the parser then sees only a "0": it
// would refuse those that a double cannot hold, but numeric holds far larger ones.
class NumberFoldingStream {
 public:
  using Ch = char;

  NumberFoldingStream(std::string_view text, const Limits& limits, Findings* findings)
      : text_(text), digits_max_(limits.json_number_digits_max), findings_(findings) {
    FoldNumber();
  }

  // The end reads as NUL, as the parser wants it.
  Ch Peek() const {
    if (number_end_ > at_) return '0';
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  Ch Take() {
    const Ch c = Peek();
    if (at_ >= text_.size()) return c;
    at_ = number_end_ > at_ ? number_end_ : at_ + 1;
    if (!in_string_) {
      in_string_ = c == '"';
    } else if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
    }
    if (!in_string_) FoldNumber();
    return c;
  }

  std::size_t Tell() const { return at_; }

  // For output streams only, but the parser wants them declared.
  Ch* PutBegin() { return nullptr; }
  void Put(Ch) {}
  void Flush() {}
  std::size_t PutEnd(Ch*) { return 0; }

 private:
  void FoldNumber() {
    if (at_ >= text_.size() || !IsNumberStart(text_[at_])) return;
    std::size_t end = at_ + 1;
    while (end < text_.size() && IsNumberPart(text_[end])) ++end;
    number_end_ = end;
    const std::optional<NumberShape> shape = ReadNumber(text_.substr(at_, end - at_));
    if (!shape.has_value()) {
      findings_->Report(at_, "this is not a JSON number, such as 12, -0.5 or 1e3");
    } else if (!shape->fits_numeric) {
      findings_->Report(at_, absl::StrCat("this number is out of the database's range: at most ",
                                          kNumericIntegerDigitsMax, " digits before and ",
                                          kNumericFractionDigitsMax, " after the point"));
    } else if (shape->digits > digits_max_) {
      findings_->Report(at_, absl::StrCat("this number has ", shape->digits,
                                          " digits when written in full; at most ", digits_max_,
                                          " are allowed (json_number_digits_max)"));
    } else {
      findings_->printed_bytes += shape->bytes;
    }
  }

  const std::string_view text_;
  const std::int64_t digits_max_;
  Findings* const findings_;
  std::size_t at_ = 0;
  std::size_t number_end_ = 0;  // where the number at `at_` ends; <= `at_`: there is none
  bool in_string_ = false;
  bool escaped_ = false;
};

// Counts what jsonb prints, which is `{"a": [1, true], "b": null}`, and stops the parser at what
// jsonb refuses. Every method returns whether to go on.
class Handler {
 public:
  Handler(const NumberFoldingStream& stream, const Limits& limits, Findings* findings)
      : stream_(stream), depth_max_(limits.json_depth_max), findings_(findings) {}

  bool Null() { return Add(4); }
  bool Bool(bool value) { return Add(value ? 4 : 5); }
  // The stream has counted the number itself.
  bool Int(int) { return Add(0); }
  bool Uint(unsigned) { return Add(0); }
  bool Int64(std::int64_t) { return Add(0); }
  bool Uint64(std::uint64_t) { return Add(0); }
  bool Double(double) { return Add(0); }
  bool RawNumber(const char*, json::SizeType, bool) { return Add(0); }
  bool Key(const char* text, json::SizeType size, bool copy) { return String(text, size, copy); }
  bool StartObject() { return Enter(); }
  bool StartArray() { return Enter(); }
  bool EndObject(json::SizeType members) { return Leave(members, 2 * members); }
  bool EndArray(json::SizeType elements) { return Leave(elements, 0); }

  // `text` is decoded. The input was well-formed UTF-8, so a surrogate comes from an escape.
  bool String(const char* text, json::SizeType size, bool) {
    std::int64_t printed = 2;
    for (json::SizeType i = 0; i < size; ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      if (byte == 0) return Refuse("\\u0000, which the database cannot store");
      if (byte == 0xed && i + 1 < size && static_cast<unsigned char>(text[i + 1]) >= 0xa0) {
        return Refuse("the second half of a surrogate pair (\\uDC00 to \\uDFFF) without the first");
      }
      printed += PrintedSize(byte);
    }
    return Add(printed);
  }

 private:
  static std::int64_t PrintedSize(unsigned char byte) {
    switch (byte) {
      case '\b':
      case '\f':
      case '\n':
      case '\r':
      case '\t':
      case '"':
      case '\\':
        return 2;
      default:
        return byte < 0x20 ? 6 : 1;
    }
  }

  bool Refuse(std::string_view what) {
    findings_->Report(stream_.Tell(), absl::StrCat("the string that ends here contains ",
                                                   absl::string_view(what.data(), what.size())));
    return false;
  }

  bool Add(std::int64_t bytes) {
    findings_->printed_bytes += bytes;
    return findings_->problem.empty();
  }

  bool Enter() {
    if (++depth_ > depth_max_) {
      findings_->Report(stream_.Tell(), absl::StrCat("arrays and objects are nested more than ",
                                                     depth_max_, " deep (json_depth_max)"));
    }
    return Add(2);  // both brackets
  }

  bool Leave(std::int64_t parts, std::int64_t colons_bytes) {
    --depth_;
    return Add(colons_bytes + (parts > 1 ? 2 * (parts - 1) : 0));
  }

  const NumberFoldingStream& stream_;
  const std::int64_t depth_max_;
  Findings* const findings_;
  std::int64_t depth_ = 0;
};

absl::Status Malformed(std::size_t offset, const std::string& problem) {
  return absl::InvalidArgumentError(
      absl::StrCat("not storable as JSON at byte ", offset, ": ", problem));
}

// The offset of the first byte that is not part of well-formed UTF-8 or is NUL; the size if none.
// Well-formed is as in the Unicode Standard, table 3-7, which is what PostgreSQL takes.
std::size_t FirstUncleanByte(std::string_view text) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  const std::size_t size = text.size();
  std::size_t at = 0;
  while (at < size) {
    const unsigned char lead = bytes[at];
    if (lead < 0x80) {
      if (lead == 0) return at;
      ++at;
      continue;
    }
    std::size_t length = 2;
    unsigned char second_min = 0x80;
    unsigned char second_max = 0xbf;
    if (lead < 0xc2 || lead > 0xf4) return at;
    if (lead >= 0xf0) {
      length = 4;
      if (lead == 0xf0) second_min = 0x90;
      if (lead == 0xf4) second_max = 0x8f;
    } else if (lead >= 0xe0) {
      length = 3;
      if (lead == 0xe0) second_min = 0xa0;
      if (lead == 0xed) second_max = 0x9f;
    }
    if (size - at < length) return at;
    if (bytes[at + 1] < second_min || bytes[at + 1] > second_max) return at;
    for (std::size_t i = 2; i < length; ++i) {
      if ((bytes[at + i] & 0xc0) != 0x80) return at;
    }
    at += length;
  }
  return size;
}

}  // namespace

bool IsCleanUtf8(std::string_view text) { return FirstUncleanByte(text) == text.size(); }

absl::StatusOr<std::int64_t> CheckJson(std::string_view text, const Limits& limits) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return absl::InvalidArgumentError("payload is empty; JSON needs a value");
  }
  if (const std::size_t unclean = FirstUncleanByte(text); unclean < text.size()) {
    return Malformed(unclean, text[unclean] == '\0' ? "a NUL byte" : "not valid UTF-8");
  }
  if (text.substr(0, 3) == "\xef\xbb\xbf") {
    return Malformed(0, "a byte order mark; send the JSON value without it");
  }
  Findings findings;
  NumberFoldingStream stream(text, limits, &findings);
  Handler handler(stream, limits, &findings);
  try {
    json::Reader reader;
    const json::ParseResult result = reader.Parse<json::kParseIterativeFlag>(stream, handler);
    // Of two problems the one that comes first in the text: a bad number may only be what the
    // stream looked ahead to.
    if (result.IsError() &&
        (findings.problem.empty() || result.Offset() < findings.problem_offset)) {
      return Malformed(result.Offset(), json::GetParseError_En(result.Code()));
    }
  } catch (const std::exception& error) {
    return Malformed(stream.Tell(), error.what());
  }
  if (!findings.problem.empty()) return Malformed(findings.problem_offset, findings.problem);
  return findings.printed_bytes;
}

}  // namespace eventstore
