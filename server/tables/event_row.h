// How a row of the events table becomes an Event.
#ifndef EVENTSTORE_SERVER_TABLES_EVENT_ROW_H_
#define EVENTSTORE_SERVER_TABLES_EVENT_ROW_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "eventstore/v1/types.pb.h"

#include "server/pg/codec.h"

// The columns that ParseEvent reads, in its order.
#define EVENTSTORE_EVENT_COLUMNS                                                               \
  "global_position, event_id, aggregate_id, aggregate_type, event_type, tenant_id, actor_id, " \
  "version, timestamp, payload, created_at, payload_binary, content_type, correlation_id, "    \
  "causation_id, metadata, schema_version, tags, erased_at"

namespace eventstore::tables {

inline constexpr int kEventColumns = 19;

// Fills `event` from the columns that start at `column`.
void ParseEvent(const pg::Result& result, int row, int column, v1::Event* event);

// When a new event happened, in Unix microseconds: when it is stored, where its writer does not
// say.
[[nodiscard]] std::int64_t TimestampOf(const v1::NewEvent& event, std::int64_t created_at_micros);
// The content type as the column has it: empty (NULL) for JSON.
[[nodiscard]] std::string_view StoredContentType(const v1::NewEvent& event);

// Metadata as the JSON object that the column holds, and tags as an array literal for `::text[]`.
[[nodiscard]] std::string MetadataJson(
    const google::protobuf::Map<std::string, std::string>& metadata);
[[nodiscard]] std::string TagsLiteral(const google::protobuf::RepeatedPtrField<std::string>& tags);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_EVENT_ROW_H_
