// ValidateAppend of validation.h: the rules for what is written.
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

#include "server/core/errors.h"
#include "server/core/json_check.h"
#include "server/core/problems.h"
#include "server/core/validation.h"

namespace eventstore {
namespace {

using Place = Problems::Place;

std::int64_t Size(const std::string& text) { return static_cast<std::int64_t>(text.size()); }

// Checks one event, normalizes it and counts its bytes.
class EventCheck {
 public:
  EventCheck(int index, const Limits& limits, v1::NewEvent* event, Problems* problems)
      : index_(index), limits_(limits), event_(event), problems_(problems) {}

  // Returns the event's size as counted against `event_bytes_max`.
  std::int64_t Run() {
    CheckNames();
    CheckMetadata();
    CheckTags();
    if (event_->schema_version() < 0) {
      problems_->Invalid(At("schema_version"),
                         absl::StrCat("is ", event_->schema_version(),
                                      "; it must be 1 or more, or 0 for the default, 1"));
    } else if (event_->schema_version() == 0) {
      event_->set_schema_version(1);
    }
    if (event_->has_timestamp()) {
      problems_->CheckTime(At("timestamp"), event_->mutable_timestamp());
    }
    CheckPayload();
    return bytes_;
  }

 private:
  Place At(std::string_view field) const {
    return {absl::StrCat("events[", index_, "].", absl::string_view(field.data(), field.size())),
            index_};
  }

  void CheckNames() {
    problems_->CheckName(At("event_type"), event_->event_type(), "name_bytes_max",
                         limits_.name_bytes_max);
    if (event_->content_type().empty()) {
      event_->set_content_type(kJsonContentType.data(), kJsonContentType.size());
    }
    const auto optional = [this](const char* field, const std::string& text) {
      problems_->CheckText(At(field), text, "name_bytes_max", limits_.name_bytes_max);
    };
    optional("content_type", event_->content_type());
    optional("actor_id", event_->actor_id());
    optional("correlation_id", event_->correlation_id());
    optional("causation_id", event_->causation_id());
    bytes_ += Size(event_->event_type()) + Size(event_->content_type()) + Size(event_->actor_id()) +
              Size(event_->correlation_id()) + Size(event_->causation_id());
  }

  void CheckMetadata() {
    if (const auto entries = static_cast<std::int64_t>(event_->metadata().size());
        entries > limits_.metadata_entries_max) {
      problems_->TooLarge(At("metadata"), "metadata_entries_max", limits_.metadata_entries_max,
                          entries);
      return;
    }
    std::int64_t metadata_bytes = 0;
    for (const auto& [key, value] : event_->metadata()) {
      metadata_bytes += Size(key) + Size(value);
      if (!problems_->CheckText(At("metadata"), key)) continue;
      problems_->CheckText(At(absl::StrCat("metadata[\"", key, "\"]")), value);
    }
    if (metadata_bytes > limits_.metadata_bytes_max) {
      problems_->TooLarge(At("metadata"), "metadata_bytes_max", limits_.metadata_bytes_max,
                          metadata_bytes);
    }
    bytes_ += metadata_bytes;
  }

  void CheckTags() {
    auto* tags = event_->mutable_tags();
    for (int i = 0; i < tags->size(); ++i) {
      problems_->CheckName(At(absl::StrCat("tags[", i, "]")), tags->Get(i), "tag_bytes_max",
                           limits_.tag_bytes_max);
    }
    std::sort(tags->begin(), tags->end());
    tags->erase(std::unique(tags->begin(), tags->end()), tags->end());
    if (tags->size() > limits_.tags_max) {
      problems_->TooLarge(At("tags"), "tags_max", limits_.tags_max, tags->size());
    }
    for (const std::string& tag : *tags) bytes_ += Size(tag);
  }

  // A JSON payload counts as what is longer: what was sent (live readers get that) or what the
  // database prints (that is what history is read as).
  void CheckPayload() {
    bytes_ += Size(event_->payload());
    if (CheckSize() && IsJsonContentType(event_->content_type())) {
      const absl::StatusOr<std::int64_t> printed = CheckJson(event_->payload(), limits_);
      if (!printed.ok()) {
        problems_->Invalid(At("payload"), std::string(printed.status().message()));
      } else if (*printed > Size(event_->payload())) {
        bytes_ += *printed - Size(event_->payload());
        CheckSize();
      }
    }
  }

  bool CheckSize() {
    if (bytes_ <= limits_.event_bytes_max) return true;
    problems_->TooLarge({absl::StrCat("events[", index_, "]"), index_}, "event_bytes_max",
                        limits_.event_bytes_max, bytes_);
    return false;
  }

