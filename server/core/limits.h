// The limits on what a client may send. Each is a configuration key below `limits.` of the same
// name, and an error that is caused by one names it.
#ifndef EVENTSTORE_SERVER_CORE_LIMITS_H_
#define EVENTSTORE_SERVER_CORE_LIMITS_H_

#include <cstdint>

namespace eventstore {

struct Limits {
  // Most bytes of one event: payload (JSON counted as the database would print it), texts,
  // metadata and tags.
  std::int64_t event_bytes_max = 1 << 20;
  // Most bytes of one append request.
  std::int64_t request_bytes_max = 4 << 20;
  // Most events of one append request.
  std::int64_t request_events_max = 1000;
  // Most bytes of event_type, aggregate_type, aggregate_id, actor_id, correlation_id, causation_id
  // and content_type. The columns hold 255.
  std::int64_t name_bytes_max = 255;
  // Most tags of one event, and most bytes of one tag.
  std::int64_t tags_max = 32;
  std::int64_t tag_bytes_max = 128;
  // Most metadata entries of one event, and most bytes of all keys and values together.
  std::int64_t metadata_entries_max = 64;
  std::int64_t metadata_bytes_max = 16 << 10;
  // Deepest nesting of a JSON payload.
  std::int64_t json_depth_max = 128;
  // Most digits of a number in a JSON payload, counted as the database would print it (so that
  // 1e400 counts as 401).
  std::int64_t json_number_digits_max = 1000;
  // Most values in one field of a filter, and most bytes of its regular expression.
  std::int64_t filter_values_max = 100;
  std::int64_t filter_regex_bytes_max = 1024;
  // Most checks, conditions and snapshots of one transaction, and most alternatives in the query of
  // one condition (`filter_values_max` bounds the values of each).
  std::int64_t checks_max = 100;
  std::int64_t conditions_max = 16;
  std::int64_t condition_items_max = 32;
  std::int64_t snapshots_max = 100;
  // Most bytes of a dead letter's error message (and of the note that resolves it), and of its
  // stack trace.
  std::int64_t error_message_bytes_max = 16 << 10;
  std::int64_t error_stacktrace_bytes_max = 64 << 10;
  // Most events that one request erases: the head is locked meanwhile.
  std::int64_t erase_events_max = 10'000;
  // Most events in one message to a subscriber, and most entries in one page of a list.
  std::int64_t batch_events_max = 1000;
  std::int64_t page_size_max = 1000;
};

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_LIMITS_H_
