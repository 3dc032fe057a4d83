// How a row of the snapshots table becomes a Snapshot. Only for .cc files of this folder.
#ifndef EVENTSTORE_SERVER_TABLES_SNAPSHOT_ROW_H_
#define EVENTSTORE_SERVER_TABLES_SNAPSHOT_ROW_H_

#include "eventstore/v1/snapshot_service.pb.h"

#include "server/core/validation.h"
#include "server/pg/codec.h"

// The columns that ParseSnapshot reads; the last two only it with a state.
#define EVENTSTORE_SNAPSHOT_COLUMNS "version, schema_version, content_type, created_at, size_bytes"
#define EVENTSTORE_SNAPSHOT_STATE_COLUMNS EVENTSTORE_SNAPSHOT_COLUMNS ", state, state_binary"

// A snapshot counts where the stream is there and goes on from it: the next event after it can be
// read. `p` is the snapshot, `s` its stream.
#define EVENTSTORE_SNAPSHOT_FITS                        \
  "s.deleted_at IS NULL AND NOT s.tombstoned"           \
  " AND p.version >= s.first_version - 1 AND p.version" \
  " <= s.version"

namespace eventstore::tables {

inline constexpr int kSnapshotColumns = 5;

// Fills `snapshot` but for its stream, from the columns that start at `column`.
inline void ParseSnapshot(const pg::Result& result, int row, int column, bool with_state,
                          v1::Snapshot* snapshot) {
  snapshot->set_version(result.Int64(row, column));
  snapshot->set_schema_version(result.Int32(row, column + 1));
  const std::string_view type =
      result.IsNull(row, column + 2) ? kJsonContentType : result.Text(row, column + 2);
  snapshot->set_content_type(type.data(), type.size());
  FromUnixMicros(result.Timestamp(row, column + 3), snapshot->mutable_created_at());
  snapshot->set_size_bytes(result.Int64(row, column + 4));
  if (!with_state) return;
  const int state = column + kSnapshotColumns;
  if (!result.IsNull(row, state)) {
    *snapshot->mutable_state() = result.Jsonb(row, state);
  } else if (!result.IsNull(row, state + 1)) {
    *snapshot->mutable_state() = result.Bytea(row, state + 1);
  }
}

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_SNAPSHOT_ROW_H_
