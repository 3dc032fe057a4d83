// The dead letter queue as people and their programs work on it: DeadLetterService. What readers
// write in their own transactions is in dead_letters_table.h.
#ifndef EVENTSTORE_SERVER_TABLES_DEAD_LETTERS_ADMIN_H_
#define EVENTSTORE_SERVER_TABLES_DEAD_LETTERS_ADMIN_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "eventstore/v1/dead_letter_service.pb.h"

#include "server/core/mutex.h"
#include "server/pg/connection.h"

namespace eventstore::tables {

// Most entries that one call of Retry, Resolve or Purge looks at or deletes, and that one page of a
// list looks at.
inline constexpr std::int64_t kDeadLetterChangeRowsMax = 1'000;
inline constexpr std::int64_t kDeadLetterScanRowsMax = 10'000;
// About the most bytes of one page of a list.
inline constexpr std::int64_t kDeadLetterPageBytesMax = 2 << 20;
// Most entries that are counted, and most projections that are told of.
inline constexpr std::int64_t kDeadLetterStatsRowsMax = 1'000'000;
inline constexpr std::int64_t kDeadLetterStatsProjectionsMax = 1'000;

// Requests are validated. Each call says in dead_letter_service.proto what it promises. Errors
// besides those: INVALID_REQUEST for a page token of somebody else.
[[nodiscard]] absl::StatusOr<v1::AddDeadLetterResponse> AddDeadLetter(
    pg::Connection& connection, const v1::AddDeadLetterRequest& request, Deadline deadline);
[[nodiscard]] absl::StatusOr<v1::ListDeadLettersResponse> ListDeadLetters(
    pg::Connection& connection, const v1::ListDeadLettersRequest& request, Deadline deadline);
[[nodiscard]] absl::StatusOr<v1::GetDeadLetterResponse> GetDeadLetter(
    pg::Connection& connection, const v1::GetDeadLetterRequest& request, Deadline deadline);
[[nodiscard]] absl::StatusOr<v1::RetryDeadLettersResponse> RetryDeadLetters(
    pg::Connection& connection, const v1::RetryDeadLettersRequest& request, Deadline deadline);
[[nodiscard]] absl::StatusOr<v1::ResolveDeadLettersResponse> ResolveDeadLetters(
    pg::Connection& connection, const v1::ResolveDeadLettersRequest& request, Deadline deadline);
[[nodiscard]] absl::StatusOr<v1::GetDeadLetterStatsResponse> ReadDeadLetterStats(
    pg::Connection& connection, const v1::GetDeadLetterStatsRequest& request, Deadline deadline);
[[nodiscard]] absl::StatusOr<v1::PurgeDeadLettersResponse> PurgeDeadLetters(
    pg::Connection& connection, const v1::PurgeDeadLettersRequest& request, Deadline deadline);

// Entries that are not resolved, counted by projection: of at most `rows_max` entries, at most
// `projections_max` projections.
struct OpenDeadLetters {
  std::string projection;
  std::int64_t failed = 0;
  std::int64_t retrying = 0;
};
[[nodiscard]] absl::StatusOr<std::vector<OpenDeadLetters>> CountOpenDeadLetters(
    pg::Connection& connection, std::int64_t rows_max, std::int64_t projections_max,
    Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_DEAD_LETTERS_ADMIN_H_
