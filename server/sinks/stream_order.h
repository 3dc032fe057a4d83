// Which message may be sent next: the order rule of sink.h, for every sink.
#ifndef EVENTSTORE_SERVER_SINKS_STREAM_ORDER_H_
#define EVENTSTORE_SERVER_SINKS_STREAM_ORDER_H_

#include <cstddef>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/sinks/sink.h"

namespace eventstore::sinks {

// The messages of one Publish and what became of each. Of a stream one message at most is in
// flight, and its next one is given out when that was published. One thread.
class StreamOrder {
 public:
  // What `messages` point to must outlive it.
  explicit StreamOrder(std::span<const Message> messages);

  // A message that may be sent now, which is in flight from here on; nothing if there is none until
  // an answer comes, or if the broker is away.
  [[nodiscard]] std::optional<std::size_t> Take();
  [[nodiscard]] const v1::Event& event(std::size_t index) const { return *messages_[index].event; }
  [[nodiscard]] std::size_t in_flight() const { return in_flight_count_; }
  // Whether nothing is left to be sent or waited for.
  [[nodiscard]] bool done() const { return in_flight_count_ == 0 && ready_.empty(); }

  // The broker's answer to a message in flight.
  void Published(std::size_t index);
  void Refused(std::size_t index, std::string_view error);
  // The broker went away, or time is up: what is in flight, or would have been next if nothing is,
  // gets the error, and nothing more is given out.
  void BrokerAway(std::string_view error);

  // One answer a message; this object is used up.
  [[nodiscard]] std::vector<Delivery> TakeDeliveries() { return std::move(deliveries_); }

 private:
  void Answer(std::size_t index, Outcome outcome, std::string_view error);

  std::span<const Message> messages_;
  std::vector<Delivery> deliveries_;
  std::vector<std::size_t> next_in_stream_;  // an index past the end: none
  std::vector<bool> is_in_flight_;
  std::size_t in_flight_count_ = 0;
  std::deque<std::size_t> ready_;
};

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_STREAM_ORDER_H_
