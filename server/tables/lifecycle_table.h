// What changes streams and events after they were written.
#ifndef EVENTSTORE_SERVER_TABLES_LIFECYCLE_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_LIFECYCLE_TABLE_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eventstore/v1/lifecycle.pb.h"

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/pg/connection.h"
#include "server/tables/log_table.h"

namespace eventstore::tables {

// How long the transaction of a change may hold the head when its daemon hangs or the database is
// slow: the write lane's own limits.
struct ChangeTimeouts {
  std::chrono::milliseconds lock{0};
  std::chrono::milliseconds statement{0};
  std::chrono::milliseconds idle_in_transaction{0};
};

// Begins a transaction on any connection and locks the head, as the lane does; what follows sees
// everything that was committed before. The caller ends the transaction.
[[nodiscard]] absl::StatusOr<Head> BeginChange(pg::Connection& connection,
                                               const ChangeTimeouts& timeouts, Deadline deadline);

// --- In the transaction of BeginChange ---

// A stream's row; `version` counts although it is deleted.
struct StreamState {
  std::int64_t stream_key = 0;
  std::int64_t version = 0;
  std::int64_t first_version = 1;
  std::int64_t first_position = 0;
  std::int64_t last_position = 0;
  bool deleted = false;  // softly
  bool tombstoned = false;
};
[[nodiscard]] absl::StatusOr<std::optional<StreamState>> FindStreamState(pg::Connection& connection,
                                                                         const v1::StreamId& stream,
                                                                         Deadline deadline);

// Hides the versions below `before_version`, and deletes the snapshots whose tail is hidden.
[[nodiscard]] absl::Status TruncateStream(pg::Connection& connection, std::int64_t stream_key,
                                          std::int64_t before_version, Deadline deadline);
// Hides every version, and deletes all snapshots.
[[nodiscard]] absl::Status DeleteStream(pg::Connection& connection, std::int64_t stream_key,
                                        bool permanent, Deadline deadline);

// An event that is to be erased.
struct ErasedEvent {
  std::int64_t global_position = 0;  // 0: the store has no such event
  std::int64_t stream_key = 0;
  std::int64_t version = 0;
  Uuid event_id{};
  Uuid tenant = kNilUuid;
  bool is_here = false;    // false: archived
  bool is_erased = false;  // already
};
// The events of a stream with these versions, or all of them where there are none; at most `limit`,
// in the order of their versions. What is not there is left out.
[[nodiscard]] absl::StatusOr<std::vector<ErasedEvent>> FindEventsOfStream(
    pg::Connection& connection, const StreamState& stream,
    const google::protobuf::RepeatedField<std::int64_t>& versions, std::int64_t limit,
    Deadline deadline);
// One for each id, in order.
[[nodiscard]] absl::StatusOr<std::vector<ErasedEvent>> FindEventsById(
    pg::Connection& connection, const google::protobuf::RepeatedPtrField<std::string>& event_ids,
    Deadline deadline);

// Locks the events' entries in the outbox, in the open transaction. False: somebody else has some
// of them, as the relay has while it publishes.
[[nodiscard]] absl::StatusOr<bool> LockOutboxOf(pg::Connection& connection,
                                                const std::vector<Uuid>& event_ids,
                                                Deadline deadline);
// Waits until nobody has them; outside of a transaction.
[[nodiscard]] absl::Status AwaitOutboxOf(pg::Connection& connection,
                                         const std::vector<Uuid>& event_ids, Deadline deadline);

// Erases the content of events that are here and not erased yet: in the events and their tags, the
// outbox, the dead letters, the errors that groups keep, and the snapshots of their streams; and
// writes the audit.
struct Erasure {
  std::int64_t revision = 0;  // that it will have
  std::string_view reason;
  std::string_view erased_by;
};
[[nodiscard]] absl::Status EraseEvents(pg::Connection& connection,
                                       const std::vector<ErasedEvent>& events,
                                       const Erasure& erasure, Deadline deadline);

// Raises the store's revision, so that no lane decides on what it remembers, and records which
// streams that is about. Returns the new revision.
[[nodiscard]] absl::StatusOr<std::int64_t> RaiseRevision(
    pg::Connection& connection, std::string_view kind, const std::vector<std::int64_t>& stream_keys,
    Deadline deadline);

// --- For daemons that hear of a revision ---

// What happened in the revisions (after, revision].
struct LogChanges {
  Head head;                          // when this was read, or of the change's own transaction
  std::int64_t after = 0;             // exclusive
  std::int64_t revision = 0;          // inclusive
  bool anything = false;              // anything may have been changed
  std::vector<v1::StreamId> streams;  // that were truncated or deleted
  std::vector<std::int64_t> erased;   // positions
};
// Of at most a bounded number of revisions.
[[nodiscard]] absl::StatusOr<LogChanges> ReadLogChanges(pg::Connection& connection,
                                                        std::int64_t after, Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_LIFECYCLE_TABLE_H_
