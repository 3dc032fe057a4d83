#include "server/core/projection_validation.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "server/core/filter.h"
#include "server/core/page_check.h"
#include "server/core/problems.h"
#include "server/core/validation.h"

namespace eventstore {
namespace {

// What a request means that leaves these at 0 (projection_service.proto,
// dead_letter_service.proto).
constexpr std::int64_t kStaleAfterSecondsDefault = 300;
constexpr std::int64_t kStaleAfterSecondsMax = 10LL * 365 * 24 * 3600;

// The most entries that one change may name.
constexpr int kIdsMax = 1000;

// What most of these requests have in common.
class RequestProblems : public Problems {
 public:
  explicit RequestProblems(const Limits& limits) : limits_(limits) {}

  void CheckTenant(std::string* tenant_id) {
    if (!tenant_id->empty()) CheckUuid({"tenant_id"}, "a tenant's id", tenant_id);
  }
  bool CheckShortName(const Place& place, std::string_view name) {
    return CheckName(place, name, "name_bytes_max", limits_.name_bytes_max);
  }
  void CheckOptionalName(const Place& place, std::string_view name) {
    CheckText(place, name, "name_bytes_max", limits_.name_bytes_max);
  }
  void CheckPosition(std::int64_t position, std::int64_t epoch) {
    CheckNumber({"position"}, position, "the beginning");
    CheckNumber({"epoch"}, epoch, "any epoch");
  }
  template <typename Request>
  void CheckStaleAfter(Request* request) {
    if (!request->has_stale_after()) {
      request->mutable_stale_after()->set_seconds(kStaleAfterSecondsDefault);
      return;
    }
    const auto& after = request->stale_after();
    const bool in_range = after.seconds() >= 0 && after.seconds() <= kStaleAfterSecondsMax &&
                          after.nanos() >= 0 && after.nanos() <= 999'999'999;
    if (in_range && (after.seconds() > 0 || after.nanos() > 0)) return;
    Invalid({"stale_after"}, absl::StrCat("is out of range; it must be more than 0 and at most ",
                                          kStaleAfterSecondsMax, " seconds"));
  }
  void CheckFilter(const std::string& field, v1::DeadLetterFilter* filter) {
    CheckOptionalName({absl::StrCat(field, ".projection_name")}, filter->projection_name());
    if (!v1::DeadLetterStatus_IsValid(filter->status())) {
      Invalid({absl::StrCat(field, ".status")},
              absl::StrCat("is ", static_cast<int>(filter->status()),
                           "; it must be failed (1), retrying (2) or resolved (3), or 0 for any"));
    }
    auto* types = filter->mutable_event_types();
    if (types->size() > limits_.filter_values_max) {
      TooLarge({absl::StrCat(field, ".event_types")}, "filter_values_max",
               limits_.filter_values_max, types->size());
    } else {
      for (int i = 0; i < types->size(); ++i) {
        CheckShortName({absl::StrCat(field, ".event_types[", i, "]")}, types->Get(i));
      }
    }
    CheckWindow(field, filter);
  }
  void CheckSelection(v1::DeadLetterSelection* selection) {
    switch (selection->kind_case()) {
      case v1::DeadLetterSelection::kIds:
        CheckIds(selection->mutable_ids());
        break;
      case v1::DeadLetterSelection::kFilter:
        CheckFilter("selection.filter", selection->mutable_filter());
        break;
      case v1::DeadLetterSelection::kAllOfProjection:
        CheckShortName({"selection.all_of_projection"}, selection->all_of_projection());
        break;
      case v1::DeadLetterSelection::KIND_NOT_SET:
        Invalid({"selection"}, "is missing; give ids, a filter or all_of_projection");
        break;
    }
  }

 private:
  void CheckWindow(const std::string& field, v1::DeadLetterFilter* filter) {
    bool both = filter->has_from_timestamp() && filter->has_to_timestamp();
    if (filter->has_from_timestamp()) {
      both &= CheckTime({absl::StrCat(field, ".from_timestamp")}, filter->mutable_from_timestamp());
    }
    if (filter->has_to_timestamp()) {
      both &= CheckTime({absl::StrCat(field, ".to_timestamp")}, filter->mutable_to_timestamp());
    }
    std::int64_t from = 0;
    std::int64_t to = 0;
    if (both && ToUnixMicros(filter->from_timestamp(), &from) &&
        ToUnixMicros(filter->to_timestamp(), &to) && from >= to) {
      Invalid({absl::StrCat(field, ".to_timestamp")},
              "is not after from_timestamp, so that nothing can lie between; from_timestamp is "
              "inclusive, to_timestamp exclusive");
    }
  }
  void CheckIds(v1::DeadLetterIds* ids) {
    if (ids->ids().empty()) {
      Invalid({"selection.ids"}, absl::StrCat("is empty; 1 to ", kIdsMax, " ids are needed"));
    } else if (ids->ids_size() > kIdsMax) {
      Invalid({"selection.ids"}, absl::StrCat("has ", ids->ids_size(), " ids; 1 to ", kIdsMax,
                                              " are taken, so split the request"));
    }
    auto* list = ids->mutable_ids();
    if (std::any_of(list->begin(), list->end(), [](std::int64_t id) { return id < 1; })) {
      Invalid({"selection.ids"}, "has an id below 1, which no entry has");
    }
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }

