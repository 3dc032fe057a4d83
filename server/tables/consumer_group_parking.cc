// A consumer group's dead letters: the other half of consumer_group_lanes_table.cc.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include "server/tables/consumer_group_lanes_table.h"
#include "server/tables/dead_letters_table.h"
#include "server/tables/log_table.h"

namespace eventstore::tables {
namespace {

// Whoever holds the row's lock here is the owner until the transaction ends: no other daemon can
// take the lane in between.
constexpr pg::Statement kLock{
    "group_lanes_lock",
    "SELECT l.lane FROM consumer_group_lanes l JOIN unnest($2::int[], $3::bigint[])"
    " AS n(lane, token) ON l.lane = n.lane AND l.token = n.token WHERE l.group_key = $1"
    " ORDER BY l.lane FOR UPDATE OF l"};

// What was parked beyond the checkpoint is not delivered again after a takeover.
constexpr pg::Statement kMarkSettled{
    "group_retries_mark",
    "INSERT INTO consumer_group_retries (group_key, lane, position, attempts, due_at, settled)"
    " SELECT $1, lane, position, attempts, clock_timestamp(), settled"
    " FROM unnest($2::int[], $3::bigint[], $4::int[], $5::boolean[])"
    " AS n(lane, position, attempts, settled) ON CONFLICT (group_key, lane, position)"
    " DO UPDATE SET attempts = excluded.attempts, settled = excluded.settled"};

constexpr pg::Statement kStopLanes{
    "group_lanes_stop",
    "UPDATE consumer_group_lanes l SET stopped_event_id = n.event_id,"
    " stopped_position = n.position FROM unnest($2::int[], $3::uuid[], $4::bigint[])"
    " AS n(lane, event_id, position) WHERE l.group_key = $1 AND l.lane = n.lane"};

// Where the event that the stream waited for is settled, it waits for this one now.
constexpr pg::Statement kParkStreams{
    "group_streams_park",
    "INSERT INTO consumer_group_parked_streams (group_key, lane, stream_hash, event_id, position)"
    " SELECT $1, lane, stream_hash, event_id, position"
    " FROM unnest($2::int[], $3::bigint[], $4::uuid[], $5::bigint[])"
    " AS n(lane, stream_hash, event_id, position) ON CONFLICT (group_key, lane, stream_hash)"
    " DO UPDATE SET event_id = excluded.event_id, position = excluded.position WHERE NOT EXISTS"
    " (SELECT FROM dead_letter_queue d WHERE d.projection_name = $6 AND d.status <> 'resolved'"
    " AND d.event_id = consumer_group_parked_streams.event_id)"};

// The dead letters of the stream that `event_id` belongs to.
constexpr pg::Statement kRetryFollowers{
    "group_stream_retry_followers",
    "UPDATE dead_letter_queue d SET status = 'retrying' FROM event_ids head, event_ids own"
    " WHERE head.event_id = $2 AND d.projection_name = $1 AND d.status = 'failed'"
    " AND own.event_id = d.event_id AND own.stream_key = head.stream_key"
    " AND own.global_position > head.global_position"};

constexpr pg::Statement kUnparkStream{
    "group_stream_unpark",
    "DELETE FROM consumer_group_parked_streams p WHERE p.group_key = $1 AND p.lane = $2"
    " AND p.stream_hash = $3 AND NOT EXISTS (SELECT FROM dead_letter_queue d"
    " JOIN event_ids own ON own.event_id = d.event_id"
    " JOIN event_ids head ON head.event_id = p.event_id"
    " WHERE d.projection_name = $4 AND d.status <> 'resolved'"
    " AND own.stream_key = head.stream_key)"};

constexpr pg::Statement kHead{
    "group_stream_head",
    "SELECT event_id FROM consumer_group_parked_streams WHERE group_key = $1 AND lane = $2"
    " AND stream_hash = $3"};

absl::StatusOr<std::vector<std::int32_t>> LockLanes(
    pg::Connection& connection, std::int64_t group_key,
    std::vector<std::pair<std::int32_t, std::int64_t>> tokens, Deadline deadline) {
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  pg::ArrayWriter lane(pg::kInt4), token(pg::kInt8);
  for (const auto& [number, fence] : tokens) {
    lane.Int32(number);
    token.Int64(fence);
  }
  auto begun = connection.Query(kBegin, pg::Params(), deadline);
  if (!begun.ok()) return begun.status();
  auto result =
      connection.Query(kLock, pg::Params().Int64(group_key).Array(&lane).Array(&token), deadline);
  if (!result.ok()) return result.status();
  std::vector<std::int32_t> lanes;
  for (int row = 0; row < result->rows(); ++row) lanes.push_back(result->Int32(row, 0));
  return lanes;
}

void AddMarks(pg::Pipeline* pipeline, std::int64_t group_key, std::string_view name,
              const std::vector<const ParkedEvent*>& parked) {
  pg::ArrayWriter lane(pg::kInt4), position(pg::kInt8), attempts(pg::kInt4), settled(pg::kBool);
  pg::ArrayWriter stop_lane(pg::kInt4), stop_event(pg::kUuid), stop_position(pg::kInt8);
  pg::ArrayWriter stream_lane(pg::kInt4), hash(pg::kInt8), stream_event(pg::kUuid),
      stream_position(pg::kInt8);
  for (const ParkedEvent* const row : parked) {
    const Uuid id = ParseUuid(row->event.event_id()).value_or(kNilUuid);
    if (!row->is_retry) {
      lane.Int32(row->lane);
      position.Int64(row->event.global_position());
      attempts.Int32(row->attempts);
      settled.Bool(!row->stops_lane);
    }
    if (row->stops_lane) {
      stop_lane.Int32(row->lane);
      stop_event.Uuid(id);
      stop_position.Int64(row->event.global_position());
    }
    if (row->parks_stream != 0) {
      stream_lane.Int32(row->lane);
      hash.Int64(row->parks_stream);
      stream_event.Uuid(id);
      stream_position.Int64(row->event.global_position());
    }
  }
  pg::Params marks, stops, streams;
  marks.Int64(group_key).Array(&lane).Array(&position).Array(&attempts).Array(&settled);
  stops.Int64(group_key).Array(&stop_lane).Array(&stop_event).Array(&stop_position);
  streams.Int64(group_key)
      .Array(&stream_lane)
      .Array(&hash)
      .Array(&stream_event)
      .Array(&stream_position)
      .Text(name);
  pipeline->Add(kMarkSettled, std::move(marks));
  pipeline->Add(kStopLanes, std::move(stops));
  pipeline->Add(kParkStreams, std::move(streams));
}

v1::DeadLetter MakeDeadLetter(std::string_view name, const ParkedEvent& row) {
  v1::DeadLetter letter;
  letter.set_event_id(row.event.event_id());
  letter.set_event_type(row.event.event_type());
  letter.set_projection_name(name.data(), name.size());
  letter.set_error_message(row.error);
  // A retry adds one failure; a park as many as there were, the first of which is no retry.
  letter.set_retry_count(row.is_retry ? 0 : std::max(0, row.attempts - 1));
  return letter;
}

}  // namespace

absl::StatusOr<std::vector<std::int32_t>> WriteDeadLetters(
    pg::Connection& connection, std::int64_t group_key, std::string_view name,
    const std::vector<ParkedEvent>& parked, const std::vector<ResolvedEvent>& resolved,
    Deadline deadline) {
  std::vector<std::pair<std::int32_t, std::int64_t>> tokens;
  for (const ParkedEvent& row : parked) tokens.emplace_back(row.lane, row.token);
  for (const ResolvedEvent& row : resolved) tokens.emplace_back(row.lane, row.token);
  auto lanes = LockLanes(connection, group_key, std::move(tokens), deadline);
  if (!lanes.ok()) return lanes.status();
  const auto owned = [&](std::int32_t lane) {
    return std::binary_search(lanes->begin(), lanes->end(), lane);
  };
  std::vector<v1::DeadLetter> letters;
  std::vector<const ParkedEvent*> rows;
  for (const ParkedEvent& row : parked) {
    if (!owned(row.lane)) continue;
    letters.push_back(MakeDeadLetter(name, row));
    rows.push_back(&row);
  }
  std::vector<Uuid> settled;
  for (const ResolvedEvent& row : resolved) {
    if (owned(row.lane)) settled.push_back(row.event);
  }
  pg::Pipeline pipeline(&connection);
  if (!letters.empty()) {
    AddUpsertDeadLetters(&pipeline, letters);
    AddMarks(&pipeline, group_key, name, rows);
  }
  if (!settled.empty()) {
    AddResolveDeadLetters(&pipeline, name, settled, absl::StrCat("group:", std::string(name)),
                          "processed by the group");
  }
  pipeline.Add(kCommit, {});
  const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) return outcome.status;
  return lanes;
}

absl::StatusOr<bool> FreeStream(pg::Connection& connection, std::int64_t group_key,
                                std::string_view name, std::int32_t lane, std::int64_t token,
                                std::int64_t stream_hash, Deadline deadline) {
  auto lanes = LockLanes(connection, group_key, {{lane, token}}, deadline);
  if (!lanes.ok()) return lanes.status();
  bool is_free = false;
  if (!lanes->empty()) {
    pg::Params params;
    params.Int64(group_key).Int32(lane).Int64(stream_hash);
    auto head = connection.Query(kHead, params, deadline);
    if (!head.ok()) return head.status();
    if (head->rows() == 1) {
      auto retried = connection.Query(kRetryFollowers,
                                      pg::Params().Text(name).Uuid(head->Uuid(0, 0)), deadline);
      if (!retried.ok()) return retried.status();
      auto unparked = connection.Query(kUnparkStream, params.Text(name), deadline);
      if (!unparked.ok()) return unparked.status();
      is_free = unparked->affected() == 1;
    } else {
      is_free = true;
    }
  }
  absl::Status committed = connection.Query(kCommit, pg::Params(), deadline).status();
  if (!committed.ok()) return committed;
  return is_free;
}

}  // namespace eventstore::tables
