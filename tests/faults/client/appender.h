// Sends requests and records every attempt before it and every answer after it.
#ifndef EVENTSTORE_TESTS_FAULTS_CLIENT_APPENDER_H_
#define EVENTSTORE_TESTS_FAULTS_CLIENT_APPENDER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/faults/checker/record.h"
#include "tests/faults/client/requests.h"
#include "tests/support/daemon_client.h"

namespace eventstore::faults {

// What an answer means for its request.
enum class Verdict { kAcknowledged, kRefused, kUnclear };

// A recorded request; its attempts are in `wish.record`.
struct Tracked {
  std::int64_t number = 0;
  Wish wish;
};

// Numbers and records the requests of one process. Thread-safe; a Tracked is one thread's.
class AppendLog {
 public:
  explicit AppendLog(const std::string& path) : recorder_(path) {}

  Tracked Ask(Wish wish);
  void Sending(Tracked* tracked, int daemon);
  Verdict Answered(Tracked* tracked, const v1::AppendEventsResponse& response);
  Verdict Failed(Tracked* tracked, const testing::CallStatus& status);
  void Done() { recorder_.Write(DoneLine()); }

 private:
  Verdict Record(Tracked* tracked);

  const Recorder recorder_;
  std::atomic<std::int64_t> next_{1};
};

// How to send a request once.
struct SendPlan {
  int daemon = 0;
  std::chrono::milliseconds timeout{5'000};
  // Cancel the call if there is no answer by then.
  std::optional<std::chrono::milliseconds> cancel_after;
};

using Clients = std::vector<std::unique_ptr<testing::Client>>;
Clients ConnectTo(const std::vector<int>& ports);

// One AppendEvents.
Verdict SendOnce(const Clients& clients, const SendPlan& plan, AppendLog* log, Tracked* tracked);

// The version that an attempt's answer told: of an append its last one, of a conflict the actual
// one.
std::optional<std::int64_t> ToldVersion(const Attempt& attempt);

// Waits before trying again; nothing can cut it short.
void BackOff(std::chrono::milliseconds duration);

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_CLIENT_APPENDER_H_
