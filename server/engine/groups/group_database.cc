// A group's work in the database: what is written when, and what comes of it. See group.h.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/core/lane_hash.h"
#include "server/core/validation.h"
#include "server/engine/groups/group.h"
#include "server/engine/groups/rebalance.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kObserveInterval{1'000};
constexpr milliseconds kRetryPause{250};
// Between two flushes of lanes that are full of what is settled already.
constexpr milliseconds kUrgentFlush{5};
// The longest that a lane that is to be given up waits for acks.
constexpr milliseconds kDrainMax{10'000};
// Dead letters that are read for retries at once.
constexpr std::size_t kRetriesAtOnce = 100;

// An event from the bytes that a lane keeps.
v1::Event ParseEvent(const std::string& bytes) {
  v1::EventBatch batch;
  (void)batch.ParseFromString(bytes);
  return batch.events_size() == 1 ? batch.events(0) : v1::Event();
}

}  // namespace

void Group::StartRound(Time now) {
  if (is_round_running_ || is_ended_ || now < round_retry_at_) return;
  std::unique_ptr<GroupRound> round = MakeRound(now);
  if (round == nullptr) return;
  is_round_running_ = true;
  context_->run_round(std::move(round),
                      [self = shared_from_this()](std::unique_ptr<GroupRound> done) {
                        self->OnRound(std::move(done));
                      });
}

std::unique_ptr<GroupRound> Group::MakeRound(Time now) {
  auto round = std::make_unique<GroupRound>();
  round->name = name_;
  round->key = key_;
  round->daemon = context_->daemon_id;
  round->lease = lease_;
  round->read_group = is_read_wanted_ && !is_draining_;
  for (const auto& member : members_) {
    if (!member->is_registered_)
      round->joining.emplace_back(member->id_, member->join_.member_name());
  }
  if (key_ == 0) {
    round->joining.clear();  // its settings first
    return round->read_group && !members_.empty() ? std::move(round) : nullptr;
  }
  AddReleases(round.get());
  AddDeadLetters(round.get());
  AddProgress(round.get(), now);
  round->rewound = rewound_;
  round->leaving = leaving_;
  if (!is_draining_) {
    round->claims = claims_;
    round->frees = frees_;
    round->read_events = wanted_retries_;
    // A renewal takes this second's turn, but not twice in a row: an idle group costs one statement
    // a second.
    const bool is_due = now >= next_observe_;
    const bool is_put_off =
        is_due && round->keep && !is_observe_wanted_ && !std::exchange(was_put_off_, true);
    if (is_put_off) next_observe_ = now + kObserveInterval;
    round->observe = (is_due && !is_put_off) || is_observe_wanted_ || !round->joining.empty() ||
                     !round->releases.empty() || !round->leaving.empty();
  }
  const bool has_work =
      round->read_group || round->keep || round->observe || !round->joining.empty() ||
      !round->parked.empty() || !round->resolved.empty() || !round->rewound.empty() ||
      !round->releases.empty() || !round->leaving.empty() || !round->claims.empty() ||
      !round->frees.empty() || !round->read_events.empty();
  if (!has_work) return nullptr;
  if (round->observe) was_put_off_ = false;
  return round;
}

void Group::AddReleases(GroupRound* round) {
  const auto now = Clock::now();
  for (auto& [number, lane] : lanes_) {
    if (!lane.is_draining || (lane.state->in_flight() > 0 && now < lane.drain_until)) continue;
    lane.state->ReturnAll(/*failed=*/false, "", now);
    lane.is_releasing = true;
    round->releases.push_back(
        {number, lane.token, lane.state->checkpoint(), lane.epoch, !lane.state->is_clean()});
  }
}

void Group::AddDeadLetters(GroupRound* round) {
  for (auto& [number, lane] : lanes_) {
    for (LaneState::Parking& park : lane.state->TakeParks()) {
      tables::ParkedEvent row;
      row.lane = number;
      row.token = lane.token;
      row.event = ParseEvent(park.bytes);
      row.error = !park.error.empty() ? std::move(park.error)
                  : park.is_behind    ? "its stream waits for an earlier event"
                                      : "no reason was given";
      row.attempts = park.attempts;
      row.is_retry = park.is_retry;
      row.stops_lane = rules_.on_failure == v1::ON_FAILURE_STOP && !park.is_retry;
      if (rules_.on_failure == v1::ON_FAILURE_PARK_STREAM && !park.is_behind) {
        row.parks_stream = static_cast<std::int64_t>(park.stream);
      }
      if (row.stops_lane) {
        lane.retry_ids[park.position] = ParseUuid(row.event.event_id()).value_or(kNilUuid);
      }
      round->parked.push_back(std::move(row));
    }
  }
  for (auto& [number, lane] : lanes_) TakeResolved(&lane);
  round->resolved = std::exchange(resolved_, {});
}

