// Text for people: safe on a terminal, aligned, times as RFC 3339.
#ifndef EVENTSTORE_CLIENT_CLI_TEXT_H_
#define EVENTSTORE_CLIENT_CLI_TEXT_H_

#include <google/protobuf/timestamp.pb.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eventstore/v1/types.pb.h"

namespace eventstore::cli {

// The text with everything that could command a terminal written as an escape: control characters
// of C0 and C1, DEL, the line separators and the marks that turn text around (U+202A to U+202E,
// U+2066 to U+2069), and bytes that are no UTF-8.
[[nodiscard]] std::string Escape(std::string_view text);

// How many columns a text takes: its code points.
[[nodiscard]] std::size_t WidthOf(std::string_view text);

// RFC 3339 in UTC with microseconds, such as 2024-05-01T12:00:00.000001Z.
[[nodiscard]] std::string FormatTime(const google::protobuf::Timestamp& time);

// Reads RFC 3339 ("2024-05-01T12:00:00Z", fraction and offset allowed), or a date ("2024-05-01"),
// which means its midnight in UTC. Nothing for anything else.
[[nodiscard]] std::optional<google::protobuf::Timestamp> ParseTime(std::string_view text);

// Type/id of a stream, with its tenant in brackets if it has one; escaped.
[[nodiscard]] std::string FormatStream(const v1::StreamId& stream);

// A payload on one line: JSON without its white space, other text as it is, both escaped; for
// anything else its size and type.
[[nodiscard]] std::string FormatPayload(std::string_view payload, std::string_view content_type);

// "1 event", "2,000 events".
[[nodiscard]] std::string Count(std::int64_t count, std::string_view noun);

// With commas between thousands: "1,234,567".
[[nodiscard]] std::string Grouped(std::int64_t number);

// Rows of cells in aligned columns. Rows are collected and taken page by page; a column never gets
// narrower, so that the pages of one output line up as far as can be. One thread.
class Table {
 public:
  // The header is printed above the first row of the first page.
  explicit Table(std::vector<std::string> header);

  // Adds a row of as many cells as the header has. Cells must be escaped already.
  void Add(std::vector<std::string> cells);
  // The rows added since the last call, one per line; "" if there are none.
  [[nodiscard]] std::string Take();

 private:
  void AppendRow(const std::vector<std::string>& cells, std::string* out) const;

  std::vector<std::string> header_;
  std::vector<std::size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
  bool header_printed_ = false;
};

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_TEXT_H_
