#include "server/core/payload_conditions.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "server/core/filter.h"
#include "server/core/json_check.h"
#include "server/core/problems.h"
#include "server/core/time_window_check.h"

namespace eventstore {
namespace {

constexpr std::size_t kIndexNameBytesMax = 63;

absl::Status PathError(std::string_view what, std::size_t at) {
  return absl::InvalidArgumentError(
      absl::StrCat(absl::string_view(what.data(), what.size()), " at byte ", at,
                   "; a path is keys joined with dots, such as customer.address.city, where \\. is "
                   "a dot in a key and \\\\ a backslash"));
}

// The path, or nothing and a problem.
FieldPath CheckPath(const Problems::Place& place, const std::string& text, Problems* problems) {
  if (!problems->CheckText(place, text, "payload_path_bytes_max", kPayloadPathBytesMax)) return {};
  auto path = ParseFieldPath(text);
  if (path.ok()) return *std::move(path);
  problems->Invalid(place, std::string(path.status().message()));
  return {};
}

void CheckContains(const Limits& limits, const std::string& json, Problems* problems) {
  if (json.empty()) return;
  if (static_cast<std::int64_t>(json.size()) > kPayloadContainsBytesMax) {
    problems->TooLarge({"payload_contains"}, "payload_contains_bytes_max", kPayloadContainsBytesMax,
                       static_cast<std::int64_t>(json.size()));
    return;
  }
  if (const auto checked = CheckJson(json, limits); !checked.ok()) {
    problems->Invalid({"payload_contains"}, std::string(checked.status().message()));
  }
}

void CheckEquals(const v1::QueryEventsRequest& request, PayloadConditions* conditions,
                 Problems* problems) {
  const auto& equals = request.payload_equals();
  if (static_cast<std::int64_t>(equals.size()) > kPayloadEqualsMax) {
    problems->TooLarge({"payload_equals"}, "payload_equals_max", kPayloadEqualsMax,
                       static_cast<std::int64_t>(equals.size()));
    return;
  }
  // A protobuf map has no order; sorted, the same request always gives the same statement.
  std::vector<std::pair<std::string, std::string>> entries(equals.begin(), equals.end());
  std::sort(entries.begin(), entries.end());
  for (auto& [path, text] : entries) {
    const Problems::Place place{absl::StrCat("payload_equals[\"", path, "\"]")};
    FieldPath keys = CheckPath(place, path, problems);
    if (!problems->CheckText(place, text, "payload_contains_bytes_max", kPayloadContainsBytesMax)) {
      continue;
    }
    conditions->equals.push_back({std::move(keys), std::move(text)});
  }
}

void CheckIndexName(const std::string& name, Problems* problems) {
  const bool clean = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
  if (clean && !name.empty() && name.size() <= kIndexNameBytesMax) return;
  problems->Invalid({"name"},
                    absl::StrCat("is no name of an index; it must be 1 to ", kIndexNameBytesMax,
                                 " letters, digits, \"_\", \"-\" and \".\""));
}

void CheckTenant(std::string* tenant_id, Problems* problems) {
  if (!tenant_id->empty()) problems->CheckUuid({"tenant_id"}, "a tenant's id", tenant_id);
}

}  // namespace

absl::StatusOr<FieldPath> ParseFieldPath(std::string_view text) {
  FieldPath path(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      if (i + 1 == text.size() || (text[i + 1] != '.' && text[i + 1] != '\\')) {
        return PathError("has a backslash before neither a dot nor a backslash", i);
      }
      path.back() += text[++i];
    } else if (text[i] != '.') {
      path.back() += text[i];
    } else if (path.back().empty()) {
      return PathError("has an empty key", i);
    } else {
      path.emplace_back();
    }
  }
  if (path.back().empty()) {
    return PathError(text.empty() ? "is empty" : "has an empty key", text.size());
  }
  return path;
}

std::string FormatFieldPath(const FieldPath& path) {
  std::string text;
  for (const std::string& key : path) {
    if (!text.empty()) text += '.';
    for (const char c : key) {
      if (c == '.' || c == '\\') text += '\\';
      text += c;
    }
  }
  return text;
}

absl::StatusOr<PayloadConditions> ValidateQueryEvents(const Limits& limits,
                                                      v1::QueryEventsRequest* request) {
  Problems problems;
  PayloadConditions conditions;
  if (request->payload_contains().empty() && request->payload_equals().empty()) {
    problems.Invalid({"payload_contains"},
                     "and payload_equals are both missing; give at least one of them, or use "
                     "ReadAll");
  }
  CheckContains(limits, request->payload_contains(), &problems);
  CheckEquals(*request, &conditions, &problems);
  problems.CheckNumber({"after_position"}, request->after_position(), "the beginning");
  problems.CheckNumber({"epoch"}, request->epoch(), "any epoch");
  problems.CheckNumber({"limit"}, request->limit(), "no limit");
  CheckTimeWindow(request, &problems);
  if (!problems.empty()) return std::move(problems).ToStatus();
  if (request->has_filter()) {
    auto filter = EventFilter::Make(request->filter(), "filter", limits);
    if (!filter.ok()) return filter.status();
    *request->mutable_filter() = (*filter)->proto();
  }
  conditions.contains = request->payload_contains();
  return conditions;
}

absl::Status Validate(const Limits& /*limits*/, v1::CreatePayloadIndexRequest* request) {
  Problems problems;
  CheckIndexName(request->name(), &problems);
  if (!request->field().empty()) CheckPath({"field"}, request->field(), &problems);
  CheckTenant(request->mutable_tenant_id(), &problems);
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& /*limits*/, v1::DropPayloadIndexRequest* request) {
  Problems problems;
  CheckIndexName(request->name(), &problems);
  CheckTenant(request->mutable_tenant_id(), &problems);
  return std::move(problems).ToStatus();
}

absl::Status Validate(const Limits& /*limits*/, v1::ListPayloadIndexesRequest* request) {
  Problems problems;
  CheckTenant(request->mutable_tenant_id(), &problems);
  return std::move(problems).ToStatus();
}

}  // namespace eventstore