// The dead letters of what was acked.
void Group::TakeResolved(Lane* lane) {
  for (const std::int64_t position : lane->state->TakeResolved()) {
    const auto letter = lane->retry_ids.find(position);
    if (letter == lane->retry_ids.end()) continue;
    resolved_.push_back({lane->number, lane->token, letter->second});
    lane->retry_ids.erase(letter);
  }
}

// All lanes at once, if anything is due.
void Group::AddProgress(GroupRound* round, Time now) {
  bool is_settled = false;
  bool is_urgent = false;
  for (const auto& [number, lane] : lanes_) {
    const bool unsaved = lane.state->has_unsaved_settled();
    is_settled = is_settled || unsaved;
    is_urgent = is_urgent || (unsaved && !lane.state->HasRoom());
    for (const LaneState::Attempts& row : lane.state->UnsavedAttempts()) {
      round->attempts.push_back(
          {number, row.position, row.attempts,
           std::chrono::duration_cast<milliseconds>(std::max(row.due, now) - now), row.error});
    }
  }
  const milliseconds interval =
      is_urgent ? kUrgentFlush : context_->options->groups.flush_interval_ms;
  const Time last = next_flush_ - context_->options->groups.flush_interval_ms;
  // On a look's turn where it would be due before the next one.
  const bool is_renewal =
      now >= next_keep_ || (now >= next_observe_ && now + kObserveInterval > next_keep_);
  round->keep = is_renewal || !round->releases.empty() ||
                ((is_settled || !round->attempts.empty()) && now >= last + interval);
  // What passes the lanes by is told once a second.
  if (!round->keep && now >= next_observe_) {
    round->keep = std::any_of(lanes_.begin(), lanes_.end(),
                              [](const auto& entry) { return entry.second.has_news(); });
  }
  if (!round->keep) {
    round->attempts.clear();
    return;
  }
  next_flush_ = now + context_->options->groups.flush_interval_ms;
  for (auto& [number, lane] : lanes_) {
    tables::LaneProgress row;
    row.lane = number;
    row.token = lane.token;
    row.position = lane.state->checkpoint();
    row.epoch = lane.epoch;
    row.in_flight = lane.state->in_flight();
    row.retrying = lane.state->retrying();
    row.oldest_created_at_micros = lane.state->oldest_created_at_micros();
    if (const auto oldest = lane.state->oldest_in_flight()) {
      row.oldest_unacked_age = std::chrono::duration_cast<milliseconds>(now - *oldest);
    }
    row.stopped_position = lane.state->stopped_at();
    lane.told_position = row.position;
    lane.told_in_flight = row.in_flight;
    round->progress.push_back(row);
  }
}

