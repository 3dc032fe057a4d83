// The indexes over payloads that were asked for, and the real ones on the partitions of events.
#ifndef EVENTSTORE_SERVER_TABLES_PAYLOAD_INDEXES_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_PAYLOAD_INDEXES_TABLE_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eventstore/v1/admin_service.pb.h"

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/core/payload_conditions.h"
#include "server/pg/connection.h"

// What an index over a field holds of its value: a B-tree takes no longer ones, and an append must
// never fail for an index. A query names both this and the whole value.
#define EVENTSTORE_INDEXED_TEXT(TEXT) "left(" TEXT ", 255)"

namespace eventstore::tables {

// Requests are validated. Each call says in admin_service.proto what it promises.
[[nodiscard]] absl::StatusOr<v1::CreatePayloadIndexResponse> CreatePayloadIndex(
    pg::Connection& connection, const v1::CreatePayloadIndexRequest& request, Deadline deadline);
[[nodiscard]] absl::StatusOr<v1::DropPayloadIndexResponse> DropPayloadIndex(
    pg::Connection& connection, const v1::DropPayloadIndexRequest& request, Deadline deadline);
[[nodiscard]] absl::StatusOr<v1::ListPayloadIndexesResponse> ListPayloadIndexes(
    pg::Connection& connection, const v1::ListPayloadIndexesRequest& request, Deadline deadline);

// Whether an index that is ready serves one of the conditions.
[[nodiscard]] absl::StatusOr<bool> HasPayloadIndexFor(pg::Connection& connection,
                                                      const PayloadConditions& conditions,
                                                      Deadline deadline);

// The statements that make on a new partition every index that there is; run them before it is
// attached. Empty without indexes.
[[nodiscard]] absl::StatusOr<std::string> PayloadIndexSqlFor(pg::Connection& connection,
                                                             std::string_view partition,
                                                             Deadline deadline);

// --- for the builder ---

// The work on one index, held by lease.
struct PayloadIndexClaim {
  std::int64_t index_key = 0;
  std::int64_t token = 0;  // every write of the claim's owner carries it
  std::string name;
  bool dropping = false;
};

// Whether there is work that nobody is at.
[[nodiscard]] absl::StatusOr<bool> HasPayloadIndexWork(pg::Connection& connection,
                                                       Deadline deadline);
// Takes some of it; nothing where there is none.
[[nodiscard]] absl::StatusOr<std::optional<PayloadIndexClaim>> ClaimPayloadIndex(
    pg::Connection& connection, const Uuid& daemon, std::chrono::milliseconds lease,
    Deadline deadline);
// Whether the claim still held.
[[nodiscard]] absl::StatusOr<bool> RenewPayloadIndexClaim(pg::Connection& connection,
                                                          const PayloadIndexClaim& claim,
                                                          std::chrono::milliseconds lease,
                                                          Deadline deadline);
// The next statement of the work, which must run outside of a transaction; empty where nothing is
// left to do. An index that a failed build left behind is dropped first.
[[nodiscard]] absl::StatusOr<std::string> NextPayloadIndexSql(pg::Connection& connection,
                                                              const PayloadIndexClaim& claim,
                                                              Deadline deadline);
// The work is done: the index is ready, or forgotten. No change where the claim was lost.
[[nodiscard]] absl::Status FinishPayloadIndex(pg::Connection& connection,
                                              const PayloadIndexClaim& claim, Deadline deadline);
// The index cannot be built.
[[nodiscard]] absl::Status FailPayloadIndex(pg::Connection& connection,
                                            const PayloadIndexClaim& claim, std::string_view error,
                                            Deadline deadline);
// Others may go on with it.
[[nodiscard]] absl::Status ReleasePayloadIndex(pg::Connection& connection,
                                               const PayloadIndexClaim& claim, Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_PAYLOAD_INDEXES_TABLE_H_
