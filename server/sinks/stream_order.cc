#include "server/sinks/stream_order.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <utility>

namespace eventstore::sinks {

StreamOrder::StreamOrder(std::span<const Message> messages)
    : messages_(messages),
      deliveries_(messages.size()),
      next_in_stream_(messages.size(), messages.size()),
      is_in_flight_(messages.size(), false) {
  absl::flat_hash_map<std::int64_t, std::size_t> last;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto [entry, is_first] = last.try_emplace(messages[i].stream_key, i);
    if (is_first) {
      ready_.push_back(i);
    } else {
      next_in_stream_[std::exchange(entry->second, i)] = i;
    }
  }
}

std::optional<std::size_t> StreamOrder::Take() {
  if (ready_.empty()) return std::nullopt;
  const std::size_t index = ready_.front();
  ready_.pop_front();
  is_in_flight_[index] = true;
  ++in_flight_count_;
  return index;
}

void StreamOrder::Answer(std::size_t index, Outcome outcome, std::string_view error) {
  if (!is_in_flight_[index]) return;
  is_in_flight_[index] = false;
  --in_flight_count_;
  deliveries_[index].outcome = outcome;
  deliveries_[index].error = error;
  // One line, whatever the broker's text.
  std::string& line = deliveries_[index].error;
  std::replace_if(
      line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
}

void StreamOrder::Published(std::size_t index) {
  Answer(index, Outcome::kPublished, "");
  deliveries_[index].acknowledged_at = std::chrono::system_clock::now();
  const std::size_t next = next_in_stream_[index];
  if (next < messages_.size()) ready_.push_back(next);
}

void StreamOrder::Refused(std::size_t index, std::string_view error) {
  Answer(index, Outcome::kRefused, error);
}

void StreamOrder::BrokerAway(std::string_view error) {
  if (in_flight_count_ == 0) {
    while (Take().has_value()) {
    }
  }
  ready_.clear();
  for (std::size_t i = 0; i < messages_.size(); ++i) Answer(i, Outcome::kUnavailable, error);
}

}  // namespace eventstore::sinks