void Group::OnRound(std::unique_ptr<GroupRound> round) {
  Wake();
  is_round_running_ = false;
  if (is_ended_) return;
  if (!round->status.ok()) {
    round_retry_at_ = Clock::now() + kRetryPause;
    is_read_wanted_ = is_observe_wanted_ = true;
    if (absl::IsNotFound(round->status) || key_ == 0) return EndAll(round->status);
    if (!std::exchange(has_complained_, true)) {
      spdlog::warn("group {}: the database does not take its work: {}", name_,
                   telemetry::MessageOf(round->status));
    }
  } else {
    has_complained_ = false;
  }
  if (round->row.has_value()) {
    is_read_wanted_ = false;
    OnGroupRead(*round->row);
    if (is_ended_) return;
  }
  if (round->has_joined) {
    for (const auto& [id, member_name] : round->joining) {
      if (GroupMember* const member = FindMember(id)) {
        member->is_registered_ = true;
      } else {
        leaving_.push_back(id);  // gone meanwhile
      }
    }
  }
  if (round->status.ok()) rewound_.clear();
  if (round->kept.has_value()) OnKept(*round);
  OnDeadLetters(*round);
  for (const auto& [number, stream] : round->freed) {
    const auto found = lanes_.find(number);
    if (found != lanes_.end()) {
      found->second.state->UnparkStream(static_cast<std::uint64_t>(stream));
    }
  }
  frees_.clear();
  for (const tables::LaneRelease& release : round->releases) {
    const auto found = lanes_.find(release.lane);
    if (found == lanes_.end() || found->second.token != release.token) continue;
    found->second.is_releasing = false;
    if (round->has_released) DropLane(release.lane);
  }
  if (round->has_left) {
    std::erase_if(leaving_, [&](const Uuid& id) {
      return std::find(round->leaving.begin(), round->leaving.end(), id) != round->leaving.end();
    });
  }
  claims_.clear();
  OnClaimed(*round);
  wanted_retries_.clear();
  if (!std::exchange(is_round_stale_, false)) OnRetries(round->events);
  if (round->view.has_value()) OnView(*round->view, *round);
}

void Group::OnKept(const GroupRound& round) {
  next_keep_ = round.asked + lease_ / 3;
  for (const tables::LaneProgress& row : round.progress) {
    const auto found = lanes_.find(row.lane);
    if (found == lanes_.end() || found->second.token != row.token) continue;
    if (std::find(round.kept->begin(), round.kept->end(), row.lane) == round.kept->end()) {
      spdlog::warn("group {} lane {}: another owner has taken it", name_, row.lane);
      metrics_.lanes_lost->Increment();
      DropLane(row.lane);
      continue;
    }
    Lane& lane = found->second;
    // A little less than promised: clocks drift.
    lane.valid_until = round.asked + round.lease * 19 / 20;
    if (lane.epoch != row.epoch) continue;  // rewound meanwhile
    lane.state->OnDurable(row.position);
    std::vector<LaneState::Attempts> saved;
    for (const tables::LaneAttempts& attempts : round.attempts) {
      if (attempts.lane == row.lane) {
        saved.push_back({attempts.position, attempts.attempts, Time(), ""});
      }
    }
    lane.state->AttemptsSaved(saved);
  }
}

void Group::OnDeadLetters(const GroupRound& round) {
  for (const tables::ParkedEvent& row : round.parked) {
    const auto found = lanes_.find(row.lane);
    if (found == lanes_.end() || found->second.token != row.token) continue;
    Lane& lane = found->second;
    const std::int64_t position = row.event.global_position();
    if (!round.dead_letters_of.has_value()) {
      lane.state->ParkFailed(position);
    } else if (std::binary_search(round.dead_letters_of->begin(), round.dead_letters_of->end(),
                                  row.lane)) {
      lane.state->Parked(position);
      if (row.is_retry) lane.retry_ids.erase(position);
      metrics_.parked->Increment();
    } else {
      metrics_.lanes_lost->Increment();
      DropLane(row.lane);
    }
  }
  if (!round.dead_letters_of.has_value()) {
    resolved_.insert(resolved_.begin(), round.resolved.begin(), round.resolved.end());
  }
}

void Group::OnClaimed(const GroupRound& round) {
  metrics_.rewinds->Increment(round.rewinds);
  for (const tables::ClaimedLane& row : round.claimed) {
    LaneStart start;
    start.checkpoint = row.position;
    start.may_repeat = row.may_repeat;
    start.stopped_at = row.stopped_position;
    start.parked_streams = {row.parked_streams.begin(), row.parked_streams.end()};
    for (const tables::KnownAttempt& known : row.known) {
      start.known[known.position] = {known.attempts, known.due_in, known.is_settled,
                                     known.dead_letter_of.has_value()};
    }
    Lane lane;
    for (const tables::KnownAttempt& known : row.known) {
      if (known.dead_letter_of.has_value()) lane.retry_ids[known.position] = *known.dead_letter_of;
    }
    lane.number = row.lane;
    lane.token = row.token;
    lane.epoch = row.epoch;
    lane.member = row.member;
    lane.state = std::make_unique<LaneState>(rules_, std::move(start));
    lane.valid_until = round.asked + round.lease * 19 / 20;
    lane.told_position = row.position;
    lane.metrics = context_->metrics->GroupLane(context_->options->name, name_, row.lane);
    if (FindMember(row.member) == nullptr || is_draining_) lane.is_draining = true;
    metrics_.rebalances->Increment();
    lanes_.insert_or_assign(row.lane, std::move(lane));
    TellLanes(row.member, row.lane, /*assigned=*/true);
  }
  if (round.claimed.empty()) return;
  foreign_retries_.clear();
  AttachLanes();
}

