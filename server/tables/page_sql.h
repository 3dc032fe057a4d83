// What the statements that read a page of events have in common.
#ifndef EVENTSTORE_SERVER_TABLES_PAGE_SQL_H_
#define EVENTSTORE_SERVER_TABLES_PAGE_SQL_H_

#include <cstdint>
#include <optional>
#include <string>

#include "server/core/filter.h"
#include "server/pg/codec.h"
#include "server/tables/event_row.h"
#include "server/tables/events_table.h"
#include "server/tables/log_table.h"

// Every page tells the head of its own snapshot: one statement has one snapshot.
#define EVENTSTORE_PAGE_HEAD "h.last_position, h.epoch, h.first_position, h.revision"

// Rows are cut where their sizes add up to the page's bytes; `running` counts up to and including
// the row, so that the first row always comes.
#define EVENTSTORE_CUT(ORDER)        \
  "SELECT " EVENTSTORE_EVENT_COLUMNS \
  ", running FROM (SELECT *, sum(size_bytes) OVER (ORDER BY " ORDER ") AS running FROM ("
#define EVENTSTORE_END_CUT(BYTES) ") p) w WHERE running - size_bytes < " BYTES

namespace eventstore::tables {

// The columns of EVENTSTORE_PAGE_HEAD, which come first.
inline constexpr int kHeadColumns = 4;

inline Head ParsePageHead(const pg::Result& result) {
  Head head;
  head.position = result.Int64(0, 0);
  head.epoch = result.Int64(0, 1);
  head.first_position = result.Int64(0, 2);
  head.revision = result.Int64(0, 3);
  return head;
}

// The conditions of a filter (null: none) but for its tags and its regular expression, over the
// columns of events: " AND ..." or nothing. Each value travels as a parameter.
[[nodiscard]] std::string FilterSql(const EventFilter* filter, pg::Params* params);

// Every condition of a window beyond its bounds, which are $1 and $2: " AND ..." or nothing.
[[nodiscard]] std::string ConditionsSql(const AllWindow& window, pg::Params* params);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_PAGE_SQL_H_