  const Limits& limits_;
};

}  // namespace

absl::Status Validate(const Limits& limits, v1::SaveCheckpointRequest* request) {
  RequestProblems problems(limits);
  problems.CheckShortName({"projection_name"}, request->projection_name());
  problems.CheckPosition(request->position(), request->epoch());
  if (!request->last_event_id().empty()) {
    problems.CheckUuid({"last_event_id"}, "an event's id", request->mutable_last_event_id());
  }
  problems.CheckOptionalName({"last_event_type"}, request->last_event_type());
  problems.CheckNumber({"events_processed"}, request->events_processed(), "none");
  if (request->has_expected_position()) {
    problems.CheckNumber({"expected_position"}, request->expected_position(), "none");
  }
  problems.CheckTenant(request->mutable_tenant_id());
  if (!problems.empty()) return std::move(problems).ToStatus();
  if (!request->has_filter()) return absl::OkStatus();
  auto filter = EventFilter::Make(request->filter(), "filter", limits);
  if (!filter.ok()) return filter.status();
  *request->mutable_filter() = (*filter)->proto();
  return absl::OkStatus();
}

absl::Status Validate(const Limits& limits, v1::GetCheckpointRequest* request) {
  RequestProblems problems(limits);
  problems.CheckShortName({"projection_name"}, request->projection_name());
  problems.CheckStaleAfter(request);
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::ListCheckpointsRequest* request) {
  RequestProblems problems(limits);
  CheckPage(limits, request, &problems);
  problems.CheckStaleAfter(request);
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::ResetCheckpointRequest* request) {
  RequestProblems problems(limits);
  problems.CheckShortName({"projection_name"}, request->projection_name());
  problems.CheckPosition(request->position(), request->epoch());
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::DeleteCheckpointRequest* request) {
  RequestProblems problems(limits);
  problems.CheckShortName({"projection_name"}, request->projection_name());
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::AddDeadLetterRequest* request) {
  RequestProblems problems(limits);
  problems.CheckUuid({"event_id"}, "an event's id", request->mutable_event_id());
  problems.CheckShortName({"projection_name"}, request->projection_name());
  problems.CheckName({"error_message"}, request->error_message(), "error_message_bytes_max",
                     limits.error_message_bytes_max);
  problems.CheckText({"error_stacktrace"}, request->error_stacktrace(),
                     "error_stacktrace_bytes_max", limits.error_stacktrace_bytes_max);
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::ListDeadLettersRequest* request) {
  RequestProblems problems(limits);
  problems.CheckFilter("filter", request->mutable_filter());
  CheckPage(limits, request, &problems);
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::GetDeadLetterRequest* request) {
  RequestProblems problems(limits);
  switch (request->entry_case()) {
    case v1::GetDeadLetterRequest::kId:
      if (request->id() < 1) problems.Invalid({"id"}, "is below 1, which no entry has");
      break;
    case v1::GetDeadLetterRequest::kKey:
      problems.CheckUuid({"key.event_id"}, "an event's id",
                         request->mutable_key()->mutable_event_id());
      problems.CheckShortName({"key.projection_name"}, request->key().projection_name());
      break;
    case v1::GetDeadLetterRequest::ENTRY_NOT_SET:
      problems.Invalid({"entry"}, "is missing; give the entry's id, or its key");
      break;
  }
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::RetryDeadLettersRequest* request) {
  RequestProblems problems(limits);
  problems.CheckSelection(request->mutable_selection());
  problems.CheckNumber({"after_id"}, request->after_id(), "the beginning");
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::ResolveDeadLettersRequest* request) {
  RequestProblems problems(limits);
  problems.CheckSelection(request->mutable_selection());
  problems.CheckShortName({"resolved_by"}, request->resolved_by());
  problems.CheckText({"note"}, request->note(), "error_message_bytes_max",
                     limits.error_message_bytes_max);
  problems.CheckNumber({"after_id"}, request->after_id(), "the beginning");
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::GetDeadLetterStatsRequest* request) {
  RequestProblems problems(limits);
  problems.CheckOptionalName({"projection_name"}, request->projection_name());
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::PurgeDeadLettersRequest* request) {
  RequestProblems problems(limits);
  if (request->has_resolved_before()) {
    problems.CheckTime({"resolved_before"}, request->mutable_resolved_before());
  } else {
    problems.Invalid({"resolved_before"},
                     "is missing; name the time before which resolved entries are deleted");
  }
  problems.CheckOptionalName({"projection_name"}, request->projection_name());
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

}  // namespace eventstore
