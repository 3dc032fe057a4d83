#include "server/core/problems.h"

#include <absl/strings/str_cat.h>

#include <utility>

#include "server/core/errors.h"
#include "server/core/ids.h"
#include "server/core/json_check.h"
#include "server/core/validation.h"

namespace eventstore {
namespace {

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

void Problems::Add(v1::ErrorReason reason, const Place& place, std::string message) {
  ++total_;
  if (details_.size() == kDetailsMax) return;
  v1::ErrorInfo& detail = details_.emplace_back();
  detail.set_reason(reason);
  detail.set_message(std::move(message));
  detail.set_field(place.field);
  if (place.index >= 0) detail.set_index(place.index);
}

void Problems::Invalid(const Place& place, std::string message) {
  Add(place.index >= 0 ? v1::ERROR_REASON_INVALID_EVENT : v1::ERROR_REASON_INVALID_REQUEST, place,
      absl::StrCat(place.field, ": ", message));
}

void Problems::InvalidRequest(const Place& place, std::string message) {
  Add(v1::ERROR_REASON_INVALID_REQUEST, place, absl::StrCat(place.field, ": ", message));
}

void Problems::TooLarge(const Place& place, std::string_view limit_name, std::int64_t limit,
                        std::int64_t value) {
  const std::size_t kept = details_.size();
  Add(v1::ERROR_REASON_TOO_LARGE, place,
      absl::StrCat(place.field, " is too large: ", value, ", but ", Absl(limit_name), " is ",
                   limit));
  if (details_.size() == kept) return;
  details_.back().set_limit_name(limit_name.data(), limit_name.size());
  details_.back().set_limit(limit);
  details_.back().set_value(value);
}

bool Problems::CheckText(const Place& place, std::string_view text) {
  if (IsCleanUtf8(text)) return true;
  Invalid(place, text.find('\0') != std::string_view::npos
                     ? "contains U+0000 (NUL), which no text may"
                     : "is not well-formed UTF-8");
  return false;
}

bool Problems::CheckText(const Place& place, std::string_view text, std::string_view limit_name,
                         std::int64_t bytes_max) {
  if (static_cast<std::int64_t>(text.size()) > bytes_max) {
    TooLarge(place, limit_name, bytes_max, static_cast<std::int64_t>(text.size()));
    return false;
  }
  return CheckText(place, text);
}

bool Problems::CheckName(const Place& place, std::string_view text, std::string_view limit_name,
                         std::int64_t bytes_max) {
  if (text.empty()) {
    Invalid(place, absl::StrCat("is empty; 1 to ", bytes_max, " bytes are needed"));
    return false;
  }
  return CheckText(place, text, limit_name, bytes_max);
}

bool Problems::CheckNumber(const Place& place, std::int64_t value, std::string_view zero,
                           std::int64_t max) {
  if (value >= 0 && value <= max) return true;
  Invalid(place, absl::StrCat("is ", value, "; it must be 1 ",
                              max == INT64_MAX ? "or more" : absl::StrCat("to ", max),
                              ", or 0 for ", Absl(zero)));
  return false;
}

bool Problems::CheckUuid(const Place& place, std::string_view what, std::string* text) {
  const std::optional<Uuid> uuid = ParseUuid(*text);
  if (!uuid.has_value()) {
    Invalid(place, absl::StrCat("is not a UUID (8-4-4-4-12 hexadecimal digits), as ", Absl(what),
                                " must be"));
    return false;
  }
  if (*uuid == kNilUuid) {
    Invalid(place, absl::StrCat("is the nil UUID, which cannot be ", Absl(what)));
    return false;
  }
  *text = FormatUuid(*uuid);
  return true;
}

bool Problems::CheckTime(const Place& place, google::protobuf::Timestamp* timestamp) {
  std::int64_t micros = 0;
  if (!ToUnixMicros(*timestamp, &micros)) {
    Invalid(place,
            "is out of range: seconds must lie in the years 1 to 9999, and nanos in 0 to "
            "999999999");
    return false;
  }
  FromUnixMicros(micros, timestamp);
  return true;
}

void Problems::CheckStreamId(std::string_view field, const Limits& limits, v1::StreamId* stream) {
  const auto at = [field](const char* part) { return Place{absl::StrCat(Absl(field), ".", part)}; };
  CheckName(at("aggregate_type"), stream->aggregate_type(), "name_bytes_max",
            limits.name_bytes_max);
  CheckName(at("aggregate_id"), stream->aggregate_id(), "name_bytes_max", limits.name_bytes_max);
  if (!stream->tenant_id().empty()) {
    CheckUuid(at("tenant_id"), "a tenant's id", stream->mutable_tenant_id());
  }
}

absl::Status Problems::ToStatus() && {
  if (details_.empty()) return absl::OkStatus();
  details_[0].set_total(total_);
  return MakeError(std::move(details_));
}

}  // namespace eventstore
