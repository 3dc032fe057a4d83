// What QueryEvents asks of payloads.
#ifndef EVENTSTORE_SERVER_CORE_PAYLOAD_CONDITIONS_H_
#define EVENTSTORE_SERVER_CORE_PAYLOAD_CONDITIONS_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "eventstore/v1/admin_service.pb.h"
#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/limits.h"

namespace eventstore {

// The keys of a field's path, from the outermost on; elements of arrays by their numbers.
using FieldPath = std::vector<std::string>;

// All must hold of a payload, which must be JSON.
struct PayloadConditions {
  // A valid JSON value that the payload contains; empty: no condition.
  std::string contains;
  // Fields that equal a text; in the order of their paths.
  struct Equal {
    FieldPath path;
    std::string text;
  };
  std::vector<Equal> equals;
};

// Bounds of one request. An error that is caused by one names it.
inline constexpr std::int64_t kPayloadContainsBytesMax = 64 << 10;
inline constexpr std::int64_t kPayloadEqualsMax = 16;
inline constexpr std::int64_t kPayloadPathBytesMax = 1024;
// Most indexes over payloads that a store has: each costs every append.
inline constexpr std::int64_t kPayloadIndexesMax = 16;

// Splits a path at its dots; "\." is a dot in a key and "\\" a backslash. An error is a plain
// INVALID_ARGUMENT that says what is wrong and at which byte offset. Pure; any thread.
[[nodiscard]] absl::StatusOr<FieldPath> ParseFieldPath(std::string_view text);
// The text that ParseFieldPath splits into these keys.
[[nodiscard]] std::string FormatFieldPath(const FieldPath& path);

// Each checks all of its request, lists all that is wrong, and normalizes it. Errors:
// INVALID_REQUEST, TOO_LARGE.
[[nodiscard]] absl::StatusOr<PayloadConditions> ValidateQueryEvents(
    const Limits& limits, v1::QueryEventsRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::CreatePayloadIndexRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::DropPayloadIndexRequest* request);
[[nodiscard]] absl::Status Validate(const Limits& limits, v1::ListPayloadIndexesRequest* request);

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_PAYLOAD_CONDITIONS_H_
