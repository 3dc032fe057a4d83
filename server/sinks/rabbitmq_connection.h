// A channel of RabbitMQ in confirm mode, over rabbitmq-c.
#ifndef EVENTSTORE_SERVER_SINKS_RABBITMQ_CONNECTION_H_
#define EVENTSTORE_SERVER_SINKS_RABBITMQ_CONNECTION_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "server/sinks/cloud_event.h"
#include "server/sinks/opening.h"
#include "server/sinks/rabbitmq_options.h"
#include "server/sinks/socket_alarm.h"

// rabbitmq-c's.
struct amqp_connection_state_t_;
struct amqp_frame_t_;

namespace eventstore::sinks {

// What the broker says of messages.
struct RabbitmqAnswer {
  enum class Kind {
    kNone,      // none came in time
    kAck,       // confirmed
    kNack,      // refused
    kReturned,  // no queue is bound for it; its kAck follows
  };
  Kind kind = Kind::kNone;
  std::uint64_t tag = 0;   // the message's number on this channel, from 1; not for kReturned
  bool multiple = false;   // and all before it
  std::string message_id;  // for kReturned
  std::string reason;      // for kReturned
};

// Makes the connection when it is wanted, and anew after Drop. Calls end at the alarm's deadline:
// arm it with fd() around them. One thread.
class RabbitmqConnection {
 public:
  // Both must outlive it.
  RabbitmqConnection(const RabbitmqOptions* options, SocketAlarm* alarm);
  ~RabbitmqConnection();
  RabbitmqConnection(const RabbitmqConnection&) = delete;
  RabbitmqConnection& operator=(const RabbitmqConnection&) = delete;

  // Connects, logs in, declares the exchange, asks for confirms; nothing if that is done already
  // and the broker has not hung up since. The alarm must not be armed.
  absl::Status Open(Deadline deadline);
  void Drop();
  [[nodiscard]] int fd() const;

  // Sends a message; its number is one more than that of the one before, from 1 after Open made a
  // connection.
  absl::Status Send(const std::string& routing_key, const std::string& message_id,
                    const CloudEvent& event);
  [[nodiscard]] std::uint64_t last_tag() const { return last_tag_; }
  // Waits for an answer until the deadline.
  absl::StatusOr<RabbitmqAnswer> Receive(Deadline deadline);

 private:
  struct Deleter {
    void operator()(amqp_connection_state_t_* state) const;
  };
  using State = std::unique_ptr<amqp_connection_state_t_, Deleter>;
  struct Opened {
    State state;
    std::string error;
  };

  static Opened OpenSocket(const RabbitmqOptions& options);
  // Reads what came while nobody listened: heartbeats, or the broker's good-bye, which is an error.
  absl::StatusOr<bool> IsIdle(Deadline deadline);
  absl::Status LogIn();
  absl::Status SetUpChannel();
  absl::Status Check(const char* doing);
  absl::Status Failed(const char* doing, int status) const;
  absl::StatusOr<RabbitmqAnswer> Understand(const amqp_frame_t_& frame);
  absl::StatusOr<RabbitmqAnswer> ReadReturned(const amqp_frame_t_& frame);

  const RabbitmqOptions* options_;
  SocketAlarm* alarm_;
  Opening<Opened> opening_;
  State state_;
  std::uint64_t last_tag_ = 0;
};

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_RABBITMQ_CONNECTION_H_
