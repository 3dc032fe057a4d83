// Reads history from the tables, page by page.
#ifndef EVENTSTORE_SERVER_ENGINE_READER_H_
#define EVENTSTORE_SERVER_ENGINE_READER_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"
#include "eventstore/v1/snapshot_service.pb.h"

#include "server/core/filter.h"
#include "server/core/mutex.h"
#include "server/core/payload_conditions.h"
#include "server/engine/options.h"
#include "server/engine/workers.h"
#include "server/pg/pool.h"
#include "server/tables/events_table.h"
#include "server/tables/lifecycle_table.h"
#include "server/tables/log_table.h"
#include "server/tables/streams_table.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// A page of one stream's events.
struct StreamPage {
  v1::StreamInfo info;            // as of this page's snapshot
  tables::Head head;              // of the same snapshot
  std::vector<v1::Event> events;  // in the order asked for
  std::int64_t next_version = 0;  // where the next page starts; 0: there is none
  // What the events follow, where the query was `from_snapshot` and there is one.
  std::optional<v1::Snapshot> snapshot;
};

// Which page of a stream. For the first page fill in what the client asked for; for the next set
// `from_version` to `next_version`, lower `limit` by what came, set `end_position` to the first
// page's `head.position`, so that the read ends at the head of its start, and clear
// `from_snapshot`.
struct StreamPageQuery {
  v1::StreamId stream;
  bool backwards = false;
  std::int64_t from_version = 0;  // inclusive; 0: from the beginning (backwards: from the end)
  std::int64_t to_version = 0;    // inclusive; 0: no bound
  std::int64_t limit = 0;         // 0: none
  std::optional<std::int64_t> from_timestamp_micros;  // inclusive
  std::optional<std::int64_t> to_timestamp_micros;    // exclusive
  std::int64_t after_position = 0;                    // only events after it
  std::int64_t end_position = 0;                      // nothing beyond it; 0: the page's own head
  // Start after the newest snapshot, where there is one; forwards, without `from_version`, times
  // and positions.
  bool from_snapshot = false;
  std::int32_t snapshot_schema_version = 0;  // only one of this schema version; 0: of any
};

// A page of the store's events.
struct AllPage {
  tables::Head head;              // of the page's own snapshot
  std::vector<v1::Event> events;  // in the order asked for
  // The last position looked at: up to it (backwards: down to it) everything that matches was
  // given.
  std::int64_t position = 0;
  bool at_end = false;                // no further page: the end, or the limit, was reached
  std::int64_t next_version = 0;      // FollowStreamPage: where the next page of the stream starts
  std::int64_t first_version = 1;     // FollowStreamPage: versions below it are not read
  std::int64_t window_positions = 0;  // QueryPage: how many the next page should begin with
};

// Which page of the store. For the next page set `after_position` to `position`, lower `limit`, and
// set `end_position` to the first page's `head.position`.
struct AllPageQuery {
  bool backwards = false;
  std::int64_t after_position = 0;  // exclusive; 0: from the beginning (backwards: from the end)
  std::int64_t epoch = 0;           // that `after_position` came with; 0: not checked
  std::int64_t limit = 0;           // 0: none
  std::shared_ptr<const EventFilter> filter;          // null: everything
  std::optional<std::int64_t> from_timestamp_micros;  // inclusive
  std::optional<std::int64_t> to_timestamp_micros;    // exclusive
  std::int64_t end_position = 0;  // forwards: nothing beyond it; 0: the page's own head
  // A page that finds nothing ends once it has looked at so many positions; 0: by time alone.
  std::int64_t search_positions_max = 0;
  // QueryPage only: what must hold of payloads, and what the page before said; 0: it is the first.
  std::shared_ptr<const PayloadConditions> payload;
  std::int64_t window_positions = 0;
};

// Which page of a stream that is followed. For the next page set `after_position` to `position` and
// `from_version` to `next_version`.
struct FollowStreamQuery {
  v1::StreamId stream;
  std::int64_t after_position = 0;            // exclusive
  std::int64_t epoch = 0;                     // that it came with; 0: not checked
  std::int64_t from_version = 0;              // 0: not known
  std::shared_ptr<const EventFilter> filter;  // null: everything
};

// Each page borrows a pooled connection on a thread of its workers, so no connection is ever pinned
// to a slow client. Thread-safe: any thread may call it, and no call blocks.
//
// Errors, by `done`: OVERLOADED (queue or pool), STORE_UNAVAILABLE, POSITION_AHEAD, ARCHIVED,
// NOT_FOUND (GetEvent), DEADLINE_EXCEEDED (a request whose deadline passed while it waited is not
// started).
class Reader {
 public:
  // `pool` must outlive this object.
  Reader(const ReaderOptions& options, const QueryOptions& query, pg::Pool* pool,
         telemetry::ReadMetrics metrics);
  ~Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void ReadStreamPage(StreamPageQuery query, Deadline deadline, Done<StreamPage> done);
  void ReadAllPage(AllPageQuery query, Deadline deadline, Done<AllPage> done);
  // A page of the events whose payloads hold what `query.payload` says; forwards. Errors besides:
  // TOO_LARGE with `query.statement_timeout_ms`, and with the position to go on after.
  void QueryPage(AllPageQuery query, Deadline deadline, Done<AllPage> done);
  // A page of what a stream has after a position, of the events that match. The page's `position`
  // is the store's head where the end of the stream was reached. Errors: STREAM_DELETED.
  void FollowStreamPage(FollowStreamQuery query, Deadline deadline, Done<AllPage> done);
  void GetStreamInfo(v1::StreamId stream, Deadline deadline, Done<v1::StreamInfo> done);
  void ListStreams(v1::ListStreamsRequest request, Deadline deadline,
                   Done<v1::ListStreamsResponse> done);
  void GetEvent(v1::GetEventRequest request, Deadline deadline, Done<v1::Event> done);
  void GetHead(Deadline deadline, Done<tables::Head> done);
  // Whether reading may start after `position` of `epoch`: the head, or POSITION_AHEAD, or (where
  // `check_archive`) ARCHIVED.
  void CheckStart(std::int64_t position, std::int64_t epoch, bool check_archive, Deadline deadline,
                  Done<tables::Head> done);
  // A position to go on after, and the head.
  struct PositionInStore {
    std::int64_t position = 0;
    tables::Head head;
  };
  // The last position whose `created_at` is before the given time, 0 if there is none.
  void FindPositionBefore(std::int64_t created_at_micros, Deadline deadline,
                          Done<PositionInStore> done);

  // Where the projection's checkpoint is, 0 where it has saved none, and the head. Errors:
  // POSITION_AHEAD.
  void FindCheckpoint(std::string projection, Deadline deadline, Done<PositionInStore> done);

  // What was changed after a revision, other than by appends.
  void ReadChanges(std::int64_t after_revision, Deadline deadline, Done<tables::LogChanges> done);

  // Answers everything that waits with STORE_UNAVAILABLE, and refuses what comes. Idempotent.
  void Stop() { workers_.Stop(); }
  // The threads that do it, for others whose requests are as short.
  [[nodiscard]] Workers& workers() { return workers_; }

 private:
  template <typename T>
  void Run(Deadline deadline, std::function<absl::StatusOr<T>(pg::Connection&, Deadline)> read,
           Done<T> done);

  const ReaderOptions options_;
  const QueryOptions query_options_;
  const telemetry::ReadMetrics metrics_;
  Workers workers_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_READER_H_
