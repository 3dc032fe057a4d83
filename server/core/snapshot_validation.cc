#include "server/core/snapshot_validation.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <string>
#include <utility>

#include "server/core/json_check.h"
#include "server/core/page_check.h"
#include "server/core/validation.h"

namespace eventstore {
namespace {

using Place = Problems::Place;

// A JSON state counts as what is longer: what was sent, or what the database prints.
void CheckState(const Place& place, const Limits& limits, const v1::SaveSnapshotRequest& request,
                Problems* problems) {
  auto bytes = static_cast<std::int64_t>(request.state().size());
  if (bytes <= limits.event_bytes_max && IsJsonContentType(request.content_type())) {
    const absl::StatusOr<std::int64_t> printed = CheckJson(request.state(), limits);
    if (!printed.ok()) {
      problems->Invalid(place, std::string(printed.status().message()));
      return;
    }
    bytes = std::max(bytes, *printed);
  }
  if (bytes > limits.event_bytes_max) {
    problems->TooLarge(place, "event_bytes_max", limits.event_bytes_max, bytes);
  }
}

}  // namespace

void CheckSnapshotToSave(std::string_view path, const Limits& limits,
                         v1::SaveSnapshotRequest* request, Problems* problems) {
  const auto at = [path](const char* field) {
    return Place{absl::StrCat(absl::string_view(path.data(), path.size()), field)};
  };
  if (request->has_stream()) {
    problems->CheckStreamId(at("stream").field, limits, request->mutable_stream());
  } else {
    problems->Invalid(at("stream"),
                      "is missing; name the stream by aggregate_type and aggregate_id");
  }
  if (request->version() < 1) {
    problems->Invalid(at("version"),
                      absl::StrCat("is ", request->version(),
                                   "; it must be that of the last event in the state, 1 or more"));
  }
  problems->CheckNumber(at("schema_version"), request->schema_version(), "the default, 1");
  if (request->schema_version() == 0) request->set_schema_version(1);
  problems->CheckNumber(at("keep_versions"), request->keep_versions(), "the default, 1",
                        kSnapshotsKeptMax);
  if (request->keep_versions() == 0) request->set_keep_versions(1);
  if (request->content_type().empty()) {
    request->set_content_type(kJsonContentType.data(), kJsonContentType.size());
  }
  if (problems->CheckText(at("content_type"), request->content_type(), "name_bytes_max",
                          limits.name_bytes_max)) {
    CheckState(at("state"), limits, *request, problems);
  }
}

absl::Status Validate(const Limits& limits, v1::SaveSnapshotRequest* request) {
  Problems problems;
  CheckSnapshotToSave("", limits, request, &problems);
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::GetSnapshotRequest* request) {
  Problems problems;
  problems.CheckStreamOf(request, limits);
  problems.CheckNumber({"max_version"}, request->max_version(), "no bound");
  problems.CheckNumber({"schema_version"}, request->schema_version(), "any");
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::ListSnapshotsRequest* request) {
  Problems problems;
  problems.CheckText({"aggregate_type"}, request->aggregate_type(), "name_bytes_max",
                     limits.name_bytes_max);
  problems.CheckText({"aggregate_id"}, request->aggregate_id(), "name_bytes_max",
                     limits.name_bytes_max);
  if (!request->aggregate_id().empty() && request->aggregate_type().empty()) {
    problems.Invalid({"aggregate_type"},
                     "is missing; an aggregate_id names an aggregate only together with its type");
  }
  if (!request->tenant_id().empty()) {
    problems.CheckUuid({"tenant_id"}, "a tenant's id", request->mutable_tenant_id());
  }
  CheckPage(limits, request, &problems);
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::DeleteSnapshotsRequest* request) {
  Problems problems;
  if (!request->tenant_id().empty()) {
    problems.CheckUuid({"tenant_id"}, "a tenant's id", request->mutable_tenant_id());
  }
  problems.CheckNumber({"schema_version_below"}, request->schema_version_below(), "all");
  switch (request->target_case()) {
    case v1::DeleteSnapshotsRequest::kStream:
      problems.CheckStreamId("stream", limits, request->mutable_stream());
      if (!request->tenant_id().empty() && request->tenant_id() != request->stream().tenant_id()) {
        problems.Invalid({"tenant_id"},
                         "is not the tenant of stream; leave it out, or give the same");
      }
      break;
    case v1::DeleteSnapshotsRequest::kAggregateType:
      problems.CheckName({"aggregate_type"}, request->aggregate_type(), "name_bytes_max",
                         limits.name_bytes_max);
      if (request->schema_version_below() == 0) {
        problems.Invalid({"schema_version_below"},
                         "is missing; of a whole type only snapshots below a schema version are "
                         "deleted");
      }
      break;
    case v1::DeleteSnapshotsRequest::TARGET_NOT_SET:
      problems.Invalid({"target"}, "is missing; give a stream, or an aggregate_type");
      break;
  }
  return std::move(problems).ToStatus();
}

}  // namespace eventstore
