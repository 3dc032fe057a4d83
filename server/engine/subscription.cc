#include "server/engine/subscription.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/engine/hub.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = SubscriptionMessage::Kind;

// The most blocks that one message is collected from.
constexpr std::size_t kBlocksMax = 256;
std::chrono::milliseconds Since(Deadline time) {
  if (time == Deadline::max()) return std::chrono::milliseconds(0);
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - time);
}

}  // namespace

Subscription::Subscription(Hub* hub, WakeIndex::Subscriber number, std::string id,
                           SubscriptionQuery query, std::function<void(absl::Status)> on_dropped)
    : hub_(hub),
      number_(number),
      id_(std::move(id)),
      query_(std::move(query)),
      wake_keys_(WakeIndex::KeysOf(query_.stream.has_value() ? &*query_.stream : nullptr,
                                   query_.filter.get())),
      on_dropped_(std::move(on_dropped)),
      behind_since_(Clock::now()) {
  if (query_.stream.has_value()) reread_ = Reread{};
}

void Subscription::RequestNext(Next next) {
  {
    MutexLock lock(&mutex_);
    waiting_ = std::move(next);
    taken_since_ = Deadline::max();
    taken_position_ = given_position_;
  }
  Pump();
}

// Callbacks are called without the mutex: they may come straight back.
void Subscription::Pump() {
  Next next;
  std::optional<absl::StatusOr<SubscriptionMessage>> message;
  std::function<void()> work;
  {
    MutexLock lock(&mutex_);
    if (!waiting_) return;
    if (parked_) {
      parked_ = false;
      position_ = hub_->Unpark(*this, position_);
    }
    message = NextMessage(&work);
    if (message.has_value()) {
      next = std::exchange(waiting_, nullptr);
      taken_since_ = Clock::now();
      if (message->ok()) given_position_ = (*message)->position;
    }
  }
  if (next) next(std::move(*message));
  if (work) work();
}

std::optional<absl::StatusOr<SubscriptionMessage>> Subscription::NextMessage(
    std::function<void()>* work) {
  if (state_ == State::kEnded) return end_status_;
  const std::int64_t erasures = hub_->erasures_.load();
  if (std::exchange(seen_erasures_, erasures) != erasures) DropReady();
  if (ready_.empty() && state_ == State::kCatchingUp && !reading_ && !reread_.has_value() &&
      CanJoinRing()) {
    state_ = State::kLive;
  }
  while (ready_.empty() && state_ == State::kLive) {
    SubscriptionMessage message;
    if (NextLive(&message)) return message;
    if (state_ == State::kLive && Park()) return std::nullopt;
  }
  if (!ready_.empty()) {
    SubscriptionMessage message = std::move(ready_.front());
    ready_.pop_front();
    told_position_ = message.position;
    return message;
  }
  if (reading_) return std::nullopt;
  if (state_ == State::kStarting) *work = StartWork();
  if (state_ == State::kCatchingUp) *work = PageWork();
  return std::nullopt;
}

SubscriptionMessage Subscription::Tell(Kind kind) {
  told_position_ = position_;
  return {kind, position_, epoch_, {}};
}

bool Subscription::CanJoinRing() {
  MutexLock lock(&hub_->mutex_);
  // What was erased before this subscription began is not given to it, though the ring may not
  // know of it yet.
  const bool knows_enough = hub_->revision_ >= start_revision_ || hub_->changes_failed_;
  return hub_->ring_.epoch() == epoch_ && hub_->ring_.Covers(position_) && knows_enough;
}

// Fails only where the ring has moved on meanwhile.
bool Subscription::Park() {
  std::int64_t due = query_.checkpoint_interval > INT64_MAX - told_position_
                         ? INT64_MAX
                         : told_position_ + query_.checkpoint_interval;
  if (!told_caught_up_) due = std::min(due, start_head_);
  parked_ = hub_->Park(*this, epoch_, position_, due);
  return parked_;
}

// The next message of a live subscription, if there is one. May turn it into one that catches up.
bool Subscription::NextLive(SubscriptionMessage* message) {
  if (CollectFromRing(message)) {
    told_position_ = message->position;
    return true;
  }
  if (state_ != State::kLive) {  // fallen off the ring
    if (!told_caught_up_) return false;
    told_caught_up_ = false;
    behind_since_ = Clock::now();
    hub_->metrics_.fell_behind->Increment();
    spdlog::warn("subscription {}: fell behind at position {}, and reads history from there", id_,
                 position_);
    *message = Tell(Kind::kFellBehind);
    return true;
  }
  if (!told_caught_up_ && position_ >= start_head_) {
    told_caught_up_ = true;
    spdlog::debug("subscription {}: caught up at position {} after {} ms", id_, position_,
                  Since(behind_since_).count());
    behind_since_ = Deadline::max();
    *message = Tell(Kind::kCaughtUp);
    return true;
  }
  if (position_ - told_position_ >= query_.checkpoint_interval) {
    *message = Tell(Kind::kCheckpoint);
    return true;
  }
  return false;
}

