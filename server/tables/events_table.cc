#include "server/tables/events_table.h"

#include <utility>

#include "server/core/errors.h"
#include "server/core/validation.h"
#include "server/tables/event_row.h"

namespace eventstore::tables {
namespace {

// One array a column, one element an event; the same for writing and for probing. The arrays are
// taken apart in the select list, which hands row after row on; in FROM all rows would be stored
// first. A shorter array is filled up with NULLs.
#define EVENTSTORE_NEW_EVENTS                                                        \
  "(SELECT unnest($1::bigint[]) AS global_position, unnest($2::uuid[]) AS event_id," \
  " unnest($3::bigint[]) AS stream_key, unnest($4::text[]) AS aggregate_id,"         \
  " unnest($5::text[]) AS aggregate_type, unnest($6::text[]) AS event_type,"         \
  " unnest($7::uuid[]) AS tenant_id, unnest($8::text[]) AS actor_id,"                \
  " unnest($9::bigint[]) AS version, unnest($10::timestamptz[]) AS timestamp,"       \
  " unnest($11::jsonb[]) AS payload, unnest($12::bytea[]) AS payload_binary,"        \
  " unnest($13::text[]) AS content_type, unnest($14::text[]) AS correlation_id,"     \
  " unnest($15::text[]) AS causation_id, unnest($16::jsonb[]) AS metadata,"          \
  " unnest($17::int4[]) AS schema_version, unnest($18::text[]) AS tags,"             \
  " unnest($19::int4[]) AS size_bytes) AS n"

constexpr pg::Statement kInsertEvents{
    "events_insert",
    "INSERT INTO events (global_position, event_id, stream_key, aggregate_id, aggregate_type,"
    " event_type, tenant_id, actor_id, version, timestamp, payload, payload_binary, content_type,"
    " correlation_id, causation_id, metadata, schema_version, tags, size_bytes, created_at)"
    " SELECT global_position, event_id, stream_key, aggregate_id, aggregate_type, event_type,"
    " tenant_id, actor_id, version, timestamp, payload, payload_binary, content_type,"
    " correlation_id, causation_id, metadata, schema_version, tags::text[], size_bytes, $20"
    " FROM " EVENTSTORE_NEW_EVENTS};

constexpr pg::Statement kProbeEvents{"events_probe",
                                     "SELECT count(payload), count(metadata), count(tags::text[]), "
                                     "count(aggregate_id::varchar(255)),"
                                     " max($20::timestamptz) FROM " EVENTSTORE_NEW_EVENTS};

constexpr pg::Statement kInsertIds{
    "event_ids_insert",
    "INSERT INTO event_ids (event_id, global_position, stream_key, version, created_at)"
    " SELECT unnest($1::uuid[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]),"
    " $5"};

constexpr pg::Statement kInsertTags{"event_tags_insert",
                                    "INSERT INTO event_tags (tag, global_position, event_type)"
                                    " SELECT unnest($1::text[]), unnest($2::bigint[]),"
                                    " unnest($3::text[])"};

// See streams_table.cc for LATERAL with LIMIT.
constexpr pg::Statement kLookUpIds{
    "event_ids_look_up",
    "SELECT (n.i - 1)::int4, e.global_position, e.stream_key, e.version, e.created_at,"
    " s.tenant_id, s.aggregate_type, s.aggregate_id"
    " FROM unnest($1::uuid[]) WITH ORDINALITY AS n(event_id, i)"
    " CROSS JOIN LATERAL (SELECT global_position, stream_key, version, created_at FROM event_ids"
    " WHERE event_ids.event_id = n.event_id LIMIT 1) e"
    " LEFT JOIN LATERAL (SELECT tenant_id, aggregate_type, aggregate_id FROM streams"
    " WHERE streams.stream_key = e.stream_key LIMIT 1) s ON true"};

constexpr pg::Statement kReadTouched{
    "events_read_touched",
    "SELECT stream_key, max(version) FROM events"
    " WHERE global_position > $1 AND global_position <= $2 GROUP BY stream_key"};

constexpr pg::Statement kReadEvent{
    "events_read_one",
    "SELECT i.global_position, h.first_position, " EVENTSTORE_EVENT_COLUMNS
    " FROM log_head h CROSS JOIN (SELECT global_position FROM event_ids WHERE event_id = $1) i"
    " LEFT JOIN LATERAL (SELECT * FROM events WHERE events.global_position = i.global_position"
    " LIMIT 1) e USING (global_position)"};

constexpr pg::Statement kReadCreatedAt{"events_read_created_at",
                                       "SELECT created_at FROM events WHERE global_position = $1"};

// A column that few events have. NULLs are written only where a value follows: a shorter array is
// filled up, and one that no event of the batch has costs nothing.
class SparseArray {
 public:
  explicit SparseArray(pg::TypeOid element) : writer_(element) {}
  void Reserve(std::size_t elements, std::size_t bytes) { writer_.Reserve(elements, bytes); }
  void Null() { ++nulls_; }
  pg::ArrayWriter& Value() {
    for (; nulls_ > 0; --nulls_) writer_.Null();
    return writer_;
  }
  void TextOrNull(std::string_view text) { text.empty() ? Null() : Value().Text(text); }
  // What was written so far.
  pg::ArrayWriter* writer() { return &writer_; }

