#include "server/core/validate_groups.h"

#include <absl/strings/str_cat.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "server/core/errors.h"
#include "server/core/filter.h"
#include "server/core/problems.h"

namespace eventstore {
namespace {

using google::protobuf::Duration;

// Bounds and defaults (consumer_group_service.proto).
constexpr std::int64_t kLanesMax = 256;
constexpr std::int64_t kInFlightMax = 10'000;
constexpr std::int64_t kAttemptsMax = 1'000;
constexpr std::int64_t kSpanMax = 100'000;
constexpr std::int64_t kDayMs = 24LL * 3'600'000;
constexpr std::int64_t kDeliveryIdsMax = 10'000;
constexpr std::int64_t kReasonBytesMax = 4'096;
constexpr std::int64_t kPageSizeDefault = 100;
constexpr std::int64_t kPageTokenBytesMax = 4'096;

std::int64_t Millis(const Duration& time) {
  return time.seconds() * 1'000 + time.nanos() / 1'000'000;
}

void SetMillis(std::int64_t millis, Duration* time) {
  time->set_seconds(millis / 1'000);
  time->set_nanos(static_cast<std::int32_t>(millis % 1'000 * 1'000'000));
}

// 0 stays: "the default", or "as it is".
void CheckCount(const std::string& field, std::int64_t value, std::int64_t max,
                Problems* problems) {
  if (value >= 0 && value <= max) return;
  problems->Invalid({field}, absl::StrCat("is ", value, "; it must be from 1 to ", max,
                                          ", or 0 for the default or the present value"));
}

void CheckDuration(const std::string& field, bool present, const Duration& time,
                   std::int64_t min_ms, std::int64_t max_ms, Problems* problems) {
  if (!present) return;
  const bool is_sane = time.seconds() >= 0 && time.seconds() <= 10 * kDayMs && time.nanos() >= 0 &&
                       time.nanos() < 1'000'000'000;
  if (is_sane && Millis(time) >= min_ms && Millis(time) <= max_ms) return;
  problems->Invalid({field},
                    absl::StrCat("must be from ", min_ms, " to ", max_ms, " milliseconds"));
}

void CheckSettings(const v1::ConsumerGroupSettings& settings, Problems* problems) {
  CheckCount("settings.lanes", settings.lanes(), kLanesMax, problems);
  CheckCount("settings.member_in_flight_max", settings.member_in_flight_max(), kInFlightMax,
             problems);
  CheckCount("settings.lane_in_flight_max", settings.lane_in_flight_max(), kInFlightMax, problems);
  CheckCount("settings.max_attempts", settings.max_attempts(), kAttemptsMax, problems);
  CheckCount("settings.unsettled_span_max", settings.unsettled_span_max(), kSpanMax, problems);
  CheckDuration("settings.ack_timeout", settings.has_ack_timeout(), settings.ack_timeout(), 100,
                kDayMs, problems);
  CheckDuration("settings.backoff_min", settings.has_backoff_min(), settings.backoff_min(), 1,
                kDayMs, problems);
  CheckDuration("settings.backoff_max", settings.has_backoff_max(), settings.backoff_max(), 1,
                kDayMs, problems);
  CheckDuration("settings.lease_duration", settings.has_lease_duration(), settings.lease_duration(),
                1'000, 600'000, problems);
  if (!v1::OnFailure_IsValid(settings.on_failure())) {
    problems->Invalid({"settings.on_failure"},
                      "must be ON_FAILURE_PARK (1), ON_FAILURE_PARK_STREAM (2) or ON_FAILURE_STOP "
                      "(3), or 0 for the default or the present value");
  }
}

void CheckTenant(std::string* tenant_id, Problems* problems) {
  if (!tenant_id->empty()) problems->CheckUuid({"tenant_id"}, "a tenant's id", tenant_id);
}

void CheckName(const std::string& field, const std::string& name, const Limits& limits,
               Problems* problems) {
  problems->CheckName({field}, name, "name_bytes_max", limits.name_bytes_max);
}

v1::ConsumerGroupSettings DefaultSettings() {
  v1::ConsumerGroupSettings settings;
  settings.set_lanes(16);
  settings.set_member_in_flight_max(1'000);
  settings.set_lane_in_flight_max(500);
  SetMillis(30'000, settings.mutable_ack_timeout());
  settings.set_max_attempts(5);
  SetMillis(500, settings.mutable_backoff_min());
  SetMillis(60'000, settings.mutable_backoff_max());
  settings.set_on_failure(v1::ON_FAILURE_PARK);
  settings.set_unsettled_span_max(1'000);
  SetMillis(10'000, settings.mutable_lease_duration());
  return settings;
}

absl::Status NormalizeFilter(const Limits& limits, v1::ConsumerGroupSettings* settings) {
  if (!settings->has_filter()) return absl::OkStatus();
  auto filter = EventFilter::Make(settings->filter(), "settings.filter", limits);
  if (!filter.ok()) return filter.status();
  *settings->mutable_filter() = (*filter)->proto();
  return absl::OkStatus();
}

}  // namespace

absl::Status MergeGroupSettings(const v1::ConsumerGroupSettings& change,
                                v1::ConsumerGroupSettings* settings) {
  Problems problems;
  if (change.lanes() != 0 && change.lanes() != settings->lanes()) {
    problems.Invalid({"settings.lanes"},
                     absl::StrCat("is ", change.lanes(), ", but the group has ", settings->lanes(),
                                  " and cannot change them: streams would change lanes, and lose "
                                  "their order; create another group"));
  }
  if (change.has_filter() &&
      !google::protobuf::util::MessageDifferencer::Equals(change.filter(), settings->filter())) {
    problems.Invalid({"settings.filter"},
                     "cannot be changed: what lies behind the checkpoints was chosen by the old "
                     "one; create another group");
  }
  // Enumerations and numbers that are 0, and absent messages, leave what is there.
  v1::ConsumerGroupSettings merged = *settings;
  merged.clear_filter();
  v1::ConsumerGroupSettings rest = change;
  rest.clear_filter();
  const auto replace = [](bool present, const Duration& from, Duration* to) {
    if (present) *to = from;
  };
  replace(rest.has_ack_timeout(), rest.ack_timeout(), merged.mutable_ack_timeout());
  replace(rest.has_backoff_min(), rest.backoff_min(), merged.mutable_backoff_min());
  replace(rest.has_backoff_max(), rest.backoff_max(), merged.mutable_backoff_max());
  replace(rest.has_lease_duration(), rest.lease_duration(), merged.mutable_lease_duration());
  rest.clear_ack_timeout();
  rest.clear_backoff_min();
  rest.clear_backoff_max();
  rest.clear_lease_duration();
  merged.MergeFrom(rest);
  if (settings->has_filter()) *merged.mutable_filter() = settings->filter();
  if (Millis(merged.backoff_min()) > Millis(merged.backoff_max())) {
    problems.Invalid({"settings.backoff_min"}, "is more than backoff_max");
  }
  if (!problems.empty()) return std::move(problems).ToStatus();
  *settings = std::move(merged);
  return absl::OkStatus();
}

absl::Status ValidateCreateGroup(const Limits& limits, v1::CreateConsumerGroupRequest* request) {
  Problems problems;
  CheckName("name", request->name(), limits, &problems);
  CheckTenant(request->mutable_tenant_id(), &problems);
  CheckSettings(request->settings(), &problems);
  if (request->has_after_position()) {
    problems.CheckNumber({"after_position"}, request->after_position(), "the beginning");
  }
  problems.CheckNumber({"epoch"}, request->epoch(), "any epoch");
  if (!problems.empty()) return std::move(problems).ToStatus();
  absl::Status filter = NormalizeFilter(limits, request->mutable_settings());
  if (!filter.ok()) return filter;
  v1::ConsumerGroupSettings settings = DefaultSettings();
  if (request->settings().lanes() != 0) settings.set_lanes(request->settings().lanes());
  if (request->settings().has_filter()) *settings.mutable_filter() = request->settings().filter();
  absl::Status merged = MergeGroupSettings(request->settings(), &settings);
  if (!merged.ok()) return merged;
  *request->mutable_settings() = std::move(settings);
  return absl::OkStatus();
}

absl::Status ValidateUpdateGroup(const Limits& limits, v1::UpdateConsumerGroupRequest* request) {
  Problems problems;
  CheckName("name", request->name(), limits, &problems);
  CheckTenant(request->mutable_tenant_id(), &problems);
  CheckSettings(request->settings(), &problems);
  problems.CheckNumber({"expected_revision"}, request->expected_revision(), "any revision");
  if (!problems.empty()) return std::move(problems).ToStatus();
  return NormalizeFilter(limits, request->mutable_settings());
}

absl::Status ValidateGroupName(const Limits& limits, const std::string& name,
                               std::string* tenant_id) {
  Problems problems;
  CheckName("name", name, limits, &problems);
  CheckTenant(tenant_id, &problems);
  return std::move(problems).ToStatus();
}

absl::Status ValidateListGroups(const Limits& limits, v1::ListConsumerGroupsRequest* request) {
  Problems problems;
  CheckTenant(request->mutable_tenant_id(), &problems);
  const std::int64_t page_default = std::min(kPageSizeDefault, limits.page_size_max);
  problems.CheckNumber({"page_size"}, request->page_size(),
                       absl::StrCat("the default, ", page_default), limits.page_size_max);
  problems.CheckText({"page_token"}, request->page_token(), "page_token", kPageTokenBytesMax);
  if (!problems.empty()) return std::move(problems).ToStatus();
  if (request->page_size() == 0) {
    request->set_page_size(static_cast<std::int32_t>(page_default));
  }
  return absl::OkStatus();
}

absl::Status ValidateJoin(const Limits& limits, v1::ConsumeRequest* request) {
  Problems problems;
  if (!request->has_join()) {
    problems.Invalid({"join"}, "is missing; the first message must be join");
    return std::move(problems).ToStatus();
  }
  v1::ConsumeJoin* const join = request->mutable_join();
  CheckName("join.group", join->group(), limits, &problems);
  problems.CheckText({"join.member_name"}, join->member_name(), "name_bytes_max",
                     limits.name_bytes_max);
  problems.CheckNumber({"join.max_in_flight"}, join->max_in_flight(),
                       "as many as the group allows");
  CheckTenant(join->mutable_tenant_id(), &problems);
  return std::move(problems).ToStatus();
}

absl::Status ValidateConsume(const v1::ConsumeRequest& request) {
  Problems problems;
  const auto check_ids = [&](const char* field, std::int64_t count) {
    if (count > kDeliveryIdsMax) {
      problems.TooLarge({field}, "delivery_ids", kDeliveryIdsMax, count);
    }
  };
  switch (request.message_case()) {
    case v1::ConsumeRequest::kAck:
      check_ids("ack.delivery_ids", request.ack().delivery_ids_size());
      break;
    case v1::ConsumeRequest::kNack:
      check_ids("nack.delivery_ids", request.nack().delivery_ids_size());
      if (request.nack().action() < v1::NACK_ACTION_RETRY ||
          request.nack().action() > v1::NACK_ACTION_SKIP) {
        problems.Invalid({"nack.action"},
                         "must be NACK_ACTION_RETRY (1), NACK_ACTION_PARK (2) or "
                         "NACK_ACTION_SKIP (3)");
      }
      problems.CheckText({"nack.reason"}, request.nack().reason(), "nack.reason", kReasonBytesMax);
      CheckDuration("nack.delay", request.nack().has_delay(), request.nack().delay(), 0, kDayMs,
                    &problems);
      break;
    case v1::ConsumeRequest::kCredits:
      problems.CheckNumber({"credits.max_in_flight"}, request.credits().max_in_flight(),
                           "no deliveries");
      break;
    case v1::ConsumeRequest::kJoin:
      problems.Invalid({"join"}, "came twice; a call joins one group, once");
      break;
    case v1::ConsumeRequest::MESSAGE_NOT_SET:
      problems.Invalid({"message"}, "is missing; send ack, nack or credits");
      break;
  }
  return std::move(problems).ToStatus();
}

}  // namespace eventstore
