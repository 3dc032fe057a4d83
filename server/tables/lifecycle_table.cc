#include "server/tables/lifecycle_table.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "server/tables/outbox_data.h"
#include "server/tables/streams_table.h"

namespace eventstore::tables {
namespace {

// A hung daemon must not hold the head for ever, and what is acknowledged must be durable, whatever
// the defaults of the connection are.
constexpr pg::Statement kSetLimits{
    "lifecycle_set_limits",
    "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true),"
    " set_config('idle_in_transaction_session_timeout', $3, true),"
    " set_config('synchronous_commit', 'on', true)"};

constexpr pg::Statement kFindStream{
    "lifecycle_find_stream",
    "SELECT stream_key, version, first_version, first_position, last_position,"
    " deleted_at IS NOT NULL AND NOT tombstoned, tombstoned FROM streams"
    " WHERE tenant_id = $1 AND aggregate_type = $2 AND aggregate_id = $3"};

constexpr pg::Statement kTruncate{
    "lifecycle_truncate",
    "UPDATE streams SET first_version = $2, truncated_at = clock_timestamp()"
    " WHERE stream_key = $1"};

constexpr pg::Statement kDelete{
    "lifecycle_delete",
    "UPDATE streams SET first_version = version + 1, deleted_at = clock_timestamp(),"
    " tombstoned = $2 WHERE stream_key = $1"};

// Those of which the stream cannot be completed any more: the first event after them is hidden.
constexpr pg::Statement kDeleteSnapshots{
    "lifecycle_delete_snapshots",
    "DELETE FROM snapshots s USING streams t WHERE t.stream_key = ANY($1)"
    " AND s.tenant_id = t.tenant_id AND s.aggregate_type = t.aggregate_type"
    " AND s.aggregate_id = t.aggregate_id AND s.version < $2"};

constexpr pg::Statement kFindById{
    "lifecycle_find_by_id",
    "SELECT coalesce(i.global_position, 0), coalesce(i.stream_key, 0), coalesce(i.version, 0),"
    " n.event_id, s.tenant_id, e.erased_at IS NOT NULL, e.global_position IS NOT NULL"
    " FROM unnest($1::uuid[]) WITH ORDINALITY AS n(event_id, i)"
    " LEFT JOIN LATERAL (SELECT global_position, stream_key, version FROM event_ids"
    " WHERE event_ids.event_id = n.event_id LIMIT 1) i ON true"
    " LEFT JOIN LATERAL (SELECT tenant_id FROM streams"
    " WHERE streams.stream_key = i.stream_key LIMIT 1) s ON true"
    " LEFT JOIN LATERAL (SELECT global_position, erased_at FROM events"
    " WHERE events.global_position = i.global_position LIMIT 1) e ON true ORDER BY n.i"};

constexpr pg::Statement kRaise{
    "lifecycle_raise_revision",
    "WITH raised AS (UPDATE log_head SET revision = revision + 1 RETURNING revision),"
    " named AS (INSERT INTO log_changes (revision, stream_key, kind, changed_at)"
    " SELECT revision, k, $2, clock_timestamp() FROM raised, unnest($1::bigint[]) k)"
    " SELECT revision FROM raised"};

// $1: positions; $2 and $3 bound them, so that only their partitions are looked at. A statement of
// its own each: an event is locked by the first, and what copied it before is committed and found.
#define EVENTSTORE_ERASED_EVENTS \
  "global_position = ANY($1) AND global_position >= $2 AND global_position <= $3"

// Rows in event_tags are found by their tag.
constexpr char kEraseTags[] =
    "DELETE FROM event_tags t USING (SELECT global_position, unnest(tags) AS tag FROM events"
    " WHERE " EVENTSTORE_ERASED_EVENTS
    ") e WHERE t.tag = e.tag AND t.global_position = e.global_position";
constexpr char kErase[] =
    "UPDATE events SET payload = NULL, payload_binary = NULL,"
    " content_type = 'application/x-erased', metadata = NULL, actor_id = NULL,"
    " correlation_id = NULL, causation_id = NULL, tags = NULL, size_bytes = 0,"
    " erased_at = clock_timestamp() WHERE " EVENTSTORE_ERASED_EVENTS;

// The events are erased already, so that nothing of their content can be copied.
constexpr pg::Statement kEraseOutbox{
    "lifecycle_erase_outbox",
    "UPDATE event_outbox o SET event_data = " EVENTSTORE_OUTBOX_ERASED_DATA
    ", last_error = NULL FROM (SELECT * FROM events WHERE " EVENTSTORE_ERASED_EVENTS
    ") e WHERE o.event_id = ANY($4) AND o.event_id = e.event_id"};
// Rows that somebody is publishing are locked until the broker has answered.
constexpr pg::Statement kLockOutbox{
    "lifecycle_lock_outbox",
    "SELECT (SELECT count(*) FROM event_outbox WHERE event_id = ANY($1)) = (SELECT count(*)"
    " FROM (SELECT FROM event_outbox WHERE event_id = ANY($1) FOR UPDATE SKIP LOCKED) locked)"};
constexpr pg::Statement kAwaitOutbox{
    "lifecycle_await_outbox", "SELECT FROM event_outbox WHERE event_id = ANY($1) FOR UPDATE"};
// What a reader wrote about the event may quote it.
constexpr pg::Statement kEraseDeadLetters{
    "lifecycle_erase_dead_letters",
    "UPDATE dead_letter_queue SET event_data = '{\"erased\": true}', error_message = 'erased',"
    " error_stacktrace = NULL, resolution_note = NULL WHERE event_id = ANY($1)"};
constexpr pg::Statement kEraseRetries{
    "lifecycle_erase_retries",
    "UPDATE consumer_group_retries SET error = '' WHERE position = ANY($1) AND error <> ''"};
constexpr pg::Statement kAudit{
    "lifecycle_audit",
    "INSERT INTO erasures (revision, event_id, global_position, stream_key, version, reason,"
    " erased_by, erased_at) SELECT $5, event_id, global_position, stream_key, version, $6, $7,"
    " clock_timestamp() FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[])"
    " AS n(event_id, global_position, stream_key, version)"};

// The most revisions that are told of at once, each of which erased a bounded number of events.
constexpr std::int64_t kRevisionsMax = 64;

constexpr pg::Statement kReadChanges{
    "lifecycle_read_changes",
    "SELECT DISTINCT c.stream_key, s.tenant_id, s.aggregate_type, s.aggregate_id"
    " FROM log_changes c LEFT JOIN streams s ON s.stream_key = c.stream_key"
    " WHERE c.revision > $1 AND c.revision <= $2 AND (c.kind <> 'erase' OR c.stream_key IS NULL)"};
constexpr pg::Statement kReadErasures{
    "lifecycle_read_erasures",
    "SELECT global_position FROM erasures WHERE revision > $1 AND revision <= $2"};

absl::Status DeleteSnapshots(pg::Connection& connection, const std::vector<std::int64_t>& keys,
                             std::int64_t below_version, Deadline deadline) {
  pg::ArrayWriter array(pg::kInt8);
  for (const std::int64_t key : keys) array.Int64(key);
  return connection
      .Query(kDeleteSnapshots, pg::Params().Array(&array).Int64(below_version), deadline)
      .status();
}

std::string Milliseconds(std::chrono::milliseconds duration) {
  return absl::StrCat(duration.count());
}

}  // namespace

absl::StatusOr<Head> BeginChange(pg::Connection& connection, const ChangeTimeouts& timeouts,
                                 Deadline deadline) {
  pg::Pipeline pipeline(&connection);
  pipeline.Add(kBegin, {});
  pg::Params limits;
  limits.Text(Milliseconds(timeouts.lock))
      .Text(Milliseconds(timeouts.statement))
      .Text(Milliseconds(timeouts.idle_in_transaction));
  pipeline.Add(kSetLimits, std::move(limits));
  AddLockHeadAnywhere(&pipeline);
  const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) return outcome.status;
  LockedHead locked;
  if (!ParseLockedHead(outcome.results[2], &locked)) {
    return absl::FailedPreconditionError("log_head has no row, or more than one; restore it");
  }
  return locked.head;
}