bool Subscription::IsOf(const v1::StreamId& stream) const {
  return stream.aggregate_id() == query_.stream->aggregate_id() &&
         stream.aggregate_type() == query_.stream->aggregate_type() &&
         stream.tenant_id() == query_.stream->tenant_id();
}

bool Subscription::Matches(const v1::Event& event) const {
  if (query_.stream.has_value() && (!IsOf(event.stream()) || event.version() < first_version_)) {
    return false;
  }
  return query_.filter == nullptr || query_.filter->Matches(event);
}

// Moves the cursor through the ring. True if that gave events.
bool Subscription::CollectFromRing(SubscriptionMessage* message) {
  std::int64_t count = 0;
  std::size_t bytes = 0;
  while (true) {
    std::vector<std::shared_ptr<const EventBlock>> blocks;
    {
      MutexLock lock(&hub_->mutex_);
      if (hub_->ring_.epoch() != epoch_ || !hub_->ring_.Covers(position_)) {
        if (message->runs.empty()) state_ = State::kCatchingUp;
        break;
      }
      blocks = hub_->ring_.After(position_, kBlocksMax);
    }
    if (blocks.empty()) break;
    for (const auto& block : blocks) {
      std::size_t i = position_ < block->first_position()
                          ? 0
                          : static_cast<std::size_t>(position_ - block->first_position() + 1);
      for (; i < block->size(); ++i) {
        if (count >= query_.batch_events_max || bytes >= kMessageBytesMax) break;
        position_ = block->header(i).global_position();
        if (!Matches(block->header(i))) continue;
        ++count;
        next_version_ = query_.stream.has_value() ? block->header(i).version() + 1 : 0;
        bytes += block->bytes(i, i + 1).size();
        auto& runs = message->runs;
        if (!runs.empty() && runs.back().block == block && runs.back().end == i) {
          runs.back().end = i + 1;
        } else {
          runs.push_back({block, i, i + 1});
        }
      }
      if (i < block->size()) break;
    }
    if (count > 0) break;
    // Nothing matched yet: look on, but tell of progress in time.
    if (position_ - told_position_ >= query_.checkpoint_interval) break;
  }
  if (count == 0) return false;
  message->kind = Kind::kEvents;
  message->position = position_;
  message->epoch = epoch_;
  hub_->metrics_.events_sent->Increment(static_cast<double>(count));
  return true;
}

void Subscription::EndLocked(absl::Status status, Next* waiting, bool* dropped) {
  state_ = State::kEnded;
  end_status_ = std::move(status);
  ready_.clear();
  *waiting = std::exchange(waiting_, nullptr);
  *dropped = *waiting == nullptr;
  taken_since_ = Deadline::max();
}

void Subscription::End(const absl::Status& status) {
  Next waiting;
  bool dropped = false;
  {
    MutexLock lock(&mutex_);
    if (state_ == State::kEnded) return;
    EndLocked(status, &waiting, &dropped);
  }
  hub_->Remove(*this);
  if (waiting) waiting(status);
  if (dropped && on_dropped_) on_dropped_(status);
}

void Subscription::DropSlow(std::chrono::milliseconds limit) {
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    status = SlowConsumer(taken_position_, epoch_, limit);
  }
  End(status);
}

void Subscription::Close() {
  Next waiting;
  {
    MutexLock lock(&mutex_);
    if (state_ == State::kEnded) return;
    bool dropped = false;
    EndLocked(absl::CancelledError("the subscription was closed"), &waiting, &dropped);
  }
  hub_->Remove(*this);
  if (waiting) waiting(absl::CancelledError("the subscription was closed"));
}

Subscription::Condition Subscription::Examine(std::int64_t ring_end, std::int64_t head,
                                              std::chrono::milliseconds stuck_limit) {
  MutexLock lock(&mutex_);
  Condition condition;
  condition.live = state_ == State::kLive;
  condition.position = parked_ ? std::max(position_, ring_end) : position_;
  condition.stalled = Since(taken_since_);
  if (!condition.live) condition.catch_up = Since(behind_since_);
  // What the client was given but has not taken is not behind it yet. The position of one that
  // starts is not known, but it should be soon.
  const std::int64_t reached =
      taken_since_ == Deadline::max() ? condition.position : taken_position_;
  const bool behind = reached < head || state_ == State::kStarting;
  if (!behind || reached != examined_position_) {
    examined_position_ = reached;
    moved_at_ = Clock::now();
    told_stuck_ = false;
    return condition;
  }
  condition.stuck = Since(moved_at_);
  condition.newly_stuck = condition.stuck >= stuck_limit && !std::exchange(told_stuck_, true);
  return condition;
}

}  // namespace eventstore::engine
