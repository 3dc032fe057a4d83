// The types of sinks, for the registry alone. A build may be made without some of them
// (EVENTSTORE_WITH_RABBITMQ and so on); then the function is not there.
#ifndef EVENTSTORE_SERVER_SINKS_SINK_TYPES_H_
#define EVENTSTORE_SERVER_SINKS_SINK_TYPES_H_

#include "server/sinks/settings.h"

namespace eventstore::sinks {

[[nodiscard]] SinkType KafkaSinkType();
[[nodiscard]] SinkType NatsSinkType();
[[nodiscard]] SinkType RabbitmqSinkType();
[[nodiscard]] SinkType RedisSinkType();
[[nodiscard]] SinkType WebhookSinkType();

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_SINK_TYPES_H_
