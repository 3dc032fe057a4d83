#include "server/sinks/template.h"

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

namespace eventstore::sinks {
namespace {

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(absl::string_view(what.data(), what.size()));
}

}  // namespace

Template::Field Template::FieldOf(std::string_view name) {
  if (name == "aggregate_type") return Field::kAggregateType;
  if (name == "aggregate_id") return Field::kAggregateId;
  if (name == "tenant_id") return Field::kTenantId;
  if (name == "event_type") return Field::kEventType;
  return Field::kNone;
}

const std::string& Template::ValueOf(const v1::Event& event, Field field) {
  static const std::string no_tenant = "none";
  static const std::string nothing;
  switch (field) {
    case Field::kAggregateType:
      return event.stream().aggregate_type();
    case Field::kAggregateId:
      return event.stream().aggregate_id();
    case Field::kTenantId:
      return event.stream().tenant_id().empty() ? no_tenant : event.stream().tenant_id();
    case Field::kEventType:
      return event.event_type();
    case Field::kNone:
      break;
  }
  return nothing;
}

absl::StatusOr<Template> Template::Parse(std::string_view text) {
  if (text.empty()) return Malformed("is empty");
  Template result;
  while (!text.empty()) {
    const std::size_t open = text.find_first_of("{}");
    Part part;
    part.text = text.substr(0, open);
    if (open == std::string_view::npos) {
      result.parts_.push_back(part);
      break;
    }
    const std::size_t close = text.find('}', open);
    if (text[open] == '}' || close == std::string_view::npos) {
      return Malformed("has a brace without its other one");
    }
    part.field = FieldOf(text.substr(open + 1, close - open - 1));
    if (part.field == Field::kNone) return Malformed("has an unknown placeholder");
    result.parts_.push_back(part);
    text.remove_prefix(close + 1);
  }
  return result;
}

bool Template::IsOfStream() const {
  for (const Part& part : parts_) {
    if (part.field == Field::kEventType) return false;
  }
  return true;
}

std::string Template::Expand(const v1::Event& event, const Escape& escape) const {
  std::string name;
  for (const Part& part : parts_) {
    name += part.text;
    if (part.field != Field::kNone) name += escape(ValueOf(event, part.field));
  }
  return name;
}

std::string Template::Expand(const v1::Event& event) const {
  return Expand(event, [](std::string_view value) { return std::string(value); });
}

}  // namespace eventstore::sinks
