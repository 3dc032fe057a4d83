// A group's events: one feed for all lanes, and lanes that catch up by themselves. See group.h.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/core/lane_hash.h"
#include "server/core/validation.h"
#include "server/engine/groups/group.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using std::chrono::milliseconds;

// How long the feed waits for a full lane while others have nothing to do.
constexpr milliseconds kFullPatience{100};
constexpr milliseconds kFeedPause{500};

v1::ErrorInfo DetailOf(const absl::Status& status) {
  const auto details = DetailsOf(status);
  return details.empty() ? v1::ErrorInfo() : details[0];
}

}  // namespace

void Group::StartFeed() {
  const auto lowest =
      std::min_element(lanes_.begin(), lanes_.end(), [](const auto& a, const auto& b) {
        return a.second.state->read_position() < b.second.state->read_position();
      });
  SubscriptionQuery query;
  query.start =
      SubscriptionQuery::AfterPosition{lowest->second.state->read_position(), lowest->second.epoch};
  query.filter = filter_;
  // Every step counts: the lanes' checkpoints follow what does not match, too.
  query.checkpoint_interval = 1;
  const std::uint64_t number = ++feed_number_;
  const auto post = [weak = weak_from_this(), number,
                     context = context_](absl::StatusOr<SubscriptionMessage> message) {
    auto shared = std::make_shared<absl::StatusOr<SubscriptionMessage>>(std::move(message));
    context->post([weak, number, shared] {
      if (const auto self = weak.lock()) self->OnFeed(number, std::move(*shared));
    });
  };
  auto feed = context_->hub->Subscribe(std::move(query), post);
  if (!feed.ok()) return OnFeedFailed(feed.status());
  feed_ = *std::move(feed);
  feed_position_ = lowest->second.state->read_position();
  is_feed_asked_ = false;
  AttachLanes();
}

void Group::CloseFeed() {
  if (feed_ != nullptr) std::exchange(feed_, nullptr)->Close();
  ++feed_number_;
  batch_.reset();
  for (auto& [number, lane] : lanes_) {
    lane.is_attached = false;
    lane.full_since.reset();
  }
}

// A lane that has all that the feed has given out so far can live on what it brings next.
void Group::AttachLanes() {
  if (feed_ == nullptr) return;
  for (auto& [number, lane] : lanes_) {
    if (lane.state->read_position() >= feed_position_) lane.is_attached = true;
  }
}

void Group::AskFeed() {
  if (feed_ == nullptr || is_feed_asked_ || batch_.has_value()) return;
  const bool wanted = std::any_of(lanes_.begin(), lanes_.end(),
                                  [](const auto& lane) { return lane.second.is_attached; });
  if (!wanted) return;
  is_feed_asked_ = true;
  feed_->RequestNext([weak = weak_from_this(), number = feed_number_,
                      context = context_](absl::StatusOr<SubscriptionMessage> message) {
    auto shared = std::make_shared<absl::StatusOr<SubscriptionMessage>>(std::move(message));
    context->post([weak, number, shared] {
      if (const auto self = weak.lock()) self->OnFeed(number, std::move(*shared));
    });
  });
}

void Group::OnFeed(std::uint64_t number, absl::StatusOr<SubscriptionMessage> message) {
  if (number != feed_number_) return;  // of a feed that was given up
  Wake();
  is_feed_asked_ = false;
  if (!message.ok()) return OnFeedFailed(message.status());
  has_feed_complained_ = false;
  batch_ = *std::move(message);
  batch_run_ = batch_event_ = 0;
}

void Group::OnFeedFailed(const absl::Status& status) {
  CloseFeed();
  feed_retry_at_ = Clock::now() + kFeedPause;
  const v1::ErrorInfo detail = DetailOf(status);
  if (detail.reason() == v1::ERROR_REASON_POSITION_AHEAD) {
    Rewind(detail.position(), detail.epoch());
  } else if (detail.reason() == v1::ERROR_REASON_ARCHIVED) {
    EndAll(status);
  } else if (detail.reason() != v1::ERROR_REASON_SLOW_CONSUMER &&
             !std::exchange(has_feed_complained_, true)) {
    spdlog::warn("group {}: its events cannot be read: {}", name_, telemetry::MessageOf(status));
  }
}

void Group::Offer(Lane* lane, const EventBlock& block, std::size_t index, std::uint64_t hash,
                  Time now) {
  const v1::Event& header = block.header(index);
  LaneEvent event;
  event.position = header.global_position();
  event.stream = hash;
  (void)ToUnixMicros(header.created_at(), &event.created_at_micros);
  event.bytes = block.bytes(index, index + 1);
  lane->state->Offer(std::move(event), now);
}

void Group::DispatchFeed(Time now) {
  if (!batch_.has_value()) return;
  for (; batch_run_ < batch_->runs.size(); ++batch_run_, batch_event_ = 0) {
    const EventRun& run = batch_->runs[batch_run_];
    for (; run.begin + batch_event_ < run.end; ++batch_event_) {
      const std::size_t index = run.begin + batch_event_;
      const v1::Event& header = run.block->header(index);
      const std::uint64_t hash = StreamHash(header.stream());
      const auto found = lanes_.find(LaneOf(hash, settings_.lanes()));
      if (found != lanes_.end()) {
        Lane& lane = found->second;
        if (lane.is_attached && header.global_position() > lane.state->read_position()) {
          if (!lane.state->HasRoom() && WaitForRoom(&lane, now)) return;
          if (lane.is_attached) {
            lane.full_since.reset();
            Offer(&lane, *run.block, index, hash, now);
          }
        }
      }
      feed_position_ = header.global_position();
    }
  }
  feed_position_ = std::max(feed_position_, batch_->position);
  for (auto& [number, lane] : lanes_) {
    if (!lane.is_attached) continue;
    lane.state->PassOver(feed_position_);
    lane.epoch = std::max(lane.epoch, batch_->epoch);
  }
  head_position_ = std::max(head_position_, feed_position_);
  batch_.reset();
}

