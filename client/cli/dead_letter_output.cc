#include "client/cli/dead_letter_output.h"

#include "client/cli/fields.h"
#include "client/cli/json.h"
#include "client/cli/text.h"

namespace eventstore::cli {

std::string NameOfStatus(v1::DeadLetterStatus status) {
  switch (status) {
    case v1::DEAD_LETTER_STATUS_FAILED:
      return "failed";
    case v1::DEAD_LETTER_STATUS_RETRYING:
      return "retrying";
    case v1::DEAD_LETTER_STATUS_RESOLVED:
      return "resolved";
    default:
      return std::to_string(static_cast<int>(status));
  }
}

std::string JsonOfDeadLetter(const v1::DeadLetter& entry) {
  JsonLine line;
  line.Number("id", entry.id());
  line.Text("event_id", entry.event_id());
  line.Text("projection_name", entry.projection_name());
  line.Text("event_type", entry.event_type());
  if (entry.has_stream()) line.Stream(entry.stream());
  line.Number("global_position", entry.global_position());
  line.Text("status", NameOfStatus(entry.status()));
  line.Number("retry_count", entry.retry_count());
  line.Text("error_message", entry.error_message());
  line.TextUnlessEmpty("error_stacktrace", entry.error_stacktrace());
  line.Time("first_failed_at", entry.first_failed_at());
  line.Time("last_failed_at", entry.last_failed_at());
  if (entry.has_resolved_at()) line.Time("resolved_at", entry.resolved_at());
  line.TextUnlessEmpty("resolved_by", entry.resolved_by());
  line.TextUnlessEmpty("resolution_note", entry.resolution_note());
  if (!entry.event_data().empty()) {
    // From the server it is JSON always; anything else must not break the line.
    const auto data = CompactJson(entry.event_data());
    if (data.has_value()) line.Raw("event_data", *data);
  }
  return line.Finish();
}

void PrintDeadLetter(const v1::DeadLetter& entry, Session* session) {
  if (session->json()) {
    session->Print(JsonOfDeadLetter(entry));
    return;
  }
  Fields fields = {{"id", std::to_string(entry.id())},
                   {"projection", Escape(entry.projection_name())},
                   {"event id", Escape(entry.event_id())},
                   {"event type", Escape(entry.event_type())},
                   {"stream", entry.has_stream() ? FormatStream(entry.stream()) : "-"},
                   {"position", std::to_string(entry.global_position())},
                   {"status", NameOfStatus(entry.status())},
                   {"retries", std::to_string(entry.retry_count())},
                   {"first failed", FormatTime(entry.first_failed_at())},
                   {"last failed", FormatTime(entry.last_failed_at())},
                   {"error", Escape(entry.error_message())}};
  const auto text = [&fields](std::string_view name, const std::string& value) {
    if (!value.empty()) fields.emplace_back(name, Escape(value));
  };
  text("stack trace", entry.error_stacktrace());
  if (entry.has_resolved_at()) fields.emplace_back("resolved", FormatTime(entry.resolved_at()));
  text("resolved by", entry.resolved_by());
  text("note", entry.resolution_note());
  text("event data", entry.event_data());
  PrintFields(fields, session);
}

}  // namespace eventstore::cli
