// Windows of the events table by what payloads hold.
#ifndef EVENTSTORE_SERVER_TABLES_QUERY_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_QUERY_TABLE_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <string>

#include "server/core/mutex.h"
#include "server/core/payload_conditions.h"
#include "server/pg/connection.h"
#include "server/tables/events_table.h"

namespace eventstore::tables {

// As ReadAllWindow, forwards, of events whose payloads hold the conditions as well. A statement
// that takes longer than `statement_timeout` ends with SQLSTATE 57014. `indexed`: an index serves
// one of the conditions; then all that matches in the window is looked for first, so that the
// planner chooses by what that costs, and not in the hope that a page is full soon.
[[nodiscard]] absl::StatusOr<EventRows> ReadQueryWindow(
    pg::Connection& connection, const AllWindow& window, const PayloadConditions& conditions,
    bool indexed, std::chrono::milliseconds statement_timeout, Deadline deadline);

// The statement of such a window, for a look at its plan.
[[nodiscard]] std::string QueryWindowSql(const AllWindow& window,
                                         const PayloadConditions& conditions, bool indexed,
                                         pg::Params* params);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_QUERY_TABLE_H_
