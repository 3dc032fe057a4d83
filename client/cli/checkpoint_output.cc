#include "client/cli/checkpoint_output.h"

#include <fmt/format.h>

#include <utility>

#include "client/cli/text.h"

namespace eventstore::cli {

// What a checkpoint's line says of its condition.
std::string StateOf(const v1::CheckpointStatus& status) {
  if (status.is_rewound()) return "REWOUND";
  if (status.is_stale()) return "STALE";
  return status.lag_positions() > 0 || status.lag_is_lower_bound() ? "behind" : "ok";
}

std::string LagOf(const v1::CheckpointStatus& status) {
  return fmt::format("{}{}", status.lag_is_lower_bound() ? ">=" : "", status.lag_positions());
}

std::string SecondsOf(const v1::CheckpointStatus& status) {
  return fmt::format("{}{:.1f}", status.lag_is_lower_bound() ? ">=" : "", status.lag_seconds());
}

void AddCheckpoint(const v1::Checkpoint& checkpoint, JsonLine* line) {
  line->Text("projection_name", checkpoint.projection_name());
  line->Number("position", checkpoint.position());
  line->Number("epoch", checkpoint.epoch());
  line->TextUnlessEmpty("last_event_id", checkpoint.last_event_id());
  line->TextUnlessEmpty("last_event_type", checkpoint.last_event_type());
  if (checkpoint.has_last_processed_at()) {
    line->Time("last_processed_at", checkpoint.last_processed_at());
  }
  line->Number("events_processed", checkpoint.events_processed());
  if (checkpoint.has_created_at()) line->Time("created_at", checkpoint.created_at());
  if (checkpoint.has_updated_at()) line->Time("updated_at", checkpoint.updated_at());
  if (!checkpoint.has_filter()) return;
  const v1::Filter& filter = checkpoint.filter();
  line->OpenObject("filter");
  const auto texts = [line](std::string_view name, const auto& values) {
    if (!values.empty()) line->Texts(name, values);
  };
  texts("aggregate_types", filter.aggregate_types());
  texts("event_types", filter.event_types());
  texts("event_type_prefixes", filter.event_type_prefixes());
  texts("aggregate_id_prefixes", filter.aggregate_id_prefixes());
  texts("tags", filter.tags());
  line->TextUnlessEmpty("tenant_id", filter.tenant_id());
  line->TextUnlessEmpty("event_type_regex", filter.event_type_regex());
  line->CloseObject();
}

std::string JsonOf(const v1::CheckpointStatus& status) {
  JsonLine line;
  AddCheckpoint(status.checkpoint(), &line);
  line.Number("lag_positions", status.lag_positions());
  line.Real("lag_seconds", status.lag_seconds());
  line.Bool("lag_is_lower_bound", status.lag_is_lower_bound());
  line.Bool("is_stale", status.is_stale());
  line.Bool("is_rewound", status.is_rewound());
  if (status.is_rewound()) line.Number("rewind_position", status.rewind_position());
  return line.Finish();
}

void PrintCheckpoint(const v1::Checkpoint& checkpoint, Fields fields, Session* session) {
  fields.insert(
      fields.begin(),
      {{"projection", Escape(checkpoint.projection_name())},
       {"position", std::to_string(checkpoint.position())},
       {"epoch", std::to_string(checkpoint.epoch())},
       {"last event",
        checkpoint.last_event_id().empty() ? "-" : Escape(checkpoint.last_event_id())},
       {"last type",
        checkpoint.last_event_type().empty() ? "-" : Escape(checkpoint.last_event_type())},
       {"processed", std::to_string(checkpoint.events_processed())},
       {"moved", TimeOrNone(checkpoint.has_last_processed_at(), checkpoint.last_processed_at())},
       {"changed", TimeOrNone(checkpoint.has_updated_at(), checkpoint.updated_at())}});
  PrintFields(fields, session);
}

}  // namespace eventstore::cli
