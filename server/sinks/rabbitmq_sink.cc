// Publishes to an exchange of RabbitMQ, with publisher confirms.
#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

#include <map>
#include <memory>
#include <utility>

#include "server/sinks/cloud_event.h"
#include "server/sinks/rabbitmq_connection.h"
#include "server/sinks/rabbitmq_options.h"
#include "server/sinks/sink_types.h"
#include "server/sinks/socket_alarm.h"
#include "server/sinks/stream_order.h"
#include "server/telemetry/logging.h"

namespace eventstore::sinks {
namespace {

// Most bytes of payload that wait for their confirmation at a time.
constexpr std::size_t kInFlightBytesMax = 8 << 20;
// AMQP's short strings.
constexpr std::size_t kRoutingKeyBytesMax = 255;

// The messages of one Publish that the broker has not answered yet.
struct InFlight {
  struct Entry {
    std::size_t index = 0;
    std::string returned;  // why it could not be routed; empty if it could
  };
  std::map<std::uint64_t, Entry> by_tag;
  std::size_t bytes = 0;
};

class RabbitmqSink : public Sink {
 public:
  explicit RabbitmqSink(RabbitmqOptions options)
      : options_(std::move(options)), connection_(&options_, &alarm_) {}

  std::vector<Delivery> Publish(std::span<const Message> messages, Deadline deadline) override;
  void Interrupt() override { alarm_.Interrupt(); }

 private:
  absl::Status PublishAll(StreamOrder* order, Deadline deadline);
  absl::Status SendReady(StreamOrder* order, InFlight* in_flight);
  static void Note(const RabbitmqAnswer& answer, StreamOrder* order, InFlight* in_flight);

  const RabbitmqOptions options_;
  SocketAlarm alarm_;
  RabbitmqConnection connection_;
};

absl::Status RabbitmqSink::SendReady(StreamOrder* order, InFlight* in_flight) {
  while (in_flight->by_tag.size() < static_cast<std::size_t>(options_.in_flight_max) &&
         in_flight->bytes < kInFlightBytesMax) {
    const std::optional<std::size_t> index = order->Take();
    if (!index.has_value()) break;
    const v1::Event& event = order->event(*index);
    const std::string routing_key = options_.routing_key.Expand(event);
    if (routing_key.size() > kRoutingKeyBytesMax) {
      order->Refused(*index, "the routing key is longer than 255 bytes");
      continue;
    }
    const CloudEvent cloud_event(event, options_.source, options_.structured);
    const absl::Status status = connection_.Send(routing_key, event.event_id(), cloud_event);
    if (!status.ok()) return status;
    in_flight->by_tag[connection_.last_tag()].index = *index;
    in_flight->bytes += event.payload().size();
  }
  return absl::OkStatus();
}

void RabbitmqSink::Note(const RabbitmqAnswer& answer, StreamOrder* order, InFlight* in_flight) {
  if (answer.kind == RabbitmqAnswer::Kind::kNone) return;
  if (answer.kind == RabbitmqAnswer::Kind::kReturned) {
    for (auto& [tag, entry] : in_flight->by_tag) {
      if (order->event(entry.index).event_id() == answer.message_id) entry.returned = answer.reason;
    }
    return;
  }
  auto entry = answer.multiple ? in_flight->by_tag.begin() : in_flight->by_tag.find(answer.tag);
  while (entry != in_flight->by_tag.end() && entry->first <= answer.tag) {
    const auto& [index, returned] = entry->second;
    in_flight->bytes -= order->event(index).payload().size();
    if (answer.kind == RabbitmqAnswer::Kind::kNack) {
      order->Refused(index, "RabbitMQ refuses the message (basic.nack); is a queue full?");
    } else if (!returned.empty()) {
      order->Refused(index, absl::StrCat("RabbitMQ cannot route the message: ", returned,
                                         "; bind a queue, or set `mandatory` to false"));
    } else {
      order->Published(index);
    }
    entry = in_flight->by_tag.erase(entry);
  }
}

absl::Status RabbitmqSink::PublishAll(StreamOrder* order, Deadline deadline) {
  InFlight in_flight;
  while (true) {
    if (absl::Status status = SendReady(order, &in_flight); !status.ok()) return status;
    if (order->done()) return absl::OkStatus();
    const absl::StatusOr<RabbitmqAnswer> answer = connection_.Receive(deadline);
    if (!answer.ok()) return answer.status();
    Note(*answer, order, &in_flight);
    if (std::chrono::steady_clock::now() >= deadline && !order->done()) {
      return absl::DeadlineExceededError("no confirmation from RabbitMQ by the deadline");
    }
  }
}

std::vector<Delivery> RabbitmqSink::Publish(std::span<const Message> messages, Deadline deadline) {
  StreamOrder order(messages);
  absl::Status status = connection_.Open(deadline);
  if (status.ok()) {
    const ArmedSocket armed(&alarm_, connection_.fd(), deadline);
    status = PublishAll(&order, deadline);
  }
  if (!status.ok()) {
    const bool late = std::chrono::steady_clock::now() >= deadline && !alarm_.interrupted();
    order.BrokerAway(late ? "no confirmation from RabbitMQ by the deadline"
                          : telemetry::MessageOf(status));
    connection_.Drop();
  }
  return order.TakeDeliveries();
}

}  // namespace

SinkType RabbitmqSinkType() {
  return {"rabbitmq", RabbitmqRules(), [](const Settings& settings) -> std::unique_ptr<Sink> {
            return std::make_unique<RabbitmqSink>(RabbitmqOptions::Of(settings));
          }};
}

}  // namespace eventstore::sinks
