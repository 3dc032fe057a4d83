// The tables of one row per store or daemon: log_head, log_epochs, log_changes, lane_batches.
#ifndef EVENTSTORE_SERVER_TABLES_LOG_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_LOG_TABLE_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/pg/connection.h"

namespace eventstore::tables {

// The newest point of a store's history, as one snapshot saw it.
struct Head {
  std::int64_t position = 0;           // last committed; 0: none
  std::int64_t epoch = 0;              // current
  std::int64_t revision = 0;           // changes to streams that are not appends
  std::int64_t first_position = 1;     // first that was not archived
  std::int64_t created_at_micros = 0;  // of the newest event; 0: none
  Uuid store_id{};
};

[[nodiscard]] absl::StatusOr<Head> ReadHead(pg::Connection& connection, Deadline deadline);

// Refuses a position beyond the end of the history that `epoch` names (POSITION_AHEAD). `epoch` 0:
// the current one. Reads log_epochs only where `epoch` is another one.
[[nodiscard]] absl::Status CheckPosition(pg::Connection& connection, const Head& head,
                                         std::int64_t position, std::int64_t epoch,
                                         Deadline deadline);

// --- for the lane ---

extern const pg::Statement kBegin;
extern const pg::Statement kCommit;
extern const pg::Statement kRollback;

// Locks the head: orders commits, across daemons too. `ctid` is where the row was last; no row
// comes back if it is elsewhere, and then AddLockHeadAnywhere finds it.
void AddLockHead(pg::Pipeline* pipeline, std::string_view ctid);
void AddLockHeadAnywhere(pg::Pipeline* pipeline);
struct LockedHead {
  Head head;
  std::string ctid;
  std::int64_t system_identifier = 0;
  std::int64_t timeline = 0;
};
// False if `result` has no row.
[[nodiscard]] bool ParseLockedHead(const pg::Result& result, LockedHead* locked);

// The database's clock in a statement of its own: it must be read after the lock was taken.
void AddReadClock(pg::Pipeline* pipeline);
[[nodiscard]] std::int64_t ParseClock(const pg::Result& result);

// Moves the head to the end of a batch, and records the batch in the daemon's ledger. Takes the
// head's lock where the transaction does not hold it yet. Fails ("lane guard") where the head is
// not as `expected` (position, epoch and revision), or a row not at its ctid.
struct HeadMove {
  std::string_view ctid;  // of the head; empty: found by a scan
  Head expected;
  std::int64_t last_position = 0;
  std::int64_t last_created_at_micros = 0;
  std::string_view batch_ctid;  // of the daemon's row in the ledger
  Uuid daemon{};
  std::int64_t batch = 0;
};
void AddMoveHead(pg::Pipeline* pipeline, const HeadMove& move);
struct MovedHead {
  std::string ctid;
  std::string batch_ctid;
  std::int64_t clock_micros = 0;  // the database's clock under the lock
};
[[nodiscard]] MovedHead ParseMoveHead(const pg::Result& result);

// Which server this is, for telling a failover: system identifier and WAL timeline.
struct ServerIdentity {
  std::int64_t system_identifier = 0;
  std::int64_t timeline = 0;

  bool operator==(const ServerIdentity&) const = default;
};
[[nodiscard]] absl::StatusOr<ServerIdentity> ReadServerIdentity(pg::Connection& connection,
                                                                Deadline deadline);
// In the lane's open transaction, under the head lock: records the server and the epoch, which
// is higher than the row's where the history was rewound. Returns the head's new ctid.
[[nodiscard]] absl::StatusOr<std::string> RecordServer(pg::Connection& connection,
                                                       const LockedHead& locked,
                                                       const ServerIdentity& server,
                                                       std::int64_t epoch, Deadline deadline);

// The streams that revisions after `revision` changed; a 0 means: anything.
[[nodiscard]] absl::StatusOr<std::vector<std::int64_t>> ReadChangedStreams(
    pg::Connection& connection, std::int64_t revision, Deadline deadline);

// The ledger of batches: makes the daemon's row and returns its ctid, and the last batch it
// committed (0: none).
struct LaneBatch {
  std::string ctid;
  std::int64_t last_batch = 0;
};
[[nodiscard]] absl::StatusOr<LaneBatch> OpenLaneBatch(pg::Connection& connection,
                                                      const Uuid& daemon, Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_LOG_TABLE_H_