absl::StatusOr<std::optional<StreamState>> FindStreamState(pg::Connection& connection,
                                                           const v1::StreamId& stream,
                                                           Deadline deadline) {
  pg::Params params;
  params.Uuid(TenantOf(stream.tenant_id()))
      .Text(stream.aggregate_type())
      .Text(stream.aggregate_id());
  auto result = connection.Query(kFindStream, params, deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return std::optional<StreamState>();
  StreamState state;
  state.stream_key = result->Int64(0, 0);
  state.version = result->Int64(0, 1);
  state.first_version = result->Int64(0, 2);
  state.first_position = result->Int64(0, 3);
  state.last_position = result->Int64(0, 4);
  state.deleted = result->Bool(0, 5);
  state.tombstoned = result->Bool(0, 6);
  return std::optional<StreamState>(state);
}

absl::Status TruncateStream(pg::Connection& connection, std::int64_t stream_key,
                            std::int64_t before_version, Deadline deadline) {
  absl::Status truncated =
      connection.Query(kTruncate, pg::Params().Int64(stream_key).Int64(before_version), deadline)
          .status();
  if (!truncated.ok()) return truncated;
  return DeleteSnapshots(connection, {stream_key}, before_version - 1, deadline);
}

absl::Status DeleteStream(pg::Connection& connection, std::int64_t stream_key, bool permanent,
                          Deadline deadline) {
  absl::Status deleted =
      connection.Query(kDelete, pg::Params().Int64(stream_key).Bool(permanent), deadline).status();
  if (!deleted.ok()) return deleted;
  return DeleteSnapshots(connection, {stream_key}, INT64_MAX, deadline);
}

absl::StatusOr<std::vector<ErasedEvent>> FindEventsOfStream(
    pg::Connection& connection, const StreamState& stream,
    const google::protobuf::RepeatedField<std::int64_t>& versions, std::int64_t limit,
    Deadline deadline) {
  std::string sql =
      "SELECT global_position, version, event_id, erased_at IS NOT NULL FROM events"
      " WHERE stream_key = $1 AND global_position >= $2 AND global_position <= $3";
  pg::Params params;
  params.Int64(stream.stream_key).Int64(stream.first_position).Int64(stream.last_position);
  params.Int64(limit);
  if (!versions.empty()) {
    pg::ArrayWriter array(pg::kInt8);
    for (const std::int64_t version : versions) array.Int64(version);
    params.Array(&array);
    absl::StrAppend(&sql, " AND version = ANY($5)");
  }
  absl::StrAppend(&sql, " ORDER BY version LIMIT $4");
  auto result = connection.QueryOnce(sql, params, deadline);
  if (!result.ok()) return result.status();
  std::vector<ErasedEvent> events(static_cast<std::size_t>(result->rows()));
  for (int row = 0; row < result->rows(); ++row) {
    ErasedEvent& event = events[static_cast<std::size_t>(row)];
    event.global_position = result->Int64(row, 0);
    event.stream_key = stream.stream_key;
    event.version = result->Int64(row, 1);
    event.event_id = result->Uuid(row, 2);
    event.is_here = true;
    event.is_erased = result->Bool(row, 3);
  }
  return events;
}

absl::StatusOr<std::vector<ErasedEvent>> FindEventsById(
    pg::Connection& connection, const google::protobuf::RepeatedPtrField<std::string>& event_ids,
    Deadline deadline) {
  pg::ArrayWriter ids(pg::kUuid);
  for (const std::string& id : event_ids) ids.Uuid(ParseUuid(id).value_or(kNilUuid));
  auto result = connection.Query(kFindById, pg::Params().Array(&ids), deadline);
  if (!result.ok()) return result.status();
  std::vector<ErasedEvent> events(static_cast<std::size_t>(result->rows()));
  for (int row = 0; row < result->rows(); ++row) {
    ErasedEvent& event = events[static_cast<std::size_t>(row)];
    event.global_position = result->Int64(row, 0);
    event.stream_key = result->Int64(row, 1);
    event.version = result->Int64(row, 2);
    event.event_id = result->Uuid(row, 3);
    if (!result->IsNull(row, 4)) event.tenant = result->Uuid(row, 4);
    event.is_erased = result->Bool(row, 5);
    event.is_here = result->Bool(row, 6);
  }
  return events;
}

absl::StatusOr<bool> LockOutboxOf(pg::Connection& connection, const std::vector<Uuid>& event_ids,
                                  Deadline deadline) {
  pg::ArrayWriter ids(pg::kUuid);
  for (const Uuid& id : event_ids) ids.Uuid(id);
  auto locked = connection.Query(kLockOutbox, pg::Params().Array(&ids), deadline);
  if (!locked.ok()) return locked.status();
  return locked->Bool(0, 0);
}

absl::Status AwaitOutboxOf(pg::Connection& connection, const std::vector<Uuid>& event_ids,
                           Deadline deadline) {
  pg::ArrayWriter ids(pg::kUuid);
  for (const Uuid& id : event_ids) ids.Uuid(id);
  return connection.Query(kAwaitOutbox, pg::Params().Array(&ids), deadline).status();
}

absl::Status EraseEvents(pg::Connection& connection, const std::vector<ErasedEvent>& events,
                         const Erasure& erasure, Deadline deadline) {
  std::vector<std::int64_t> stream_keys;
  std::int64_t low = INT64_MAX;
  std::int64_t high = 0;
  for (const ErasedEvent& event : events) {
    low = std::min(low, event.global_position);
    high = std::max(high, event.global_position);
    stream_keys.push_back(event.stream_key);
  }
  // Of four columns, as often as they are needed: a statement takes its arrays' bytes.
  const auto positions = [&] {
    pg::ArrayWriter array(pg::kInt8);
    for (const ErasedEvent& event : events) array.Int64(event.global_position);
    return array;
  };
  const auto ids = [&] {
    pg::ArrayWriter array(pg::kUuid);
    for (const ErasedEvent& event : events) array.Uuid(event.event_id);
    return array;
  };
  pg::ArrayWriter bounded = positions();
  const pg::Params bounds = pg::Params().Array(&bounded).Int64(low).Int64(high);
  absl::Status untagged = connection.QueryOnce(kEraseTags, bounds, deadline).status();
  if (!untagged.ok()) return untagged;
  auto erased = connection.QueryOnce(kErase, bounds, deadline);
  if (!erased.ok()) return erased.status();
  if (erased->affected() != static_cast<std::int64_t>(events.size())) {
    return absl::InternalError("events that are to be erased moved under the head's lock");
  }
  pg::Pipeline pipeline(&connection);
  pg::ArrayWriter outbox = ids();
  pg::ArrayWriter outbox_positions = positions();
  pg::ArrayWriter letters = ids();
  pg::ArrayWriter retries = positions();
  pipeline.Add(
      kEraseOutbox,
      std::move(pg::Params().Array(&outbox_positions).Int64(low).Int64(high).Array(&outbox)));
  pipeline.Add(kEraseDeadLetters, std::move(pg::Params().Array(&letters)));
  pipeline.Add(kEraseRetries, std::move(pg::Params().Array(&retries)));
  pg::ArrayWriter audit_ids = ids(), audit_positions = positions(), keys(pg::kInt8),
                  versions(pg::kInt8);
  for (const ErasedEvent& event : events) {
    keys.Int64(event.stream_key);
    versions.Int64(event.version);
  }
  pg::Params audit;
  audit.Array(&audit_ids).Array(&audit_positions).Array(&keys).Array(&versions);
  audit.Int64(erasure.revision).Text(erasure.reason).Text(erasure.erased_by);
  pipeline.Add(kAudit, std::move(audit));
  const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) return outcome.status;
  std::sort(stream_keys.begin(), stream_keys.end());
  stream_keys.erase(std::unique(stream_keys.begin(), stream_keys.end()), stream_keys.end());
  return DeleteSnapshots(connection, stream_keys, INT64_MAX, deadline);
}

