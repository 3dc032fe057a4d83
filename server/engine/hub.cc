#include "server/engine/hub.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/core/ids.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

// How often stalled subscribers are looked for and metrics are set.
constexpr std::chrono::seconds kTick{1};
// The longest gap that is read into the ring, and the most events that may lie in the inbox: beyond
// it the ring starts anew at the head and subscribers catch up from the tables.
constexpr std::int64_t kGapEventsMax = 20'000;
constexpr std::int64_t kInboxEventsMax = 100'000;
// Whoever is behind and got no further for so long counts as stuck.
constexpr std::chrono::milliseconds kStuckLimit{10'000};

double Seconds(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

// What a tick finds of all subscriptions.
struct Totals {
  std::int64_t live = 0, catching_up = 0, lag_max = 0, lag_sum = 0, left = 0, stuck = 0;
  std::chrono::milliseconds stalled_max{0}, stuck_max{0}, catch_up_max{0};

  void Add(bool is_live, std::int64_t lag, std::chrono::milliseconds stalled,
           std::chrono::milliseconds stuck_for, std::chrono::milliseconds catch_up) {
    ++(is_live ? live : catching_up);
    if (!is_live) left += lag;
    lag_max = std::max(lag_max, lag);
    lag_sum += lag;
    if (stuck_for >= kStuckLimit) ++stuck;
    stalled_max = std::max(stalled_max, stalled);
    stuck_max = std::max(stuck_max, stuck_for);
    catch_up_max = std::max(catch_up_max, catch_up);
  }

  void Publish(const telemetry::ReadMetrics& metrics) const {
    metrics.subscribers_live->Set(static_cast<double>(live));
    metrics.subscribers_catching_up->Set(static_cast<double>(catching_up));
    metrics.subscriber_lag_max->Set(static_cast<double>(lag_max));
    metrics.subscriber_lag_sum->Set(static_cast<double>(lag_sum));
    metrics.subscriber_stalled_seconds_max->Set(Seconds(stalled_max));
    metrics.subscriber_stuck_seconds_max->Set(Seconds(stuck_max));
    metrics.subscribers_stuck->Set(static_cast<double>(stuck));
    metrics.catch_up_positions_left->Set(static_cast<double>(left));
    metrics.catch_up_seconds_max->Set(Seconds(catch_up_max));
  }
};

}  // namespace

Hub::Hub(const HubOptions& options, Reader* reader, telemetry::ReadMetrics metrics)
    : options_(options),
      reader_(reader),
      metrics_(metrics),
      ring_(options.ring_bytes_max),
      thread_([this] { ThreadMain(); }) {}

Hub::~Hub() { Stop(); }

absl::StatusOr<std::shared_ptr<Subscription>> Hub::Subscribe(
    SubscriptionQuery query, std::function<void(absl::Status)> on_dropped) {
  const WakeIndex::Subscriber number = last_number_.fetch_add(1) + 1;
  std::shared_ptr<Subscription> subscription(new Subscription(
      this, number, FormatUuid(MakeUuidV7()), std::move(query), std::move(on_dropped)));
  MutexLock lock(&mutex_);
  if (stopped_) return StoreUnavailable("the server is shutting down");
  if (static_cast<std::int64_t>(subscriptions_.size()) >= options_.subscriptions_max) {
    return Overloaded("hub.subscriptions_max", options_.subscriptions_max,
                      std::chrono::milliseconds(5000), "too many subscriptions");
  }
  subscriptions_.emplace(number, subscription);
  return subscription;
}

void Hub::Remove(const Subscription& subscription) {
  std::shared_ptr<Subscription> removed;  // destroyed after the locks are released
  MutexLock wake_lock(&wake_mutex_);
  MutexLock lock(&mutex_);
  (void)index_.Unpark(subscription.number_, ring_.end_position());
  const auto found = subscriptions_.find(subscription.number_);
  if (found == subscriptions_.end()) return;
  removed = std::move(found->second);
  subscriptions_.erase(found);
}

bool Hub::Park(const Subscription& subscription, std::int64_t epoch, std::int64_t position,
               std::int64_t due) {
  MutexLock wake_lock(&wake_mutex_);
  {
    MutexLock lock(&mutex_);
    // One that read another daemon's commits from the tables may be ahead of the ring.
    if (ring_.epoch() != epoch || ring_.end_position() > position) return false;
  }
  index_.Park(subscription.number_, &subscription.wake_keys_, due);
  return true;
}

std::int64_t Hub::Unpark(const Subscription& subscription, std::int64_t position) {
  MutexLock wake_lock(&wake_mutex_);
  std::int64_t end = 0;
  {
    MutexLock lock(&mutex_);
    end = ring_.end_position();
  }
  return std::max(position, index_.Unpark(subscription.number_, end).value_or(position));
}

void Hub::Publish(CommittedBatch batch) {
  if (batch.events.empty()) return;
  MutexLock lock(&mutex_);
  if (batch.epoch == ring_.epoch()) {
    head_position_ = std::max(head_position_, batch.events.back().global_position());
    NoteRevision(batch.revision);
  }
  inbox_events_ += static_cast<std::int64_t>(batch.events.size());
  inbox_.push_back(std::move(batch));
  if (inbox_events_ > kInboxEventsMax) {  // the hub cannot keep up: the tables have it all
    inbox_.clear();
    inbox_events_ = 0;
  }
  changed_.NotifyOne();
}

void Hub::ResetRing(std::int64_t epoch, std::int64_t end_position) {
  index_.WakeAll(ring_.end_position());
  if (epoch != ring_.epoch()) {
    revision_ = seen_revision_ = kNoRevision;
    erased_revision_ = 0;
  }
  ring_.Reset(epoch, end_position);
  head_position_ = end_position;
  wake_all_ = true;
}

void Hub::Rewind(std::int64_t epoch, std::int64_t head_position, std::int64_t revision) {
  MutexLock wake_lock(&wake_mutex_);
  MutexLock lock(&mutex_);
  ResetRing(epoch, head_position);
  NoteRevision(revision);
  inbox_.clear();
  inbox_events_ = 0;
  changed_.NotifyOne();
}

void Hub::NoticeHead(std::int64_t epoch, std::int64_t head_position, std::int64_t revision) {
  MutexLock wake_lock(&wake_mutex_);
  MutexLock lock(&mutex_);
  if (epoch > ring_.epoch()) {
    // Another daemon found the rewind before our lane did.
    ResetRing(epoch, head_position);
  } else if (epoch < ring_.epoch()) {
    return;
  }
  NoteRevision(revision);
  if (head_position <= head_position_ && !WantsChanges()) return;
  head_position_ = std::max(head_position_, head_position);
  changed_.NotifyOne();
}

RecentBlocks Hub::Recent(std::int64_t epoch, std::int64_t after_position) {
  RecentBlocks recent;
  MutexLock lock(&mutex_);
  if (ring_.epoch() != epoch) return recent;
  recent.end_position = ring_.end_position();
  recent.after_position = std::max(after_position, ring_.end_position() - ring_.events());
  if (recent.after_position < recent.end_position) {
    recent.blocks = ring_.After(recent.after_position, SIZE_MAX);
  }
  return recent;
}

RecentRange Hub::Remembered() {
  MutexLock lock(&mutex_);
  return {.epoch = ring_.epoch(),
          .after_position = ring_.end_position() - ring_.events(),
          .end_position = ring_.end_position()};
}

Hub::Subscriptions Hub::Snapshot() {
  Subscriptions all;
  MutexLock lock(&mutex_);
  all.reserve(subscriptions_.size());
  for (const auto& [number, subscription] : subscriptions_) all.push_back(subscription);
  return all;
}

void Hub::ThreadMain() {
  Deadline next_tick = Clock::now() + kTick;
  while (true) {
    std::vector<CommittedBatch> inbox;
    bool wake_all = false;
    {
      MutexLock lock(&mutex_);
      while (!stopped_ && inbox_.empty() && !wake_all_ && !WantsChanges() &&
             (filling_ || head_position_ <= ring_.end_position()) && Clock::now() < next_tick) {
        changed_.WaitUntil(&mutex_, next_tick);
      }
      if (stopped_) return;
      inbox.swap(inbox_);
      inbox_events_ = 0;
      wake_all = std::exchange(wake_all_, false);
    }
    Subscriptions woken;
    Advance(std::move(inbox), &woken);
    FillGap();
    ReadChanges();
    if (wake_all) woken = Snapshot();  // those of Advance too
    metrics_.wakes->Increment(static_cast<double>(woken.size()));
    for (const auto& subscription : woken) subscription->Pump();
    if (Clock::now() >= next_tick) {
      Tick();
      next_tick = Clock::now() + kTick;
    }
  }
}

void Hub::Advance(std::vector<CommittedBatch> inbox, Subscriptions* woken) {
  for (CommittedBatch& batch : inbox) {
    std::int64_t next = 0;
    {
      MutexLock lock(&mutex_);
      if (batch.epoch != ring_.epoch() || batch.revision < erased_revision_) continue;
      next = ring_.end_position() + 1;
    }
    auto& events = batch.events;
    if (events.back().global_position() < next) continue;   // read from the tables meanwhile
    if (events.front().global_position() > next) continue;  // a gap before it: FillGap reads both
    // A page of the tables may end inside a batch.
    events.erase(events.begin(),
                 std::find_if(events.begin(), events.end(),
                              [&](const v1::Event& e) { return e.global_position() >= next; }));
    AppendToRing(std::move(batch), woken);
  }
}

// Encodes outside of the locks: only this thread appends, so the end cannot move meanwhile, but a
// rewind or an erasure may come in between. The index is asked outside of the lane's lock.
void Hub::AppendToRing(CommittedBatch batch, Subscriptions* woken) {
  auto block = EventBlock::Make(std::move(batch.events));
  MutexLock wake_lock(&wake_mutex_);
  {
    MutexLock lock(&mutex_);
    if (ring_.epoch() != batch.epoch || batch.revision < erased_revision_ ||
        block->first_position() != ring_.end_position() + 1) {
      return;
    }
  }
  const std::vector<WakeIndex::Subscriber> concerned = index_.Advance(*block);
  MutexLock lock(&mutex_);
  for (const WakeIndex::Subscriber number : concerned) {
    const auto found = subscriptions_.find(number);
    if (found != subscriptions_.end()) woken->push_back(found->second);
  }
  ring_.Append(std::move(block));
  head_position_ = std::max(head_position_, ring_.end_position());
  metrics_.ring_bytes->Set(static_cast<double>(ring_.memory_bytes()));
  metrics_.ring_events->Set(static_cast<double>(ring_.events()));
}

void Hub::FillGap() {
  AllPageQuery query;
  {
    MutexLock wake_lock(&wake_mutex_);
    MutexLock lock(&mutex_);
    if (filling_ || stopped_ || head_position_ <= ring_.end_position()) return;
    if (head_position_ - ring_.end_position() > kGapEventsMax) {
      ResetRing(ring_.epoch(), head_position_);
      return;
    }
    filling_ = true;
    query.after_position = ring_.end_position();
    query.epoch = ring_.epoch();
  }
  const std::int64_t epoch = query.epoch;
  reader_->ReadAllPage(std::move(query), Deadline::max(), [this, epoch](auto page) {
    MutexLock lock(&mutex_);
    filling_ = false;
    changed_.NotifyOne();
    if (ring_.epoch() != epoch) return;  // rewound meanwhile: what is known now is newer
    if (!page.ok()) {
      // Tried again when the next batch or poll shows a head; nothing is lost meanwhile.
      spdlog::warn("subscribers wait for events of another daemon: {}",
                   telemetry::MessageOf(page.status()));
      head_position_ = ring_.end_position();
    } else if (!page->events.empty()) {
      inbox_events_ += static_cast<std::int64_t>(page->events.size());
      NoteRevision(page->head.revision);
      inbox_.insert(inbox_.begin(),
                    CommittedBatch{epoch, page->head.revision, std::move(page->events)});
    } else {
      head_position_ = ring_.end_position();
    }
  });
}

void Hub::Tick() {
  std::int64_t head = 0;
  std::int64_t ring_end = 0;
  {
    MutexLock lock(&mutex_);
    head = head_position_;
    ring_end = ring_.end_position();
    changes_failed_ = false;
  }
  Totals totals;
  for (const auto& subscription : Snapshot()) {
    const Subscription::Condition condition = subscription->Examine(ring_end, head, kStuckLimit);
    totals.Add(condition.live, std::max<std::int64_t>(0, head - condition.position),
               condition.stalled, condition.stuck, condition.catch_up);
    if (condition.newly_stuck) {
      spdlog::warn(
          "subscription {}: is behind and has got no further than position {} for {} ms; "
          "it waits for {}",
          subscription->id(), condition.position, condition.stuck.count(),
          condition.stalled.count() > 0 ? "its client" : "the database");
    }
    if (condition.stalled > options_.stall_timeout_ms) {
      metrics_.slow_consumers->Increment();
      spdlog::warn("subscription {}: dropped, the client took nothing for {} ms",
                   subscription->id(), condition.stalled.count());
      subscription->DropSlow(options_.stall_timeout_ms);
    } else {
      subscription->Retry();
    }
  }
  totals.Publish(metrics_);
}

void Hub::Stop() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
  for (const auto& subscription : Snapshot()) {
    subscription->End(StoreUnavailable("the server is shutting down"));
  }
}

}  // namespace eventstore::engine
