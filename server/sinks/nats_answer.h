// What JetStream's answers mean. Any thread.
#ifndef EVENTSTORE_SERVER_SINKS_NATS_ANSWER_H_
#define EVENTSTORE_SERVER_SINKS_NATS_ANSWER_H_

#include <absl/strings/string_view.h>

#include <string>
#include <string_view>

#include "server/sinks/nats_connection.h"

namespace eventstore::sinks {

inline absl::string_view AsView(std::string_view text) { return {text.data(), text.size()}; }

// The answer to a message (a "PubAck" or an error); its index is not set.
[[nodiscard]] NatsAnswer ReadPublishAnswer(std::string_view json);
// The question to $JS.API.STREAM.NAMES which streams take a subject, and what its answer says of a
// message that nobody answered for.
[[nodiscard]] std::string StreamQuestion(std::string_view subject);
[[nodiscard]] NatsAnswer ReadStreamAnswer(std::string_view json);

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_NATS_ANSWER_H_
