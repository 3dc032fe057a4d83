// How a row of the streams table becomes a StreamInfo. Shared by the table families that read it.
#ifndef EVENTSTORE_SERVER_TABLES_STREAM_INFO_H_
#define EVENTSTORE_SERVER_TABLES_STREAM_INFO_H_

#include "eventstore/v1/types.pb.h"

#include "server/core/validation.h"
#include "server/pg/codec.h"

// The columns that ParseStreamInfo reads, of a row with the alias `s`.
#define EVENTSTORE_STREAM_INFO_COLUMNS                                                   \
  "s.version, s.first_version, s.created_at, s.updated_at, s.deleted_at IS NOT NULL OR " \
  "s.tombstoned, s.tombstoned"

namespace eventstore::tables {

inline constexpr int kStreamInfoColumns = 6;

// Fills `info` but for its name. A deleted stream reads as missing.
inline void ParseStreamInfo(const pg::Result& result, int row, int column, v1::StreamInfo* info) {
  info->set_deleted(result.Bool(row, column + 4));
  info->set_permanently_deleted(result.Bool(row, column + 5));
  if (info->deleted() || result.Int64(row, column) == 0) return;
  info->set_exists(true);
  info->set_version(result.Int64(row, column));
  info->set_first_version(result.Int64(row, column + 1));
  FromUnixMicros(result.Timestamp(row, column + 2), info->mutable_created_at());
  FromUnixMicros(result.Timestamp(row, column + 3), info->mutable_updated_at());
}

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_STREAM_INFO_H_
