// Checks and normalizes the requests that change streams and events after they were written. Pure:
// no I/O, any thread.
#ifndef EVENTSTORE_SERVER_CORE_VALIDATE_LIFECYCLE_H_
#define EVENTSTORE_SERVER_CORE_VALIDATE_LIFECYCLE_H_

#include <absl/status/status.h>

#include "eventstore/v1/lifecycle.pb.h"

#include "server/core/limits.h"

namespace eventstore {

// Each checks all of its request, lists all that is wrong, and normalizes it: ids in lower case,
// versions and ids sorted and each once, the tenant of an erasure by stream filled in. Errors:
// INVALID_REQUEST, TOO_LARGE.
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::TruncateStreamRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::DeleteStreamRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::EraseEventsRequest* request);

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_VALIDATE_LIFECYCLE_H_
