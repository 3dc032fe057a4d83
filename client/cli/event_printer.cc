#include "client/cli/event_printer.h"

#include <string>
#include <utility>
#include <vector>

#include "client/cli/json.h"

namespace eventstore::cli {
namespace {

std::vector<std::string> HeaderOf(EventPrinter::Columns columns) {
  if (columns == EventPrinter::Columns::kOneStream) {
    return {"VERSION", "POSITION", "TIME", "EVENT TYPE", "PAYLOAD"};
  }
  return {"POSITION", "STREAM", "VERSION", "TIME", "EVENT TYPE", "PAYLOAD"};
}

std::vector<std::string> RowOf(const v1::Event& event, EventPrinter::Columns columns) {
  std::string position = std::to_string(event.global_position());
  std::string version = std::to_string(event.version());
  std::string time = FormatTime(event.timestamp());
  std::string type = Escape(event.event_type());
  std::string payload = FormatPayload(event.payload(), event.content_type());
  if (columns == EventPrinter::Columns::kOneStream) {
    return {std::move(version), std::move(position), std::move(time), std::move(type),
            std::move(payload)};
  }
  return {std::move(position), FormatStream(event.stream()),
          std::move(version),  std::move(time),
          std::move(type),     std::move(payload)};
}

}  // namespace

EventPrinter::EventPrinter(Columns columns, Session* session)
    : session_(session), columns_(columns), table_(HeaderOf(columns)) {}

bool EventPrinter::Print(const v1::EventBatch& batch, std::int64_t limit) {
  std::string text;
  std::int64_t count = 0;
  for (const v1::Event& event : batch.events()) {
    if (limit > 0 && count == limit) break;
    ++count;
    if (session_->json()) {
      JsonLine line;
      line.Event(event);
      text += line.Finish();
    } else {
      table_.Add(RowOf(event, columns_));
    }
  }
  printed_ += count;
  if (!session_->json()) text = table_.Take();
  return session_->Print(text);
}

}  // namespace eventstore::cli
