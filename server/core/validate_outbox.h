// Checks and normalizes the requests of OutboxService before anything else sees them. Pure: no I/O,
// any thread.
#ifndef EVENTSTORE_SERVER_CORE_VALIDATE_OUTBOX_H_
#define EVENTSTORE_SERVER_CORE_VALIDATE_OUTBOX_H_

#include <absl/status/status.h>

#include "eventstore/v1/outbox_service.pb.h"

#include "server/core/limits.h"

namespace eventstore {

// Each checks all of its request, lists all that is wrong, and normalizes it: ids in lower case,
// times cut to microseconds, defaults filled in. Whether a sink is configured is not known here.
// Errors: INVALID_REQUEST, TOO_LARGE.
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::ClaimOutboxRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::CompleteOutboxRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::FailOutboxRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::ListOutboxRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::RetryOutboxRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::GetOutboxStatsRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::PauseOutboxRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::PurgeOutboxRequest* request);

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_VALIDATE_OUTBOX_H_
