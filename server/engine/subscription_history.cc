// How a subscription starts, and reads history: the half of subscription.h that waits for tables.
#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/engine/hub.h"
#include "server/engine/subscription.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = SubscriptionMessage::Kind;

// How long a subscription in the middle of history waits for a database that is away.
constexpr std::chrono::seconds kPatience{60};

bool IsTransient(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

}  // namespace

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
    const auto is_ours = [this](const v1::StreamId& stream) { return IsOf(stream); };
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

}  // namespace eventstore::engine
