// What surrounds the write lane.
#ifndef EVENTSTORE_SERVER_ENGINE_LANE_HOST_H_
#define EVENTSTORE_SERVER_ENGINE_LANE_HOST_H_

#include <absl/status/status.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "eventstore/v1/types.pb.h"

#include "server/core/mutex.h"
#include "server/engine/event_block.h"
#include "server/engine/pending_write.h"

namespace eventstore::engine {

// What the lane committed, for the hub and others who follow.
struct CommittedBatch {
  std::int64_t epoch = 0;
  std::int64_t revision = 0;      // of the store when they were written
  std::vector<v1::Event> events;  // consecutive positions, in order
};

// The newest events that the hub has in memory, without gaps.
struct RecentBlocks {
  std::int64_t after_position = 0;  // the first of them follows it
  std::int64_t end_position = 0;
  std::vector<std::shared_ptr<const EventBlock>> blocks;
};

// Where these begin and end.
struct RecentRange {
  std::int64_t epoch = 0;
  std::int64_t after_position = 0;  // nothing after it is missing, up to end_position
  std::int64_t end_position = 0;
};

// Who is told of what the lane does.
struct LaneCallbacks {
  // On the lane's thread, after each commit and before the next: must not block.
  std::function<void(CommittedBatch)> committed;
  // On the lane's thread, when the history turned out to be another one (a failover or restore
  // lost commits) or a stream was changed otherwise: caches of events must be dropped.
  std::function<void(std::int64_t epoch, std::int64_t head_position)> rewound;
  // On the lane's thread, when the positions left in existing partitions get few.
  std::function<void()> partitions_low;
  // On the lane's thread: what is in memory of this epoch after a position, as far back as it goes.
  // Must not block. May be unset.
  std::function<RecentBlocks(std::int64_t epoch, std::int64_t after_position)> recent;
};

// What the lane asks of the writer that runs it. Called on the lane's thread.
class LaneHost {
 public:
  virtual ~LaneHost() = default;
  // Why a write should not be written any more; OK if it should.
  [[nodiscard]] virtual absl::Status ExpiryOf(const PendingWrite& write, Deadline now) const = 0;
  // Waits, and answers queued appends whose time is over; ends early when draining ends.
  virtual void Pause(std::chrono::milliseconds duration) = 0;
  // Whether draining has taken too long and everything left should fail.
  [[nodiscard]] virtual bool GivenUp() = 0;
  // Whether appends wait for the next batch.
  [[nodiscard]] virtual bool HasWork() = 0;
  virtual void SetConnected(bool connected) = 0;
  // The position after the last one that has a partition; 0: not known yet.
  [[nodiscard]] virtual std::int64_t partition_end() const = 0;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_LANE_HOST_H_
