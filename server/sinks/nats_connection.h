// A connection to NATS that publishes to JetStream and gives its acknowledgements, over nats.c.
#ifndef EVENTSTORE_SERVER_SINKS_NATS_CONNECTION_H_
#define EVENTSTORE_SERVER_SINKS_NATS_CONNECTION_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "server/sinks/cloud_event.h"
#include "server/sinks/nats_options.h"
#include "server/sinks/opening.h"

namespace eventstore::sinks {

// A message to publish. Made before it is sent, on another thread.
struct NatsMessage {
  std::size_t index = 0;
  std::string subject;
  std::string id;
  CloudEvent event;
};

// What came back for a message.
struct NatsAnswer {
  enum class Kind {
    kNone,     // nothing came in time
    kStored,   // a stream has it
    kRefused,  // a stream refuses it, or none takes its subject
    kAway,     // nothing can be published now
    kUnheard,  // nobody answers for its subject; see AskForStream
  };
  Kind kind = Kind::kNone;
  std::size_t index = 0;
  std::string reason;
};

// It connects when it is wanted, and anew after Drop. One thread.
class NatsConnection {
 public:
  // Both must outlive it. `stopped`: whether to give up waiting.
  NatsConnection(const NatsOptions* options, std::function<bool()> stopped);
  ~NatsConnection();
  NatsConnection(const NatsConnection&) = delete;
  NatsConnection& operator=(const NatsConnection&) = delete;

  absl::Status Open(Deadline deadline);
  // Closes it in the background: nats.c may wait for the network in it.
  void Drop();

  // Sends messages; those that cannot be sent come back as refused.
  absl::StatusOr<std::vector<NatsAnswer>> Send(std::vector<NatsMessage> messages,
                                               Deadline deadline);
  // Asks whether any stream takes a subject that nobody answered for. The answer comes by Receive.
  absl::Status AskForStream(std::size_t index, const std::string& subject);
  // The next answer, if one comes within `wait`. Errors: the connection is lost.
  absl::StatusOr<NatsAnswer> Receive(std::chrono::milliseconds wait);
  // The server's last complaint, such as about permissions; may be empty.
  [[nodiscard]] std::string LastError() const;

 private:
  struct Link;
  struct Opened {
    std::shared_ptr<Link> link;
    std::string error;
  };
  struct Sent {
    std::vector<NatsAnswer> refused;
    std::string error;
  };

  static Opened Connect(const NatsOptions& options, const std::string& password);
  static Sent SendAll(const Link& link, const std::vector<NatsMessage>& messages);

  const NatsOptions* options_;
  const std::function<bool()> stopped_;
  Opening<Opened> opening_;
  Opening<Sent> sending_;
  std::list<std::future<void>> closing_;
  std::shared_ptr<Link> link_;
};

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_NATS_CONNECTION_H_
