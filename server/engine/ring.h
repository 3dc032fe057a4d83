// The newest committed events, in memory.
#ifndef EVENTSTORE_SERVER_ENGINE_RING_H_
#define EVENTSTORE_SERVER_ENGINE_RING_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "server/engine/event_block.h"

namespace eventstore::engine {

// A run of blocks without gaps that ends at the newest event known, bounded in bytes: the oldest
// blocks leave first. Not thread-safe; the hub guards it.
class Ring {
 public:
  explicit Ring(std::int64_t bytes_max) : bytes_max_(bytes_max) {}

  // Forgets everything; the next block starts after `end_position`, in this epoch.
  void Reset(std::int64_t epoch, std::int64_t end_position);
  // Adds the block that follows. It must start at end_position() + 1.
  void Append(std::shared_ptr<const EventBlock> block);

  // The blocks with events after `position`, at most `blocks_max` of them. Only for positions with
  // Covers().
  [[nodiscard]] std::vector<std::shared_ptr<const EventBlock>> After(std::int64_t position,
                                                                     std::size_t blocks_max) const;
  // Whether nothing after `position` is missing here.
  [[nodiscard]] bool Covers(std::int64_t position) const { return position >= begin_position_ - 1; }

  [[nodiscard]] std::int64_t end_position() const { return end_position_; }
  [[nodiscard]] std::int64_t epoch() const { return epoch_; }
  [[nodiscard]] std::int64_t memory_bytes() const { return bytes_; }
  [[nodiscard]] std::int64_t events() const { return end_position_ - begin_position_ + 1; }

 private:
  const std::int64_t bytes_max_;
  std::deque<std::shared_ptr<const EventBlock>> blocks_;
  std::int64_t bytes_ = 0;
  std::int64_t epoch_ = 0;
  std::int64_t begin_position_ = 1;  // of the first event here; end_position_ + 1 if there is none
  std::int64_t end_position_ = 0;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_RING_H_
