// The outbox as the relay of a sink uses it: its lease, what is to be published, and what became of
// that.
#ifndef EVENTSTORE_SERVER_TABLES_OUTBOX_RELAY_H_
#define EVENTSTORE_SERVER_TABLES_OUTBOX_RELAY_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/pg/connection.h"

namespace eventstore::tables {

// Who publishes to a sink. `token` is the fence: every write of the owner carries it, and it grows
// with every change of hands.
struct OutboxLease {
  std::string sink;
  Uuid daemon{};
  std::int64_t token = 0;
};

// What taking or renewing a lease found.
struct OutboxLeaseState {
  std::int64_t token = 0;
  bool paused = false;
};

// Takes the lease of a sink if no other daemon has it or its lease has ended, by the database's
// clock; nothing otherwise. Taking it again, after a lost connection, gives a new token.
[[nodiscard]] absl::StatusOr<std::optional<OutboxLeaseState>> TakeOutboxLease(
    pg::Connection& connection, std::string_view sink, const Uuid& daemon,
    std::chrono::milliseconds lease, Deadline deadline);
// Renews it, and says how the relay is: `state` is "running" or "unavailable", `last_error` why it
// cannot publish, or empty. Nothing if the lease is not this token's any more.
[[nodiscard]] absl::StatusOr<std::optional<OutboxLeaseState>> RenewOutboxLease(
    pg::Connection& connection, const OutboxLease& lease, std::chrono::milliseconds duration,
    std::string_view state, std::string_view last_error, Deadline deadline);
// Gives it back; no error if it was lost.
[[nodiscard]] absl::Status ReleaseOutboxLease(pg::Connection& connection, const OutboxLease& lease,
                                              Deadline deadline);

// A pending entry that a scan came across.
struct OutboxSighting {
  std::int64_t stream_key = 0;
  std::int64_t position = 0;
};

// The first pending entries of a sink after a position, in order.
[[nodiscard]] absl::StatusOr<std::vector<OutboxSighting>> ScanOutbox(pg::Connection& connection,
                                                                     std::string_view sink,
                                                                     std::int64_t after_position,
                                                                     std::int64_t limit,
                                                                     Deadline deadline);

// What stands in the way of publishing an entry that is not published.
enum class OutboxHindrance {
  kNone,     // it is pending and due
  kNotDue,   // its next attempt is later
  kClaimed,  // a worker has it
  kFailed,   // its attempts are used up
};

// An entry that is not published, as its stream has it.
struct OutboxCandidate {
  Uuid id{};
  std::int64_t stream_key = 0;
  std::int64_t position = 0;
  OutboxHindrance hindrance = OutboxHindrance::kNone;
  // How long until it is due, or its claim ends; zero for others.
  std::chrono::milliseconds wait{0};
  // About its size: what it takes in the table, compressed.
  std::int64_t bytes = 0;
};

// How many entries of a stream are asked for.
struct OutboxStreamLimit {
  std::int64_t stream_key = 0;
  std::int64_t limit = 0;
};

// The first entries of each of these streams that are not published, by stream in the order given
// and then by position, all of one snapshot. `pass_failed`: failed ones are left out.
[[nodiscard]] absl::StatusOr<std::vector<OutboxCandidate>> LookAtOutboxStreams(
    pg::Connection& connection, std::string_view sink,
    const std::vector<OutboxStreamLimit>& streams, bool pass_failed, Deadline deadline);

// An entry that this transaction has locked.
struct OutboxRow {
  Uuid id{};
  std::int64_t stream_key = 0;
  std::int64_t position = 0;
  std::int32_t retry_count = 0;
  std::string event_json;
};

// Opens a transaction, and locks those of these entries that are still pending and that nobody else
// has locked; in order of position. The transaction is open afterwards, unless there is an error.
[[nodiscard]] absl::StatusOr<std::vector<OutboxRow>> LockOutboxRows(pg::Connection& connection,
                                                                    const std::vector<Uuid>& ids,
                                                                    Deadline deadline);

// An entry that the broker refused.
struct OutboxRefusal {
  Uuid id{};
  std::string error;
  // How long it waits for its next attempt, unless it is failed now.
  std::chrono::milliseconds delay{0};
};

// What became of a batch.
struct OutboxMarks {
  std::vector<Uuid> published;
  std::vector<OutboxRefusal> refused;
  // An entry whose attempts reach this is failed.
  std::int64_t attempts_max = 0;
};

// Marks entries that LockOutboxRows locked, and commits. False, and everything is rolled back, if
// the lease is not this token's any more.
[[nodiscard]] absl::StatusOr<bool> MarkOutboxRows(pg::Connection& connection,
                                                  const OutboxLease& lease,
                                                  const OutboxMarks& marks, Deadline deadline);
// Ends the transaction with nothing marked.
[[nodiscard]] absl::Status RollBackOutboxRows(pg::Connection& connection, Deadline deadline);

// The first entry of a stream that is not published.
struct OutboxStreamHead {
  std::int64_t stream_key = 0;
  std::int64_t position = 0;
  bool is_ready = false;  // pending and due
};

// The streams with entries that are not published, after a stream key and in its order, at most
// `limit`. Costs a look-up a stream, however many entries it has.
[[nodiscard]] absl::StatusOr<std::vector<OutboxStreamHead>> SweepOutboxStreams(
    pg::Connection& connection, std::string_view sink, std::int64_t after_stream_key,
    std::int64_t limit, bool pass_failed, Deadline deadline);

// What waits for a sink.
struct OutboxFigures {
  std::int64_t pending = 0;
  std::int64_t failed = 0;
  double oldest_pending_age_seconds = 0;  // of the first pending one; 0 if there is none
};

// Counts at most `count_max` entries of a sink that are not published.
[[nodiscard]] absl::StatusOr<OutboxFigures> ReadOutboxFigures(pg::Connection& connection,
                                                              std::string_view sink,
                                                              std::int64_t count_max,
                                                              Deadline deadline);

// Deletes entries that were published longer ago than `retention`, oldest first, at most `limit`;
// those that somebody else has locked are passed over. How many there were.
[[nodiscard]] absl::StatusOr<std::int64_t> DeletePublishedOutbox(pg::Connection& connection,
                                                                 std::chrono::seconds retention,
                                                                 std::int64_t limit,
                                                                 Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_OUTBOX_RELAY_H_
