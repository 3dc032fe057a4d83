// Pushes what was just committed to subscribers, from memory.
#ifndef EVENTSTORE_SERVER_ENGINE_HUB_H_
#define EVENTSTORE_SERVER_ENGINE_HUB_H_

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/engine/reader.h"
#include "server/engine/ring.h"
#include "server/engine/subscription.h"
#include "server/engine/wake_index.h"
#include "server/engine/writer.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// One per store. Owns the ring of newest events and a thread that encodes what was committed, fills
// gaps from the tables, and wakes the subscribers that it concerns. No subscriber can slow the lane
// or another subscriber: what Publish locks is never held while anything is looked up or evaluated.
// Thread-safe. Locks are taken in the order subscription, `wake_mutex_`, `mutex_`.
class Hub {
 public:
  // `reader` must outlive this object, and Stop() must come before the reader's.
  Hub(const HubOptions& options, Reader* reader, telemetry::ReadMetrics metrics);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  // Starts a subscription; its first message will be kConfirmed. `on_dropped` is called at most
  // once, from the hub's thread, when the client is dropped while it holds a message
  // (SLOW_CONSUMER, or the hub stops). Errors: OVERLOADED (`hub.subscriptions_max`),
  // STORE_UNAVAILABLE.
  [[nodiscard]] absl::StatusOr<std::shared_ptr<Subscription>> Subscribe(
      SubscriptionQuery query, std::function<void(absl::Status)> on_dropped);

  // From the lane, after a commit. Does not block.
  void Publish(CommittedBatch batch);
  // A revision that was not told of.
  static constexpr std::int64_t kNoRevision = -1;
  // The history is another one from now on: forgets the ring.
  void Rewind(std::int64_t epoch, std::int64_t head_position, std::int64_t revision = kNoRevision);
  // Somebody else's commit (or the slow poll) showed this head: fills the ring from the tables. And
  // a revision: reads what was changed.
  void NoticeHead(std::int64_t epoch, std::int64_t head_position,
                  std::int64_t revision = kNoRevision);
  // Streams or events were changed. When this returns, no subscription gives what was erased, nor
  // what is hidden in its stream. Any thread.
  void Apply(const tables::LogChanges& changes);
  // Who else is told of that, on the thread that calls Apply, or the reader's. Call once, before
  // anything else is.
  void OnChanges(std::function<void(const tables::LogChanges&)> on_changes) {
    on_changes_ = std::move(on_changes);
  }

  // The newest events of this epoch after a position, as far back as the ring goes; none of another
  // epoch. For those who evaluate conditions. Any thread; does not block.
  [[nodiscard]] RecentBlocks Recent(std::int64_t epoch, std::int64_t after_position);
  // How far back that is. Any thread; does not block.
  [[nodiscard]] RecentRange Remembered();

  // Ends every subscription with STORE_UNAVAILABLE and joins the thread. Idempotent.
  void Stop();

 private:
  friend class Subscription;
  using Subscriptions = std::vector<std::shared_ptr<Subscription>>;

  void ThreadMain();
  // Moves the ring on with what lies in the inbox. Adds whom that concerns to `woken`.
  void Advance(std::vector<CommittedBatch> inbox, Subscriptions* woken);
  void AppendToRing(CommittedBatch batch, Subscriptions* woken);
  // Starts the ring anew. Everybody has to look where that leaves them.
  void ResetRing(std::int64_t epoch, std::int64_t end_position)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(wake_mutex_, mutex_);
  // Reads what lies between the ring and the newest head known, if anything does.
  void FillGap();
  // hub_changes.cc: reads what was changed up to the newest revision known, if anything was.
  void ReadChanges();
  void NoteRevision(std::int64_t revision) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  [[nodiscard]] bool WantsChanges() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return seen_revision_ > revision_ && !reading_changes_ && !changes_failed_;
  }
  // Whether what was read at this head may hold content that was erased since.
  [[nodiscard]] bool IsStale(const tables::Head& head);
  void Tick();
  void Remove(const Subscription& subscription);
  [[nodiscard]] Subscriptions Snapshot();

  // For a live subscription that has seen everything up to `position`: from now on it is pumped
  // when an event may concern it, at the position `due`, or when the ring starts anew. False if
  // there is more to see already.
  [[nodiscard]] bool Park(const Subscription& subscription, std::int64_t epoch,
                          std::int64_t position, std::int64_t due);
  // The end of that. The position up to which nothing concerned it.
  [[nodiscard]] std::int64_t Unpark(const Subscription& subscription, std::int64_t position);

  const HubOptions options_;
  Reader* const reader_;
  const telemetry::ReadMetrics metrics_;
  // The ring moves, and subscriptions park, only under both mutexes.
  Mutex wake_mutex_;
  WakeIndex index_ ABSL_GUARDED_BY(wake_mutex_);
  Mutex mutex_;
  CondVar changed_;
  Ring ring_ ABSL_GUARDED_BY(mutex_);
  std::vector<CommittedBatch> inbox_ ABSL_GUARDED_BY(mutex_);
  std::int64_t inbox_events_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t head_position_ ABSL_GUARDED_BY(mutex_) =
      0;  // newest head known, of the ring's epoch
  bool filling_ ABSL_GUARDED_BY(mutex_) = false;
  // Of the ring's epoch: up to which revision changes were applied (kNoRevision: any may be the
  // first), the newest one heard of, and the newest that erased something: what was read or
  // committed before that is not given to anybody any more.
  std::int64_t revision_ ABSL_GUARDED_BY(mutex_) = kNoRevision;
  std::int64_t seen_revision_ ABSL_GUARDED_BY(mutex_) = kNoRevision;
  std::int64_t erased_revision_ ABSL_GUARDED_BY(mutex_) = 0;
  bool reading_changes_ ABSL_GUARDED_BY(mutex_) = false;
  bool changes_failed_ ABSL_GUARDED_BY(mutex_) = false;  // until the next tick
  // Counts erasures, for subscriptions that hold pages. Changed under the mutex.
  std::atomic<std::int64_t> erasures_{0};
  std::function<void(const tables::LogChanges&)> on_changes_;
  bool wake_all_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<WakeIndex::Subscriber> last_number_{0};
  absl::flat_hash_map<WakeIndex::Subscriber, std::shared_ptr<Subscription>> subscriptions_
      ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_HUB_H_
