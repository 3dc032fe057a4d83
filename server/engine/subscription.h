// A reader that follows the store.
#ifndef EVENTSTORE_SERVER_ENGINE_SUBSCRIPTION_H_
#define EVENTSTORE_SERVER_ENGINE_SUBSCRIPTION_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/filter.h"
#include "server/core/mutex.h"
#include "server/engine/event_block.h"
#include "server/engine/reader.h"

namespace eventstore::engine {

class Hub;

// One message to a subscriber. Each has a position to resume after.
struct SubscriptionMessage {
  enum class Kind { kConfirmed, kEvents, kCheckpoint, kCaughtUp, kFellBehind };
  Kind kind = Kind::kEvents;
  std::int64_t position = 0;
  std::int64_t epoch = 0;
  std::vector<EventRun> runs;  // kEvents: at least one event, in order
};

// What a subscriber asked for; validated.
struct SubscriptionQuery {
  struct FromBeginning {};
  struct FromEnd {};
  struct AfterPosition {
    std::int64_t position = 0;
    std::int64_t epoch = 0;  // 0: not checked
  };
  struct FromTime {
    std::int64_t created_at_micros = 0;  // inclusive
  };
  struct FromCheckpoint {
    std::string projection;
  };
  std::variant<FromBeginning, FromEnd, AfterPosition, FromTime, FromCheckpoint> start;
  std::shared_ptr<const EventFilter> filter;  // null: everything
  std::optional<v1::StreamId> stream;         // only this stream
  std::int64_t batch_events_max = 500;
  std::int64_t checkpoint_interval = 10'000;  // positions
};

// A cursor, not a queue. Inside the ring it is live; fallen off it, it reads pages of history and
// joins again. Made by Hub::Subscribe. Thread-safe.
class Subscription : public std::enable_shared_from_this<Subscription> {
 public:
  using Next = std::function<void(absl::StatusOr<SubscriptionMessage>)>;

  // Asks for the next message; at most one call may be unanswered. `next` is called exactly once:
  // inline where a message is ready in memory, otherwise later from a thread of the hub or the
  // reader. An error ends the subscription: POSITION_AHEAD, ARCHIVED, SLOW_CONSUMER,
  // STORE_UNAVAILABLE (the hub stops), CANCELLED (after Close). The time between an answer and the
  // next call is the time that the client needs to take the message: past `hub.stall_timeout_ms`
  // the subscription is dropped and `on_dropped` called.
  void RequestNext(Next next);

  // Ends it; an unanswered call is answered with CANCELLED. Idempotent.
  void Close();

  // A UUID, for logs.
  [[nodiscard]] const std::string& id() const { return id_; }

 private:
  friend class Hub;
  enum class State { kStarting, kCatchingUp, kLive, kEnded };

  // What the hub's tick needs to know.
  struct Condition {
    bool live = false;
    std::int64_t position = 0;
    std::chrono::milliseconds stalled{0};  // 0: it waits for us, not for the client
  };

  Subscription(Hub* hub, std::string id, SubscriptionQuery query,
               std::function<void(absl::Status)> on_dropped)
      : hub_(hub),
        id_(std::move(id)),
        query_(std::move(query)),
        on_dropped_(std::move(on_dropped)) {}

  // Answers an unanswered call if there is something to say, or sees to it that there will be.
  void Pump();
  // From the hub: ends it with `status`; tells the client now if it waits, or by `on_dropped`.
  void End(const absl::Status& status);
  void DropSlow(std::chrono::milliseconds limit);
  [[nodiscard]] Condition Examine();
  // After a pause for a database that was away or a full queue.
  void Retry();

  void EndLocked(absl::Status status, Next* waiting, bool* dropped)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A message if there is one; otherwise perhaps work that will bring one, to be done once the
  // mutex is released.
  std::optional<absl::StatusOr<SubscriptionMessage>> NextMessage(std::function<void()>* work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool NextLive(SubscriptionMessage* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool CollectFromRing(SubscriptionMessage* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether the ring has, or will have, everything after the cursor.
  bool CanJoinRing() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  SubscriptionMessage Tell(SubscriptionMessage::Kind kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EnqueueEvents(std::vector<v1::Event> events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Matches(const v1::Event& event) const;

  // Each returns what to do once the mutex is released.
  std::function<void()> StartWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::function<void()> PageWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnStarted(absl::StatusOr<tables::Head> head, std::int64_t position);
  void OnPage(absl::StatusOr<AllPage> page);
  void OnPageFailed(absl::Status status, Next* waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Hub* const hub_;
  const std::string id_;
  const SubscriptionQuery query_;
  const std::function<void(absl::Status)> on_dropped_;

  Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kStarting;
  absl::Status end_status_ ABSL_GUARDED_BY(mutex_);
  Next waiting_ ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;  // a read is under way, or waits for its retry
  bool retry_ ABSL_GUARDED_BY(mutex_) = false;    // the read failed; the hub's tick tries it again
  Deadline failing_since_ ABSL_GUARDED_BY(mutex_) = Deadline::max();
  bool told_caught_up_ ABSL_GUARDED_BY(mutex_) = false;
  std::int64_t position_ ABSL_GUARDED_BY(mutex_) = 0;  // looked at up to here
  // Last version seen of the stream that it follows, so that a page of it starts there.
  std::int64_t stream_version_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t told_position_ ABSL_GUARDED_BY(mutex_) = 0;  // last position in a message
  // The message that the client was given last, and the last one that it has taken.
  std::int64_t given_position_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t taken_position_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t start_head_ ABSL_GUARDED_BY(mutex_) = 0;  // history to have before "caught up"
  std::deque<SubscriptionMessage> ready_ ABSL_GUARDED_BY(mutex_);
  // Since when the client has had a message that it has not asked beyond; max: it waits for us.
  Deadline taken_since_ ABSL_GUARDED_BY(mutex_) = Deadline::max();
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_SUBSCRIPTION_H_
