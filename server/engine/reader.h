// Reads history from the tables, page by page.
#ifndef EVENTSTORE_SERVER_ENGINE_READER_H_
#define EVENTSTORE_SERVER_ENGINE_READER_H_

#include <absl/container/flat_hash_set.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/filter.h"
#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/pg/pool.h"
#include "server/tables/events_table.h"
#include "server/tables/log_table.h"
#include "server/tables/streams_table.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// Called exactly once, on a reader thread, or inline when the request is refused at once.
template <typename T>
using Done = std::function<void(absl::StatusOr<T>)>;

// A page of one stream's events.
struct StreamPage {
  v1::StreamInfo info;            // as of this page's snapshot
  tables::Head head;              // of the same snapshot
  std::vector<v1::Event> events;  // in the order asked for
  std::int64_t next_version = 0;  // where the next page starts; 0: there is none
};

// Which page of a stream. For the first page fill in what the client asked for; for the next set
// `from_version` to `next_version`, lower `limit` by what came, and set `end_position` to the first
// page's `head.position`, so that the read ends at the head of its start.
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
};

// A page of the store's events.
struct AllPage {
  tables::Head head;              // of the page's own snapshot
  std::vector<v1::Event> events;  // in the order asked for
  // The last position looked at: up to it (backwards: down to it) everything that matches was
  // given.
  std::int64_t position = 0;
  bool at_end = false;            // no further page: the end, or the limit, was reached
  std::int64_t next_version = 0;  // FollowStreamPage: where the next page of the stream starts
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

// Owns a few threads and a bounded queue; each page borrows a pooled connection, so no connection
// is ever pinned to a slow client. Thread-safe: any thread may call it, and no call blocks.
//
// Errors, by `done`: OVERLOADED (queue or pool), STORE_UNAVAILABLE, POSITION_AHEAD, ARCHIVED,
// NOT_FOUND (GetEvent), DEADLINE_EXCEEDED (a request whose deadline passed while it waited is not
// started).
class Reader {
 public:
  // `pool` must outlive this object.
  Reader(const ReaderOptions& options, pg::Pool* pool, telemetry::ReadMetrics metrics);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void ReadStreamPage(StreamPageQuery query, Deadline deadline, Done<StreamPage> done);
  void ReadAllPage(AllPageQuery query, Deadline deadline, Done<AllPage> done);
  // A page of what a stream has after a position, of the events that match. The page's `position`
  // is the store's head where the end of the stream was reached.
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
  // The last position whose `created_at` is before the given time, 0 if there is none, and the
  // head.
  struct PositionAtTime {
    std::int64_t position = 0;
    tables::Head head;
  };
  void FindPositionBefore(std::int64_t created_at_micros, Deadline deadline,
                          Done<PositionAtTime> done);

  // Answers everything that waits with STORE_UNAVAILABLE, and refuses what comes. Idempotent.
  void Stop();

 private:
  using Work = std::function<absl::Status(pg::Connection&, Deadline)>;
  struct Task {
    Deadline caller_deadline;
    Deadline deadline;  // the caller's, or `max_wait_ms` from now if that is sooner
    Work work;          // reads, and keeps what it read
    std::function<void(absl::Status)> finish;  // answers, with what was read if OK
  };
  template <typename T>
  void Run(Deadline deadline, std::function<absl::StatusOr<T>(pg::Connection&, Deadline)> read,
           Done<T> done);
  void Enqueue(Task task);
  void ThreadMain();
  absl::Status Execute(const Task& task);
  // Runs the task's work so that Stop can cancel it.
  absl::Status RunWork(const Task& task, pg::Connection* connection);

  const ReaderOptions options_;
  pg::Pool* const pool_;
  const telemetry::ReadMetrics metrics_;
  Mutex mutex_;
  CondVar not_empty_;
  std::deque<Task> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_set<pg::Connection*> reading_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_READER_H_
