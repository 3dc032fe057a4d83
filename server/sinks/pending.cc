#include "server/sinks/kafka_options.h"
#include "server/sinks/nats_options.h"
#include "server/sinks/sink_types.h"
#include "server/sinks/webhook_options.h"
namespace eventstore::sinks {
static std::unique_ptr<Sink> None(const Settings&) { return nullptr; }
SinkType KafkaSinkType() { return {"kafka", KafkaRules(), None}; }
SinkType NatsSinkType() { return {"nats", NatsRules(), None}; }
SinkType WebhookSinkType() { return {"webhook", WebhookRules(), None}; }
}  // namespace eventstore::sinks
