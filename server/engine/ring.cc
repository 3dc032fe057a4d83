#include "server/engine/ring.h"

#include <algorithm>
#include <utility>

namespace eventstore::engine {

void Ring::Reset(std::int64_t epoch, std::int64_t end_position) {
  blocks_.clear();
  bytes_ = 0;
  epoch_ = epoch;
  end_position_ = end_position;
  begin_position_ = end_position + 1;
}

void Ring::Append(std::shared_ptr<const EventBlock> block) {
  end_position_ = block->last_position();
  bytes_ += block->memory_bytes();
  blocks_.push_back(std::move(block));
  while (bytes_ > bytes_max_ && !blocks_.empty()) {
    bytes_ -= blocks_.front()->memory_bytes();
    begin_position_ = blocks_.front()->last_position() + 1;
    blocks_.pop_front();
  }
}

std::vector<std::shared_ptr<const EventBlock>> Ring::After(std::int64_t position,
                                                           std::size_t blocks_max) const {
  const auto first = std::upper_bound(
      blocks_.begin(), blocks_.end(), position,
      [](std::int64_t value, const auto& block) { return value < block->last_position(); });
  const auto available = static_cast<std::size_t>(blocks_.end() - first);
  return {first, first + static_cast<std::ptrdiff_t>(std::min(available, blocks_max))};
}

}  // namespace eventstore::engine
