// The registry of daemons that share a store.
#ifndef EVENTSTORE_SERVER_TABLES_DAEMONS_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_DAEMONS_TABLE_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <string_view>

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/pg/connection.h"

namespace eventstore::tables {

// Says that this daemon is alive, forgets those long gone, and counts the others that are alive.
[[nodiscard]] absl::StatusOr<int> Heartbeat(pg::Connection& connection, const Uuid& daemon,
                                            std::string_view address,
                                            std::chrono::milliseconds expire, Deadline deadline);

// Takes this daemon off the list.
[[nodiscard]] absl::Status SignOff(pg::Connection& connection, const Uuid& daemon,
                                   Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_DAEMONS_TABLE_H_
