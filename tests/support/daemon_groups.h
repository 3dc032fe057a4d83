// Consumer groups in tests of the daemon.
#ifndef EVENTSTORE_TESTS_SUPPORT_DAEMON_GROUPS_H_
#define EVENTSTORE_TESTS_SUPPORT_DAEMON_GROUPS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "eventstore/v1/consumer_group_service.pb.h"
#include "eventstore/v1/dead_letter_service.pb.h"

#include "tests/support/daemon_events.h"

namespace eventstore::testing {

// The path of a method of the service.
std::string GroupMethod(const std::string& name);

// Creates a group with these settings; throws if that fails.
v1::ConsumerGroup CreateGroup(Client& client, const std::string& name,
                              const v1::ConsumerGroupSettings& settings = {});
CallStatus TryGetGroup(Client& client, const std::string& name, v1::ConsumerGroup* group);
v1::ConsumerGroup GetGroup(Client& client, const std::string& name);
// Waits until everything is settled up to the head.
bool WaitForLagZero(Client& client, const std::string& name,
                    std::chrono::milliseconds timeout = kPatience);
void SetMillis(std::int64_t millis, google::protobuf::Duration* duration);
// A group that retries at once, gives up soon and notices a dead daemon soon.
v1::ConsumerGroupSettings QuickGroup();

// Several streams with so many events each, in turns.
std::vector<v1::StreamId> AppendStreams(Client& client, int streams, int events);

// A group's dead letters by position; of all states where `status` is unspecified.
std::vector<v1::DeadLetter> DeadLettersOf(
    Client& client, const std::string& group,
    v1::DeadLetterStatus status = v1::DEAD_LETTER_STATUS_UNSPECIFIED);
std::size_t FailedDeadLetters(Client& client, const std::string& group);
// Decides on all of a group's dead letters; how many that changed. Throw if that fails.
std::int64_t RetryDeadLetters(Client& client, const std::string& group);
std::int64_t ResolveDeadLetters(Client& client, const std::string& group,
                                const std::vector<std::int64_t>& ids = {});

// A member. One thread at a time.
class Consumer {
 public:
  Consumer(Client& client, const std::string& group, std::int64_t max_in_flight = 0,
           const std::string& member_name = "");

  // The next message; nothing if the call ended or none came in time. Lanes are noted.
  std::optional<v1::ConsumeResponse> Next(std::chrono::milliseconds timeout = kPatience);
  // Reads until there are `count` events (since the last call) or nothing comes in time.
  std::vector<v1::DeliveredEvent> NextEvents(std::size_t count,
                                             std::chrono::milliseconds timeout = kPatience);
  // Reads until it owns so many lanes.
  bool WaitForLanes(std::size_t count, std::chrono::milliseconds timeout = kPatience);
  bool Ack(const std::vector<v1::DeliveredEvent>& events);
  bool Nack(const v1::DeliveredEvent& event, v1::NackAction action, const std::string& reason = "",
            std::optional<std::int64_t> delay_ms = std::nullopt);
  bool Send(const v1::ConsumeRequest& request);
  // Half-closes and tells how the call ended.
  CallStatus Leave();

  [[nodiscard]] const v1::ConsumeJoined& joined() const { return joined_; }
  [[nodiscard]] const std::set<std::int32_t>& lanes() const { return lanes_; }
  Call& call() { return *call_; }

 private:
  std::unique_ptr<Call> call_;
  v1::ConsumeJoined joined_;
  std::set<std::int32_t> lanes_;
  std::vector<v1::DeliveredEvent> events_;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_DAEMON_GROUPS_H_