  const int index_;
  const Limits& limits_;
  v1::NewEvent* const event_;
  Problems* const problems_;
  std::int64_t bytes_ = 0;
};

void CheckExpectedVersion(const v1::ExpectedVersion& expected, Problems* problems) {
  if (expected.kind_case() == v1::ExpectedVersion::KIND_NOT_SET) {
    problems->Invalid({"expected_version"},
                      "is not set; say any, no_stream, stream_exists or exact");
  } else if (expected.has_exact() && expected.exact() < 1) {
    problems->Invalid({"expected_version.exact"},
                      absl::StrCat("is ", expected.exact(),
                                   "; it must be 1 or more; for a stream without events say "
                                   "no_stream"));
  }
}

Place EventIdOf(int index) { return {absl::StrCat("events[", index, "].event_id"), index}; }

// All events carry an id, or none does and gets one here.
void CheckIds(ValidatedAppend* append, Problems* problems) {
  auto* events = append->request.mutable_events();
  const auto has_id = [](const v1::NewEvent& event) { return !event.event_id().empty(); };
  const auto with_ids = std::count_if(events->begin(), events->end(), has_id);
  append->has_client_ids = with_ids > 0;
  append->event_ids.reserve(events->size());
  if (with_ids > 0 && with_ids < events->size()) {
    const auto first = std::find_if_not(events->begin(), events->end(), has_id);
    problems->InvalidRequest(
        EventIdOf(static_cast<int>(first - events->begin())),
        absl::StrCat("is missing, while ", with_ids, " of ", events->size(),
                     " events have one; give every event an id, so that the request can be "
                     "retried, or none"));
  }
  std::unordered_map<Uuid, int, UuidHash> seen;
  for (int i = 0; i < events->size(); ++i) {
    v1::NewEvent* event = events->Mutable(i);
    if (!append->has_client_ids) {
      append->event_ids.push_back(MakeUuidV7());
      event->set_event_id(FormatUuid(append->event_ids.back()));
      continue;
    }
    if (event->event_id().empty() ||
        !problems->CheckUuid(EventIdOf(i), "an event's id", event->mutable_event_id())) {
      continue;
    }
    const Uuid id = *ParseUuid(event->event_id());
    if (const auto [it, first] = seen.emplace(id, i); !first) {
      problems->InvalidRequest(EventIdOf(i),
                               absl::StrCat("is the same as that of events[", it->second,
                                            "]; every event needs an id of its own"));
    }
    append->event_ids.push_back(id);
  }
}

// The checks that must come first, since they bound the work of all others.
absl::Status CheckRequestSize(const v1::AppendEventsRequest& request, const Limits& limits) {
  if (const auto bytes = static_cast<std::int64_t>(request.ByteSizeLong());
      bytes > limits.request_bytes_max) {
    return TooLarge("events", "request_bytes_max", limits.request_bytes_max, bytes);
  }
  if (request.events_size() > limits.request_events_max) {
    return TooLarge("events", "request_events_max", limits.request_events_max,
                    request.events_size());
  }
  return absl::OkStatus();
}

}  // namespace

bool IsJsonContentType(std::string_view content_type) {
  absl::string_view type(content_type.data(), content_type.size());
  type = type.substr(0, type.find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.remove_suffix(1);
  while (!type.empty() && (type.front() == ' ' || type.front() == '\t')) type.remove_prefix(1);
  return absl::EqualsIgnoreCase(
             type, absl::string_view(kJsonContentType.data(), kJsonContentType.size())) ||
         absl::EndsWithIgnoreCase(type, "+json");
}

absl::StatusOr<ValidatedAppend> ValidateAppend(v1::AppendEventsRequest request,
                                               const Limits& limits) {
  if (absl::Status status = CheckRequestSize(request, limits); !status.ok()) return status;
  ValidatedAppend append;
  append.request = std::move(request);
  Problems problems;
  problems.CheckStreamOf(&append.request, limits);
  CheckExpectedVersion(append.request.expected_version(), &problems);
  if (append.request.events().empty()) {
    problems.Invalid({"events"}, absl::StrCat("is empty; 1 to ", limits.request_events_max,
                                              " events are needed"));
  }
  CheckIds(&append, &problems);
  append.event_bytes.reserve(append.request.events_size());
  for (int i = 0; i < append.request.events_size(); ++i) {
    const std::int64_t bytes =
        EventCheck(i, limits, append.request.mutable_events(i), &problems).Run();
    append.event_bytes.push_back(static_cast<std::int32_t>(bytes));
    append.total_bytes += bytes;
  }
  if (append.total_bytes > limits.request_bytes_max && problems.empty()) {
    problems.TooLarge({"events"}, "request_bytes_max", limits.request_bytes_max,
                      append.total_bytes);
  }
  if (!problems.empty()) return std::move(problems).ToStatus();
  if (const std::string& tenant = append.request.stream().tenant_id(); !tenant.empty()) {
    append.tenant = *ParseUuid(tenant);
  }
  return append;
}

}  // namespace eventstore
