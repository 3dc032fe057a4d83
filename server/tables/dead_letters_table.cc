#include "server/tables/dead_letters_table.h"

#include <utility>

namespace eventstore::tables {
namespace {

// The ledger and the event are found one by one (see streams_table.cc for LATERAL with LIMIT). What
// is not JSON goes into an object, with its bytes in base64 on one line: encode() breaks lines. The
// statement's own clock, for a transaction may have begun long before. The event is locked, so that
// no copy of it is made while its content is being erased: either the copy is of what is left, or
// the erasure finds it.
constexpr pg::Statement kUpsert{
    "dead_letters_upsert",
    "INSERT INTO dead_letter_queue AS d (event_id, projection_name, event_type, event_data,"
    " error_message, error_stacktrace, retry_count, first_failed_at, last_failed_at,"
    " global_position, stream_key)"
    " SELECT n.event_id, n.projection_name, coalesce(e.event_type, n.event_type),"
    " coalesce(e.payload, CASE WHEN e.erased_at IS NOT NULL THEN '{\"erased\": true}'::jsonb"
    " WHEN e.payload_binary IS NULL THEN 'null'::jsonb ELSE"
    " jsonb_build_object('content_type', e.content_type, 'base64',"
    " translate(encode(e.payload_binary, 'base64'), chr(10), '')) END),"
    " n.error_message, nullif(n.error_stacktrace, ''), n.retry_count, c.now, c.now,"
    " i.global_position, i.stream_key"
    " FROM (SELECT clock_timestamp() AS now OFFSET 0) c CROSS JOIN"
    " unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int4[])"
    " AS n(event_id, projection_name, event_type, error_message, error_stacktrace, retry_count)"
    " CROSS JOIN LATERAL (SELECT global_position, stream_key FROM event_ids"
    " WHERE event_ids.event_id = n.event_id LIMIT 1) i"
    " LEFT JOIN LATERAL (SELECT event_type, payload, payload_binary, content_type, erased_at"
    " FROM events WHERE events.global_position = i.global_position LIMIT 1 FOR SHARE) e ON true"
    " ON CONFLICT (event_id, projection_name) DO UPDATE SET error_message = excluded.error_message,"
    " error_stacktrace = excluded.error_stacktrace,"
    " retry_count = least(d.retry_count::bigint + 1 + excluded.retry_count, 2147483647)::int4,"
    " last_failed_at = greatest(d.last_failed_at, excluded.last_failed_at), status = 'failed',"
    " resolved_at = NULL, resolved_by = NULL, resolution_note = NULL,"
    " global_position = excluded.global_position, stream_key = excluded.stream_key"};

constexpr pg::Statement kResolve{
    "dead_letters_resolve",
    "UPDATE dead_letter_queue d SET status = 'resolved', resolved_at = clock_timestamp(),"
    " resolved_by = $3, resolution_note = nullif($4, '')"
    " FROM unnest($2::uuid[]) AS n(event_id) CROSS JOIN LATERAL (SELECT id FROM dead_letter_queue q"
    " WHERE q.event_id = n.event_id AND q.projection_name = $1 LIMIT 1) f"
    " WHERE d.id = f.id AND d.status <> 'resolved'"};

constexpr pg::Statement kReadRetrying{
    "dead_letters_read_retrying",
    "SELECT event_id, global_position, stream_key, retry_count FROM dead_letter_queue"
    " WHERE projection_name = $1 AND status = 'retrying' AND global_position > $2"
    " ORDER BY global_position LIMIT $3"};

}  // namespace

void AddUpsertDeadLetters(pg::Pipeline* pipeline, const std::vector<v1::DeadLetter>& entries) {
  pg::ArrayWriter ids(pg::kUuid), projections(pg::kText), types(pg::kText), messages(pg::kText),
      stacktraces(pg::kText), retries(pg::kInt4);
  for (const v1::DeadLetter& entry : entries) {
    ids.Uuid(ParseUuid(entry.event_id()).value_or(kNilUuid));
    projections.Text(entry.projection_name());
    types.Text(entry.event_type());
    messages.Text(entry.error_message());
    stacktraces.Text(entry.error_stacktrace());
    retries.Int32(entry.retry_count());
  }
  pg::Params params;
  for (pg::ArrayWriter* array : {&ids, &projections, &types, &messages, &stacktraces, &retries}) {
    params.Array(array);
  }
  pipeline->Add(kUpsert, std::move(params));
}

void AddResolveDeadLetters(pg::Pipeline* pipeline, std::string_view projection,
                           const std::vector<Uuid>& event_ids, std::string_view resolved_by,
                           std::string_view note) {
  pg::ArrayWriter ids(pg::kUuid);
  for (const Uuid& id : event_ids) ids.Uuid(id);
  pg::Params params;
  params.Text(projection).Array(&ids).Text(resolved_by).Text(note);
  pipeline->Add(kResolve, std::move(params));
}

absl::StatusOr<std::vector<RetryingDeadLetter>> ReadRetryingDeadLetters(pg::Connection& connection,
                                                                        std::string_view projection,
                                                                        std::int64_t after_position,
                                                                        std::int64_t limit,
                                                                        Deadline deadline) {
  auto result = connection.Query(
      kReadRetrying, pg::Params().Text(projection).Int64(after_position).Int64(limit), deadline);
  if (!result.ok()) return result.status();
  std::vector<RetryingDeadLetter> entries(static_cast<std::size_t>(result->rows()));
  for (int row = 0; row < result->rows(); ++row) {
    entries[static_cast<std::size_t>(row)] = {result->Uuid(row, 0), result->Int64(row, 1),
                                              result->Int64(row, 2), result->Int32(row, 3)};
  }
  return entries;
}

}  // namespace eventstore::tables
