#include "server/core/filter.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "server/core/problems.h"

namespace eventstore {
namespace {

// Most memory of one compiled regular expression and its matching; RE2's default is 8 MiB.
constexpr std::int64_t kRegexMemoryBytesMax = 1 << 20;

using Texts = google::protobuf::RepeatedPtrField<std::string>;

// Checks one repeated field, and drops values that are given twice.
void CheckValues(const std::string& field, std::string_view limit_name, std::int64_t bytes_max,
                 std::int64_t values_max, Texts* values, Problems* problems) {
  if (values->size() > values_max) {
    problems->TooLarge({field}, "filter_values_max", values_max, values->size());
    return;
  }
  for (int i = 0; i < values->size(); ++i) {
    problems->CheckName({absl::StrCat(field, "[", i, "]")}, values->Get(i), limit_name, bytes_max);
  }
  std::sort(values->begin(), values->end());
  values->erase(std::unique(values->begin(), values->end()), values->end());
}

std::unique_ptr<const RE2> Compile(const std::string& pattern) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kRegexMemoryBytesMax);
  return std::make_unique<const RE2>(pattern, options);
}

bool StartsWithAny(std::string_view text, const Texts& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [text](const std::string& prefix) {
    return text.substr(0, prefix.size()) == prefix;
  });
}

bool HasAllTags(const Texts& of_event, const Texts& tags) {
  return std::all_of(tags.begin(), tags.end(), [&of_event](const std::string& tag) {
    return std::find(of_event.begin(), of_event.end(), tag) != of_event.end();
  });
}

}  // namespace

absl::StatusOr<std::shared_ptr<const EventFilter>> EventFilter::Make(const v1::Filter& filter,
                                                                     std::string_view field,
                                                                     const Limits& limits) {
  std::shared_ptr<EventFilter> made(new EventFilter);
  v1::Filter& proto = made->proto_;
  proto = filter;
  Problems problems;
  const auto path = [field](const char* name) {
    return absl::StrCat(absl::string_view(field.data(), field.size()), field.empty() ? "" : ".",
                        name);
  };
  const auto check_names = [&](const char* name, Texts* values) {
    CheckValues(path(name), "name_bytes_max", limits.name_bytes_max, limits.filter_values_max,
                values, &problems);
  };
  check_names("aggregate_types", proto.mutable_aggregate_types());
  check_names("event_types", proto.mutable_event_types());
  check_names("event_type_prefixes", proto.mutable_event_type_prefixes());
  check_names("aggregate_id_prefixes", proto.mutable_aggregate_id_prefixes());
  CheckValues(path("tags"), "tag_bytes_max", limits.tag_bytes_max, limits.filter_values_max,
              proto.mutable_tags(), &problems);
  if (!proto.tenant_id().empty()) {
    problems.CheckUuid({path("tenant_id")}, "a tenant's id", proto.mutable_tenant_id());
  }
  if (const std::string& pattern = proto.event_type_regex(); !pattern.empty()) {
    const Problems::Place place{path("event_type_regex")};
    if (problems.CheckText(place, pattern, "filter_regex_bytes_max",
                           limits.filter_regex_bytes_max)) {
      made->regex_ = Compile(pattern);
      if (!made->regex_->ok()) {
        problems.Invalid(place,
                         absl::StrCat("is not an RE2 regular expression: ", made->regex_->error()));
      }
    }
  }
  if (!problems.empty()) return std::move(problems).ToStatus();

  made->aggregate_types_.insert(proto.aggregate_types().begin(), proto.aggregate_types().end());
  made->event_types_.insert(proto.event_types().begin(), proto.event_types().end());
  made->matches_everything_ = proto.ByteSizeLong() == 0;
  return std::shared_ptr<const EventFilter>(std::move(made));
}

bool EventFilter::Matches(const v1::Event& event) const {
  return Matches(event.stream(), event.event_type(), event.tags());
}

bool EventFilter::Matches(const v1::StreamId& stream, const v1::NewEvent& event) const {
  return Matches(stream, event.event_type(), event.tags());
}

bool EventFilter::Matches(const v1::StreamId& stream, const std::string& event_type,
                          const Texts& tags) const {
  if (matches_everything_) return true;
  if (!proto_.tenant_id().empty() && stream.tenant_id() != proto_.tenant_id()) return false;
  if (!aggregate_types_.empty() && !aggregate_types_.contains(stream.aggregate_type())) {
    return false;
  }
  if (!event_types_.empty() && !event_types_.contains(event_type)) return false;
  if (!proto_.event_type_prefixes().empty() &&
      !StartsWithAny(event_type, proto_.event_type_prefixes())) {
    return false;
  }
  if (!proto_.aggregate_id_prefixes().empty() &&
      !StartsWithAny(stream.aggregate_id(), proto_.aggregate_id_prefixes())) {
    return false;
  }
  return HasAllTags(tags, proto_.tags()) && MatchesRegex(event_type);
}

bool EventFilter::MatchesRegex(std::string_view event_type) const {
  if (regex_ == nullptr) return true;
  return RE2::PartialMatch(re2::StringPiece(event_type.data(), event_type.size()), *regex_);
}

}  // namespace eventstore
