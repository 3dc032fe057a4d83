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

// The most blocks that one message is collected from, and about the most bytes of one message: a
// client's default limit for a message is 4 MiB.
constexpr std::size_t kBlocksMax = 256;
constexpr std::size_t kMessageBytesMax = 1 << 20;
// How long a subscription in the middle of history waits for a database that is away.
constexpr std::chrono::seconds kPatience{60};

bool IsTransient(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

std::chrono::milliseconds Since(Deadline time) {
  if (time == Deadline::max()) return std::chrono::milliseconds(0);
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - time);
}

bool SameStream(const v1::StreamId& a, const v1::StreamId& b) {
  return a.aggregate_id() == b.aggregate_id() && a.aggregate_type() == b.aggregate_type() &&
         a.tenant_id() == b.tenant_id();
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

bool Subscription::Matches(const v1::Event& event) const {
  if (query_.stream.has_value() &&
      (!SameStream(*query_.stream, event.stream()) || event.version() < first_version_)) {
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

std::function<void()> Subscription::StartWork() {
  reading_ = true;
  auto self = shared_from_this();
  Reader* const reader = hub_->reader_;
  const Deadline deadline = Clock::now() + kPatience;
  if (const auto* after = std::get_if<SubscriptionQuery::AfterPosition>(&query_.start)) {
    return [self, reader, deadline, after = *after] {
      reader->CheckStart(after.position, after.epoch, true, deadline, [self, after](auto head) {
        self->OnStarted(std::move(head), after.position);
      });
    };
  }
  if (const auto* time = std::get_if<SubscriptionQuery::FromTime>(&query_.start)) {
    return [self, reader, deadline, micros = time->created_at_micros] {
      reader->FindPositionBefore(micros, deadline, [self](auto found) {
        if (!found.ok()) return self->OnStarted(found.status(), 0);
        self->OnStarted(found->head, found->position);
      });
    };
  }
  if (const auto* checkpoint = std::get_if<SubscriptionQuery::FromCheckpoint>(&query_.start)) {
    return [self, reader, deadline, projection = checkpoint->projection] {
      reader->FindCheckpoint(projection, deadline, [self](auto found) {
        if (!found.ok()) return self->OnStarted(found.status(), 0);
        if (found->position + 1 < found->head.first_position) {
          return self->OnStarted(Archived(found->head.first_position,
                                          "the store's history after this checkpoint was archived"),
                                 0);
        }
        self->OnStarted(found->head, found->position);
      });
    };
  }
  const bool from_end = std::holds_alternative<SubscriptionQuery::FromEnd>(query_.start);
  return [self, reader, deadline, from_end] {
    reader->CheckStart(0, 0, /*check_archive=*/!from_end, deadline, [self, from_end](auto head) {
      const std::int64_t position = head.ok() && from_end ? head->position : 0;
      self->OnStarted(std::move(head), position);
    });
  };
}

void Subscription::OnStarted(absl::StatusOr<tables::Head> head, std::int64_t position) {
  Next waiting;
  {
    MutexLock lock(&mutex_);
    reading_ = false;
    if (state_ == State::kEnded) return;
    if (!head.ok()) {
      bool dropped = false;
      EndLocked(head.status(), &waiting, &dropped);
    } else {
      state_ = State::kCatchingUp;
      position_ = position;
      told_position_ = position;
      taken_position_ = position;
      epoch_ = head->epoch;
      start_head_ = head->position;
      start_revision_ = head->revision;
      ready_.push_back(Tell(Kind::kConfirmed));
    }
  }
  if (!head.ok()) {
    hub_->Remove(*this);
    if (waiting) waiting(head.status());
    return;
  }
  // What another daemon wrote may not have come to the ring yet.
  hub_->NoticeHead(head->epoch, head->position, head->revision);
  Pump();
}

std::function<void()> Subscription::PageWork() {
  reading_ = true;
  auto self = shared_from_this();
  Reader* const reader = hub_->reader_;
  if (query_.stream.has_value()) {
    FollowStreamQuery query;
    query.stream = *query_.stream;
    query.after_position = position_;
    query.epoch = epoch_;
    query.from_version = next_version_;
    query.filter = query_.filter;
    return [self, reader, query = std::move(query)] {
      reader->FollowStreamPage(query, Deadline::max(),
                               [self](auto page) { self->OnPage(std::move(page)); });
    };
  }
  AllPageQuery query;
  query.after_position = position_;
  query.epoch = epoch_;
  query.filter = query_.filter;
  query.search_positions_max = query_.checkpoint_interval;
  return [self, reader, query = std::move(query)] {
    reader->ReadAllPage(query, Deadline::max(),
                        [self](auto page) { self->OnPage(std::move(page)); });
  };
}

void Subscription::OnPage(absl::StatusOr<AllPage> page) {
  Next waiting;
  absl::Status failure;
  std::optional<tables::Head> head;
  {
    MutexLock lock(&mutex_);
    reading_ = false;
    if (state_ == State::kEnded) return;
    if (!page.ok()) {
      OnPageFailed(page.status(), &waiting);
      if (state_ == State::kEnded) failure = end_status_;
    } else if (IsStale(*page)) {
      head = page->head;  // and the page is read again
    } else {
      failing_since_ = Deadline::max();
      reread_.reset();
      head = page->head;
      if (page->head.epoch != epoch_) start_revision_ = 0;  // of a history that was lost
      epoch_ = page->head.epoch;
      if (page->position > position_) {
        hub_->metrics_.catch_up_positions->Increment(
            static_cast<double>(page->position - position_));
      }
      position_ = std::max(position_, page->position);
      next_version_ = page->next_version;
      first_version_ = page->first_version;
      EnqueueEvents(std::move(page->events));
      if (ready_.empty() && position_ - told_position_ >= query_.checkpoint_interval) {
        ready_.push_back(Tell(Kind::kCheckpoint));
      }
    }
  }
  if (!failure.ok()) {
    hub_->Remove(*this);
    if (waiting) waiting(failure);
    return;
  }
  if (head.has_value()) hub_->NoticeHead(head->epoch, head->position, head->revision);
  Pump();
}

bool Subscription::IsStale(const AllPage& page) {
  // In this order: what is erased after the question was asked is found by NextMessage.
  seen_erasures_ = hub_->erasures_.load();
  if (hub_->IsStale(page.head)) return true;
  return reread_.has_value() && page.head.epoch == reread_->epoch &&
         page.head.revision < reread_->revision;
}

// The cursor goes back to what was given last.
void Subscription::DropReady() {
  const auto is_events = [](const SubscriptionMessage& message) {
    return message.kind == Kind::kEvents;
  };
  if (std::erase_if(ready_, is_events) == 0) return;
  position_ = told_position_;
  next_version_ = 0;
}

void Subscription::OnChanges(const tables::LogChanges& changes) {
  {
    MutexLock lock(&mutex_);
    if (state_ == State::kEnded || !query_.stream.has_value()) return;
    const auto is_ours = [&](const v1::StreamId& stream) {
      return SameStream(*query_.stream, stream);
    };
    if (!changes.anything &&
        std::none_of(changes.streams.begin(), changes.streams.end(), is_ours)) {
      return;
    }
    reread_ = Reread{changes.head.epoch, changes.revision};
    DropReady();
    if (parked_) {
      parked_ = false;
      position_ = hub_->Unpark(*this, position_);
    }
    next_version_ = 0;
    if (state_ == State::kLive) state_ = State::kCatchingUp;
  }
  Pump();
}

void Subscription::OnPageFailed(absl::Status status, Next* waiting) {
  const auto now = Clock::now();
  failing_since_ = std::min(failing_since_, now);
  if (IsTransient(status) && now - failing_since_ < kPatience) {
    reading_ = true;  // until the tick
    retry_ = true;
    return;
  }
  bool dropped = false;
  EndLocked(std::move(status), waiting, &dropped);
}

void Subscription::Retry() {
  {
    MutexLock lock(&mutex_);
    if (!retry_ || state_ == State::kEnded) return;
    retry_ = false;
    reading_ = false;
  }
  Pump();
}

// One page as messages that a client can take.
void Subscription::EnqueueEvents(std::vector<v1::Event> events) {
  if (events.empty()) return;
  hub_->metrics_.events_sent->Increment(static_cast<double>(events.size()));
  const auto block = EventBlock::Make(std::move(events));
  std::size_t begin = 0;
  while (begin < block->size()) {
    std::size_t end = begin;
    std::size_t bytes = 0;
    while (end < block->size() && bytes < kMessageBytesMax &&
           static_cast<std::int64_t>(end - begin) < query_.batch_events_max) {
      bytes += block->bytes(end, end + 1).size();
      ++end;
    }
    const bool last = end == block->size();
    ready_.push_back({Kind::kEvents,
                      last ? position_ : block->header(end - 1).global_position(),
                      epoch_,
                      {{block, begin, end}}});
    begin = end;
  }
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
