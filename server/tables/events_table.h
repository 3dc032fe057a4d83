// The events table with its ledger of ids and its tags.
#ifndef EVENTSTORE_SERVER_TABLES_EVENTS_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_EVENTS_TABLE_H_

#include <absl/status/statusor.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/filter.h"
#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/pg/connection.h"
#include "server/tables/log_table.h"

namespace eventstore::tables {

// An event that is about to be written. Pointers and views must live until the pipeline ran.
struct NewEventRow {
  std::int64_t global_position = 0;
  std::int64_t stream_key = 0;
  std::int64_t version = 0;
  Uuid event_id{};
  Uuid tenant = kNilUuid;
  const v1::StreamId* stream = nullptr;
  const v1::NewEvent* event = nullptr;
  std::int32_t size_bytes = 0;
};

// Inserts events, their ids and tags.
void AddInsertEvents(pg::Pipeline* pipeline, const std::vector<NewEventRow>& rows,
                     std::int64_t created_at_micros);

// Whether PostgreSQL takes the data of these events; touches no table. For finding the culprit of a
// batch that was refused.
[[nodiscard]] absl::Status ProbeEvents(pg::Connection& connection,
                                       const std::vector<NewEventRow>& rows, Deadline deadline);

// What the ledger knows of an event id.
struct KnownEvent {
  std::int32_t index = 0;  // in the list asked for
  std::int64_t global_position = 0;
  std::int64_t stream_key = 0;
  std::int64_t version = 0;
  std::int64_t created_at_micros = 0;
  v1::StreamId stream;
};
void AddLookUpEventIds(pg::Pipeline* pipeline, const std::vector<Uuid>& ids);
[[nodiscard]] std::vector<KnownEvent> ParseLookUpEventIds(const pg::Result& result);

// The newest version of each stream that has events in (after_position, ...].
struct TouchedStream {
  std::int64_t stream_key = 0;
  std::int64_t version = 0;
};
[[nodiscard]] absl::StatusOr<std::vector<TouchedStream>> ReadTouchedStreams(
    pg::Connection& connection, std::int64_t after_position, std::int64_t last_position,
    Deadline deadline);

[[nodiscard]] absl::StatusOr<v1::Event> ReadEvent(pg::Connection& connection,
                                                  const v1::GetEventRequest& request,
                                                  Deadline deadline);

// Which rows of the events table. Bounds are inclusive; `limit` rows and about `bytes_max` bytes at
// most (always at least one row where one matches).
struct AllWindow {
  bool backwards = false;
  std::int64_t low = 1;
  std::int64_t high = 0;
  std::int64_t limit = 500;
  std::int64_t bytes_max = 2 << 20;
  const EventFilter* filter = nullptr;
  std::optional<std::int64_t> from_timestamp_micros;
  std::optional<std::int64_t> to_timestamp_micros;
};
struct EventRows {
  Head head;  // position, epoch, first_position and revision only, of the same snapshot
  std::vector<v1::Event> events;
  // The rows were cut by `limit` or `bytes_max`: what follows the last one was not looked at.
  bool cut = false;
  std::int64_t last_row_position =
      0;  // of the last row that SQL gave, before the regular expression
};
[[nodiscard]] absl::StatusOr<EventRows> ReadAllWindow(pg::Connection& connection,
                                                      const AllWindow& window, Deadline deadline);
// The rows of a statement with the columns of such a page.
[[nodiscard]] absl::StatusOr<EventRows> ParseEventRows(const pg::Result& result,
                                                       const AllWindow& window);

struct StreamWindow {
  const v1::StreamId* stream = nullptr;
  bool backwards = false;
  std::int64_t low_version = 1;
  std::int64_t high_version = INT64_MAX;
  std::int64_t low_position = 1;
  std::int64_t end_position = INT64_MAX;
  std::int64_t limit = 500;
  std::int64_t bytes_max = 2 << 20;
  std::optional<std::int64_t> from_timestamp_micros;
  std::optional<std::int64_t> to_timestamp_micros;
};
struct StreamRows {
  Head head;  // as in EventRows
  v1::StreamInfo info;
  std::vector<v1::Event> events;
  bool cut = false;
};
[[nodiscard]] absl::StatusOr<StreamRows> ReadStreamWindow(pg::Connection& connection,
                                                          const StreamWindow& window,
                                                          Deadline deadline);
// The rows of a statement with the columns of such a page; at least one row.
[[nodiscard]] StreamRows ParseStreamRows(const pg::Result& result, const StreamWindow& window);

// A page of one stream for a reader that follows it: forwards, by way of a filter, after a
// position.
struct FollowWindow {
  const v1::StreamId* stream = nullptr;
  std::int64_t low_version = 0;        // inclusive; 0: found from `after_position`
  std::int64_t after_position = 0;     // exclusive
  std::int64_t versions_max = 50'000;  // most versions that are looked at
  std::int64_t limit = 500;
  std::int64_t bytes_max = 2 << 20;
  const EventFilter* filter = nullptr;  // null: every event
};
struct FollowRows {
  Head head;                      // as in EventRows
  std::vector<v1::Event> events;  // in order
  // Everything up to this position was looked at: the head's, where the stream's end was reached.
  std::int64_t position = 0;
  std::int64_t next_version = 0;  // where the next page starts; 0: not known yet
  // Of the stream's row: versions below it are not read. 1 where there is no row.
  std::int64_t first_version = 1;
  bool tombstoned = false;  // the stream was deleted for good
};
[[nodiscard]] absl::StatusOr<FollowRows> ReadFollowWindow(pg::Connection& connection,
                                                          const FollowWindow& window,
                                                          Deadline deadline);

// The time at which the event at `position` was stored; none if there is no such event.
[[nodiscard]] absl::StatusOr<std::optional<std::int64_t>> ReadCreatedAt(pg::Connection& connection,
                                                                        std::int64_t position,
                                                                        Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_EVENTS_TABLE_H_
