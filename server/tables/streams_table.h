// The streams table.
#ifndef EVENTSTORE_SERVER_TABLES_STREAMS_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_STREAMS_TABLE_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/pg/connection.h"

namespace eventstore::tables {

// A stream's name as the tables have it.
struct StreamName {
  Uuid tenant = kNilUuid;
  std::string_view aggregate_type;
  std::string_view aggregate_id;

  bool operator==(const StreamName&) const = default;
  template <typename H>
  friend H AbslHashValue(H state, const StreamName& name) {
    return H::combine(std::move(state), name.tenant, name.aggregate_type, name.aggregate_id);
  }
};

// A stream as the lane knows it.
struct StreamRow {
  std::int64_t stream_key = 0;
  std::int64_t version = 0;  // 0: the row does not exist; its key is reserved for it
  bool tombstoned = false;
  // Deleted, but not for good: it reads as missing, and its next event goes on after `version`.
  bool deleted = false;

  // What a writer is told of: 0 where there is nothing to read.
  [[nodiscard]] std::int64_t readable_version() const { return deleted ? 0 : version; }
};

// Looks up many streams, on a lane's connection. A stream that does not exist gets a new key, so
// that its first event needs no further round trip.
void AddLookUpStreams(pg::Pipeline* pipeline, const std::vector<StreamName>& names);
// One row per name, in order.
[[nodiscard]] std::vector<StreamRow> ParseLookUpStreams(const pg::Result& result);

// What a batch does to a stream.
struct StreamChange {
  StreamName name;
  std::int64_t stream_key = 0;
  std::int64_t old_version = 0;  // 0: insert
  std::int64_t new_version = 0;
  std::int64_t first_position = 0;  // of this batch's events
  std::int64_t last_position = 0;
};

// Inserts new streams and moves the versions of old ones. The statement fails if one is not at its
// old version: the backstop that a partitioned table's unique index cannot be.
void AddWriteStreams(pg::Pipeline* pipeline, const std::vector<StreamChange>& changes,
                     std::int64_t created_at_micros);

// For readers. A missing stream has `exists` = false.
[[nodiscard]] absl::StatusOr<v1::StreamInfo> ReadStreamInfo(pg::Connection& connection,
                                                            const v1::StreamId& stream,
                                                            Deadline deadline);

[[nodiscard]] absl::StatusOr<v1::ListStreamsResponse> ListStreams(
    pg::Connection& connection, const v1::ListStreamsRequest& request, Deadline deadline);

// The tenant of a stream as the tables have it; the nil UUID for none.
[[nodiscard]] Uuid TenantOf(std::string_view tenant_id);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_STREAMS_TABLE_H_
