// What a group does when events are erased that it may hold. See group.h.
#include <utility>

#include "server/core/erased_event.h"
#include "server/engine/groups/group.h"

namespace eventstore::engine {
namespace {

// The event in these bytes (EventBlock::bytes) without its content.
std::string EraseEvent(const std::string& bytes) {
  v1::EventBatch batch;
  if (!batch.ParseFromString(bytes) || batch.events_size() != 1) return "";
  EraseContent(batch.mutable_events(0));
  return batch.SerializeAsString();
}

}  // namespace

void Group::Forget(const tables::LogChanges& changes) {
  Wake();
  erased_epoch_ = changes.head.epoch;
  erased_revision_ = changes.revision;
  is_round_stale_ = is_round_running_;
  // The feed starts anew at the lane that is the furthest behind.
  CloseFeed();
  for (auto& [number, lane] : lanes_) {
    if (!changes.anything) {
      lane.state->Erase(changes.erased, EraseEvent);
      continue;
    }
    // Nobody knows what was changed: all of it is read again, and what was delivered may come
    // twice.
    LaneStart start;
    start.checkpoint = lane.state->checkpoint();
    start.may_repeat = true;
    start.parked_streams = lane.state->parked_streams();
    lane.state = std::make_unique<LaneState>(rules_, std::move(start));
    lane.retry_ids.clear();
  }
}

bool Group::MayHoldErased(const AllPage& page) const {
  return page.head.epoch == erased_epoch_ && page.head.revision < erased_revision_;
}

}  // namespace eventstore::engine
