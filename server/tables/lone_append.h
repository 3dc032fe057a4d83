// A batch of one event, written by one statement.
#ifndef EVENTSTORE_SERVER_TABLES_LONE_APPEND_H_
#define EVENTSTORE_SERVER_TABLES_LONE_APPEND_H_

#include <cstdint>
#include <vector>

#include "server/pg/connection.h"
#include "server/tables/events_table.h"
#include "server/tables/log_table.h"
#include "server/tables/streams_table.h"

namespace eventstore::tables {

// Whether AddLoneAppend can write a batch: one event, without tags.
[[nodiscard]] bool IsLone(const std::vector<NewEventRow>& rows);

// Does what AddMoveHead, AddWriteStreams and AddInsertEvents do together, with the same guards and
// the same errors. A caller who is alone waits for each statement's fixed cost, which is most of
// the cost of one event. ParseMoveHead reads the result.
void AddLoneAppend(pg::Pipeline* pipeline, const HeadMove& move, const StreamChange& stream,
                   const NewEventRow& row);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_LONE_APPEND_H_
