// The dead letter queue, as its readers write it: parked events, their retries and their end. What
// people do with it is in dead_letters_admin.h.
#ifndef EVENTSTORE_SERVER_TABLES_DEAD_LETTERS_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_DEAD_LETTERS_TABLE_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "eventstore/v1/dead_letter_service.pb.h"

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/pg/connection.h"

namespace eventstore::tables {

// Sets events aside, or records that they failed once more: that keeps `first_failed_at`, adds
// 1 + `retry_count` to the entry's `retry_count`, and makes it failed again, also a resolved one.
//
// Read of each entry: `event_id` and `projection_name` (each pair at most once in `entries`),
// `error_message`, `error_stacktrace`, `retry_count` (failed attempts after the first; of this call
// alone), and `event_type`, which stands in where the event was archived. Everything else of the
// event comes from the store. An event that the ledger does not know is passed over: the caller
// compares the statement's affected rows, or passes only ids that the store gave it. The texts are
// not cut here; the columns have no limit.
//
// In a caller's transaction it takes part in that: what the transaction's guards refuse is not set
// aside.
void AddUpsertDeadLetters(pg::Pipeline* pipeline, const std::vector<v1::DeadLetter>& entries);

// Makes the entries of these events resolved; those that are resolved already, or do not exist,
// stay as they are. `resolved_by` must not be empty; `note` may be. Affected rows: those changed.
void AddResolveDeadLetters(pg::Pipeline* pipeline, std::string_view projection,
                           const std::vector<Uuid>& event_ids, std::string_view resolved_by,
                           std::string_view note);

// An entry that is to be processed again, as far as its reader needs it: the event itself is read
// by its position.
struct RetryingDeadLetter {
  Uuid event_id{};
  std::int64_t global_position = 0;
  std::int64_t stream_key = 0;
  std::int32_t retry_count = 0;  // failed attempts after the first
};

// The entries of a projection whose status is retrying, in the order of their positions, from after
// `after_position`: at most `limit`. One index range.
[[nodiscard]] absl::StatusOr<std::vector<RetryingDeadLetter>> ReadRetryingDeadLetters(
    pg::Connection& connection, std::string_view projection, std::int64_t after_position,
    std::int64_t limit, Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_DEAD_LETTERS_TABLE_H_
