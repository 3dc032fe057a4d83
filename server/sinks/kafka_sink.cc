// Publishes to topics of Kafka with an idempotent producer.
#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "server/sinks/cloud_event.h"
#include "server/sinks/kafka_options.h"
#include "server/sinks/kafka_producer.h"
#include "server/sinks/sink_types.h"
#include "server/sinks/stream_order.h"
#include "server/telemetry/logging.h"

namespace eventstore::sinks {
namespace {

// How long an interruption may go unseen.
constexpr std::chrono::milliseconds kTick{20};
constexpr std::size_t kTopicBytesMax = 249;

// A topic's name takes letters, digits, '.', '_' and '-'.
std::string TopicPart(std::string_view value) {
  std::string part(value);
  for (char& c : part) {
    const bool is_allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            (c >= '0' && c <= '9') || c == '.' || c == '-';
    if (!is_allowed) c = '_';
  }
  return part;
}

// One Publish. A broker answers for a whole batch of messages: who was refused together with others
// is asked for again alone, so that none suffers for another.
class KafkaRun {
 public:
  KafkaRun(const KafkaOptions* options, KafkaProducer* producer, StreamOrder* order)
      : options_(options), producer_(producer), order_(order) {}

  absl::Status Run(Deadline deadline, const std::atomic<bool>& interrupted);

 private:
  void Produce(std::size_t index);
  void ProduceReady();
  void Note(const KafkaReport& report);
  std::string WhyLate() const;

  const KafkaOptions* options_;
  KafkaProducer* producer_;
  StreamOrder* order_;
  std::size_t waiting_ = 0;
  bool alone_ = false;
  std::vector<std::size_t> suspects_;
  absl::Status away_;
};

void KafkaRun::Produce(std::size_t index) {
  const v1::Event& event = order_->event(index);
  const std::string topic = options_->topic.Expand(event, TopicPart);
  if (topic.size() > kTopicBytesMax) {
    order_->Refused(index, "the topic's name is longer than 249 characters");
    return;
  }
  const CloudEvent cloud_event(event, options_->source, options_->structured);
  const auto failed = producer_->Produce(index, topic, options_->key.Expand(event), cloud_event);
  if (failed.empty()) {
    ++waiting_;
  } else if (failed.front().outcome == KafkaOutcome::kRefused) {
    order_->Refused(index, failed.front().error);
  } else {
    away_ = absl::UnavailableError(failed.front().error);
  }
}

void KafkaRun::ProduceReady() {
  while (away_.ok()) {
    const std::optional<std::size_t> index = order_->Take();
    if (!index.has_value()) break;
    Produce(*index);
  }
  alone_ = waiting_ == 1 && alone_;
  if (waiting_ == 0 && !suspects_.empty() && away_.ok()) {
    const std::size_t index = suspects_.back();
    suspects_.pop_back();
    alone_ = true;
    Produce(index);
  }
}

void KafkaRun::Note(const KafkaReport& report) {
  --waiting_;
  if (report.outcome == KafkaOutcome::kDelivered) {
    order_->Published(report.index);
  } else if (report.outcome == KafkaOutcome::kAway) {
    away_ = absl::UnavailableError(report.error);
  } else if (alone_) {
    order_->Refused(report.index, report.error);
  } else {
    suspects_.push_back(report.index);
  }
}

std::string KafkaRun::WhyLate() const {
  return absl::StrCat("no delivery report from Kafka by the deadline",
                      producer_->last_error().empty() ? "" : "; " + producer_->last_error());
}

absl::Status KafkaRun::Run(Deadline deadline, const std::atomic<bool>& interrupted) {
  producer_->ForgetTrouble();
  while (true) {
    if (interrupted) return absl::UnavailableError("interrupted");
    ProduceReady();
    if (!away_.ok() || order_->done()) return away_;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return absl::UnavailableError(WhyLate());
    for (const KafkaReport& report : producer_->Poll(std::min(left, kTick))) Note(report);
    if (!producer_->trouble().empty() && waiting_ > 0) {
      return absl::UnavailableError("Kafka: " + producer_->trouble());
    }
  }
}

class KafkaSink : public Sink {
 public:
  explicit KafkaSink(KafkaOptions options) : options_(std::move(options)) {}

  std::vector<Delivery> Publish(std::span<const Message> messages, Deadline deadline) override;
  void Interrupt() override { interrupted_ = true; }

 private:
  absl::Status MakeProducer();

  const KafkaOptions options_;
  std::unique_ptr<KafkaProducer> producer_;
  std::atomic<bool> interrupted_{false};
};

absl::Status KafkaSink::MakeProducer() {
  if (producer_ != nullptr) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<KafkaProducer>> made = KafkaProducer::Make(options_);
  if (!made.ok()) return made.status();
  producer_ = *std::move(made);
  return absl::OkStatus();
}

std::vector<Delivery> KafkaSink::Publish(std::span<const Message> messages, Deadline deadline) {
  StreamOrder order(messages);
  absl::Status status = MakeProducer();
  if (status.ok())
    status = KafkaRun(&options_, producer_.get(), &order).Run(deadline, interrupted_);
  if (!status.ok()) {
    order.BrokerAway(telemetry::MessageOf(status));
    // What it still holds must not arrive after what is published next.
    producer_ = nullptr;
  }
  return order.TakeDeliveries();
}

}  // namespace

SinkType KafkaSinkType() {
  return {"kafka", KafkaRules(), [](const Settings& settings) -> std::unique_ptr<Sink> {
            return std::make_unique<KafkaSink>(KafkaOptions::Of(settings));
          }};
}

}  // namespace eventstore::sinks
