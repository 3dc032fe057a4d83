// librdkafka's own mock of a Kafka cluster, in the test's process.
#ifndef EVENTSTORE_TESTS_SUPPORT_KAFKA_CLUSTER_H_
#define EVENTSTORE_TESTS_SUPPORT_KAFKA_CLUSTER_H_

#include <string>
#include <vector>

#include "tests/support/broker_process.h"

struct rd_kafka_s;
struct rd_kafka_mock_cluster_s;

namespace eventstore::testing {

// One broker that speaks the protocol. One thread.
class KafkaCluster {
 public:
  KafkaCluster();
  ~KafkaCluster();
  KafkaCluster(const KafkaCluster&) = delete;
  KafkaCluster& operator=(const KafkaCluster&) = delete;

  [[nodiscard]] std::string brokers() const;
  void AddTopic(const std::string& topic, int partitions = 1);
  // Whether it takes connections; those that there are end with false.
  void SetUp(bool up);
  // How long each answer takes.
  void SetDelay(int delay_ms);
  // The next `count` requests to store messages are refused as too large.
  void RefuseAsTooLarge(int count);
  // Reads `count` messages of a topic from its beginning, or what there is within some seconds.
  [[nodiscard]] std::vector<Received> Read(const std::string& topic, std::size_t count,
                                           int partition_count = 1) const;

 private:
  rd_kafka_s* handle_ = nullptr;
  rd_kafka_mock_cluster_s* cluster_ = nullptr;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_KAFKA_CLUSTER_H_
