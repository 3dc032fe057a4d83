#include "server/tables/log_table.h"

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/tables/head_sql.h"

namespace eventstore::tables {
namespace {

constexpr pg::Statement kReadHead{
    "log_read_head",
    "SELECT last_position, epoch, revision, first_position, last_created_at, store_id"
    " FROM log_head"};

// LockRows works above the scan, so nothing volatile (a clock) may stand in this target list: it
// would be evaluated before the lock is there.
#define EVENTSTORE_LOCK_COLUMNS                                                       \
  "SELECT last_position, epoch, revision, first_position, last_created_at, store_id," \
  " ctid::text, system_identifier, timeline FROM log_head "

constexpr pg::Statement kLockHead{"log_lock_head",
                                  EVENTSTORE_LOCK_COLUMNS "WHERE ctid = $1::text::tid FOR UPDATE"};
constexpr pg::Statement kLockHeadAnywhere{"log_lock_head_anywhere",
                                          EVENTSTORE_LOCK_COLUMNS "FOR UPDATE"};
#undef EVENTSTORE_LOCK_COLUMNS

constexpr pg::Statement kReadClock{"log_read_clock", "SELECT clock_timestamp()"};

#define EVENTSTORE_MOVE_HEAD(where)                                               \
  "WITH " EVENTSTORE_MOVED_HEAD(where) " SELECT CASE WHEN " EVENTSTORE_HEAD_GUARD \
                                       " THEN m.ctid"                             \
                                       " ELSE (" EVENTSTORE_HEAD_GUARD_TEXT       \
                                       ")::int::text END, " EVENTSTORE_HEAD_REST  \
                                       " FROM " EVENTSTORE_HEAD_COUNTS

constexpr pg::Statement kMoveHead{"log_move_head", EVENTSTORE_MOVE_HEAD(EVENTSTORE_HEAD_BY_CTID)};
constexpr pg::Statement kMoveHeadAnywhere{"log_move_head_anywhere",
                                          EVENTSTORE_MOVE_HEAD(EVENTSTORE_HEAD_BY_SCAN)};
#undef EVENTSTORE_MOVE_HEAD

// The function names differ in nothing from PostgreSQL 14 on; pg_control_checkpoint() would lag
// behind a promotion, the insert position does not.
constexpr pg::Statement kReadServer{
    "log_read_server",
    "SELECT (SELECT system_identifier FROM pg_control_system()),"
    " ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint"};

constexpr pg::Statement kRecordServer{
    "log_record_server",
    "UPDATE log_head SET system_identifier = $2, timeline = $3, epoch = $4"
    " WHERE ctid = $1::text::tid RETURNING ctid::text"};

constexpr pg::Statement kStartEpoch{
    "log_start_epoch", "INSERT INTO log_epochs (epoch, first_position) VALUES ($1, $2)"};

constexpr pg::Statement kEndOfEpoch{
    "log_end_of_epoch",
    "SELECT coalesce((SELECT min(first_position) FROM log_epochs WHERE epoch > $1), 0),"
    " coalesce((SELECT max(first_position) FROM log_epochs), 1),"
    " EXISTS (SELECT FROM log_epochs WHERE epoch = $1)"};

constexpr pg::Statement kReadChanged{
    "log_read_changed",
    "SELECT DISTINCT coalesce(stream_key, 0) FROM log_changes WHERE revision > $1"};

constexpr pg::Statement kOpenLaneBatch{
    "log_open_lane_batch",
    "INSERT INTO lane_batches (daemon, last_batch) VALUES ($1, 0)"
    " ON CONFLICT (daemon) DO UPDATE SET updated_at = now() RETURNING ctid::text, last_batch"};

Head ParseHead(const pg::Result& result) {
  Head head;
  head.position = result.Int64(0, 0);
  head.epoch = result.Int64(0, 1);
  head.revision = result.Int64(0, 2);
  head.first_position = result.Int64(0, 3);
  head.created_at_micros = head.position == 0 ? 0 : result.Timestamp(0, 4);
  head.store_id = result.Uuid(0, 5);
  return head;
}

}  // namespace

const pg::Statement kBegin{"tx_begin", "BEGIN"};
const pg::Statement kCommit{"tx_commit", "COMMIT"};
const pg::Statement kRollback{"tx_rollback", "ROLLBACK"};

absl::StatusOr<Head> ReadHead(pg::Connection& connection, Deadline deadline) {
  auto result = connection.Query(kReadHead, pg::Params(), deadline);
  if (!result.ok()) return result.status();
  if (result->rows() != 1) {
    return absl::FailedPreconditionError("log_head has no row, or more than one; restore it");
  }
  return ParseHead(*result);
}

absl::Status CheckPosition(pg::Connection& connection, const Head& head, std::int64_t position,
                           std::int64_t epoch, Deadline deadline) {
  if (epoch == 0 || epoch == head.epoch) {
    if (position <= head.position) return absl::OkStatus();
    return PositionAhead(position, epoch == 0 ? head.epoch : epoch, head.position, head.epoch,
                         head.position);
  }
  auto result = connection.Query(kEndOfEpoch, pg::Params().Int64(epoch), deadline);
  if (!result.ok()) return result.status();
  const std::int64_t next_first = result->Int64(0, 0);
  const std::int64_t newest_first = result->Int64(0, 1);
  const bool known = result->Bool(0, 2);
  // An epoch that this history never had belongs to one that was lost: what both surely share ends
  // where the newest epoch begins.
  const std::int64_t end = known && next_first > 0 ? next_first - 1 : newest_first - 1;
  if (known && position <= end) return absl::OkStatus();
  return PositionAhead(position, epoch, std::min(position, end), head.epoch, head.position);
}

void AddLockHead(pg::Pipeline* pipeline, std::string_view ctid) {
  pipeline->Add(kLockHead, pg::Params().Text(ctid));
}

void AddLockHeadAnywhere(pg::Pipeline* pipeline) { pipeline->Add(kLockHeadAnywhere, pg::Params()); }

bool ParseLockedHead(const pg::Result& result, LockedHead* locked) {
  if (result.rows() != 1) return false;
  locked->head = ParseHead(result);
  locked->ctid = std::string(result.Text(0, 6));
  locked->system_identifier = result.Int64(0, 7);
  locked->timeline = result.Int64(0, 8);
  return true;
}

void AddReadClock(pg::Pipeline* pipeline) { pipeline->Add(kReadClock, pg::Params()); }

std::int64_t ParseClock(const pg::Result& result) { return result.Timestamp(0, 0); }

pg::Params HeadMoveParams(const HeadMove& move) {
  pg::Params params;
  params.Text(move.ctid)
      .Int64(move.last_position)
      .Timestamp(move.last_created_at_micros)
      .Int64(move.expected.position)
      .Int64(move.expected.epoch)
      .Int64(move.expected.revision)
      .Text(move.batch_ctid)
      .Int64(move.batch)
      .Uuid(move.daemon);
  return params;
}

void AddMoveHead(pg::Pipeline* pipeline, const HeadMove& move) {
  pipeline->Add(move.ctid.empty() ? kMoveHeadAnywhere : kMoveHead, HeadMoveParams(move));
}

MovedHead ParseMoveHead(const pg::Result& result) {
  return {std::string(result.Text(0, 0)), std::string(result.Text(0, 1)), result.Timestamp(0, 2)};
}

namespace {

std::string ParseCtid(const pg::Result& result) { return std::string(result.Text(0, 0)); }

}  // namespace

absl::StatusOr<ServerIdentity> ReadServerIdentity(pg::Connection& connection, Deadline deadline) {
  auto result = connection.Query(kReadServer, pg::Params(), deadline);
  if (!result.ok()) return result.status();
  return ServerIdentity{result->Int64(0, 0), result->Int64(0, 1)};
}

absl::StatusOr<std::string> RecordServer(pg::Connection& connection, const LockedHead& locked,
                                         const ServerIdentity& server, std::int64_t epoch,
                                         Deadline deadline) {
  auto moved = connection.Query(kRecordServer,
                                pg::Params()
                                    .Text(locked.ctid)
                                    .Int64(server.system_identifier)
                                    .Int64(server.timeline)
                                    .Int64(epoch),
                                deadline);
  if (!moved.ok()) return moved.status();
  if (moved->rows() != 1) return absl::InternalError("log_head moved under its own lock");
  std::string ctid = ParseCtid(*moved);
  if (epoch != locked.head.epoch) {
    auto started = connection.Query(
        kStartEpoch, pg::Params().Int64(epoch).Int64(locked.head.position + 1), deadline);
    if (!started.ok()) return started.status();
  }
  return ctid;
}

absl::StatusOr<std::vector<std::int64_t>> ReadChangedStreams(pg::Connection& connection,
                                                             std::int64_t revision,
                                                             Deadline deadline) {
  auto result = connection.Query(kReadChanged, pg::Params().Int64(revision), deadline);
  if (!result.ok()) return result.status();
  std::vector<std::int64_t> keys;
  keys.reserve(static_cast<std::size_t>(result->rows()));
  for (int row = 0; row < result->rows(); ++row) keys.push_back(result->Int64(row, 0));
  return keys;
}

absl::StatusOr<LaneBatch> OpenLaneBatch(pg::Connection& connection, const Uuid& daemon,
                                        Deadline deadline) {
  auto result = connection.Query(kOpenLaneBatch, pg::Params().Uuid(daemon), deadline);
  if (!result.ok()) return result.status();
  return LaneBatch{ParseCtid(*result), result->Int64(0, 1)};
}

}  // namespace eventstore::tables
