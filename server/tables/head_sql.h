// The SQL that moves the head, for the statements that are made of it. Only for .cc files of this
// folder.
#ifndef EVENTSTORE_SERVER_TABLES_HEAD_SQL_H_
#define EVENTSTORE_SERVER_TABLES_HEAD_SQL_H_

#include "server/pg/connection.h"
#include "server/tables/log_table.h"

// Parameters $1 to $9: the head's ctid; the new position and time; the position, epoch and revision
// that the head must have; the ledger row's ctid, the batch's number and the daemon.
//
// A statement cannot raise an error by itself, and an answer would come too late: COMMIT is in the
// same pipeline. So a wrong row count becomes a cast that fails and says why.
#define EVENTSTORE_MOVED_HEAD(where)                                                    \
  "moved AS (UPDATE log_head SET last_position = $2, last_created_at = $3 WHERE " where \
  " AND last_position = $4 AND epoch = $5 AND revision = $6 RETURNING ctid),"           \
  " recorded AS (UPDATE lane_batches SET last_batch = $8, updated_at = now()"           \
  " WHERE ctid = $7::text::tid AND daemon = $9 RETURNING ctid)"
#define EVENTSTORE_HEAD_BY_CTID "ctid = $1::text::tid"
#define EVENTSTORE_HEAD_BY_SCAN "$1::text = ''"

// Checked where both counts are 1; ParseMoveHead reads these columns.
#define EVENTSTORE_HEAD_GUARD "m.count = 1 AND r.count = 1"
#define EVENTSTORE_HEAD_GUARD_TEXT \
  "'lane guard: ' || m.count || ' rows of log_head moved, ' || r.count || ' of lane_batches'"
// The clock stands above the update in the plan, so it is read after the lock was taken.
#define EVENTSTORE_HEAD_REST "r.ctid, clock_timestamp()"
#define EVENTSTORE_HEAD_COUNTS                              \
  "(SELECT count(*), max(ctid::text) AS ctid FROM moved) m" \
  " CROSS JOIN (SELECT count(*), max(ctid::text) AS ctid FROM recorded) r"

namespace eventstore::tables {

// $1 to $9.
[[nodiscard]] pg::Params HeadMoveParams(const HeadMove& move);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_HEAD_SQL_H_
