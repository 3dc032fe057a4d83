// Where committed events are published: what the relay asks of a broker.
#ifndef EVENTSTORE_SERVER_SINKS_SINK_H_
#define EVENTSTORE_SERVER_SINKS_SINK_H_

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "eventstore/v1/types.pb.h"

#include "server/core/mutex.h"

namespace eventstore::sinks {

// An event to publish. What it points to lives until Publish returns.
struct Message {
  const v1::Event* event = nullptr;
  // Names its stream: messages with equal keys are published in the order in which they are given.
  std::int64_t stream_key = 0;
};

// What became of a message.
enum class Outcome {
  // The broker took it for good: its own acknowledgement arrived.
  kPublished,
  // The broker refuses this message, and may take others: an attempt.
  kRefused,
  // The broker is away, or did not answer in time; whether it took the message is not known.
  kUnavailable,
  // Not sent: one before it in its stream was not published, or the broker went away.
  kNotTried,
};

struct Delivery {
  Outcome outcome = Outcome::kNotTried;
  std::string error;  // why, unless published; one line, without credentials
  std::chrono::system_clock::time_point acknowledged_at;  // when it was published
};

// One connection to one broker. It connects when it is first needed and again after an error. All
// but Interrupt is called by one thread at a time.
class Sink {
 public:
  virtual ~Sink() = default;

  // Publishes and waits for the broker's acknowledgements; returns by `deadline`, with one answer a
  // message, in their order. A message is not sent before the one before it in its stream is
  // acknowledged; once one is not, the rest of its stream is not tried. Messages of other streams
  // share round trips.
  [[nodiscard]] virtual std::vector<Delivery> Publish(std::span<const Message> messages,
                                                      Deadline deadline) = 0;

  // Ends a Publish that runs, and every later one, at once with what is known by then. Any thread.
  virtual void Interrupt() = 0;
};

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_SINK_H_
