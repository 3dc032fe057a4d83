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
  std::shared_ptr<Subscription> subscription(
      new Subscription(this, FormatUuid(MakeUuidV7()), std::move(query), std::move(on_dropped)));
  MutexLock lock(&mutex_);
  if (stopped_) return StoreUnavailable("the server is shutting down");
  if (static_cast<std::int64_t>(subscriptions_.size()) >= options_.subscriptions_max) {
    return Overloaded("hub.subscriptions_max", options_.subscriptions_max,
                      std::chrono::milliseconds(5000), "too many subscriptions");
  }
  subscriptions_.insert(subscription);
  return subscription;
}

void Hub::Remove(const Subscription& subscription) {
  std::shared_ptr<Subscription> removed;  // destroyed after the lock is released
  MutexLock lock(&mutex_);
  const auto found =
      subscriptions_.find(const_cast<Subscription&>(subscription).shared_from_this());
  if (found == subscriptions_.end()) return;
  removed = *found;
  subscriptions_.erase(found);
}

void Hub::Publish(CommittedBatch batch) {
  if (batch.events.empty()) return;
  MutexLock lock(&mutex_);
  if (batch.epoch == ring_.epoch()) {
    head_position_ = std::max(head_position_, batch.events.back().global_position());
  }
  inbox_events_ += static_cast<std::int64_t>(batch.events.size());
  inbox_.push_back(std::move(batch));
  if (inbox_events_ > kInboxEventsMax) {  // the hub cannot keep up: the tables have it all
    inbox_.clear();
    inbox_events_ = 0;
  }
  changed_.NotifyOne();
}

void Hub::Rewind(std::int64_t epoch, std::int64_t head_position) {
  MutexLock lock(&mutex_);
  ring_.Reset(epoch, head_position);
  head_position_ = head_position;
  inbox_.clear();
  inbox_events_ = 0;
  wake_all_ = true;
  changed_.NotifyOne();
}

void Hub::NoticeHead(std::int64_t epoch, std::int64_t head_position) {
  MutexLock lock(&mutex_);
  if (epoch > ring_.epoch()) {
    // Another daemon found the rewind before our lane did.
    ring_.Reset(epoch, head_position);
    head_position_ = head_position;
    wake_all_ = true;
  } else if (epoch < ring_.epoch() || head_position <= head_position_) {
    return;
  }
  head_position_ = head_position;
  changed_.NotifyOne();
}

Hub::Subscriptions Hub::Snapshot() {
  MutexLock lock(&mutex_);
  return {subscriptions_.begin(), subscriptions_.end()};
}

void Hub::ThreadMain() {
  Deadline next_tick = Clock::now() + kTick;
  while (true) {
    std::vector<CommittedBatch> inbox;
    bool wake = false;
    {
      MutexLock lock(&mutex_);
      while (!stopped_ && inbox_.empty() && !wake_all_ &&
             (filling_ || head_position_ <= ring_.end_position()) && Clock::now() < next_tick) {
        changed_.WaitUntil(&mutex_, next_tick);
      }
      if (stopped_) return;
      inbox.swap(inbox_);
      inbox_events_ = 0;
      wake = std::exchange(wake_all_, false);
    }
    wake = Advance(std::move(inbox)) || wake;
    FillGap();
    if (wake) {
      for (const auto& subscription : Snapshot()) subscription->Pump();
    }
    if (Clock::now() >= next_tick) {
      Tick();
      next_tick = Clock::now() + kTick;
    }
  }
}

bool Hub::Advance(std::vector<CommittedBatch> inbox) {
  bool grew = false;
  for (CommittedBatch& batch : inbox) {
    std::int64_t next = 0;
    {
      MutexLock lock(&mutex_);
      if (batch.epoch != ring_.epoch()) continue;
      next = ring_.end_position() + 1;
    }
    auto& events = batch.events;
    if (events.back().global_position() < next) continue;   // read from the tables meanwhile
    if (events.front().global_position() > next) continue;  // a gap before it: FillGap reads both
    // A page of the tables may end inside a batch.
    events.erase(events.begin(),
                 std::find_if(events.begin(), events.end(),
                              [&](const v1::Event& e) { return e.global_position() >= next; }));
    AppendToRing(std::move(events), batch.epoch);
    grew = true;
  }
  return grew;
}

// Encodes outside of the lock: only this thread appends, so the end cannot move meanwhile, but a
// rewind may come in between.
void Hub::AppendToRing(std::vector<v1::Event> events, std::int64_t epoch) {
  auto block = EventBlock::Make(std::move(events));
  MutexLock lock(&mutex_);
  if (ring_.epoch() != epoch || block->first_position() != ring_.end_position() + 1) return;
  ring_.Append(std::move(block));
  head_position_ = std::max(head_position_, ring_.end_position());
  metrics_.ring_bytes->Set(static_cast<double>(ring_.memory_bytes()));
  metrics_.ring_events->Set(static_cast<double>(ring_.events()));
}

void Hub::FillGap() {
  AllPageQuery query;
  {
    MutexLock lock(&mutex_);
    if (filling_ || stopped_ || head_position_ <= ring_.end_position()) return;
    if (head_position_ - ring_.end_position() > kGapEventsMax) {
      ring_.Reset(ring_.epoch(), head_position_);
      wake_all_ = true;
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
      inbox_.insert(inbox_.begin(), CommittedBatch{epoch, std::move(page->events)});
    } else {
      head_position_ = ring_.end_position();
    }
  });
}

void Hub::Tick() {
  std::int64_t live = 0, catching_up = 0, lag_max = 0, lag_sum = 0;
  std::chrono::milliseconds stalled_max{0};
  std::int64_t head = 0;
  {
    MutexLock lock(&mutex_);
    head = head_position_;
  }
  for (const auto& subscription : Snapshot()) {
    const Subscription::Condition condition = subscription->Examine();
    ++(condition.live ? live : catching_up);
    const std::int64_t lag = std::max<std::int64_t>(0, head - condition.position);
    lag_max = std::max(lag_max, lag);
    lag_sum += lag;
    stalled_max = std::max(stalled_max, condition.stalled);
    if (condition.stalled > options_.stall_timeout_ms) {
      metrics_.slow_consumers->Increment();
      spdlog::warn("subscription {}: dropped, the client took nothing for {} ms",
                   subscription->id(), condition.stalled.count());
      subscription->DropSlow(options_.stall_timeout_ms);
    } else {
      subscription->Retry();
    }
  }
  metrics_.subscribers_live->Set(static_cast<double>(live));
  metrics_.subscribers_catching_up->Set(static_cast<double>(catching_up));
  metrics_.subscriber_lag_max->Set(static_cast<double>(lag_max));
  metrics_.subscriber_lag_sum->Set(static_cast<double>(lag_sum));
  metrics_.subscriber_stalled_seconds_max->Set(std::chrono::duration<double>(stalled_max).count());
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
