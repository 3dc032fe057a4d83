// A NATS server with JetStream for tests.
#ifndef EVENTSTORE_TESTS_SUPPORT_NATS_BROKER_H_
#define EVENTSTORE_TESTS_SUPPORT_NATS_BROKER_H_

#include <memory>
#include <string>
#include <vector>

#include "tests/support/broker_process.h"

namespace eventstore::testing {

// One NATS server whose streams survive Kill. One thread.
class NatsBroker {
 public:
  // With a user and a password, both are wanted from everybody.
  explicit NatsBroker(std::string user = "", std::string password = "");

  void Start();  // waits until it answers
  void Kill() { process_ = nullptr; }
  [[nodiscard]] const BrokerProcess& process() const { return *process_; }
  [[nodiscard]] std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }

  // Makes a stream that takes a subject. With `messages_max` > 0 it refuses more than so many.
  void AddStream(const std::string& name, const std::string& subject, int messages_max = 0) const;
  // The messages of a stream, in order.
  [[nodiscard]] std::vector<Received> Read(const std::string& stream) const;

 private:
  const TempFolder folder_;
  const int port_;
  const std::string user_;
  const std::string password_;
  std::unique_ptr<BrokerProcess> process_;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_NATS_BROKER_H_
