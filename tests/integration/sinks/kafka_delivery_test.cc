#include "tests/integration/sinks/delivery.h"
#include "tests/support/kafka_cluster.h"

namespace eventstore::testing {
namespace {

// The mock keeps 5 MiB a partition.
constexpr int kPartitions = 64;

class KafkaTarget : public DeliveryTarget {
 public:
  KafkaTarget() { broker_.AddTopic("all", kPartitions); }

  std::vector<std::string> Settings() const override {
    return {"type: kafka", "brokers: " + broker_.brokers(), "topic: all"};
  }
  void Stop() override { broker_.SetUp(false); }
  void Restart() override { broker_.SetUp(true); }
  std::vector<std::string> Bodies(std::size_t count) override {
    return BodiesOf(broker_.Read("all", 2 * count, kPartitions));  // there may be duplicates
  }

 private:
  KafkaCluster broker_;
};

TEST_CASE("Every event arrives at Kafka at least once, and in order") {
  KafkaTarget target;
  EveryEventArrives(target);
}

}  // namespace
}  // namespace eventstore::testing
