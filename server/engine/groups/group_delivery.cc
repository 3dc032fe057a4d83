// A group's members: what they get, and what they say. See group.h.
#include <algorithm>
#include <utility>

#include "server/engine/groups/delivery_wire.h"
#include "server/engine/groups/group.h"
#include "server/engine/groups/group_settings.h"

namespace eventstore::engine {
namespace {

// About the most bytes, and the most events, of one message: a client of gRPC takes 4 MiB.
constexpr std::size_t kMessageBytesMax = 1 << 20;
constexpr std::int64_t kMessageEventsMax = 1'000;
// Lanes of one member take turns after so many events.
constexpr std::int64_t kTurnEvents = 64;

// The lane is the lower part of a delivery's id, so ids grow and need no map.
constexpr std::int64_t kLanesMax = 256;

}  // namespace

std::vector<Group::Lane*> Group::LanesOf(const GroupMember& member, Time now) {
  std::vector<Lane*> lanes;
  for (auto& [number, lane] : lanes_) {
    if (lane.member != member.id_ || lane.is_draining || now >= lane.valid_until) continue;
    lanes.push_back(&lane);
  }
  return lanes;
}

void Group::Deliver(GroupMember* member, Time now) {
  if (!member->next_) return;
  std::string message = TakeNews(member);
  if (message.empty()) message = Collect(member, now);
  if (message.empty()) return;
  member->taking_since_ = now;
  std::exchange(member->next_, nullptr)(std::move(message));
}

std::string Group::TakeNews(GroupMember* member) {
  if (!member->greeting_.empty()) return std::exchange(member->greeting_, "");
  if (member->assigned_.empty() && member->revoked_.empty()) return "";
  v1::ConsumeResponse response;
  for (const std::int32_t lane : member->assigned_) response.mutable_lanes()->add_assigned(lane);
  for (const std::int32_t lane : member->revoked_) response.mutable_lanes()->add_revoked(lane);
  member->assigned_.clear();
  member->revoked_.clear();
  return response.SerializeAsString();
}

std::string Group::Collect(GroupMember* member, Time now) {
  std::int64_t in_flight = 0;
  for (const auto& [number, lane] : lanes_) {
    if (lane.member == member->id_) in_flight += lane.state->in_flight();
  }
  if (in_flight == 0) member->is_alone_ = false;
  if (member->is_alone_) return "";
  std::int64_t budget = std::min({member->credits_, settings_.member_in_flight_max(),
                                  in_flight + kMessageEventsMax}) -
                        in_flight;
  if (budget <= 0) return "";
  const std::vector<Lane*> lanes = LanesOf(*member, now);
  if (lanes.empty()) return "";
  std::string events;
  for (Lane* const lane : lanes) {
    if (!lane->state->HasNext() || !lane->state->NextIsSuspect()) continue;
    if (in_flight > 0) return "";
    CollectFrom(member, lane, 1, now, &events);
    member->is_alone_ = true;
    return WrapDeliveries(events);
  }
  for (std::size_t idle = 0; idle < lanes.size() && budget > 0; ++member->turn_) {
    Lane* const lane = lanes[member->turn_ % lanes.size()];
    const std::int64_t before = next_delivery_;
    const bool full = CollectFrom(member, lane, std::min(budget, kTurnEvents), now, &events);
    const std::int64_t taken = next_delivery_ - before;
    budget -= taken;
    idle = taken > 0 ? 0 : idle + 1;
    if (full) break;
  }
  return events.empty() ? "" : WrapDeliveries(events);
}

// True if the message is full.
bool Group::CollectFrom(GroupMember* /*member*/, Lane* lane, std::int64_t count, Time now,
                        std::string* out) {
  for (std::int64_t i = 0; i < count && lane->state->HasNext(); ++i) {
    if (out->size() >= kMessageBytesMax) return true;
    if (i > 0 && lane->state->NextIsSuspect()) return true;
    const std::int64_t id = next_delivery_++ * kLanesMax + lane->number;
    const LaneState::Delivery delivery = lane->state->Next(id, now);
    AppendDelivery(*delivery.bytes, id, lane->number, delivery.attempt, delivery.is_redelivered,
                   out);
    metrics_.delivered->Increment();
    if (delivery.is_redelivered) metrics_.redelivered->Increment();
  }
  return false;
}

Group::Lane* Group::LaneOfDelivery(const GroupMember& member, std::int64_t delivery_id, Time now) {
  if (delivery_id <= 0) return nullptr;
  const auto found = lanes_.find(static_cast<std::int32_t>(delivery_id % kLanesMax));
  if (found == lanes_.end()) return nullptr;
  Lane& lane = found->second;
  // Somebody else may own it by now: its acks count no more.
  if (lane.member != member.id_ || now >= lane.valid_until) return nullptr;
  return &lane;
}

void Group::Handle(const std::shared_ptr<GroupMember>& member, const v1::ConsumeRequest& request) {
  Wake();
  const auto now = Clock::now();
  if (request.has_credits()) {
    member->credits_ = request.credits().max_in_flight();
    return;
  }
  const bool is_nack = request.has_nack();
  const v1::ConsumeNack& nack = request.nack();
  std::optional<std::chrono::milliseconds> delay;
  if (nack.has_delay()) delay = ToMillis(nack.delay());
  for (const std::int64_t id : is_nack ? nack.delivery_ids() : request.ack().delivery_ids()) {
    Lane* const lane = LaneOfDelivery(*member, id, now);
    bool counted = false;
    if (lane != nullptr) {
      if (!is_nack || nack.action() == v1::NACK_ACTION_SKIP) {
        counted = lane->state->Ack(id);
        if (counted) (is_nack ? metrics_.skipped : metrics_.acked)->Increment();
      } else if (nack.action() == v1::NACK_ACTION_PARK) {
        counted = lane->state->Park(id, nack.reason());
        if (counted) metrics_.nacked->Increment();
      } else {
        counted = lane->state->Retry(id, nack.reason(), delay, now);
        if (counted) metrics_.nacked->Increment();
      }
    }
    if (!counted) metrics_.ignored_acks->Increment();
  }
}

}  // namespace eventstore::engine
