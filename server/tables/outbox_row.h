// How a row of the outbox becomes an OutboxEntry.
#ifndef EVENTSTORE_SERVER_TABLES_OUTBOX_ROW_H_
#define EVENTSTORE_SERVER_TABLES_OUTBOX_ROW_H_

#include <string_view>

#include "eventstore/v1/outbox_service.pb.h"

#include "server/pg/codec.h"

// The columns that ParseOutboxRow reads, in its order, of `q`, a row of event_outbox.
#define EVENTSTORE_OUTBOX_COLUMNS                                                    \
  "q.id, q.sink, q.status, q.event_data, q.retry_count, q.last_error, q.created_at," \
  " q.published_at, q.next_attempt_at, q.claimed_by, q.claimed_until, q.event_id,"   \
  " q.event_type, q.aggregate_type, q.aggregate_id, q.tenant_id, q.global_position "

namespace eventstore::tables {

// The column of `global_position` among them.
inline constexpr int kOutboxPositionColumn = 16;

// What another program wrote is no event of this store: its columns name it, and its `event_data`
// is the payload.
[[nodiscard]] v1::OutboxEntry ParseOutboxRow(const pg::Result& result, int row, int column);

// A status as the column has it; empty for any.
[[nodiscard]] std::string_view StatusText(v1::OutboxStatus status);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_OUTBOX_ROW_H_
