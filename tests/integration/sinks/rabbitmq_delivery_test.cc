#include "tests/integration/sinks/delivery.h"
#include "tests/support/rabbitmq_broker.h"

namespace eventstore::testing {
namespace {

class RabbitmqTarget : public DeliveryTarget {
 public:
  RabbitmqTarget() {
    broker_.Start();
    broker_.AddQueue("eventstore", "all", "#");
  }

  std::vector<std::string> Settings() const override {
    return {"type: rabbitmq", "url: " + broker_.url(), "password: guest"};
  }
  void Stop() override { broker_.Kill(); }
  void Restart() override { broker_.Start(); }
  std::vector<std::string> Bodies(std::size_t /*count*/) override {
    return BodiesOf(broker_.Read("all"));
  }

 private:
  RabbitmqBroker broker_;
};

TEST_CASE("Every event arrives at RabbitMQ at least once, and in order") {
  RabbitmqTarget target;
  EveryEventArrives(target);
}

}  // namespace
}  // namespace eventstore::testing
