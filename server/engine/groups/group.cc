#include "server/engine/groups/group.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/engine/groups/group_settings.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds kMetricsInterval{1};

std::int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Group::Group(const GroupContext* context, std::string name)
    : context_(context),
      name_(std::move(name)),
      metrics_(context->metrics->Group(context->options->name, name_)) {}

Group::~Group() {
  CloseFeed();
  for (auto& [number, lane] : lanes_) context_->metrics->Remove(lane.metrics);
  metrics_.members->Set(0);
}

bool Group::is_over() const {
  return members_.empty() && lanes_.empty() && leaving_.empty() && !is_round_running_;
}

GroupMember* Group::FindMember(const Uuid& id) const {
  for (const auto& member : members_) {
    if (member->id_ == id) return member.get();
  }
  return nullptr;
}

void Group::Join(std::shared_ptr<GroupMember> member) {
  Wake();
  member->group_ = shared_from_this();
  members_.push_back(member);
  if (is_draining_) return End(member, StoreUnavailable("the server is shutting down"));
  if (key_ != 0) Greet(member.get());
}

void Group::OnGroupRead(const tables::GroupRow& row) {
  if (key_ != 0 && row.key != key_) {
    return EndAll(NotFound("consumer group", name_));  // deleted, and another one made since
  }
  const bool is_first = key_ == 0;
  key_ = row.key;
  revision_ = row.revision;
  settings_ = row.settings;
  lease_ = ToMillis(settings_.lease_duration());
  rules_ = RulesOf(settings_, context_->options->groups.lane_bytes_max);
  for (auto& [number, lane] : lanes_) lane.state->SetRules(rules_);
  if (!is_first) return;
  if (settings_.has_filter()) {
    auto filter = EventFilter::Make(settings_.filter(), "filter", context_->options->limits);
    // It was valid when the group was made; limits may have been lowered since.
    if (!filter.ok()) return EndAll(filter.status());
    if (!(*filter)->matches_everything()) filter_ = *std::move(filter);
  }
  for (const auto& member : members_) Greet(member.get());
}

void Group::Greet(GroupMember* member) {
  v1::ConsumeResponse response;
  v1::ConsumeJoined* joined = response.mutable_joined();
  joined->set_member_id(FormatUuid(member->id_));
  joined->set_store_id(context_->store_id);
  *joined->mutable_settings() = settings_;
  joined->set_revision(revision_);
  member->greeting_ = response.SerializeAsString();
}

void Group::End(const std::shared_ptr<GroupMember>& member, const absl::Status& status) {
  const auto found = std::find(members_.begin(), members_.end(), member);
  if (found == members_.end()) return;
  members_.erase(found);
  if (member->is_registered_) leaving_.push_back(member->id_);
  member->group_.reset();
  if (member->next_) {
    std::exchange(member->next_, nullptr)(status);
  } else if (member->on_dropped_) {
    member->on_dropped_(status);
  }
}

void Group::Leave(const std::shared_ptr<GroupMember>& member, bool failed) {
  Wake();
  const auto now = Clock::now();
  for (auto& [number, lane] : lanes_) {
    if (lane.member != member->id_) continue;
    lane.state->ReturnAll(failed, "the member's call broke", now);
    lane.is_draining = true;
    lane.drain_until = now;
  }
  is_observe_wanted_ = true;
  End(member, absl::CancelledError("the member left"));
}

void Group::EndAll(const absl::Status& status) {
  is_ended_ = true;
  CloseFeed();
  while (!lanes_.empty()) DropLane(lanes_.begin()->first);
  const auto members = members_;
  for (const auto& member : members) End(member, status);
  leaving_.clear();
}

void Group::Drain(const absl::Status& status) {
  Wake();
  is_draining_ = true;
  const auto members = members_;
  const auto now = Clock::now();
  for (auto& [number, lane] : lanes_) {
    lane.state->ReturnAll(/*failed=*/false, "", now);
    lane.is_draining = true;
    lane.drain_until = now;
  }
  for (const auto& member : members) End(member, status);
}

