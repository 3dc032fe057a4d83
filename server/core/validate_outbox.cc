#include "server/core/validate_outbox.h"

#include <absl/strings/str_cat.h>

#include <string>
#include <string_view>
#include <utility>

#include "server/core/page_check.h"
#include "server/core/problems.h"

namespace eventstore {
namespace {

// What outbox_service.proto says.
constexpr int kIdsMax = 1'000;
constexpr std::int64_t kClaimLimitMax = 1'000;
constexpr std::int32_t kClaimLimitDefault = 100;
constexpr std::int64_t kLeaseSecondsMin = 1;
constexpr std::int64_t kLeaseSecondsMax = 3'600;
constexpr std::int64_t kLeaseSecondsDefault = 30;
// A longer wait than this is a mistake in its unit.
constexpr std::int64_t kRetryDelaySecondsMax = 30LL * 24 * 3'600;

class OutboxProblems : public Problems {
 public:
  explicit OutboxProblems(const Limits& limits) : limits_(limits) {}

  void CheckTenant(std::string* tenant_id) {
    if (!tenant_id->empty()) CheckUuid({"tenant_id"}, "a tenant's id", tenant_id);
  }
  // Required.
  void CheckShortName(const std::string& field, std::string_view name) {
    CheckName({field}, name, "name_bytes_max", limits_.name_bytes_max);
  }
  void CheckOptionalName(const std::string& field, std::string_view name) {
    CheckText({field}, name, "name_bytes_max", limits_.name_bytes_max);
  }
  void CheckToken(std::string* token) {
    CheckUuid({"claim_token"}, "the token of ClaimOutbox's answer", token);
  }
  // `min` and `max` in seconds, inclusive.
  void CheckDuration(const std::string& field, const google::protobuf::Duration& time,
                     std::int64_t min, std::int64_t max) {
    const bool is_sane = time.nanos() >= 0 && time.nanos() <= 999'999'999;
    if (is_sane && time.seconds() >= min &&
        (time.seconds() < max || (time.seconds() == max && time.nanos() == 0))) {
      return;
    }
    Invalid({field}, absl::StrCat("must be from ", min, " to ", max, " seconds"));
  }
  // Whether there are 1 to kIdsMax.
  bool CheckCount(const std::string& field, int count) {
    if (count >= 1 && count <= kIdsMax) return true;
    Invalid({field},
            absl::StrCat("has ", count, " entries; 1 to ", kIdsMax, " are taken a request"));
    return false;
  }
  void CheckIds(const std::string& field, google::protobuf::RepeatedPtrField<std::string>* ids) {
    if (!CheckCount(field, ids->size())) return;
    for (int i = 0; i < ids->size(); ++i) {
      CheckUuid({absl::StrCat(field, "[", i, "]")}, "an entry's id", ids->Mutable(i));
    }
  }
  void CheckFilter(v1::OutboxFilter* filter) {
    CheckOptionalName("filter.sink", filter->sink());
    if (!v1::OutboxStatus_IsValid(filter->status())) {
      Invalid({"filter.status"},
              absl::StrCat("is ", static_cast<int>(filter->status()),
                           "; it must be pending (1), claimed (2), published (3) or failed (4), or "
                           "0 for any"));
    }
    const auto& types = filter->event_types();
    if (types.size() > limits_.filter_values_max) {
      TooLarge({"filter.event_types"}, "filter_values_max", limits_.filter_values_max,
               types.size());
    } else {
      for (int i = 0; i < types.size(); ++i) {
        CheckShortName(absl::StrCat("filter.event_types[", i, "]"), types.Get(i));
      }
    }
    if (filter->has_stream()) CheckStreamId("filter.stream", limits_, filter->mutable_stream());
  }

 private:
  const Limits& limits_;
};

}  // namespace

absl::Status Validate(const Limits& limits, v1::ClaimOutboxRequest* request) {
  OutboxProblems problems(limits);
  problems.CheckShortName("sink", request->sink());
  problems.CheckShortName("worker", request->worker());
  problems.CheckNumber({"limit"}, request->limit(),
                       absl::StrCat("the default, ", kClaimLimitDefault), kClaimLimitMax);
  if (request->limit() == 0) request->set_limit(kClaimLimitDefault);
  if (!request->has_lease()) request->mutable_lease()->set_seconds(kLeaseSecondsDefault);
  problems.CheckDuration("lease", request->lease(), kLeaseSecondsMin, kLeaseSecondsMax);
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::CompleteOutboxRequest* request) {
  OutboxProblems problems(limits);
  problems.CheckToken(request->mutable_claim_token());
  problems.CheckIds("ids", request->mutable_ids());
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::FailOutboxRequest* request) {
  OutboxProblems problems(limits);
  problems.CheckToken(request->mutable_claim_token());
  if (problems.CheckCount("entries", request->entries_size())) {
    for (int i = 0; i < request->entries_size(); ++i) {
      const std::string field = absl::StrCat("entries[", i, "]");
      v1::FailedOutboxEntry* entry = request->mutable_entries(i);
      problems.CheckUuid({field + ".id"}, "an entry's id", entry->mutable_id());
      problems.CheckName({field + ".error"}, entry->error(), "error_message_bytes_max",
                         limits.error_message_bytes_max);
    }
  }
  if (request->has_retry_delay()) {
    problems.CheckDuration("retry_delay", request->retry_delay(), 0, kRetryDelaySecondsMax);
  }
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::ListOutboxRequest* request) {
  OutboxProblems problems(limits);
  problems.CheckFilter(request->mutable_filter());
  CheckPage(limits, request, &problems);
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::RetryOutboxRequest* request) {
  OutboxProblems problems(limits);
  switch (request->selection_case()) {
    case v1::RetryOutboxRequest::kIds:
      problems.CheckIds("ids.ids", request->mutable_ids()->mutable_ids());
      if (!request->after_id().empty()) {
        problems.Invalid({"after_id"}, "goes on with a filter; ids are all looked at in one call");
      }
      break;
    case v1::RetryOutboxRequest::kFilter:
      problems.CheckFilter(request->mutable_filter());
      if (request->filter().status() == v1::OUTBOX_STATUS_CLAIMED ||
          request->filter().status() == v1::OUTBOX_STATUS_PUBLISHED) {
        problems.Invalid({"filter.status"},
                         "can only be failed (4) or pending (1), or 0 for both: others are not "
                         "tried again");
      }
      break;
    case v1::RetryOutboxRequest::SELECTION_NOT_SET:
      problems.Invalid({"selection"}, "is missing; give ids, or a filter");
      break;
  }
  if (request->after_id().size() > kListPageTokenBytesMax) {
    problems.Invalid({"after_id"}, "is not one that this server made");
  } else {
    problems.CheckText({"after_id"}, request->after_id());
  }
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::GetOutboxStatsRequest* request) {
  OutboxProblems problems(limits);
  problems.CheckOptionalName("sink", request->sink());
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::PauseOutboxRequest* request) {
  OutboxProblems problems(limits);
  problems.CheckShortName("sink", request->sink());
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& limits, v1::PurgeOutboxRequest* request) {
  OutboxProblems problems(limits);
  problems.CheckOptionalName("sink", request->sink());
  if (request->has_published_before()) {
    problems.CheckTime({"published_before"}, request->mutable_published_before());
  } else {
    problems.Invalid({"published_before"},
                     "is missing; give the time before which entries were published");
  }
  problems.CheckTenant(request->mutable_tenant_id());
  return std::move(problems).ToStatus();
}

}  // namespace eventstore
