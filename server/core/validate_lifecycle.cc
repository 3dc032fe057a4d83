#include "server/core/validate_lifecycle.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "server/core/problems.h"

namespace eventstore {
namespace {

// What lifecycle.proto promises.
constexpr int kNamedEventsMax = 1'000;
constexpr std::int64_t kReasonBytesMax = 1'024;
constexpr std::int64_t kErasedByBytesMax = 255;

template <typename Values>
void SortEachOnce(Values* values) {
  std::sort(values->begin(), values->end());
  values->erase(std::unique(values->begin(), values->end()), values->end());
}

void CheckVersions(v1::EraseEventsRequest* request, Problems* problems) {
  auto* const versions = request->mutable_versions();
  if (versions->size() > kNamedEventsMax) {
    return problems->TooLarge({"versions"}, "versions", kNamedEventsMax, versions->size());
  }
  for (int i = 0; i < versions->size(); ++i) {
    if (versions->Get(i) >= 1) continue;
    problems->Invalid({absl::StrCat("versions[", i, "]")},
                      absl::StrCat("is ", versions->Get(i), "; versions count from 1"));
  }
  SortEachOnce(versions);
}

void CheckEventIds(v1::EraseEventsRequest* request, Problems* problems) {
  auto* const ids = request->mutable_event_ids();
  if (ids->size() > kNamedEventsMax) {
    return problems->TooLarge({"event_ids"}, "event_ids", kNamedEventsMax, ids->size());
  }
  for (int i = 0; i < ids->size(); ++i) {
    problems->CheckUuid({absl::StrCat("event_ids[", i, "]")}, "an event's id", ids->Mutable(i));
  }
  SortEachOnce(ids);
}

void CheckErasedOfStream(const Limits& limits, v1::EraseEventsRequest* request,
                         Problems* problems) {
  problems->CheckStreamId("stream", limits, request->mutable_stream());
  CheckVersions(request, problems);
  if (!request->event_ids().empty()) {
    problems->Invalid({"event_ids"},
                      "is given together with stream; erase by stream and versions, or by ids");
  }
  const std::string& tenant = request->stream().tenant_id();
  if (request->tenant_id().empty()) {
    request->set_tenant_id(tenant);
  } else if (request->tenant_id() != tenant) {
    problems->Invalid({"tenant_id"}, "is not the tenant of stream; leave it out, or give the same");
  }
}

}  // namespace

absl::Status Validate(const Limits& limits, v1::TruncateStreamRequest* request) {
  Problems problems;
  problems.CheckStreamOf(request, limits);
  if (request->before_version() < 1) {
    problems.Invalid({"before_version"},
                     absl::StrCat("is ", request->before_version(),
                                  "; it is the first version that stays readable, 1 or more"));
  }
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::DeleteStreamRequest* request) {
  Problems problems;
  problems.CheckStreamOf(request, limits);
  const v1::ExpectedVersion& expected = request->expected_version();
  switch (expected.kind_case()) {
    case v1::ExpectedVersion::kAny:
    case v1::ExpectedVersion::kStreamExists:
      break;
    case v1::ExpectedVersion::kExact:
      if (expected.exact() < 1) {
        problems.Invalid({"expected_version.exact"},
                         absl::StrCat("is ", expected.exact(), "; it must be 1 or more"));
      }
      break;
    case v1::ExpectedVersion::kNoStream:
      problems.Invalid({"expected_version"},
                       "is no_stream, but a stream that does not exist cannot be deleted; give "
                       "any, stream_exists or exact");
      break;
    case v1::ExpectedVersion::KIND_NOT_SET:
      problems.Invalid({"expected_version"}, "is missing; give any, stream_exists or exact");
      break;
  }
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::EraseEventsRequest* request) {
  Problems problems;
  if (!request->tenant_id().empty()) {
    problems.CheckUuid({"tenant_id"}, "a tenant's id", request->mutable_tenant_id());
  }
  if (request->has_stream()) {
    CheckErasedOfStream(limits, request, &problems);
  } else if (request->event_ids().empty()) {
    problems.Invalid({"stream"}, "is missing, and so are event_ids; name the events by either");
  } else {
    CheckEventIds(request, &problems);
    if (!request->versions().empty()) {
      problems.Invalid({"versions"}, "is given without stream, whose versions they would be");
    }
  }
  problems.CheckName({"reason"}, request->reason(), "reason", kReasonBytesMax);
  problems.CheckName({"erased_by"}, request->erased_by(), "erased_by", kErasedByBytesMax);
  return std::move(problems).ToStatus();
}

}  // namespace eventstore
