// Checks and normalizes the requests of SnapshotService before anything else sees them. Pure: no
// I/O, any thread.
#ifndef EVENTSTORE_SERVER_CORE_SNAPSHOT_VALIDATION_H_
#define EVENTSTORE_SERVER_CORE_SNAPSHOT_VALIDATION_H_

#include <absl/status/status.h>

#include <cstdint>
#include <string_view>

#include "eventstore/v1/snapshot_service.pb.h"

#include "server/core/limits.h"
#include "server/core/problems.h"

namespace eventstore {

// The most snapshots of a stream that can be kept.
inline constexpr std::int64_t kSnapshotsKeptMax = 100;

// Adds what is wrong with a snapshot that is to be saved, and normalizes it: tenant in lower case,
// defaults filled in. `path` is where it lies in its request, with a dot at its end, or "".
void CheckSnapshotToSave(std::string_view path, const Limits& limits,
                         v1::SaveSnapshotRequest* request, Problems* problems);

// Each checks all of its request, lists all that is wrong, and normalizes it. Errors:
// INVALID_REQUEST, TOO_LARGE.
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::SaveSnapshotRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::GetSnapshotRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::ListSnapshotsRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::DeleteSnapshotsRequest* request);

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_SNAPSHOT_VALIDATION_H_
