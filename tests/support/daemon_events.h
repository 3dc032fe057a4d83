// What tests of the daemon say again and again: make streams and events, append, read, subscribe.
#ifndef EVENTSTORE_TESTS_SUPPORT_DAEMON_EVENTS_H_
#define EVENTSTORE_TESTS_SUPPORT_DAEMON_EVENTS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "tests/support/daemon.h"
#include "tests/support/postgres.h"

namespace eventstore::testing {

std::string NewUuid();
// `prefix` and something that no other test has.
std::string UniqueName(const std::string& prefix);
// A stream that nobody else uses.
v1::StreamId NewStream(const std::string& type = "Order");

v1::ExpectedVersion Any();
v1::ExpectedVersion NoStream();
v1::ExpectedVersion StreamExists();
v1::ExpectedVersion Exact(std::int64_t version);

// An event with an id of its own.
v1::NewEvent NewEvent(const std::string& type = "OrderPlaced", const std::string& json = "{}");
std::vector<v1::NewEvent> NewEvents(int count, const std::string& type = "OrderPlaced");

v1::AppendEventsRequest AppendRequest(const v1::StreamId& stream,
                                      const v1::ExpectedVersion& expected,
                                      const std::vector<v1::NewEvent>& events);
CallStatus Append(Client& client, const v1::AppendEventsRequest& request,
                  v1::AppendEventsResponse* response,
                  std::chrono::milliseconds timeout = kCallTimeout);
// Appends with any version; throws if that fails.
v1::AppendEventsResponse MustAppend(Client& client, const v1::StreamId& stream,
                                    const std::vector<v1::NewEvent>& events);

// A read with all its messages put together.
struct StreamRead {
  CallStatus status;
  bool info_first = false;
  v1::StreamInfo info;
  std::vector<v1::Event> events;
};
StreamRead ReadStream(Client& client, const v1::ReadStreamRequest& request);
StreamRead ReadStream(Client& client, const v1::StreamId& stream);
std::vector<std::int64_t> VersionsOf(const std::vector<v1::Event>& events);
std::vector<std::int64_t> PositionsOf(const std::vector<v1::Event>& events);
std::vector<std::string> IdsOf(const std::vector<v1::Event>& events);

struct AllRead {
  CallStatus status;
  std::vector<v1::Event> events;
  std::int64_t position = 0;  // of the last message
  std::int64_t epoch = 0;
  std::int64_t head = 0;
};
AllRead ReadAll(Client& client, const v1::ReadAllRequest& request);

v1::GetHeadResponse GetHead(Client& client);
v1::StreamInfo GetInfo(Client& client, const v1::StreamId& stream);

// A subscription that checks, with every message, what always holds: `confirmed` first and once,
// positions that never go back, events in order and after the start.
class Subscriber {
 public:
  Subscriber(Client& client, const v1::SubscribeRequest& request,
             std::chrono::milliseconds timeout = std::chrono::minutes(5));

  // The next message; nothing if the call ended or none came in time.
  std::optional<v1::SubscribeResponse> Next(std::chrono::milliseconds timeout = kPatience);
  // Reads until there are `count` events (since the last call) or nothing comes any more.
  std::vector<v1::Event> NextEvents(std::size_t count,
                                    std::chrono::milliseconds timeout = kPatience);
  // Reads until a message of the kind, and tells whether one came. Events on the way are kept for
  // NextEvents.
  bool ReadUntil(v1::SubscribeResponse::MessageCase kind,
                 std::chrono::milliseconds timeout = kPatience);

  [[nodiscard]] const v1::SubscriptionConfirmed& confirmed() const { return confirmed_; }
  [[nodiscard]] int caught_up_count() const { return caught_up_; }
  [[nodiscard]] int fell_behind_count() const { return fell_behind_; }
  [[nodiscard]] std::int64_t position() const { return position_; }
  // What broke the rules above; empty if nothing did.
  [[nodiscard]] const std::string& violation() const { return violation_; }
  Call& call() { return *call_; }

 private:
  void Note(const v1::SubscribeResponse& message);
  void NotePosition(std::int64_t position);

  std::unique_ptr<Call> call_;
  v1::SubscriptionConfirmed confirmed_;
  bool is_confirmed_ = false;
  int caught_up_ = 0;
  int fell_behind_ = 0;
  std::int64_t position_ = 0;
  std::int64_t event_position_ = 0;
  std::vector<v1::Event> events_;
  std::string violation_;
};

// The first column of the first row of a query on the store's schema.
std::int64_t QueryNumber(const std::string& dsn, const std::string& sql);
// Runs a script on the store's schema; throws if it fails.
void RunSql(const std::string& dsn, const std::string& sql);

// Whether so many sessions of a store's database come to wait for a lock.
bool WaitForBlockedSessions(const std::string& dsn, std::int64_t count);

// Holds a lock on a store's head for as long as it lives: no daemon can commit.
class LockedHead {
 public:
  explicit LockedHead(const std::string& dsn);
  // With it readers wait too.
  static constexpr char kAgainstReaders[] = "LOCK TABLE log_head IN ACCESS EXCLUSIVE MODE";
  LockedHead(const std::string& dsn, const std::string& lock_sql);

 private:
  std::unique_ptr<pg::Connection> connection_;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_DAEMON_EVENTS_H_
