// Reads events to append from JSON lines.
#ifndef EVENTSTORE_CLIENT_CLI_EVENT_LINES_H_
#define EVENTSTORE_CLIENT_CLI_EVENT_LINES_H_

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <istream>
#include <string>
#include <string_view>

#include "eventstore/v1/types.pb.h"

namespace eventstore::cli {

// Reads one JSON object as an event. Members: `event_type` (required), `payload` (any JSON value;
// for a content type that is no JSON a string) or `payload_base64`, `content_type`, `event_id`,
// `timestamp`, `actor_id`, `correlation_id`, `causation_id`, `metadata` (object of strings), `tags`
// (array of strings), `schema_version`. What the store itself sets (`global_position`, `stream`,
// `version`, `created_at`) is ignored, so that the output of a read is input here; null is the same
// as nothing. Anything else is an error, since it is likely a misspelling.
// Without `event_id` an id is made; without payload it is {} for JSON and empty otherwise.
// Errors: INVALID_ARGUMENT, which does not know the line's number.
[[nodiscard]] absl::StatusOr<v1::NewEvent> ParseEventLine(std::string_view line,
                                                          const v1::NewEvent& defaults);

// Gives an event what every event needs and this one lacks: an id, and a payload.
void CompleteEvent(v1::NewEvent* event);

// The events of a stream of lines. Empty lines are skipped. One thread.
class EventLines {
 public:
  // The longest line taken; above what a server could take as an event.
  static constexpr std::size_t kLineBytesMax = 16 << 20;

  // `name` stands in errors. `in` must outlive this. An event has the texts of `defaults` where its
  // line gives none, its metadata where the line does not have the key, and its tags besides its
  // own.
  EventLines(std::string name, std::istream* in, v1::NewEvent defaults);

  // Reads the next event; false at the end. Errors: INVALID_ARGUMENT, naming the line.
  [[nodiscard]] absl::StatusOr<bool> Next(v1::NewEvent* event);

  // Number of the line that was read last, from 1.
  [[nodiscard]] std::int64_t line_number() const { return line_number_; }

 private:
  [[nodiscard]] absl::StatusOr<bool> NextLine();
  [[nodiscard]] absl::Status ErrorHere(std::string_view message) const;

  const std::string name_;
  std::istream* const in_;
  const v1::NewEvent defaults_;
  std::string line_;
  std::int64_t line_number_ = 0;
};

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_EVENT_LINES_H_
