// Checks and normalizes requests before anything else sees them. Pure: no I/O, any thread.
#ifndef EVENTSTORE_SERVER_CORE_VALIDATION_H_
#define EVENTSTORE_SERVER_CORE_VALIDATION_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/ids.h"
#include "server/core/limits.h"

namespace eventstore {

// An append that obeys every rule that can be checked without the database.
struct ValidatedAppend {
  // Normalized: ids in lower case (and made where the client gave none), `content_type` and
  // `schema_version` filled in, tags sorted and each once.
  v1::AppendEventsRequest request;
  // The events' ids and sizes (as counted against `event_bytes_max`), in order.
  std::vector<Uuid> event_ids;
  std::vector<std::int32_t> event_bytes;
  // The tenant, or the nil UUID.
  Uuid tenant = kNilUuid;
  // The sum of `event_bytes`.
  std::int64_t total_bytes = 0;
  // Whether the client gave the ids, so that a replay is possible.
  bool has_client_ids = false;
};

// The default media type, that of an empty `content_type`.
inline constexpr std::string_view kJsonContentType = "application/json";

// Whether a payload of this media type is stored as JSON: "application/json" and the types that end
// in "+json", whatever their case and parameters.
[[nodiscard]] bool IsJsonContentType(std::string_view content_type);

// Errors: INVALID_REQUEST, INVALID_EVENT, TOO_LARGE, each naming field, index and limit. Where
// several events are wrong, the error lists them all (as far as there is room).
[[nodiscard]] absl::StatusOr<ValidatedAppend> ValidateAppend(v1::AppendEventsRequest request,
                                                             const Limits& limits);

// Checks a stream's name and normalizes its tenant. `field` is the path to `stream` in the request.
[[nodiscard]] absl::Status ValidateStreamId(std::string_view field, const Limits& limits,
                                            v1::StreamId* stream);

// Checks an optional tenant id and normalizes it; empty stays empty.
[[nodiscard]] absl::Status ValidateTenantId(std::string_view field, std::string* tenant_id);

// Each checks all of its request and normalizes it.
[[nodiscard]] absl::Status ValidateReadStream(const Limits& limits, v1::ReadStreamRequest* request);
[[nodiscard]] absl::Status ValidateReadAll(const Limits& limits, v1::ReadAllRequest* request);
[[nodiscard]] absl::Status ValidateSubscribe(const Limits& limits, v1::SubscribeRequest* request);
[[nodiscard]] absl::Status ValidateListStreams(const Limits& limits,
                                               v1::ListStreamsRequest* request);

// A protobuf timestamp as microseconds since 1970. Finer digits are cut off. False outside the
// years 1 to 9999, the range that protobuf defines.
[[nodiscard]] bool ToUnixMicros(const google::protobuf::Timestamp& timestamp, std::int64_t* micros);
void FromUnixMicros(std::int64_t micros, google::protobuf::Timestamp* timestamp);

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_VALIDATION_H_
