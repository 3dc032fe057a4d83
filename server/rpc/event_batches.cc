#include "server/rpc/event_batches.h"

#include <utility>

namespace eventstore::rpc {

std::vector<v1::EventBatch> SplitEvents(std::vector<v1::Event> events, std::int64_t epoch,
                                        std::int64_t bytes_max) {
  std::vector<v1::EventBatch> batches;
  std::int64_t bytes = 0;
  for (v1::Event& event : events) {
    const auto event_bytes = static_cast<std::int64_t>(event.ByteSizeLong());
    if (batches.empty() || bytes + event_bytes > bytes_max) {
      batches.emplace_back().set_epoch(epoch);
      bytes = 0;
    }
    bytes += event_bytes;
    batches.back().set_position(event.global_position());
    *batches.back().add_events() = std::move(event);
  }
  return batches;
}

std::vector<std::vector<engine::EventRun>> SplitRuns(const std::vector<engine::EventRun>& runs,
                                                     std::int64_t bytes_max) {
  std::vector<std::vector<engine::EventRun>> parts;
  std::int64_t bytes = 0;
  for (const engine::EventRun& run : runs) {
    std::size_t begin = run.begin;
    for (std::size_t i = run.begin; i < run.end; ++i) {
      const auto event_bytes = static_cast<std::int64_t>(run.block->bytes(i, i + 1).size());
      if (parts.empty() || (bytes > 0 && bytes + event_bytes > bytes_max)) {
        if (begin < i) parts.back().push_back({run.block, begin, i});
        parts.emplace_back();
        begin = i;
        bytes = 0;
      }
      bytes += event_bytes;
    }
    if (begin < run.end) parts.back().push_back({run.block, begin, run.end});
  }
  return parts;
}

}  // namespace eventstore::rpc