// Whether the feed should wait for a lane that is full. Where others run dry meanwhile the lane has
// to catch up by itself later.
bool Group::WaitForRoom(Lane* lane, Time now) {
  if (!lane->full_since.has_value()) lane->full_since = now;
  if (now - *lane->full_since < kFullPatience) return true;
  const bool others_hunger = std::any_of(lanes_.begin(), lanes_.end(), [](const auto& other) {
    return other.second.is_attached && other.second.state->unsettled() == 0;
  });
  if (!others_hunger) return true;
  lane->is_attached = false;
  lane->full_since.reset();
  metrics_.fell_behind->Increment();
  return false;
}

void Group::CatchUp(Time now) {
  if (is_page_asked_ || now < page_retry_at_ || feed_ == nullptr) return;
  AttachLanes();
  // In turns, and only for lanes with room for a good part of a page.
  const auto hungry = [&](const auto& entry) {
    const Lane& lane = entry.second;
    return !lane.is_attached && !lane.is_draining && now < lane.valid_until &&
           lane.state->IsHalfEmpty();
  };
  auto chosen = std::find_if(lanes_.upper_bound(page_turn_), lanes_.end(), hungry);
  if (chosen == lanes_.end()) chosen = std::find_if(lanes_.begin(), lanes_.end(), hungry);
  if (chosen == lanes_.end()) return;
  page_turn_ = chosen->first;
  AllPageQuery query;
  query.after_position = chosen->second.state->read_position();
  query.epoch = chosen->second.epoch;
  query.filter = filter_;
  is_page_asked_ = true;
  const std::int64_t after = query.after_position;
  context_->reader->ReadAllPage(
      std::move(query), Deadline::max(),
      [weak = weak_from_this(), after, context = context_](absl::StatusOr<AllPage> page) {
        auto shared = std::make_shared<absl::StatusOr<AllPage>>(std::move(page));
        context->post([weak, after, shared] {
          if (const auto self = weak.lock()) self->OnPage(std::move(*shared), after);
        });
      });
}

void Group::OnPage(absl::StatusOr<AllPage> page, std::int64_t after) {
  Wake();
  is_page_asked_ = false;
  const auto now = Clock::now();
  if (!page.ok()) {
    page_retry_at_ = now + kFeedPause;
    const v1::ErrorInfo detail = DetailOf(page.status());
    if (detail.reason() == v1::ERROR_REASON_POSITION_AHEAD) {
      Rewind(detail.position(), detail.epoch());
    } else if (detail.reason() == v1::ERROR_REASON_ARCHIVED) {
      EndAll(page.status());
    }
    return;
  }
  if (MayHoldErased(*page)) return;
  // Every lane that the page is of use to takes its own, as far as it has room.
  std::vector<Lane*> takers(static_cast<std::size_t>(settings_.lanes()), nullptr);
  for (auto& [number, lane] : lanes_) {
    const std::int64_t position = lane.state->read_position();
    if (!lane.is_attached && position >= after && position < page->position) {
      takers[static_cast<std::size_t>(number)] = &lane;
    }
  }
  if (!page->events.empty()) {
    const auto block = EventBlock::Make(std::move(page->events));
    for (std::size_t i = 0; i < block->size(); ++i) {
      const std::uint64_t hash = StreamHash(block->header(i).stream());
      Lane*& lane = takers[static_cast<std::size_t>(LaneOf(hash, settings_.lanes()))];
      if (lane == nullptr || block->header(i).global_position() <= lane->state->read_position()) {
        continue;
      }
      if (lane->state->HasRoom()) {
        Offer(lane, *block, i, hash, now);
      } else {
        lane = nullptr;  // the next page starts here for it
      }
    }
  }
  for (Lane* const lane : takers) {
    if (lane == nullptr) continue;
    lane->state->PassOver(page->position);
    lane->epoch = std::max(lane->epoch, page->head.epoch);
  }
  AttachLanes();
}

// The history beyond `position` was lost: nothing of it may be settled, and what replaced it must
// come.
void Group::Rewind(std::int64_t position, std::int64_t epoch) {
  CloseFeed();
  for (auto& [number, lane] : lanes_) {
    lane.epoch = std::max(lane.epoch, epoch);
    if (lane.state->read_position() <= position) continue;
    LaneStart start;
    start.checkpoint = std::min(lane.state->checkpoint(), position);
    start.may_repeat = true;
    start.parked_streams = lane.state->parked_streams();
    if (lane.state->checkpoint() > position) {
      spdlog::warn("group {} lane {}: the store was rewound; the checkpoint goes from {} to {}",
                   name_, number, lane.state->checkpoint(), position);
      metrics_.rewinds->Increment();
    }
    lane.state = std::make_unique<LaneState>(rules_, std::move(start));
    lane.retry_ids.clear();
    tables::LaneProgress row;
    row.lane = number;
    row.token = lane.token;
    row.position = lane.state->checkpoint();
    row.epoch = epoch;
    rewound_.push_back(row);
  }
}

}  // namespace eventstore::engine
