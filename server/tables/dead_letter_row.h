// How a row of the dead letter queue becomes a DeadLetter.
#ifndef EVENTSTORE_SERVER_TABLES_DEAD_LETTER_ROW_H_
#define EVENTSTORE_SERVER_TABLES_DEAD_LETTER_ROW_H_

#include <string_view>

#include "eventstore/v1/dead_letter_service.pb.h"

#include "server/pg/codec.h"

// The columns that ParseDeadLetter reads, in its order, of `q`, a row of the queue, and `s`, its
// row in streams, which EVENTSTORE_DEAD_LETTER_STREAM joins.
#define EVENTSTORE_DEAD_LETTER_COLUMNS                                                 \
  "q.id, q.event_id, q.projection_name, q.event_type, q.event_data, q.error_message,"  \
  " q.error_stacktrace, q.retry_count, q.first_failed_at, q.last_failed_at, q.status," \
  " q.resolved_at, q.resolved_by, q.resolution_note, q.global_position, s.tenant_id,"  \
  " s.aggregate_type, s.aggregate_id "
#define EVENTSTORE_DEAD_LETTER_STREAM                                               \
  " LEFT JOIN LATERAL (SELECT tenant_id, aggregate_type, aggregate_id FROM streams" \
  " WHERE streams.stream_key = q.stream_key LIMIT 1) s ON true "

namespace eventstore::tables {

inline constexpr int kDeadLetterColumns = 18;

[[nodiscard]] v1::DeadLetter ParseDeadLetter(const pg::Result& result, int row, int column);

// A status as the column has it; empty for any.
[[nodiscard]] std::string_view StatusText(v1::DeadLetterStatus status);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_DEAD_LETTER_ROW_H_
