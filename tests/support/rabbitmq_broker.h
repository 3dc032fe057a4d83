// A RabbitMQ node for tests.
#ifndef EVENTSTORE_TESTS_SUPPORT_RABBITMQ_BROKER_H_
#define EVENTSTORE_TESTS_SUPPORT_RABBITMQ_BROKER_H_

#include <memory>
#include <string>
#include <vector>

#include "tests/support/broker_process.h"

namespace eventstore::testing {

// One node with an epmd of its own, for plain connections and for TLS with SharedCertificates.
// Starting takes seconds. What it confirmed survives Kill. The account is guest/guest. One thread.
class RabbitmqBroker {
 public:
  RabbitmqBroker();

  void Start();  // waits until it answers
  void Kill() { process_ = nullptr; }
  [[nodiscard]] const BrokerProcess& process() const { return *process_; }
  [[nodiscard]] std::string url() const { return "amqp://127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] std::string tls_url() const {
    return "amqps://localhost:" + std::to_string(tls_port_);
  }

  // Declares a topic exchange and a durable queue that gets from it what matches `binding`. With
  // `messages_max` > 0 the queue refuses more than so many.
  void AddQueue(const std::string& exchange, const std::string& queue, const std::string& binding,
                int messages_max = 0) const;
  // Takes all messages out of a queue.
  [[nodiscard]] std::vector<Received> Read(const std::string& queue) const;

 private:
  const TempFolder folder_;
  const int port_;
  const int tls_port_;
  const int dist_port_;
  const int epmd_port_;
  std::unique_ptr<BrokerProcess> epmd_;
  std::unique_ptr<BrokerProcess> process_;
};

// The one that the tests of a program share; it runs whenever a test begins.
RabbitmqBroker& SharedRabbitmq();

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_RABBITMQ_BROKER_H_