 private:
  pg::ArrayWriter writer_;
  std::size_t nulls_ = 0;
};

// Builds the array parameters $1..$20 of EVENTSTORE_NEW_EVENTS.
class EventArrays {
 public:
  explicit EventArrays(const std::vector<NewEventRow>& rows) {
    std::size_t payload_bytes = 0;
    for (const NewEventRow& row : rows) payload_bytes += row.event->payload().size() + 1;
    for (const auto& [array, bytes] : {std::pair{&positions_, 8},
                                       {&event_ids_, 16},
                                       {&keys_, 8},
                                       {&aggregate_ids_, 36},
                                       {&aggregate_types_, 16},
                                       {&event_types_, 16},
                                       {&versions_, 8},
                                       {&timestamps_, 8},
                                       {&schema_versions_, 4},
                                       {&sizes_, 4}}) {
      array->Reserve(rows.size(), rows.size() * static_cast<std::size_t>(bytes));
    }
    payloads_.Reserve(rows.size(), payload_bytes);
  }

  void Add(const NewEventRow& row, std::int64_t created_at_micros) {
    const v1::NewEvent& event = *row.event;
    positions_.Int64(row.global_position);
    event_ids_.Uuid(row.event_id);
    keys_.Int64(row.stream_key);
    aggregate_ids_.Text(row.stream->aggregate_id());
    aggregate_types_.Text(row.stream->aggregate_type());
    event_types_.Text(event.event_type());
    row.tenant == kNilUuid ? tenants_.Null() : tenants_.Value().Uuid(row.tenant);
    actors_.TextOrNull(event.actor_id());
    versions_.Int64(row.version);
    timestamps_.Timestamp(TimestampOf(event, created_at_micros));
    const bool json = IsJsonContentType(event.content_type());
    json ? payloads_.Value().Jsonb(event.payload()) : payloads_.Null();
    json ? binaries_.Null() : binaries_.Value().Bytea(event.payload());
    types_.TextOrNull(StoredContentType(event));
    correlations_.TextOrNull(event.correlation_id());
    causations_.TextOrNull(event.causation_id());
    event.metadata().empty() ? metadata_.Null()
                             : metadata_.Value().Jsonb(MetadataJson(event.metadata()));
    schema_versions_.Int32(event.schema_version());
    event.tags().empty() ? tags_.Null() : tags_.Value().Text(TagsLiteral(event.tags()));
    sizes_.Int32(row.size_bytes);
  }

  pg::Params Finish(std::int64_t created_at_micros) {
    pg::Params params;
    for (pg::ArrayWriter* array :
         {&positions_, &event_ids_, &keys_, &aggregate_ids_, &aggregate_types_, &event_types_,
          tenants_.writer(), actors_.writer(), &versions_, &timestamps_, payloads_.writer(),
          binaries_.writer(), types_.writer(), correlations_.writer(), causations_.writer(),
          metadata_.writer(), &schema_versions_, tags_.writer(), &sizes_}) {
      params.Array(array);
    }
    params.Timestamp(created_at_micros);
    return params;
  }

