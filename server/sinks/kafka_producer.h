// An idempotent producer of librdkafka.
#ifndef EVENTSTORE_SERVER_SINKS_KAFKA_PRODUCER_H_
#define EVENTSTORE_SERVER_SINKS_KAFKA_PRODUCER_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "server/sinks/cloud_event.h"
#include "server/sinks/kafka_options.h"

// librdkafka's.
struct rd_kafka_s;
struct rd_kafka_conf_s;
struct rd_kafka_message_s;

namespace eventstore::sinks {

// What became of a message.
enum class KafkaOutcome { kDelivered, kRefused, kAway };
struct KafkaReport {
  std::size_t index = 0;
  KafkaOutcome outcome = KafkaOutcome::kAway;
  std::string error;
};

// A producer and the reports that it gives. One thread; librdkafka has threads of its own.
class KafkaProducer {
 public:
  // Connects in the background. Errors say which setting librdkafka does not take.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<KafkaProducer>> Make(
      const KafkaOptions& options);
  // Throws away what is not delivered.
  ~KafkaProducer();
  KafkaProducer(const KafkaProducer&) = delete;
  KafkaProducer& operator=(const KafkaProducer&) = delete;

  // Puts a message into the queue; nothing if it is in it, and the report otherwise.
  [[nodiscard]] std::vector<KafkaReport> Produce(std::size_t index, const std::string& topic,
                                                 const std::string& key, const CloudEvent& event);
  // The reports that came, or come within `wait`.
  [[nodiscard]] std::vector<KafkaReport> Poll(std::chrono::milliseconds wait);
  // Why no message can be delivered now, as far as that is known; empty otherwise.
  [[nodiscard]] const std::string& trouble() const { return trouble_; }
  // The last error of a connection, for people.
  [[nodiscard]] const std::string& last_error() const { return last_error_; }
  // Forgets what happened to connections while nothing was published.
  void ForgetTrouble();

 private:
  KafkaProducer() = default;
  static void OnReport(rd_kafka_s* producer, const rd_kafka_message_s* message, void* self);
  static void OnError(rd_kafka_s* producer, int error, const char* reason, void* self);
  static std::string Configure(const KafkaOptions& options, const std::string& password,
                               rd_kafka_conf_s* conf);

  rd_kafka_s* producer_ = nullptr;
  std::vector<KafkaReport> reports_;
  std::string trouble_;
  std::string last_error_;
};

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_KAFKA_PRODUCER_H_
