#include "tests/integration/sinks/delivery.h"
#include "tests/support/nats_broker.h"

namespace eventstore::testing {
namespace {

class NatsTarget : public DeliveryTarget {
 public:
  NatsTarget() {
    broker_.Start();
    broker_.AddStream("EVENTS", "eventstore.>");
  }

  std::vector<std::string> Settings() const override {
    return {"type: nats", "url: " + broker_.url()};
  }
  void Stop() override { broker_.Kill(); }
  void Restart() override { broker_.Start(); }
  std::vector<std::string> Bodies(std::size_t /*count*/) override {
    return BodiesOf(broker_.Read("EVENTS"));
  }

 private:
  NatsBroker broker_;
};

TEST_CASE("Every event arrives at NATS at least once, and in order") {
  NatsTarget target;
  EveryEventArrives(target);
}

}  // namespace
}  // namespace eventstore::testing
