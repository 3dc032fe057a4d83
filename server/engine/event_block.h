// Events encoded once and shared by everyone who sends them.
#ifndef EVENTSTORE_SERVER_ENGINE_EVENT_BLOCK_H_
#define EVENTSTORE_SERVER_ENGINE_EVENT_BLOCK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "eventstore/v1/types.pb.h"

namespace eventstore::engine {

// Consecutive or filtered events in the wire format of `EventBatch.events`: each is the field's
// tag, its length and the event's bytes, so any run of them is a valid part of an EventBatch
// message. Immutable once made; any thread may read it.
class EventBlock {
 public:
  // Encodes `events`. Then their payloads and metadata are dropped from the copies kept for
  // filtering (`header`), so that memory holds them once.
  [[nodiscard]] static std::shared_ptr<const EventBlock> Make(std::vector<v1::Event> events);

  [[nodiscard]] std::size_t size() const { return headers_.size(); }
  // Event `index` without payload and metadata.
  [[nodiscard]] const v1::Event& header(std::size_t index) const { return headers_[index]; }
  // The wire bytes of the events [begin, end).
  [[nodiscard]] std::string_view bytes(std::size_t begin, std::size_t end) const {
    return std::string_view(bytes_).substr(offsets_[begin], offsets_[end] - offsets_[begin]);
  }
  [[nodiscard]] std::int64_t first_position() const { return headers_.front().global_position(); }
  [[nodiscard]] std::int64_t last_position() const { return headers_.back().global_position(); }
  // About how much memory it takes.
  [[nodiscard]] std::int64_t memory_bytes() const { return memory_bytes_; }

 private:
  EventBlock() = default;

  std::vector<v1::Event> headers_;
  std::vector<std::size_t> offsets_;  // one more than events
  std::string bytes_;
  std::int64_t memory_bytes_ = 0;
};

// A run of events of one block.
struct EventRun {
  std::shared_ptr<const EventBlock> block;
  std::size_t begin = 0;
  std::size_t end = 0;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_EVENT_BLOCK_H_
