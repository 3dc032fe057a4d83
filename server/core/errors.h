// The product's errors: an `absl::Status` with `eventstore.v1.ErrorInfo` details inside.
//
// Whoever finds a problem makes its error here; `rpc/status` is the only place that turns one into
// a gRPC status. Any thread may call these functions.
#ifndef EVENTSTORE_SERVER_CORE_ERRORS_H_
#define EVENTSTORE_SERVER_CORE_ERRORS_H_

#include <absl/status/status.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "eventstore/v1/errors.pb.h"

namespace eventstore {

// The status code that goes with a reason (the table in errors.proto).
[[nodiscard]] absl::StatusCode CodeOf(v1::ErrorReason reason);

// An error with one detail, or with several of the same code. `details` must not be empty; the
// message is the first one's. What exceeds `kErrorDetailsBytesMax` is cut as errors.proto says.
[[nodiscard]] absl::Status MakeError(v1::ErrorInfo detail);
[[nodiscard]] absl::Status MakeError(std::vector<v1::ErrorInfo> details);

// An equal status that shares nothing with this one: for giving one error to several callers, whose
// threads know nothing of each other.
[[nodiscard]] absl::Status Separate(const absl::Status& status);

// The details of an error; empty if it has none.
[[nodiscard]] std::vector<v1::ErrorInfo> DetailsOf(const absl::Status& status);

// All details of one error together have at most this many bytes: beyond about 8 KiB of trailers
// gRPC replaces the answer by RESOURCE_EXHAUSTED.
inline constexpr std::size_t kErrorDetailsBytesMax = 4096;

// Shorthands, one per reason; each message says what was wrong and what would be right.
[[nodiscard]] absl::Status InvalidRequest(std::string_view field, std::string_view message);
[[nodiscard]] absl::Status InvalidEvent(int index, std::string_view field,
                                        std::string_view message);
// `index` < 0: no event is to blame.
[[nodiscard]] absl::Status TooLarge(std::string_view field, std::string_view limit_name,
                                    std::int64_t limit, std::int64_t value, int index = -1);
[[nodiscard]] absl::Status Overloaded(std::string_view limit_name, std::int64_t limit,
                                      std::chrono::milliseconds retry_delay,
                                      std::string_view message);
[[nodiscard]] absl::Status StoreUnavailable(std::string_view message);
[[nodiscard]] absl::Status VersionConflict(const v1::StreamId& stream,
                                           const v1::ExpectedVersion& expected,
                                           std::int64_t actual);
// An event at `position` matches the condition of this index.
[[nodiscard]] absl::Status ConditionFailed(int index, std::int64_t position, std::int64_t epoch);
[[nodiscard]] absl::Status DuplicateEventId(std::string_view event_id, const v1::StreamId* stream,
                                            std::int64_t position, int index,
                                            std::string_view message);
[[nodiscard]] absl::Status StreamDeleted(const v1::StreamId& stream);
[[nodiscard]] absl::Status PositionAhead(std::int64_t asked, std::int64_t asked_epoch,
                                         std::int64_t rewind_to, std::int64_t epoch,
                                         std::int64_t head);
// The checkpoint is at `actual` of `epoch`, not where it was expected to be.
[[nodiscard]] absl::Status CheckpointMoved(std::string_view projection, std::int64_t expected,
                                           std::int64_t actual, std::int64_t epoch);
// The checkpoint is at `actual` of `epoch` already, not before `asked`.
[[nodiscard]] absl::Status CheckpointNotNewer(std::string_view projection, std::int64_t asked,
                                              std::int64_t actual, std::int64_t epoch);
[[nodiscard]] absl::Status Archived(std::int64_t first_position, std::string_view message);
[[nodiscard]] absl::Status SlowConsumer(std::int64_t position, std::int64_t epoch,
                                        std::chrono::milliseconds limit);
[[nodiscard]] absl::Status NotFound(std::string_view kind, std::string_view name);

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_ERRORS_H_
