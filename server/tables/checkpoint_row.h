// How a row of projection_checkpoints becomes a Checkpoint.
#ifndef EVENTSTORE_SERVER_TABLES_CHECKPOINT_ROW_H_
#define EVENTSTORE_SERVER_TABLES_CHECKPOINT_ROW_H_

#include <absl/status/status.h>

#include <string>

#include "eventstore/v1/projection_service.pb.h"

#include "server/pg/codec.h"

// The columns that ParseCheckpoint reads, in its order.
#define EVENTSTORE_CHECKPOINT_COLUMNS                                        \
  "projection_name, global_position, epoch, last_event_id, last_event_type," \
  " last_processed_at, events_processed, created_at, updated_at, filter::jsonb "

namespace eventstore::tables {

inline constexpr int kCheckpointColumns = 10;

[[nodiscard]] v1::Checkpoint ParseCheckpoint(const pg::Result& result, int row);

// Adds a filter as the column holds it: NULL where it asks for nothing. Errors: INVALID_REQUEST.
[[nodiscard]] absl::Status AddFilterParam(const v1::Filter& filter, pg::Params* params);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_CHECKPOINT_ROW_H_
