#include "client/cli/outbox_output.h"

#include "client/cli/fields.h"
#include "client/cli/json.h"

namespace eventstore::cli {
namespace {

std::string NameOfRelay(v1::RelayState state) {
  switch (state) {
    case v1::RELAY_STATE_NONE:
      return "none";
    case v1::RELAY_STATE_UNOWNED:
      return "unowned";
    case v1::RELAY_STATE_RUNNING:
      return "running";
    case v1::RELAY_STATE_UNAVAILABLE:
      return "unavailable";
    case v1::RELAY_STATE_PAUSED:
      return "paused";
    default:
      return std::to_string(static_cast<int>(state));
  }
}

std::string OrNone(const std::string& text) { return text.empty() ? "-" : Escape(text); }

}  // namespace

std::string NameOfStatus(v1::OutboxStatus status) {
  switch (status) {
    case v1::OUTBOX_STATUS_PENDING:
      return "pending";
    case v1::OUTBOX_STATUS_CLAIMED:
      return "claimed";
    case v1::OUTBOX_STATUS_PUBLISHED:
      return "published";
    case v1::OUTBOX_STATUS_FAILED:
      return "failed";
    default:
      return std::to_string(static_cast<int>(status));
  }
}

std::string JsonOfOutboxEntry(const v1::OutboxEntry& entry, const std::string& claim_token) {
  JsonLine line;
  line.TextUnlessEmpty("claim_token", claim_token);
  line.Text("id", entry.id());
  line.Text("sink", entry.sink());
  line.Text("status", NameOfStatus(entry.status()));
  line.Number("retry_count", entry.retry_count());
  line.TextUnlessEmpty("last_error", entry.last_error());
  if (entry.has_created_at()) line.Time("created_at", entry.created_at());
  if (entry.has_published_at()) line.Time("published_at", entry.published_at());
  if (entry.has_next_attempt_at()) line.Time("next_attempt_at", entry.next_attempt_at());
  line.TextUnlessEmpty("claimed_by", entry.claimed_by());
  if (entry.has_claimed_until()) line.Time("claimed_until", entry.claimed_until());
  line.OpenObject("event");
  line.Event(entry.event());
  line.CloseObject();
  return line.Finish();
}

std::string JsonOfOutboxStats(const v1::OutboxStats& stats) {
  JsonLine line;
  line.Text("sink", stats.sink());
  line.TextUnlessEmpty("type", stats.type());
  line.Number("pending", stats.pending());
  line.Number("claimed", stats.claimed());
  line.Number("failed", stats.failed());
  if (stats.has_oldest_pending_at()) line.Time("oldest_pending_at", stats.oldest_pending_at());
  line.Text("relay", NameOfRelay(stats.relay()));
  line.TextUnlessEmpty("daemon", stats.daemon());
  line.TextUnlessEmpty("last_error", stats.last_error());
  return line.Finish();
}

Table OutboxTable() {
  return Table(
      {"ID", "SINK", "STATUS", "POSITION", "EVENT TYPE", "STREAM", "RETRIES", "WRITTEN", "ERROR"});
}

void AddOutboxRow(const v1::OutboxEntry& entry, Table* table) {
  const v1::Event& event = entry.event();
  table->Add({entry.id(), OrNone(entry.sink()), NameOfStatus(entry.status()),
              std::to_string(event.global_position()), Escape(event.event_type()),
              FormatStream(event.stream()), std::to_string(entry.retry_count()),
              FormatTime(entry.created_at()), OrNone(entry.last_error())});
}

Table OutboxStatsTable() {
  return Table({"SINK", "TYPE", "PENDING", "CLAIMED", "FAILED", "OLDEST", "RELAY", "ERROR"});
}

void AddOutboxStatsRow(const v1::OutboxStats& stats, Table* table) {
  table->Add({OrNone(stats.sink()), OrNone(stats.type()), std::to_string(stats.pending()),
              std::to_string(stats.claimed()), std::to_string(stats.failed()),
              TimeOrNone(stats.has_oldest_pending_at(), stats.oldest_pending_at()),
              NameOfRelay(stats.relay()), OrNone(stats.last_error())});
}

}  // namespace eventstore::cli
