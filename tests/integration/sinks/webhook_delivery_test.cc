#include "tests/integration/sinks/delivery.h"
#include "tests/support/http_receiver.h"

namespace eventstore::testing {
namespace {

class WebhookTarget : public DeliveryTarget {
 public:
  WebhookTarget() : port_(FreePort()) { Restart(); }

  std::vector<std::string> Settings() const override {
    return {"type: webhook", "url: " + receiver_->url()};
  }
  void Stop() override {
    receiver_->Stop();  // before it is asked, or what it answers meanwhile is forgotten
    const std::vector<std::string> taken = BodiesOf(receiver_->Requests());
    bodies_.insert(bodies_.end(), taken.begin(), taken.end());
    receiver_ = nullptr;
  }
  void Restart() override { receiver_ = std::make_unique<HttpReceiver>(port_); }
  std::vector<std::string> Bodies(std::size_t /*count*/) override {
    Stop();
    return bodies_;
  }

 private:
  const int port_;
  std::vector<std::string> bodies_;
  std::unique_ptr<HttpReceiver> receiver_;
};

TEST_CASE("Every event arrives at a webhook at least once, and in order") {
  WebhookTarget target;
  EveryEventArrives(target);
}

}  // namespace
}  // namespace eventstore::testing