absl::StatusOr<std::int64_t> RaiseRevision(pg::Connection& connection, std::string_view kind,
                                           const std::vector<std::int64_t>& stream_keys,
                                           Deadline deadline) {
  pg::ArrayWriter keys(pg::kInt8);
  for (const std::int64_t key : stream_keys) keys.Int64(key);
  auto result = connection.Query(kRaise, pg::Params().Array(&keys).Text(kind), deadline);
  if (!result.ok()) return result.status();
  if (result->rows() != 1) return absl::InternalError("log_head moved under its own lock");
  return result->Int64(0, 0);
}

absl::StatusOr<LogChanges> ReadLogChanges(pg::Connection& connection, std::int64_t after,
                                          Deadline deadline) {
  auto head = ReadHead(connection, deadline);
  if (!head.ok()) return head.status();
  LogChanges changes;
  changes.head = *head;
  changes.after = after;
  changes.revision = std::min(head->revision, after + kRevisionsMax);
  const pg::Params range = pg::Params().Int64(after).Int64(changes.revision);
  auto streams = connection.Query(kReadChanges, range, deadline);
  if (!streams.ok()) return streams.status();
  for (int row = 0; row < streams->rows(); ++row) {
    if (streams->IsNull(row, 2)) {
      changes.anything = true;
      continue;
    }
    v1::StreamId& stream = changes.streams.emplace_back();
    const Uuid tenant = streams->Uuid(row, 1);
    if (tenant != kNilUuid) stream.set_tenant_id(FormatUuid(tenant));
    stream.set_aggregate_type(std::string(streams->Text(row, 2)));
    stream.set_aggregate_id(std::string(streams->Text(row, 3)));
  }
  auto erased = connection.Query(kReadErasures, range, deadline);
  if (!erased.ok()) return erased.status();
  changes.erased.reserve(static_cast<std::size_t>(erased->rows()));
  for (int row = 0; row < erased->rows(); ++row) changes.erased.push_back(erased->Int64(row, 0));
  return changes;
}

}  // namespace eventstore::tables