 private:
  pg::ArrayWriter positions_{pg::kInt8}, event_ids_{pg::kUuid}, keys_{pg::kInt8},
      aggregate_ids_{pg::kText}, aggregate_types_{pg::kText}, event_types_{pg::kText},
      versions_{pg::kInt8}, timestamps_{pg::kTimestamptz}, schema_versions_{pg::kInt4},
      sizes_{pg::kInt4};
  SparseArray tenants_{pg::kUuid}, actors_{pg::kText}, payloads_{pg::kJsonb}, binaries_{pg::kBytea},
      types_{pg::kText}, correlations_{pg::kText}, causations_{pg::kText}, metadata_{pg::kJsonb},
      tags_{pg::kText};
};

pg::Params NewEventParams(const std::vector<NewEventRow>& rows, std::int64_t created_at_micros) {
  EventArrays arrays(rows);
  for (const NewEventRow& row : rows) arrays.Add(row, created_at_micros);
  return arrays.Finish(created_at_micros);
}

}  // namespace

void AddInsertEvents(pg::Pipeline* pipeline, const std::vector<NewEventRow>& rows,
                     std::int64_t created_at_micros) {
  pipeline->Add(kInsertEvents, NewEventParams(rows, created_at_micros));
  pg::ArrayWriter ids(pg::kUuid), positions(pg::kInt8), keys(pg::kInt8), versions(pg::kInt8);
  pg::ArrayWriter tags(pg::kText), tag_positions(pg::kInt8), tag_types(pg::kText);
  ids.Reserve(rows.size(), rows.size() * sizeof(Uuid));
  for (pg::ArrayWriter* array : {&positions, &keys, &versions}) {
    array->Reserve(rows.size(), rows.size() * sizeof(std::int64_t));
  }
  for (const NewEventRow& row : rows) {
    ids.Uuid(row.event_id);
    positions.Int64(row.global_position);
    keys.Int64(row.stream_key);
    versions.Int64(row.version);
    for (const std::string& tag : row.event->tags()) {
      tags.Text(tag);
      tag_positions.Int64(row.global_position);
      tag_types.Text(row.event->event_type());
    }
  }
  pg::Params id_params;
  id_params.Array(&ids)
      .Array(&positions)
      .Array(&keys)
      .Array(&versions)
      .Timestamp(created_at_micros);
  pipeline->Add(kInsertIds, std::move(id_params));
  if (tags.size() > 0) {
    pg::Params tag_params;
    tag_params.Array(&tags).Array(&tag_positions).Array(&tag_types);
    pipeline->Add(kInsertTags, std::move(tag_params));
  }
}

absl::Status ProbeEvents(pg::Connection& connection, const std::vector<NewEventRow>& rows,
                         Deadline deadline) {
  return connection.Query(kProbeEvents, NewEventParams(rows, 0), deadline).status();
}

void AddLookUpEventIds(pg::Pipeline* pipeline, const std::vector<Uuid>& ids) {
  pg::ArrayWriter array(pg::kUuid);
  array.Reserve(ids.size(), ids.size() * sizeof(Uuid));
  for (const Uuid& id : ids) array.Uuid(id);
  pg::Params params;
  params.Array(&array);
  pipeline->Add(kLookUpIds, std::move(params));
}

std::vector<KnownEvent> ParseLookUpEventIds(const pg::Result& result) {
  std::vector<KnownEvent> known(static_cast<std::size_t>(result.rows()));
  for (int row = 0; row < result.rows(); ++row) {
    KnownEvent& event = known[static_cast<std::size_t>(row)];
    event.index = result.Int32(row, 0);
    event.global_position = result.Int64(row, 1);
    event.stream_key = result.Int64(row, 2);
    event.version = result.Int64(row, 3);
    event.created_at_micros = result.Timestamp(row, 4);
    if (result.IsNull(row, 5)) continue;
    const Uuid tenant = result.Uuid(row, 5);
    if (tenant != kNilUuid) event.stream.set_tenant_id(FormatUuid(tenant));
    event.stream.set_aggregate_type(std::string(result.Text(row, 6)));
    event.stream.set_aggregate_id(std::string(result.Text(row, 7)));
  }
  return known;
}

absl::StatusOr<std::vector<TouchedStream>> ReadTouchedStreams(pg::Connection& connection,
                                                              std::int64_t after_position,
                                                              std::int64_t last_position,
                                                              Deadline deadline) {
  auto result = connection.Query(kReadTouched,
                                 pg::Params().Int64(after_position).Int64(last_position), deadline);
  if (!result.ok()) return result.status();
  std::vector<TouchedStream> touched(static_cast<std::size_t>(result->rows()));
  for (int row = 0; row < result->rows(); ++row) {
    touched[static_cast<std::size_t>(row)] = {result->Int64(row, 0), result->Int64(row, 1)};
  }
  return touched;
}

absl::StatusOr<v1::Event> ReadEvent(pg::Connection& connection, const v1::GetEventRequest& request,
                                    Deadline deadline) {
  const Uuid id = ParseUuid(request.event_id()).value_or(kNilUuid);
  auto result = connection.Query(kReadEvent, pg::Params().Uuid(id), deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return NotFound("event", request.event_id());
  // The tenant of an archived event is unknown here, so only a caller that names none is told of
  // it.
  if (result->IsNull(0, 3)) {
    if (!request.tenant_id().empty() || result->Int64(0, 0) >= result->Int64(0, 1)) {
      return NotFound("event", request.event_id());
    }
    return Archived(result->Int64(0, 1), "the event was archived");
  }
  v1::Event event;
  ParseEvent(*result, 0, 2, &event);
  if (!request.tenant_id().empty() && request.tenant_id() != event.stream().tenant_id()) {
    return NotFound("event", request.event_id());
  }
  return event;
}

absl::StatusOr<std::optional<std::int64_t>> ReadCreatedAt(pg::Connection& connection,
                                                          std::int64_t position,
                                                          Deadline deadline) {
  auto result = connection.Query(kReadCreatedAt, pg::Params().Int64(position), deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return std::optional<std::int64_t>();
  return std::optional<std::int64_t>(result->Timestamp(0, 0));
}

}  // namespace eventstore::tables