void Group::OnRetries(const std::vector<v1::Event>& events) {
  for (const v1::Event& event : events) {
    LaneEvent retry;
    retry.position = event.global_position();
    retry.stream = StreamHash(event.stream());
    (void)ToUnixMicros(event.created_at(), &retry.created_at_micros);
    const auto found = lanes_.find(LaneOf(retry.stream, settings_.lanes()));
    if (found == lanes_.end() || found->second.is_draining) {
      foreign_retries_.insert(retry.position);
      continue;
    }
    v1::EventBatch batch;
    *batch.add_events() = event;
    retry.bytes = batch.SerializeAsString();
    const std::int64_t position = retry.position;
    // Not yet where the tables' checkpoint is behind it; the next look will try again.
    if (position > found->second.state->checkpoint()) continue;
    if (!found->second.state->AddRetry(std::move(retry), 0)) continue;
    found->second.retry_ids[position] = ParseUuid(event.event_id()).value_or(kNilUuid);
    metrics_.dead_letters_retried->Increment();
  }
}

void Group::OnView(const tables::GroupView& view, const GroupRound& round) {
  is_observe_wanted_ = false;
  next_observe_ = round.asked + kObserveInterval;
  if (!view.exists) return EndAll(NotFound("consumer group", name_));
  if (view.revision != revision_) is_read_wanted_ = true;
  head_position_ = std::max(head_position_, view.head_position);
  for (const std::int64_t position : view.retrying) {
    if (wanted_retries_.size() >= kRetriesAtOnce) break;
    const bool known = std::any_of(lanes_.begin(), lanes_.end(), [&](const auto& lane) {
      return lane.second.retry_ids.count(position) > 0;
    });
    if (!known && !foreign_retries_.contains(position)) wanted_retries_.push_back(position);
  }
  OnDecisions(view);
  MakeClaims(view);
}

void Group::OnDecisions(const tables::GroupView& view) {
  for (const tables::GroupView::Decision& decision : view.decisions) {
    const auto found = lanes_.find(decision.lane);
    if (found == lanes_.end()) continue;
    Lane& lane = found->second;
    if (decision.stream_hash == 0) {
      const std::int64_t position = lane.state->stopped_at();
      if (lane.state->Resume(decision.is_settled) && decision.is_settled) {
        lane.retry_ids.erase(position);
      }
    } else if (decision.is_settled) {
      frees_.push_back({decision.lane, lane.token, decision.stream_hash});
    }
  }
}

void Group::MakeClaims(const tables::GroupView& view) {
  if (is_draining_) return;
  std::vector<PlanMember> members;
  for (const auto& member : view.members) {
    const bool is_ours = member.daemon == context_->daemon_id;
    // One of ours that left is on its way out of the table.
    if (is_ours && FindMember(member.id) == nullptr) continue;
    members.push_back({member.id, is_ours});
  }
  std::vector<PlanLane> lanes;
  for (const auto& lane : view.lanes) {
    const auto own = lanes_.find(lane.lane);
    if (own != lanes_.end()) {
      lanes.push_back({lane.lane, own->second.member, own->second.is_draining});
    } else {
      lanes.push_back({lane.lane, lane.member, false});
    }
  }
  const Plan plan = MakePlan(std::move(members), std::move(lanes));
  for (const auto& [number, member] : plan.claims) {
    const auto seen = std::find_if(view.lanes.begin(), view.lanes.end(),
                                   [lane = number](const auto& row) { return row.lane == lane; });
    claims_.push_back({number, seen->token, member});
  }
  const auto until = Clock::now() + std::min(kDrainMax, rules_.ack_timeout);
  for (const std::int32_t number : plan.releases) {
    Lane& lane = lanes_.at(number);
    lane.is_draining = true;
    lane.drain_until = until;
  }
}

}  // namespace eventstore::engine
