// The outbox as it is written and worked off: entries of an append, and the claims of workers. What
// people do with it is in outbox_admin.h, the relay's side in outbox_relay.h.
#ifndef EVENTSTORE_SERVER_TABLES_OUTBOX_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_OUTBOX_TABLE_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "eventstore/v1/outbox_service.pb.h"

#include "server/core/mutex.h"
#include "server/pg/connection.h"

namespace eventstore::tables {

// An event that goes to a sink. The name must live until the pipeline ran.
struct OutboxTarget {
  std::int64_t global_position = 0;
  std::string_view sink;
};
// Writes an entry for each, from the events that this transaction has inserted before. `targets`
// must not be empty.
void AddInsertOutbox(pg::Pipeline* pipeline, const std::vector<OutboxTarget>& targets);

// What becomes of a sink's failed attempts.
struct OutboxRetryRules {
  std::string sink;
  std::int64_t attempts_max = 5;
  // The wait after the first failure, and the longest one; it doubles each time.
  std::chrono::milliseconds backoff_min{100};
  std::chrono::milliseconds backoff_max{30'000};
};

// About the most bytes of entries in one answer, a claim or a page of a list.
inline constexpr std::int64_t kOutboxPageBytesMax = 2 << 20;
// Most expired claims that one call of ClaimOutbox or ReleaseExpiredClaims makes pending again.
inline constexpr std::int64_t kOutboxReleasedRowsMax = 10'000;

// Requests are validated, and their sinks are configured ones. Each call says in
// outbox_service.proto what it promises. `pass_failed`: a stream goes on after a failed entry.
//
// A claim ends at about kOutboxPageBytesMax bytes. It looks at the oldest pending entries, ten
// times as many as it may give (1,000 at least). Only where none of these can be given, it walks
// through the streams that have any: the cost is a look-up a stream then, however many entries wait
// in those that are held back.
[[nodiscard]] absl::StatusOr<v1::ClaimOutboxResponse> ClaimOutbox(
    pg::Connection& connection, const v1::ClaimOutboxRequest& request, bool pass_failed,
    Deadline deadline);
[[nodiscard]] absl::StatusOr<v1::CompleteOutboxResponse> CompleteOutbox(
    pg::Connection& connection, const v1::CompleteOutboxRequest& request, Deadline deadline);
// Entries of a sink that `rules` does not name are treated by the defaults.
[[nodiscard]] absl::StatusOr<v1::FailOutboxResponse> FailOutbox(
    pg::Connection& connection, const v1::FailOutboxRequest& request,
    const std::vector<OutboxRetryRules>& rules, Deadline deadline);

// Makes entries of a sink pending again whose claims ended; how many. Claiming does it first.
[[nodiscard]] absl::StatusOr<std::int64_t> ReleaseExpiredClaims(pg::Connection& connection,
                                                                std::string_view sink,
                                                                Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_OUTBOX_TABLE_H_
