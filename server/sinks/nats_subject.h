// The subject of an event. Any thread.
#ifndef EVENTSTORE_SERVER_SINKS_NATS_SUBJECT_H_
#define EVENTSTORE_SERVER_SINKS_NATS_SUBJECT_H_

#include <string>

#include "server/sinks/template.h"

namespace eventstore::sinks {

// Fills in a template. Of the values, white space, control characters, '*', '>' and '%' are
// percent-encoded: NATS does not take them, or gives them a meaning. Empty if a token of the
// subject would be empty, which NATS does not take either.
[[nodiscard]] std::string NatsSubject(const Template& subject, const v1::Event& event);

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_NATS_SUBJECT_H_
