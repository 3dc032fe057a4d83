// A Redis server for tests.
#ifndef EVENTSTORE_TESTS_SUPPORT_REDIS_BROKER_H_
#define EVENTSTORE_TESTS_SUPPORT_REDIS_BROKER_H_

#include <memory>
#include <string>
#include <vector>

#include "tests/support/broker_process.h"

namespace eventstore::testing {

// One Redis with an append-only file, so that what it acknowledged survives Kill. One thread.
class RedisBroker {
 public:
  RedisBroker();

  void Start();  // waits until it answers
  void Kill() { process_ = nullptr; }
  [[nodiscard]] const BrokerProcess& process() const { return *process_; }
  [[nodiscard]] std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_); }

  // Runs a command; throws where that fails. What it answers as text; numbers in digits.
  std::string Run(const std::vector<std::string>& words) const;
  // The entries of a stream, in order: fields are headers; `data` or `event` is the body too.
  [[nodiscard]] std::vector<Received> Read(const std::string& stream) const;

 private:
  const TempFolder folder_;
  const int port_;
  std::unique_ptr<BrokerProcess> process_;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_REDIS_BROKER_H_
