#include "server/tables/lone_append.h"

#include <string_view>
#include <utility>

#include "server/core/validation.h"
#include "server/tables/event_row.h"
#include "server/tables/head_sql.h"

namespace eventstore::tables {
namespace {

// What is written hangs on the row of `moved`: so the head is locked before anything else, and
// nothing is written where it is another one. $10 to $26 are the event, $27 is the stream's version
// until now or, for a new one, its tenant.
#define EVENTSTORE_LONE_ID                                                         \
  "ids AS (INSERT INTO event_ids (event_id, global_position, stream_key, version," \
  " created_at) SELECT $10, $2, $11, $17, $3 FROM moved)"
#define EVENTSTORE_LONE_EVENT                                                              \
  "event AS (INSERT INTO events (global_position, event_id, stream_key, aggregate_id,"     \
  " aggregate_type, event_type, tenant_id, actor_id, version, timestamp, payload,"         \
  " payload_binary, content_type, correlation_id, causation_id, metadata, schema_version," \
  " size_bytes, created_at) SELECT $2, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,"  \
  " $20, $21, $22, $23, $24, $25, $26, $3 FROM moved)"
#define EVENTSTORE_LONE_GUARD          \
  "CASE WHEN " EVENTSTORE_HEAD_GUARD   \
  " AND s.count = 1 THEN m.ctid"       \
  " ELSE (" EVENTSTORE_HEAD_GUARD_TEXT \
  " || ', ' || s.count || ' streams were at their version')::int::text END"
#define EVENTSTORE_LONE_APPEND(where, stream)                                                      \
  "WITH " EVENTSTORE_MOVED_HEAD(where) ", stream AS (" stream "), " EVENTSTORE_LONE_ID             \
                                       ", " EVENTSTORE_LONE_EVENT " SELECT " EVENTSTORE_LONE_GUARD \
                                       ", " EVENTSTORE_HEAD_REST " FROM " EVENTSTORE_HEAD_COUNTS   \
                                       " CROSS JOIN (SELECT count(*) FROM stream) s"

#define EVENTSTORE_MOVE_STREAM                                             \
  "UPDATE streams SET version = $17, last_position = $2, updated_at = $3," \
  " deleted_at = NULL"                                                     \
  " FROM moved WHERE stream_key = $11 AND version = $27 RETURNING 1"
#define EVENTSTORE_NEW_STREAM                                                 \
  "INSERT INTO streams (stream_key, tenant_id, aggregate_type, aggregate_id," \
  " version, first_position, last_position, created_at, updated_at)"          \
  " SELECT $11, $27, $13, $12, $17, $2, $2, $3, $3 FROM moved RETURNING 1"

constexpr pg::Statement kToStream{
    "lone_to_stream", EVENTSTORE_LONE_APPEND(EVENTSTORE_HEAD_BY_CTID, EVENTSTORE_MOVE_STREAM)};
constexpr pg::Statement kToStreamScan{
    "lone_to_stream_scan", EVENTSTORE_LONE_APPEND(EVENTSTORE_HEAD_BY_SCAN, EVENTSTORE_MOVE_STREAM)};
constexpr pg::Statement kToNew{
    "lone_to_new", EVENTSTORE_LONE_APPEND(EVENTSTORE_HEAD_BY_CTID, EVENTSTORE_NEW_STREAM)};
constexpr pg::Statement kToNewScan{
    "lone_to_new_scan", EVENTSTORE_LONE_APPEND(EVENTSTORE_HEAD_BY_SCAN, EVENTSTORE_NEW_STREAM)};

void TextOrNull(std::string_view text, pg::Params* params) {
  text.empty() ? params->Null(pg::kText) : params->Text(text);
}

}  // namespace

bool IsLone(const std::vector<NewEventRow>& rows) {
  return rows.size() == 1 && rows.front().event->tags().empty();
}

void AddLoneAppend(pg::Pipeline* pipeline, const HeadMove& move, const StreamChange& stream,
                   const NewEventRow& row) {
  const v1::NewEvent& event = *row.event;
  pg::Params params = HeadMoveParams(move);
  params.Uuid(row.event_id).Int64(row.stream_key);
  params.Text(row.stream->aggregate_id()).Text(row.stream->aggregate_type());
  params.Text(event.event_type());
  row.tenant == kNilUuid ? params.Null(pg::kUuid) : params.Uuid(row.tenant);
  TextOrNull(event.actor_id(), &params);
  params.Int64(row.version).Timestamp(TimestampOf(event, move.last_created_at_micros));
  const bool json = IsJsonContentType(event.content_type());
  json ? params.Jsonb(event.payload()) : params.Null(pg::kJsonb);
  json ? params.Null(pg::kBytea) : params.Bytea(event.payload());
  TextOrNull(StoredContentType(event), &params);
  TextOrNull(event.correlation_id(), &params);
  TextOrNull(event.causation_id(), &params);
  event.metadata().empty() ? params.Null(pg::kJsonb) : params.Jsonb(MetadataJson(event.metadata()));
  params.Int32(event.schema_version()).Int32(row.size_bytes);
  const bool scan = move.ctid.empty();
  if (stream.old_version == 0) {
    params.Uuid(stream.name.tenant);
    pipeline->Add(scan ? kToNewScan : kToNew, std::move(params));
  } else {
    params.Int64(stream.old_version);
    pipeline->Add(scan ? kToStreamScan : kToStream, std::move(params));
  }
}

}  // namespace eventstore::tables