void Group::TellLanes(const Uuid& member, std::int32_t lane, bool assigned) {
  GroupMember* const told = FindMember(member);
  if (told == nullptr) return;
  // What came and went before it was told is no news.
  auto& news = assigned ? told->assigned_ : told->revoked_;
  auto& old = assigned ? told->revoked_ : told->assigned_;
  if (!assigned && old.erase(lane) > 0) return;
  news.insert(lane);
}

void Group::DropSlowMembers(Time now) {
  const milliseconds limit = context_->options->hub.stall_timeout_ms;
  const auto members = members_;
  for (const auto& member : members) {
    if (member->next_ || member->taking_since_ == Deadline::max()) continue;
    if (now - member->taking_since_ <= limit) continue;
    spdlog::warn("group {}: member {} dropped, its client took nothing for {} ms", name_,
                 FormatUuid(member->id_), limit.count());
    for (auto& [number, lane] : lanes_) {
      if (lane.member != member->id_) continue;
      lane.state->ReturnAll(/*failed=*/true, "the client took nothing for too long", now);
      lane.is_draining = true;
      lane.drain_until = now;
    }
    End(member, SlowConsumer(0, 0, limit));
  }
}

void Group::DropLane(std::int32_t number) {
  const auto found = lanes_.find(number);
  if (found == lanes_.end()) return;
  TellLanes(found->second.member, number, /*assigned=*/false);
  context_->metrics->Remove(found->second.metrics);
  lanes_.erase(found);
  foreign_retries_.clear();
  if (lanes_.empty()) CloseFeed();
}

void Group::SetMetrics(Time now) {
  metrics_.members->Set(static_cast<double>(members_.size()));
  const std::int64_t clock = NowMicros();
  for (auto& [number, lane] : lanes_) {
    const LaneState& state = *lane.state;
    const std::int64_t oldest = state.oldest_created_at_micros();
    const auto out = state.oldest_in_flight();
    lane.metrics.lag_positions->Set(
        static_cast<double>(std::max<std::int64_t>(0, head_position_ - state.checkpoint())));
    lane.metrics.lag_seconds->Set(
        oldest == 0 ? 0 : std::max(0.0, static_cast<double>(clock - oldest) / 1e6));
    lane.metrics.in_flight->Set(static_cast<double>(state.in_flight()));
    lane.metrics.retrying->Set(static_cast<double>(state.retrying()));
    lane.metrics.oldest_unacked_seconds->Set(
        out.has_value() ? std::chrono::duration<double>(now - *out).count() : 0);
    lane.metrics.stopped->Set(state.stopped_at() != 0 ? 1 : 0);
  }
}

Group::Time Group::WorkIfDue() {
  const auto now = Clock::now();
  if (now >= next_work_) next_work_ = Work(now);
  return next_work_;
}

Group::Time Group::Work(Time now) {
  for (auto& [number, lane] : lanes_) {
    if (now >= lane.valid_until) continue;
    metrics_.timeouts->Increment(static_cast<double>(lane.state->Advance(now)));
  }
  if (!is_ended_ && !is_draining_) {
    if (feed_ == nullptr && !lanes_.empty() && now >= feed_retry_at_) StartFeed();
    DispatchFeed(now);
    CatchUp(now);
    AskFeed();
  }
  DropSlowMembers(now);
  const auto members = members_;
  for (const auto& member : members) Deliver(member.get(), now);
  StartRound(now);
  if (now >= next_metrics_) {
    SetMetrics(now);
    next_metrics_ = now + kMetricsInterval;
  }
  Time next = next_metrics_;
  if (!is_round_running_ && key_ != 0) {
    next = std::min(next, std::max(round_retry_at_, std::min(next_observe_, next_keep_)));
  }
  for (const auto& [number, lane] : lanes_) {
    if (now < lane.valid_until) next = std::min(next, lane.state->NextDeadline());
    const bool soon = lane.full_since.has_value() || lane.is_draining ||
                      lane.state->has_unsaved_settled() || lane.state->retrying() > 0;
    if (soon) next = std::min(next, now + milliseconds(20));
  }
  return std::max(next, now + milliseconds(1));
}

}  // namespace eventstore::engine
