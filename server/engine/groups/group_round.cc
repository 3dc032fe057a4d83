#include "server/engine/groups/group_round.h"

#include <spdlog/spdlog.h>

#include "server/core/errors.h"
#include "server/engine/store_errors.h"
#include "server/tables/log_table.h"

namespace eventstore::engine {
namespace {

// Takes a step's value, or gives its error.
template <typename T, typename Out>
absl::Status Take(absl::StatusOr<T> result, Out* out) {
  if (!result.ok()) return result.status();
  *out = *std::move(result);
  return absl::OkStatus();
}

}  // namespace

void GroupRound::Run(pg::Pool* pool, Deadline deadline) {
  asked = std::chrono::steady_clock::now();
  auto connection = pool->Acquire(deadline);
  if (connection.ok()) {
    asked = std::chrono::steady_clock::now();
    status = ToStoreError(RunSteps(**connection, deadline));
  } else {
    status = ToStoreError(connection.status());
  }
}

absl::Status GroupRound::RunSteps(pg::Connection& connection, Deadline deadline) {
  absl::Status step;
  if (read_group) {
    step = Take(tables::ReadGroup(connection, name, deadline), &row);
    if (!step.ok()) return step;
    key = row->key;
  }
  for (const auto& [member, member_name] : joining) {
    step = tables::AddMember(connection, key, member, daemon, member_name, deadline);
    if (!step.ok()) return step;
  }
  has_joined = true;
  if (!rewound.empty()) {
    step = tables::RewindLanes(connection, key, rewound, deadline);
    if (!step.ok()) return step;
  }
  if (keep) {
    step = Take(tables::KeepLanes(connection, key, daemon, lease, progress, attempts, deadline),
                &kept);
    if (!step.ok()) return step;
  }
  if (!parked.empty() || !resolved.empty()) {
    step = Take(tables::WriteDeadLetters(connection, key, name, parked, resolved, deadline),
                &dead_letters_of);
    if (!step.ok()) return step;
  }
  for (const Free& free : frees) {
    bool is_free = false;
    step = Take(tables::FreeStream(connection, key, name, free.lane, free.token, free.stream_hash,
                                   deadline),
                &is_free);
    if (!step.ok()) return step;
    if (is_free) freed.emplace_back(free.lane, free.stream_hash);
  }
  if (!releases.empty()) {
    step = tables::ReleaseLanes(connection, key, releases, deadline);
    if (!step.ok()) return step;
  }
  has_released = true;
  if (!leaving.empty()) {
    step = tables::RemoveMembers(connection, key, leaving, deadline);
    if (!step.ok()) return step;
  }
  has_left = true;
  if (!claims.empty()) {
    step = RunClaims(connection, deadline);
    if (!step.ok()) return step;
  }
  if (!read_events.empty()) {
    step = Take(tables::ReadEventsAt(connection, read_events, deadline), &events);
    if (!step.ok()) return step;
  }
  if (!observe) return absl::OkStatus();
  return Take(tables::ObserveGroup(connection, key, name, lease, deadline), &view);
}

// A checkpoint of a history that was lost goes back to where that history ended.
absl::Status GroupRound::RunClaims(pg::Connection& connection, Deadline deadline) {
  absl::Status step =
      Take(tables::ClaimLanes(connection, key, daemon, lease, claims, deadline), &claimed);
  if (!step.ok() || claimed.empty()) return step;
  auto head = tables::ReadHead(connection, deadline);
  if (!head.ok()) {
    claimed.clear();  // nobody's until their leases end
    return head.status();
  }
  std::vector<tables::LaneProgress> back;
  for (tables::ClaimedLane& lane : claimed) {
    if (lane.epoch == head->epoch) continue;
    const absl::Status checked =
        tables::CheckPosition(connection, *head, lane.position, lane.epoch, deadline);
    const auto details = DetailsOf(checked);
    if (!details.empty() && details[0].reason() == v1::ERROR_REASON_POSITION_AHEAD) {
      spdlog::warn("group {} lane {}: the store was rewound; the checkpoint goes from {} to {}",
                   name, lane.lane, lane.position, details[0].position());
      lane.position = details[0].position();
      ++rewinds;
    } else if (!checked.ok()) {
      claimed.clear();
      return checked;
    }
    // What was known of events beyond may be of others by now.
    lane.epoch = head->epoch;
    lane.known.clear();
    lane.stopped_position = 0;
    lane.may_repeat = true;
    tables::LaneProgress& rewind = back.emplace_back();
    rewind.lane = lane.lane;
    rewind.token = lane.token;
    rewind.position = lane.position;
    rewind.epoch = lane.epoch;
  }
  if (back.empty()) return absl::OkStatus();
  step = tables::RewindLanes(connection, key, back, deadline);
  if (!step.ok()) claimed.clear();
  return step;
}

}  // namespace eventstore::engine
