// Publishes to NATS JetStream, and waits for its acknowledgements.
#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "server/sinks/cloud_event.h"
#include "server/sinks/nats_connection.h"
#include "server/sinks/nats_options.h"
#include "server/sinks/nats_subject.h"
#include "server/sinks/sink_types.h"
#include "server/sinks/stream_order.h"
#include "server/telemetry/logging.h"

namespace eventstore::sinks {
namespace {

// How long an interruption may go unseen.
constexpr std::chrono::milliseconds kTick{20};
constexpr std::size_t kInFlightBytesMax = 8 << 20;

class NatsSink : public Sink {
 public:
  explicit NatsSink(NatsOptions options)
      : options_(std::move(options)),
        connection_(&options_, [this] { return interrupted_.load(); }) {}

  std::vector<Delivery> Publish(std::span<const Message> messages, Deadline deadline) override;
  void Interrupt() override { interrupted_ = true; }

 private:
  absl::Status PublishAll(StreamOrder* order, Deadline deadline);
  absl::Status SendReady(StreamOrder* order, Deadline deadline);
  absl::Status Note(const NatsAnswer& answer, StreamOrder* order);

  const NatsOptions options_;
  std::atomic<bool> interrupted_{false};
  NatsConnection connection_;
};

absl::Status NatsSink::SendReady(StreamOrder* order, Deadline deadline) {
  std::vector<NatsMessage> wave;
  std::size_t bytes = 0;
  while (order->in_flight() < static_cast<std::size_t>(options_.in_flight_max) &&
         bytes < kInFlightBytesMax) {
    const std::optional<std::size_t> index = order->Take();
    if (!index.has_value()) break;
    const v1::Event& event = order->event(*index);
    std::string subject = NatsSubject(options_.subject, event);
    if (subject.empty()) {
      order->Refused(*index, "the subject has an empty part between two dots, or at an end");
      continue;
    }
    bytes += event.payload().size();
    wave.push_back({*index, std::move(subject), event.event_id(),
                    CloudEvent(event, options_.source, options_.structured)});
  }
  if (wave.empty()) return absl::OkStatus();
  const auto refused = connection_.Send(std::move(wave), deadline);
  if (!refused.ok()) return refused.status();
  for (const NatsAnswer& answer : *refused) order->Refused(answer.index, answer.reason);
  return absl::OkStatus();
}

absl::Status NatsSink::Note(const NatsAnswer& answer, StreamOrder* order) {
  switch (answer.kind) {
    case NatsAnswer::Kind::kNone:
      return absl::OkStatus();
    case NatsAnswer::Kind::kStored:
      order->Published(answer.index);
      return absl::OkStatus();
    case NatsAnswer::Kind::kRefused:
      order->Refused(answer.index,
                     absl::StrCat(answer.reason, " (subject ",
                                  NatsSubject(options_.subject, order->event(answer.index)), ")"));
      return absl::OkStatus();
    case NatsAnswer::Kind::kUnheard:
      return connection_.AskForStream(answer.index,
                                      NatsSubject(options_.subject, order->event(answer.index)));
    case NatsAnswer::Kind::kAway:
      break;
  }
  return absl::UnavailableError("NATS: " + answer.reason);
}

absl::Status NatsSink::PublishAll(StreamOrder* order, Deadline deadline) {
  while (true) {
    if (absl::Status status = SendReady(order, deadline); !status.ok()) return status;
    if (order->done()) return absl::OkStatus();
    if (order->in_flight() == 0) continue;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (interrupted_) return absl::UnavailableError("interrupted");
    if (left.count() <= 0) {
      return absl::UnavailableError(
          absl::StrCat("no acknowledgement from NATS by the deadline ", connection_.LastError()));
    }
    const absl::StatusOr<NatsAnswer> answer = connection_.Receive(std::min(left, kTick));
    if (!answer.ok()) return answer.status();
    if (absl::Status status = Note(*answer, order); !status.ok()) return status;
  }
}

std::vector<Delivery> NatsSink::Publish(std::span<const Message> messages, Deadline deadline) {
  StreamOrder order(messages);
  absl::Status status =
      interrupted_ ? absl::UnavailableError("interrupted") : connection_.Open(deadline);
  if (status.ok()) status = PublishAll(&order, deadline);
  if (!status.ok()) {
    order.BrokerAway(telemetry::MessageOf(status));
    connection_.Drop();
  }
  return order.TakeDeliveries();
}

}  // namespace

SinkType NatsSinkType() {
  return {"nats", NatsRules(), [](const Settings& settings) -> std::unique_ptr<Sink> {
            return std::make_unique<NatsSink>(NatsOptions::Of(settings));
          }};
}

}  // namespace eventstore::sinks
