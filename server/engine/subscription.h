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
#include "server/engine/wake_index.h"

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
  std::optional<v1::StreamId> stream;         // only this stream; together with `filter`: both hold
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
  // STORE_UNAVAILABLE (the hub stops), STREAM_DELETED (for good, of the stream that it follows),
  // CANCELLED (after Close). The time between an answer and the
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

  // About the most bytes of one message: a client's default limit for a message is 4 MiB.
  static constexpr std::size_t kMessageBytesMax = 1 << 20;

  // What the hub's tick needs to know.
  struct Condition {
    bool live = false;
    std::int64_t position = 0;
    std::chrono::milliseconds stalled{0};   // 0: it waits for us, not for the client
    std::chrono::milliseconds stuck{0};     // 0: it has everything, or got on since the last look
    std::chrono::milliseconds catch_up{0};  // how long it has been in history; 0: it is not
    bool newly_stuck = false;               // past the limit since the last look
  };

  Subscription(Hub* hub, WakeIndex::Subscriber number, std::string id, SubscriptionQuery query,
               std::function<void(absl::Status)> on_dropped);

  // Answers an unanswered call if there is something to say, or sees to it that there will be.
  void Pump();
  // From the hub: ends it with `status`; tells the client now if it waits, or by `on_dropped`.
  void End(const absl::Status& status);
  void DropSlow(std::chrono::milliseconds limit);
  // `ring_end`: the newest position that everybody who waits has seen; `head`: the newest there is.
  // Who is behind and does not move is stuck after `stuck_limit`.
  [[nodiscard]] Condition Examine(std::int64_t ring_end, std::int64_t head,
                                  std::chrono::milliseconds stuck_limit);
  // After a pause for a database that was away or a full queue.
  void Retry();
  // Streams were truncated or deleted: if the one that it follows is among them, its row is read
  // anew before anything else is given.
  void OnChanges(const tables::LogChanges& changes);

  void EndLocked(absl::Status status, Next* waiting, bool* dropped)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A message if there is one; otherwise perhaps work that will bring one, to be done once the
  // mutex is released.
  std::optional<absl::StatusOr<SubscriptionMessage>> NextMessage(std::function<void()>* work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether it now waits to be woken: live, with nothing to say.
  bool Park() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool NextLive(SubscriptionMessage* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool CollectFromRing(SubscriptionMessage* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether the ring has, or will have, everything after the cursor.
  bool CanJoinRing() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  SubscriptionMessage Tell(SubscriptionMessage::Kind kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EnqueueEvents(std::vector<v1::Event> events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether it is the stream that it follows; it must follow one.
  [[nodiscard]] bool IsOf(const v1::StreamId& stream) const;
  bool Matches(const v1::Event& event) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Forgets what was read and not given yet; it will be read again.
  void DropReady() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether a page was read before something in it was erased or hidden.
  bool IsStale(const AllPage& page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // subscription_history.cc
  // Each returns what to do once the mutex is released.
  std::function<void()> StartWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::function<void()> PageWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnStarted(absl::StatusOr<tables::Head> head, std::int64_t position);
  void OnPage(absl::StatusOr<AllPage> page);
  void OnPageFailed(absl::Status status, Next* waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Hub* const hub_;
  const WakeIndex::Subscriber number_;
  const std::string id_;
  const SubscriptionQuery query_;
  const std::vector<std::string> wake_keys_;
  const std::function<void(absl::Status)> on_dropped_;

  Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kStarting;
  absl::Status end_status_ ABSL_GUARDED_BY(mutex_);
  Next waiting_ ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;  // a read is under way, or waits for its retry
  bool retry_ ABSL_GUARDED_BY(mutex_) = false;    // the read failed; the hub's tick tries it again
  Deadline failing_since_ ABSL_GUARDED_BY(mutex_) = Deadline::max();
  bool told_caught_up_ ABSL_GUARDED_BY(mutex_) = false;
  // Waits in the hub's index: its cursor stands still, and Hub::Unpark tells where it is now.
  bool parked_ ABSL_GUARDED_BY(mutex_) = false;
  std::int64_t position_ ABSL_GUARDED_BY(mutex_) = 0;  // looked at up to here
  // Where a page of the stream that it follows starts; 0: not known.
  std::int64_t next_version_ ABSL_GUARDED_BY(mutex_) = 0;
  // Of the stream that it follows, as the last page had it: events before it are not given.
  std::int64_t first_version_ ABSL_GUARDED_BY(mutex_) = 1;
  // The stream has to be read at this revision or later before anything else: at the start, and
  // when it was changed.
  struct Reread {
    std::int64_t epoch = 0;
    std::int64_t revision = 0;
  };
  std::optional<Reread> reread_ ABSL_GUARDED_BY(mutex_);
  // The hub's count of erasures when `ready_` was read.
  std::int64_t seen_erasures_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t told_position_ ABSL_GUARDED_BY(mutex_) = 0;  // last position in a message
  // The message that the client was given last, and the last one that it has taken.
  std::int64_t given_position_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t taken_position_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t start_head_ ABSL_GUARDED_BY(mutex_) = 0;  // history to have before "caught up"
  // Until the hub has applied what was changed up to it, the ring is not joined.
  std::int64_t start_revision_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<SubscriptionMessage> ready_ ABSL_GUARDED_BY(mutex_);
  // For Examine: where it was at the last look, since when, and whether that was told.
  std::int64_t examined_position_ ABSL_GUARDED_BY(mutex_) = -1;
  Deadline moved_at_ ABSL_GUARDED_BY(mutex_) = Deadline::max();
  bool told_stuck_ ABSL_GUARDED_BY(mutex_) = false;
  // Since when it has not had everything; max: it has.
  Deadline behind_since_ ABSL_GUARDED_BY(mutex_);
  // Since when the client has had a message that it has not asked beyond; max: it waits for us.
  Deadline taken_since_ ABSL_GUARDED_BY(mutex_) = Deadline::max();
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_SUBSCRIPTION_H_
