#include "server/tables/payload_indexes_table.h"

#include <absl/strings/str_cat.h>

#include <utility>

#include "server/core/errors.h"
#include "server/core/validation.h"

namespace eventstore::tables {
namespace {

constexpr char kKind[] = "payload index";

// The partitions `t` of events, and the real index of `p` on each, which may be missing.
#define EVENTSTORE_REAL_INDEXES                                               \
  "pg_inherits i JOIN pg_class t ON t.oid = i.inhrelid LEFT JOIN (pg_index x" \
  " JOIN pg_class c ON c.oid = x.indexrelid) ON x.indrelid = t.oid"           \
  " AND c.relname = t.relname || '_x' || p.index_key"
#define EVENTSTORE_OF_EVENTS "i.inhparent = 'events'::regclass"
#define EVENTSTORE_HAS_MISSING                                                  \
  "EXISTS (SELECT FROM " EVENTSTORE_REAL_INDEXES " WHERE " EVENTSTORE_OF_EVENTS \
  " AND x.indisvalid IS NOT TRUE)"

// %L and %I are the database's own quoting.
#define EVENTSTORE_CREATE_INDEX(CONCURRENTLY, TABLE)                                         \
  "CASE WHEN p.field IS NULL THEN format('CREATE INDEX " CONCURRENTLY                        \
  " %I ON %I USING gin (payload jsonb_path_ops);', " TABLE " || '_x' || p.index_key, " TABLE \
  ") ELSE format('CREATE INDEX " CONCURRENTLY                                                \
  " %I ON %I"                                                                                \
  " (" EVENTSTORE_INDEXED_TEXT("(payload #>> %L::text[])") ", global_position);', " TABLE    \
                                                           " || '_x' || p.index_key, " TABLE \
                                                           ", p.field::text) END"

#define EVENTSTORE_INDEX_COLUMNS                                                                  \
  "p.name, p.field, p.state, coalesce(p.error, ''), p.created_at, n.total::int4, n.done::int4,"   \
  " coalesce(g.blocks_done, 0)::bigint, coalesce(g.blocks_total, 0)::bigint FROM payload_indexes" \
  " p CROSS JOIN LATERAL (SELECT count(*) AS total, count(*) FILTER (WHERE x.indisvalid) AS done" \
  " FROM " EVENTSTORE_REAL_INDEXES " WHERE " EVENTSTORE_OF_EVENTS                                 \
  ") n LEFT JOIN LATERAL (SELECT sum(b.blocks_done) AS blocks_done, sum(b.blocks_total)"          \
  " AS blocks_total FROM pg_stat_progress_create_index b JOIN pg_class c"                         \
  " ON c.oid = b.index_relid JOIN pg_class t ON t.oid = b.relid JOIN pg_inherits i"               \
  " ON i.inhrelid = t.oid WHERE " EVENTSTORE_OF_EVENTS                                            \
  " AND c.relname = t.relname || '_x' || p.index_key) g ON true "

constexpr pg::Statement kList{"payload_indexes_list",
                              "SELECT " EVENTSTORE_INDEX_COLUMNS "ORDER BY p.name"};
constexpr pg::Statement kRead{"payload_indexes_read",
                              "SELECT " EVENTSTORE_INDEX_COLUMNS "WHERE p.name = $1"};

constexpr pg::Statement kCount{"payload_indexes_count", "SELECT count(*) FROM payload_indexes"};

// A failed one is built again; an equal one stays as it is.
constexpr pg::Statement kCreate{
    "payload_indexes_create",
    "INSERT INTO payload_indexes AS p (name, field) VALUES ($1, $2)"
    " ON CONFLICT (name) DO UPDATE SET state = 'building', error = NULL, lease_until = NULL,"
    " token = p.token + 1 WHERE p.state = 'failed' AND p.field IS NOT DISTINCT FROM $2"};

constexpr pg::Statement kDrop{
    "payload_indexes_drop",
    "UPDATE payload_indexes SET state = 'dropping', error = NULL, lease_until = NULL,"
    " token = token + 1 WHERE name = $1 AND state <> 'dropping'"};

constexpr pg::Statement kReady{"payload_indexes_ready",
                               "SELECT field FROM payload_indexes WHERE state = 'ready'"};

constexpr pg::Statement kForPartition{
    "payload_indexes_for_partition",
    "SELECT string_agg(" EVENTSTORE_CREATE_INDEX(
        "", "$1::text") ", '') FROM payload_indexes p WHERE p.state IN ('building', 'ready')"};

// A ready one has work too, where a partition came without it.
#define EVENTSTORE_WORK                                                                    \
  "(p.state IN ('building', 'dropping') OR (p.state = 'ready' AND " EVENTSTORE_HAS_MISSING \
  ")) AND (p.lease_until IS NULL OR p.lease_until < clock_timestamp())"

constexpr pg::Statement kHasWork{
    "payload_indexes_has_work",
    "SELECT EXISTS (SELECT FROM payload_indexes p WHERE " EVENTSTORE_WORK ")"};

constexpr pg::Statement kClaim{
    "payload_indexes_claim",
    "UPDATE payload_indexes u SET builder = $1, token = u.token + 1,"
    " lease_until = clock_timestamp() + $2 * interval '1 millisecond'"
    " FROM (SELECT p.index_key FROM payload_indexes p WHERE " EVENTSTORE_WORK
    " ORDER BY p.index_key LIMIT 1 FOR UPDATE SKIP LOCKED) w WHERE u.index_key = w.index_key"
    " RETURNING u.index_key, u.token, u.name, u.state = 'dropping'"};

#define EVENTSTORE_CLAIMED "index_key = $1 AND token = $2"

constexpr pg::Statement kRenew{
    "payload_indexes_renew",
    "UPDATE payload_indexes SET lease_until = clock_timestamp() + $3 * interval '1 millisecond'"
    " WHERE " EVENTSTORE_CLAIMED};

constexpr pg::Statement kRelease{
    "payload_indexes_release",
    "UPDATE payload_indexes SET lease_until = NULL WHERE " EVENTSTORE_CLAIMED};

constexpr pg::Statement kFail{
    "payload_indexes_fail",
    "UPDATE payload_indexes SET state = 'failed', error = $3, lease_until = NULL"
    " WHERE " EVENTSTORE_CLAIMED " AND state <> 'dropping'"};

constexpr pg::Statement kFinishBuild{
    "payload_indexes_finish_build",
    "UPDATE payload_indexes p SET state = 'ready', lease_until = NULL WHERE " EVENTSTORE_CLAIMED
    " AND state IN ('building', 'ready') AND NOT " EVENTSTORE_HAS_MISSING};

constexpr pg::Statement kFinishDrop{"payload_indexes_finish_drop",
                                    "DELETE FROM payload_indexes WHERE " EVENTSTORE_CLAIMED
                                    " AND state = 'dropping'"};

constexpr pg::Statement kNextBuild{
    "payload_indexes_next_build",
    "SELECT CASE WHEN m.index IS NOT NULL THEN format('DROP INDEX CONCURRENTLY IF EXISTS %I',"
    " m.index) ELSE " EVENTSTORE_CREATE_INDEX("CONCURRENTLY IF NOT EXISTS", "m.partition")
    " END FROM payload_indexes p CROSS JOIN LATERAL (SELECT c.relname AS index, t.relname AS"
    " partition FROM " EVENTSTORE_REAL_INDEXES " WHERE " EVENTSTORE_OF_EVENTS
    " AND x.indisvalid IS NOT TRUE ORDER BY t.oid LIMIT 1) m WHERE p.index_key = $1"};

constexpr pg::Statement kNextDrop{
    "payload_indexes_next_drop",
    "SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %I', c.relname) FROM pg_class c JOIN pg_index"
    " x ON x.indexrelid = c.oid JOIN pg_class t ON t.oid = x.indrelid JOIN pg_inherits i"
    " ON i.inhrelid = t.oid WHERE " EVENTSTORE_OF_EVENTS
    " AND c.relname = t.relname || '_x' || $1::bigint ORDER BY t.oid LIMIT 1"};

v1::PayloadIndexState StateOf(std::string_view name) {
  if (name == "building") return v1::PAYLOAD_INDEX_STATE_BUILDING;
  if (name == "ready") return v1::PAYLOAD_INDEX_STATE_READY;
  if (name == "failed") return v1::PAYLOAD_INDEX_STATE_FAILED;
  return v1::PAYLOAD_INDEX_STATE_DROPPING;
}

void ParseIndex(const pg::Result& result, int row, v1::PayloadIndex* index) {
  index->set_name(std::string(result.Text(row, 0)));
  if (!result.IsNull(row, 1)) index->set_field(FormatFieldPath(result.TextArray(row, 1)));
  index->set_state(StateOf(result.Text(row, 2)));
  index->set_error(std::string(result.Text(row, 3)));
  FromUnixMicros(result.Timestamp(row, 4), index->mutable_created_at());
  index->set_partitions_total(result.Int32(row, 5));
  index->set_partitions_done(result.Int32(row, 6));
  index->set_blocks_done(result.Int64(row, 7));
  index->set_blocks_total(result.Int64(row, 8));
}

absl::StatusOr<v1::PayloadIndex> ReadIndex(pg::Connection& connection, std::string_view name,
                                           Deadline deadline) {
  auto result = connection.Query(kRead, pg::Params().Text(name), deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return NotFound(kKind, name);
  v1::PayloadIndex index;
  ParseIndex(*result, 0, &index);
  return index;
}

absl::Status AlreadyExists(const v1::PayloadIndex& index) {
  v1::ErrorInfo info;
  info.set_reason(v1::ERROR_REASON_ALREADY_EXISTS);
  info.set_field(kKind);
  info.set_message(absl::StrCat(
      "a payload index named \"", index.name(), "\" exists already and is ",
      index.state() == v1::PAYLOAD_INDEX_STATE_DROPPING
          ? std::string("being dropped; wait until it is gone")
          : absl::StrCat("one for ", index.field().empty() ? "payload_contains" : index.field(),
                         "; choose another name, or drop it")));
  return MakeError(std::move(info));
}

pg::Params ClaimParams(const PayloadIndexClaim& claim) {
  pg::Params params;
  params.Int64(claim.index_key).Int64(claim.token);
  return params;
}

}  // namespace

absl::StatusOr<v1::CreatePayloadIndexResponse> CreatePayloadIndex(
    pg::Connection& connection, const v1::CreatePayloadIndexRequest& request, Deadline deadline) {
  v1::CreatePayloadIndexResponse response;
  auto known = ReadIndex(connection, request.name(), deadline);
  if (!known.ok() && !absl::IsNotFound(known.status())) return known.status();
  if (!known.ok()) {
    auto count = connection.Query(kCount, pg::Params(), deadline);
    if (!count.ok()) return count.status();
    if (count->Int64(0, 0) >= kPayloadIndexesMax) {
      return TooLarge("name", "payload_indexes_max", kPayloadIndexesMax, count->Int64(0, 0) + 1);
    }
  }
  pg::Params params;
  params.Text(request.name());
  if (request.field().empty()) {
    params.Null(pg::kTextArray);
  } else {
    auto path = ParseFieldPath(request.field());
    if (!path.ok()) return path.status();
    params.TextArray(*path);
  }
  auto made = connection.Query(kCreate, params, deadline);
  if (!made.ok()) return made.status();
  auto index = ReadIndex(connection, request.name(), deadline);
  if (!index.ok()) return index.status();
  if (index->field() != request.field() || index->state() == v1::PAYLOAD_INDEX_STATE_DROPPING) {
    return AlreadyExists(*index);
  }
  *response.mutable_index() = *std::move(index);
  return response;
}

absl::StatusOr<v1::DropPayloadIndexResponse> DropPayloadIndex(
    pg::Connection& connection, const v1::DropPayloadIndexRequest& request, Deadline deadline) {
  auto dropped = connection.Query(kDrop, pg::Params().Text(request.name()), deadline);
  if (!dropped.ok()) return dropped.status();
  auto index = ReadIndex(connection, request.name(), deadline);
  if (!index.ok()) return index.status();
  v1::DropPayloadIndexResponse response;
  *response.mutable_index() = *std::move(index);
  return response;
}

absl::StatusOr<v1::ListPayloadIndexesResponse> ListPayloadIndexes(
    pg::Connection& connection, const v1::ListPayloadIndexesRequest& /*request*/,
    Deadline deadline) {
  auto result = connection.Query(kList, pg::Params(), deadline);
  if (!result.ok()) return result.status();
  v1::ListPayloadIndexesResponse response;
  for (int row = 0; row < result->rows(); ++row) ParseIndex(*result, row, response.add_indexes());
  return response;
}

absl::StatusOr<bool> HasPayloadIndexFor(pg::Connection& connection,
                                        const PayloadConditions& conditions, Deadline deadline) {
  auto result = connection.Query(kReady, pg::Params(), deadline);
  if (!result.ok()) return result.status();
  for (int row = 0; row < result->rows(); ++row) {
    if (result->IsNull(row, 0)) {
      if (!conditions.contains.empty()) return true;
      continue;
    }
    const FieldPath field = result->TextArray(row, 0);
    for (const PayloadConditions::Equal& equal : conditions.equals) {
      if (equal.path == field) return true;
    }
  }
  return false;
}

absl::StatusOr<std::string> PayloadIndexSqlFor(pg::Connection& connection,
                                               std::string_view partition, Deadline deadline) {
  auto result = connection.Query(kForPartition, pg::Params().Text(partition), deadline);
  if (!result.ok()) return result.status();
  return result->IsNull(0, 0) ? std::string() : std::string(result->Text(0, 0));
}

absl::StatusOr<bool> HasPayloadIndexWork(pg::Connection& connection, Deadline deadline) {
  auto result = connection.Query(kHasWork, pg::Params(), deadline);
  if (!result.ok()) return result.status();
  return result->Bool(0, 0);
}

absl::StatusOr<std::optional<PayloadIndexClaim>> ClaimPayloadIndex(pg::Connection& connection,
                                                                   const Uuid& daemon,
                                                                   std::chrono::milliseconds lease,
                                                                   Deadline deadline) {
  auto result = connection.Query(
      kClaim, pg::Params().Uuid(daemon).Double(static_cast<double>(lease.count())), deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return std::optional<PayloadIndexClaim>();
  return std::optional<PayloadIndexClaim>({result->Int64(0, 0), result->Int64(0, 1),
                                           std::string(result->Text(0, 2)), result->Bool(0, 3)});
}

absl::StatusOr<bool> RenewPayloadIndexClaim(pg::Connection& connection,
                                            const PayloadIndexClaim& claim,
                                            std::chrono::milliseconds lease, Deadline deadline) {
  auto result = connection.Query(
      kRenew, ClaimParams(claim).Double(static_cast<double>(lease.count())), deadline);
  if (!result.ok()) return result.status();
  return result->affected() == 1;
}

absl::StatusOr<std::string> NextPayloadIndexSql(pg::Connection& connection,
                                                const PayloadIndexClaim& claim, Deadline deadline) {
  auto result = connection.Query(claim.dropping ? kNextDrop : kNextBuild,
                                 pg::Params().Int64(claim.index_key), deadline);
  if (!result.ok()) return result.status();
  return result->rows() == 0 ? std::string() : std::string(result->Text(0, 0));
}

absl::Status FinishPayloadIndex(pg::Connection& connection, const PayloadIndexClaim& claim,
                                Deadline deadline) {
  return connection.Query(claim.dropping ? kFinishDrop : kFinishBuild, ClaimParams(claim), deadline)
      .status();
}

absl::Status FailPayloadIndex(pg::Connection& connection, const PayloadIndexClaim& claim,
                              std::string_view error, Deadline deadline) {
  return connection.Query(kFail, ClaimParams(claim).Text(error), deadline).status();
}

absl::Status ReleasePayloadIndex(pg::Connection& connection, const PayloadIndexClaim& claim,
                                 Deadline deadline) {
  return connection.Query(kRelease, ClaimParams(claim), deadline).status();
}

}  // namespace eventstore::tables
