#include "tests/integration/sinks/delivery.h"
#include "tests/support/redis_broker.h"

namespace eventstore::testing {
namespace {

class RedisTarget : public DeliveryTarget {
 public:
  RedisTarget() { broker_.Start(); }

  std::vector<std::string> Settings() const override {
    return {"type: redis", "url: " + broker_.url(), "stream: all"};
  }
  void Stop() override { broker_.Kill(); }
  void Restart() override { broker_.Start(); }
  std::vector<std::string> Bodies(std::size_t /*count*/) override {
    return BodiesOf(broker_.Read("all"));
  }

 private:
  RedisBroker broker_;
};

TEST_CASE("Every event arrives at Redis at least once, and in order") {
  RedisTarget target;
  EveryEventArrives(target);
}

}  // namespace
}  // namespace eventstore::testing
