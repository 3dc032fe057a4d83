#include "server/engine/recent_events.h"

#include <utility>

namespace eventstore::engine {
namespace {

std::int64_t BytesOf(const RecentEvents::Event& event) {
  std::size_t bytes = sizeof(event) + event.event_type.size() + event.tenant_id.size();
  for (const std::string& tag : event.tags) bytes += sizeof(std::string) + tag.size();
  return static_cast<std::int64_t>(bytes);
}

}  // namespace

void RecentEvents::Clear() {
  events_.clear();
  bytes_ = 0;
}

void RecentEvents::Add(std::int64_t epoch, const std::vector<tables::NewEventRow>& rows) {
  if (batches_wanted_ == 0) return;
  if (--batches_wanted_ == 0) return Clear();
  if (rows.empty()) return;
  if (epoch != epoch_ || rows.front().global_position != end_position() + 1) Clear();
  epoch_ = epoch;
  for (const tables::NewEventRow& row : rows) {
    bytes_ += BytesOf(events_.emplace_back(Event{row.global_position, row.event->event_type(),
                                                 row.stream->tenant_id(), row.event->tags()}));
  }
  while (bytes_ > kBytesMax) {
    bytes_ -= BytesOf(events_.front());
    events_.pop_front();
  }
}

}  // namespace eventstore::engine
