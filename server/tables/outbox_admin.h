// The outbox as people look at it and act on it: OutboxService beside its claims.
#ifndef EVENTSTORE_SERVER_TABLES_OUTBOX_ADMIN_H_
#define EVENTSTORE_SERVER_TABLES_OUTBOX_ADMIN_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "eventstore/v1/outbox_service.pb.h"

#include "server/core/mutex.h"
#include "server/pg/connection.h"

namespace eventstore::tables {

// Most entries that one call of Retry looks at and of Purge deletes, and that one page of a list
// looks at.
inline constexpr std::int64_t kOutboxChangeRowsMax = 1'000;
inline constexpr std::int64_t kOutboxPurgeRowsMax = 10'000;
inline constexpr std::int64_t kOutboxScanRowsMax = 10'000;
// Most entries that are counted.
inline constexpr std::int64_t kOutboxStatsRowsMax = 1'000'000;

// A sink of the configuration.
struct OutboxSinkType {
  std::string sink;
  std::string type;
};

// Requests are validated, and the sinks that they name are configured ones. Each call says in
// outbox_service.proto what it promises. Errors besides those: INVALID_REQUEST for a page token or
// an `after_id` of somebody else.
[[nodiscard]] absl::StatusOr<v1::ListOutboxResponse> ListOutbox(
    pg::Connection& connection, const v1::ListOutboxRequest& request, Deadline deadline);
// An entry that somebody has locked, to publish it right now, is passed over.
[[nodiscard]] absl::StatusOr<v1::RetryOutboxResponse> RetryOutbox(
    pg::Connection& connection, const v1::RetryOutboxRequest& request, Deadline deadline);
// `configured`: what is told of although it has no entries; of others only those that have.
[[nodiscard]] absl::StatusOr<v1::GetOutboxStatsResponse> ReadOutboxStats(
    pg::Connection& connection, const v1::GetOutboxStatsRequest& request,
    const std::vector<OutboxSinkType>& configured, Deadline deadline);
[[nodiscard]] absl::StatusOr<v1::PauseOutboxResponse> PauseOutbox(
    pg::Connection& connection, const v1::PauseOutboxRequest& request, Deadline deadline);
[[nodiscard]] absl::StatusOr<v1::PurgeOutboxResponse> PurgeOutbox(
    pg::Connection& connection, const v1::PurgeOutboxRequest& request, Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_OUTBOX_ADMIN_H_
