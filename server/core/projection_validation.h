// Checks and normalizes the requests of ProjectionService and DeadLetterService before anything
// else sees them. Pure: no I/O, any thread.
#ifndef EVENTSTORE_SERVER_CORE_PROJECTION_VALIDATION_H_
#define EVENTSTORE_SERVER_CORE_PROJECTION_VALIDATION_H_

#include <absl/status/status.h>

#include "eventstore/v1/dead_letter_service.pb.h"
#include "eventstore/v1/projection_service.pb.h"

#include "server/core/limits.h"

namespace eventstore {

// Each checks all of its request, lists all that is wrong, and normalizes it: ids in lower case,
// times cut to microseconds, defaults filled in, filters sorted, ids of entries sorted and each
// once. Errors: INVALID_REQUEST, TOO_LARGE.
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::SaveCheckpointRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::GetCheckpointRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::ListCheckpointsRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::ResetCheckpointRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::DeleteCheckpointRequest* request);

[[nodiscard]] absl::Status Validate(const Limits& limits, v1::AddDeadLetterRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::ListDeadLettersRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::GetDeadLetterRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::RetryDeadLettersRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::ResolveDeadLettersRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::GetDeadLetterStatsRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::PurgeDeadLettersRequest* request);

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_PROJECTION_VALIDATION_H_
