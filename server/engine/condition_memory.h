// Evaluates conditions on the newest events, which are in memory.
#ifndef EVENTSTORE_SERVER_ENGINE_CONDITION_MEMORY_H_
#define EVENTSTORE_SERVER_ENGINE_CONDITION_MEMORY_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "server/engine/lane_host.h"
#include "server/engine/pending_write.h"

namespace eventstore::engine {

// Whoever has just read what it decides on asks for nothing older than memory has, so that its
// conditions need no look-up in the tables. Thread-safe; does not block.
class ConditionMemory {
 public:
  // What the hub has: its range, and its events in an epoch after a position.
  struct Source {
    std::function<RecentRange()> range;
    std::function<RecentBlocks(std::int64_t epoch, std::int64_t after_position)> events;
  };

  // At most `positions_max` events are looked at; 0: none ever.
  ConditionMemory(std::int64_t positions_max, Source source)
      : positions_max_(positions_max), source_(std::move(source)) {}

  // What the conditions were found to be, if memory alone can tell and all of them hold. Otherwise
  // the tables are to be asked: why a condition fails is to be told with all else that is wrong,
  // and a position of another history by what the store knows of it.
  [[nodiscard]] std::optional<Evaluation> Evaluate(const ValidatedTransaction& transaction) const;

 private:
  const std::int64_t positions_max_;
  const Source source_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_CONDITION_MEMORY_H_
