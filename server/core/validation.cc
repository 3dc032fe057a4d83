#include "server/core/validation.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "server/core/errors.h"
#include "server/core/filter.h"
#include "server/core/problems.h"
#include "server/core/time_window_check.h"

namespace eventstore {
namespace {

// What a request means that leaves these at 0 (event_store_service.proto).
constexpr std::int64_t kBatchEventsDefault = 500;
constexpr std::int64_t kCheckpointIntervalDefault = 10'000;
constexpr std::int64_t kPageSizeDefault = 100;

// A page token is an encoded stream name, so far shorter; longer ones are not ours.
constexpr std::int64_t kPageTokenBytesMax = 4096;

// The first and the last second of the years 1 to 9999.
constexpr std::int64_t kSecondsMin = -62'135'596'800;
constexpr std::int64_t kSecondsMax = 253'402'300'799;

template <typename Request>
void CheckDirection(Request* request, Problems* problems) {
  if (!v1::Direction_IsValid(request->direction())) {
    problems->Invalid({"direction"},
                      absl::StrCat("is ", static_cast<int>(request->direction()),
                                   "; it must be DIRECTION_FORWARDS (1) or DIRECTION_BACKWARDS "
                                   "(2), or 0 for forwards"));
  } else if (request->direction() == v1::DIRECTION_UNSPECIFIED) {
    request->set_direction(v1::DIRECTION_FORWARDS);
  }
}

void CheckVersionWindow(const v1::ReadStreamRequest& request, Problems* problems) {
  const std::int64_t from = request.from_version();
  const std::int64_t to = request.to_version();
  const bool from_good = problems->CheckNumber({"from_version"}, from, "no bound");
  const bool to_good = problems->CheckNumber({"to_version"}, to, "no bound");
  if (!from_good || !to_good || from == 0 || to == 0) return;
  const bool backwards = request.direction() == v1::DIRECTION_BACKWARDS;
  if (backwards ? from >= to : from <= to) return;
  problems->Invalid(
      {"to_version"},
      absl::StrCat("is ", to, " and from_version ", from, "; reading ",
                   backwards ? "backwards it must not be above" : "forwards it must not be below",
                   " from_version, since it is the last version to read"));
}

// A snapshot stands for the stream's beginning, so nothing else may say where to start.
void CheckFromSnapshot(const v1::ReadStreamRequest& request, Problems* problems) {
  problems->CheckNumber({"snapshot_schema_version"}, request.snapshot_schema_version(), "any");
  if (!request.from_snapshot()) {
    if (request.snapshot_schema_version() > 0) {
      problems->Invalid({"snapshot_schema_version"},
                        "is set without from_snapshot, so that no snapshot is looked for");
    }
    return;
  }
  if (request.direction() == v1::DIRECTION_BACKWARDS) {
    problems->Invalid({"direction"},
                      "is backwards; from_snapshot reads forwards, from a snapshot to the end");
  }
  if (request.from_version() != 0) {
    problems->Invalid({"from_version"},
                      "is set; with from_snapshot the snapshot says where to start");
  }
  for (const auto& [field, set] : {std::pair{"from_timestamp", request.has_from_timestamp()},
                                   std::pair{"to_timestamp", request.has_to_timestamp()}}) {
    if (set) {
      problems->Invalid({field},
                        "is set; a snapshot holds events of all times, so that from_snapshot takes "
                        "no time window");
    }
  }
}

// Checks a filter and puts the normalized one in its place.
absl::Status NormalizeFilter(const Limits& limits, v1::Filter* filter) {
  absl::StatusOr<std::shared_ptr<const EventFilter>> made =
      EventFilter::Make(*filter, "filter", limits);
  if (!made.ok()) return made.status();
  *filter = (*made)->proto();
  return absl::OkStatus();
}

void CheckStart(const Limits& limits, v1::SubscribeRequest* request, Problems* problems) {
  switch (request->start_case()) {
    case v1::SubscribeRequest::START_NOT_SET:
      request->mutable_beginning();
      break;
    case v1::SubscribeRequest::kAfterPosition:
      problems->CheckNumber({"after_position"}, request->after_position(), "the beginning");
      break;
    case v1::SubscribeRequest::kFromTimestamp:
      problems->CheckTime({"from_timestamp"}, request->mutable_from_timestamp());
      break;
    case v1::SubscribeRequest::kCheckpoint:
      problems->CheckName({"checkpoint"}, request->checkpoint(), "name_bytes_max",
                          limits.name_bytes_max);
      break;
    default:
      break;
  }
}

}  // namespace

absl::Status ValidateStreamId(std::string_view field, const Limits& limits, v1::StreamId* stream) {
  Problems problems;
  problems.CheckStreamId(field, limits, stream);
  return std::move(problems).ToStatus();
}

absl::Status ValidateTenantId(std::string_view field, std::string* tenant_id) {
  Problems problems;
  if (!tenant_id->empty()) problems.CheckUuid({std::string(field)}, "a tenant's id", tenant_id);
  return std::move(problems).ToStatus();
}

absl::Status ValidateReadStream(const Limits& limits, v1::ReadStreamRequest* request) {
  Problems problems;
  problems.CheckStreamOf(request, limits);
  CheckDirection(request, &problems);
  CheckVersionWindow(*request, &problems);
  problems.CheckNumber({"limit"}, request->limit(), "no limit");
  CheckTimeWindow(request, &problems);
  CheckFromSnapshot(*request, &problems);
  return std::move(problems).ToStatus();
}

absl::Status ValidateReadAll(const Limits& limits, v1::ReadAllRequest* request) {
  Problems problems;
  CheckDirection(request, &problems);
  problems.CheckNumber({"after_position"}, request->after_position(), "no bound");
  problems.CheckNumber({"epoch"}, request->epoch(), "any epoch");
  problems.CheckNumber({"limit"}, request->limit(), "no limit");
  CheckTimeWindow(request, &problems);
  if (!problems.empty()) return std::move(problems).ToStatus();
  return request->has_filter() ? NormalizeFilter(limits, request->mutable_filter())
                               : absl::OkStatus();
}

absl::Status ValidateSubscribe(const Limits& limits, v1::SubscribeRequest* request) {
  Problems problems;
  CheckStart(limits, request, &problems);
  problems.CheckNumber({"epoch"}, request->epoch(), "any epoch");
  if (request->has_stream()) problems.CheckStreamId("stream", limits, request->mutable_stream());
  const std::int64_t batch_default = std::min(kBatchEventsDefault, limits.batch_events_max);
  problems.CheckNumber({"max_batch_size"}, request->max_batch_size(),
                       absl::StrCat("the default, ", batch_default), limits.batch_events_max);
  problems.CheckNumber({"checkpoint_interval"}, request->checkpoint_interval(),
                       absl::StrCat("the default, ", kCheckpointIntervalDefault));
  if (!problems.empty()) return std::move(problems).ToStatus();
  if (request->max_batch_size() == 0) {
    request->set_max_batch_size(static_cast<std::int32_t>(batch_default));
  }
  if (request->checkpoint_interval() == 0) {
    request->set_checkpoint_interval(kCheckpointIntervalDefault);
  }
  if (!request->has_filter()) return absl::OkStatus();
  absl::Status checked = NormalizeFilter(limits, request->mutable_filter());
  if (!checked.ok()) return checked;
  const std::string& tenant_id = request->filter().tenant_id();
  if (request->has_stream() && !tenant_id.empty() && tenant_id != request->stream().tenant_id()) {
    return InvalidRequest("filter.tenant_id",
                          "filter.tenant_id is not the tenant of stream; leave it out, or give "
                          "the same");
  }
  return absl::OkStatus();
}

absl::Status ValidateListStreams(const Limits& limits, v1::ListStreamsRequest* request) {
  Problems problems;
  problems.CheckText({"aggregate_type"}, request->aggregate_type(), "name_bytes_max",
                     limits.name_bytes_max);
  if (!request->tenant_id().empty()) {
    problems.CheckUuid({"tenant_id"}, "a tenant's id", request->mutable_tenant_id());
  }
  problems.CheckText({"aggregate_id_prefix"}, request->aggregate_id_prefix(), "name_bytes_max",
                     limits.name_bytes_max);
  const std::int64_t page_default = std::min(kPageSizeDefault, limits.page_size_max);
  problems.CheckNumber({"page_size"}, request->page_size(),
                       absl::StrCat("the default, ", page_default), limits.page_size_max);
  if (static_cast<std::int64_t>(request->page_token().size()) > kPageTokenBytesMax) {
    problems.Invalid({"page_token"},
                     "is not one that this server made; give back the "
                     "next_page_token of the page before, or nothing");
  } else {
    problems.CheckText({"page_token"}, request->page_token());
  }
  if (!problems.empty()) return std::move(problems).ToStatus();
  if (request->page_size() == 0) {
    request->set_page_size(static_cast<std::int32_t>(page_default));
  }
  return absl::OkStatus();
}

bool ToUnixMicros(const google::protobuf::Timestamp& timestamp, std::int64_t* micros) {
  if (timestamp.seconds() < kSecondsMin || timestamp.seconds() > kSecondsMax) return false;
  if (timestamp.nanos() < 0 || timestamp.nanos() > 999'999'999) return false;
  *micros = timestamp.seconds() * 1'000'000 + timestamp.nanos() / 1000;
  return true;
}

void FromUnixMicros(std::int64_t micros, google::protobuf::Timestamp* timestamp) {
  std::int64_t seconds = micros / 1'000'000;
  std::int64_t rest = micros % 1'000'000;
  if (rest < 0) {
    rest += 1'000'000;
    --seconds;
  }
  timestamp->set_seconds(seconds);
  timestamp->set_nanos(static_cast<std::int32_t>(rest * 1000));
}

}  // namespace eventstore
