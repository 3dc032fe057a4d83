#include "client/cli/dead_letter_selection.h"

#include "client/cli/parse.h"

namespace eventstore::cli {

void DeadLetterOptions::AddFilterTo(CLI::App* command) {
  command->add_option("--projection", projection, "only of this projection");
  command->add_option("--status", status, "only these: failed, retrying or resolved")
      ->check(
          CLI::IsMember(std::vector<std::string>{"failed", "retrying", "resolved"}).description(""))
      ->type_name("failed|retrying|resolved");
  command->add_option("--event-type", event_types, "only of this event type; may be repeated");
  command->add_option("--since", since, "only those that failed last at or after this time");
  command->add_option("--until", until, "only those that failed last before this time");
}

void DeadLetterOptions::AddTo(CLI::App* command) {
  command->add_option("ID", ids, "numbers of entries")->check(CLI::PositiveNumber);
  command->add_option("--all", all, "every entry of this projection");
  AddFilterTo(command);
}

bool DeadLetterOptions::has_filter() const {
  return !projection.empty() || !status.empty() || !event_types.empty() || !since.empty() ||
         !until.empty();
}

absl::Status DeadLetterOptions::ToFilter(v1::DeadLetterFilter* filter) const {
  filter->set_projection_name(projection);
  if (status == "failed") filter->set_status(v1::DEAD_LETTER_STATUS_FAILED);
  if (status == "retrying") filter->set_status(v1::DEAD_LETTER_STATUS_RETRYING);
  if (status == "resolved") filter->set_status(v1::DEAD_LETTER_STATUS_RESOLVED);
  for (const std::string& type : event_types) filter->add_event_types(type);
  if (!since.empty()) {
    const auto time = ParseTimeOption("--since", since);
    if (!time.ok()) return time.status();
    *filter->mutable_from_timestamp() = *time;
  }
  if (!until.empty()) {
    const auto time = ParseTimeOption("--until", until);
    if (!time.ok()) return time.status();
    *filter->mutable_to_timestamp() = *time;
  }
  return absl::OkStatus();
}

absl::Status DeadLetterOptions::ToProto(v1::DeadLetterSelection* selection) const {
  const int kinds = (ids.empty() ? 0 : 1) + (all.empty() ? 0 : 1) + (has_filter() ? 1 : 0);
  if (kinds != 1) {
    return UsageError("give the entries' numbers, --all PROJECTION, or a filter; one of them");
  }
  if (has_filter()) return ToFilter(selection->mutable_filter());
  if (!all.empty()) selection->set_all_of_projection(all);
  for (const std::int64_t id : ids) selection->mutable_ids()->add_ids(id);
  return absl::OkStatus();
}

}  // namespace eventstore::cli
