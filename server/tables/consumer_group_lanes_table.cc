#include "server/tables/consumer_group_lanes_table.h"

#include <map>

#include "server/tables/event_row.h"

namespace eventstore::tables {
namespace {

using std::chrono::milliseconds;

constexpr pg::Statement kAddMember{
    "group_members_add",
    "INSERT INTO consumer_group_members (group_key, member, daemon, name) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (group_key, member) DO UPDATE SET heartbeat_at = clock_timestamp()"};

constexpr pg::Statement kRemoveMembers{
    "group_members_remove",
    "DELETE FROM consumer_group_members WHERE group_key = $1 AND member = ANY($2)"};

// The token is the fence. A lane without a daemon was given back by a release whose answer was
// lost. Members of daemons that are gone for ten leases are forgotten on the way.
constexpr pg::Statement kKeep{
    "group_lanes_keep",
    "WITH kept AS (UPDATE consumer_group_lanes l SET"
    " lease_until = clock_timestamp() + $3 * interval '1 millisecond', position = n.position,"
    " epoch = n.epoch, in_flight = n.in_flight, retrying = n.retrying,"
    " oldest_created_at = n.oldest_created_at,"
    " oldest_unacked_at = clock_timestamp() - n.unacked_ms * interval '1 millisecond',"
    " stopped_position = n.stopped_position, stopped_event_id ="
    " CASE WHEN n.stopped_position > 0 THEN l.stopped_event_id END, updated_at = clock_timestamp()"
    " FROM unnest($4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],"
    " $10::timestamptz[], $11::bigint[], $12::bigint[]) AS n(lane, token, position, epoch, "
    "in_flight,"
    " retrying, oldest_created_at, unacked_ms, stopped_position)"
    " WHERE l.group_key = $1 AND l.lane = n.lane AND l.token = n.token AND l.daemon IS NOT NULL"
    " RETURNING l.lane, l.position),"
    " saved AS (INSERT INTO consumer_group_retries (group_key, lane, position, attempts, due_at,"
    " error) SELECT $1, a.lane, a.position, a.attempts,"
    " clock_timestamp() + a.due_in * interval '1 millisecond', a.error"
    " FROM unnest($13::int[], $14::bigint[], $15::int[], $16::bigint[], $17::text[])"
    " AS a(lane, position, attempts, due_in, error) JOIN kept ON kept.lane = a.lane"
    " WHERE a.position > kept.position ON CONFLICT (group_key, lane, position)"
    " DO UPDATE SET attempts = excluded.attempts, due_at = excluded.due_at,"
    " error = excluded.error),"
    " done AS (DELETE FROM consumer_group_retries r USING kept WHERE r.group_key = $1"
    " AND r.lane = kept.lane AND r.position <= kept.position),"
    " alive AS (UPDATE consumer_group_members SET heartbeat_at = clock_timestamp()"
    " WHERE group_key = $1 AND daemon = $2),"
    " gone AS (DELETE FROM consumer_group_members WHERE group_key = $1 AND daemon <> $2"
    " AND heartbeat_at < clock_timestamp() - 10 * $3 * interval '1 millisecond')"
    " SELECT lane FROM kept"};

constexpr pg::Statement kRewind{
    "group_lanes_rewind",
    "WITH back AS (UPDATE consumer_group_lanes l SET position = n.position, epoch = n.epoch,"
    " may_repeat = true, stopped_event_id = NULL, stopped_position = 0"
    " FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::bigint[])"
    " AS n(lane, token, position, epoch)"
    " WHERE l.group_key = $1 AND l.lane = n.lane AND l.token = n.token"
    " RETURNING l.lane, l.position)"
    " DELETE FROM consumer_group_retries r USING back WHERE r.group_key = $1"
    " AND r.lane = back.lane AND r.position > back.position"};

constexpr pg::Statement kRelease{
    "group_lanes_release",
    "UPDATE consumer_group_lanes l SET daemon = NULL, member = NULL,"
    " lease_until = '1970-01-01 00:00:00+00', position = n.position, epoch = n.epoch,"
    " may_repeat = n.may_repeat, in_flight = 0, oldest_unacked_at = NULL,"
    " updated_at = clock_timestamp()"
    " FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::boolean[])"
    " AS n(lane, token, position, epoch, may_repeat)"
    " WHERE l.group_key = $1 AND l.lane = n.lane AND l.token = n.token"};

// Two daemons that want a lane queue for its row; the later one finds another token.
constexpr pg::Statement kClaim{
    "group_lanes_claim",
    "WITH free AS (SELECT l.lane, n.member, l.may_repeat OR l.daemon IS NOT NULL AS may_repeat"
    " FROM consumer_group_lanes l JOIN unnest($4::int[], $5::bigint[], $6::uuid[])"
    " AS n(lane, token, member) ON l.lane = n.lane AND l.token = n.token WHERE l.group_key = $1"
    " AND (l.daemon IS NULL OR l.lease_until < clock_timestamp()) ORDER BY l.lane FOR UPDATE OF l)"
    " UPDATE consumer_group_lanes l SET token = l.token + 1, daemon = $2, member = free.member,"
    " lease_until = clock_timestamp() + $3 * interval '1 millisecond', may_repeat = true,"
    " in_flight = 0, oldest_unacked_at = NULL, updated_at = clock_timestamp() FROM free"
    " WHERE l.group_key = $1 AND l.lane = free.lane"
    " RETURNING l.lane, l.token, l.position, l.epoch, free.may_repeat, l.member,"
    " l.stopped_position"};

// An event of a lane that stops may have a dead letter and still be unsettled.
constexpr pg::Statement kKnown{
    "group_lanes_known",
    "SELECT r.lane, r.position, r.attempts,"
    " greatest(0, extract(epoch FROM r.due_at - clock_timestamp()) * 1000)::bigint, r.settled,"
    " d.event_id FROM consumer_group_retries r JOIN consumer_groups g USING (group_key)"
    " LEFT JOIN dead_letter_queue d ON NOT r.settled AND d.projection_name = g.name"
    " AND d.global_position = r.position AND d.status <> 'resolved'"
    " WHERE r.group_key = $1 AND r.lane = ANY($2)"};

constexpr pg::Statement kParkedStreams{
    "group_lanes_parked_streams",
    "SELECT lane, stream_hash FROM consumer_group_parked_streams WHERE group_key = $1"
    " AND lane = ANY($2)"};

// Rows of several kinds, told by the first column.
constexpr pg::Statement kObserve{
    "group_observe",
    "SELECT 0, g.revision, h.last_position, h.epoch, NULL::uuid, NULL::uuid, false"
    " FROM consumer_groups g CROSS JOIN log_head h WHERE g.group_key = $1"
    " UNION ALL SELECT 1, 0, 0, 0, member, daemon, false FROM consumer_group_members"
    " WHERE group_key = $1 AND heartbeat_at > clock_timestamp() - $3 * interval '1 millisecond'"
    " UNION ALL SELECT 2, lane, token, 0, member, daemon,"
    " daemon IS NOT NULL AND lease_until > clock_timestamp() FROM consumer_group_lanes"
    " WHERE group_key = $1"
    " UNION ALL (SELECT 3, global_position, 0, 0, NULL, NULL, false FROM dead_letter_queue"
    " WHERE projection_name = $2 AND status = 'retrying' ORDER BY global_position LIMIT $4)"
    " UNION ALL SELECT 4, w.lane, w.stream_hash, 0, NULL, NULL,"
    " d.id IS NULL OR d.status = 'resolved' FROM (SELECT lane, stopped_event_id AS event_id,"
    " 0::bigint AS stream_hash FROM consumer_group_lanes WHERE group_key = $1"
    " AND stopped_event_id IS NOT NULL UNION ALL SELECT lane, event_id, stream_hash"
    " FROM consumer_group_parked_streams WHERE group_key = $1) w"
    " LEFT JOIN dead_letter_queue d ON d.event_id = w.event_id AND d.projection_name = $2"
    " WHERE d.id IS NULL OR d.status <> 'failed'"};

constexpr pg::Statement kEventsAt{
    "group_events_at", "SELECT " EVENTSTORE_EVENT_COLUMNS
                       " FROM events WHERE global_position = ANY($1) ORDER BY global_position"};

std::vector<std::int32_t> LanesOf(const pg::Result& result) {
  std::vector<std::int32_t> lanes;
  for (int row = 0; row < result.rows(); ++row) lanes.push_back(result.Int32(row, 0));
  return lanes;
}

// The columns of an array of progress, in the order of kKeep.
void AddProgress(const std::vector<LaneProgress>& lanes, pg::Params* params) {
  pg::ArrayWriter lane(pg::kInt4), token(pg::kInt8), position(pg::kInt8), epoch(pg::kInt8),
      in_flight(pg::kInt8), retrying(pg::kInt8), oldest(pg::kTimestamptz), unacked(pg::kInt8),
      stopped(pg::kInt8);
  for (const LaneProgress& row : lanes) {
    lane.Int32(row.lane);
    token.Int64(row.token);
    position.Int64(row.position);
    epoch.Int64(row.epoch);
    in_flight.Int64(row.in_flight);
    retrying.Int64(row.retrying);
    if (row.oldest_created_at_micros == 0) {
      oldest.Null();
    } else {
      oldest.Timestamp(row.oldest_created_at_micros);
    }
    if (row.oldest_unacked_age.has_value()) {
      unacked.Int64(row.oldest_unacked_age->count());
    } else {
      unacked.Null();
    }
    stopped.Int64(row.stopped_position);
  }
  for (pg::ArrayWriter* array :
       {&lane, &token, &position, &epoch, &in_flight, &retrying, &oldest, &unacked, &stopped}) {
    params->Array(array);
  }
}

void ParseViewRow(const pg::Result& result, int row, GroupView* view) {
  const auto uuid = [&](int column) -> std::optional<Uuid> {
    if (result.IsNull(row, column)) return std::nullopt;
    return result.Uuid(row, column);
  };
  switch (result.Int32(row, 0)) {
    case 0:
      view->exists = true;
      view->revision = result.Int64(row, 1);
      view->head_position = result.Int64(row, 2);
      view->epoch = result.Int64(row, 3);
      break;
    case 1:
      view->members.push_back({result.Uuid(row, 4), result.Uuid(row, 5)});
      break;
    case 2:
      view->lanes.push_back({static_cast<std::int32_t>(result.Int64(row, 1)), result.Int64(row, 2),
                             result.Bool(row, 6) ? uuid(4) : std::nullopt});
      break;
    case 3:
      view->retrying.push_back(result.Int64(row, 1));
      break;
    default:
      view->decisions.push_back({static_cast<std::int32_t>(result.Int64(row, 1)),
                                 result.Bool(row, 6), result.Int64(row, 2)});
      break;
  }
}

}  // namespace

absl::Status AddMember(pg::Connection& connection, std::int64_t group_key, const Uuid& member,
                       const Uuid& daemon, std::string_view name, Deadline deadline) {
  return connection
      .Query(kAddMember, pg::Params().Int64(group_key).Uuid(member).Uuid(daemon).Text(name),
             deadline)
      .status();
}

absl::Status RemoveMembers(pg::Connection& connection, std::int64_t group_key,
                           const std::vector<Uuid>& members, Deadline deadline) {
  pg::ArrayWriter ids(pg::kUuid);
  for (const Uuid& member : members) ids.Uuid(member);
  return connection.Query(kRemoveMembers, pg::Params().Int64(group_key).Array(&ids), deadline)
      .status();
}

absl::StatusOr<std::vector<std::int32_t>> KeepLanes(pg::Connection& connection,
                                                    std::int64_t group_key, const Uuid& daemon,
                                                    milliseconds lease,
                                                    const std::vector<LaneProgress>& lanes,
                                                    const std::vector<LaneAttempts>& attempts,
                                                    Deadline deadline) {
  pg::Params params;
  params.Int64(group_key).Uuid(daemon).Double(static_cast<double>(lease.count()));
  AddProgress(lanes, &params);
  pg::ArrayWriter lane(pg::kInt4), position(pg::kInt8), count(pg::kInt4), due_in(pg::kInt8),
      error(pg::kText);
  for (const LaneAttempts& row : attempts) {
    lane.Int32(row.lane);
    position.Int64(row.position);
    count.Int32(row.attempts);
    due_in.Int64(row.due_in.count());
    error.Text(row.error);
  }
  for (pg::ArrayWriter* array : {&lane, &position, &count, &due_in, &error}) params.Array(array);
  auto result = connection.Query(kKeep, params, deadline);
  if (!result.ok()) return result.status();
  return LanesOf(*result);
}

absl::Status RewindLanes(pg::Connection& connection, std::int64_t group_key,
                         const std::vector<LaneProgress>& lanes, Deadline deadline) {
  pg::ArrayWriter lane(pg::kInt4), token(pg::kInt8), position(pg::kInt8), epoch(pg::kInt8);
  for (const LaneProgress& row : lanes) {
    lane.Int32(row.lane);
    token.Int64(row.token);
    position.Int64(row.position);
    epoch.Int64(row.epoch);
  }
  return connection
      .Query(
          kRewind,
          pg::Params().Int64(group_key).Array(&lane).Array(&token).Array(&position).Array(&epoch),
          deadline)
      .status();
}

absl::Status ReleaseLanes(pg::Connection& connection, std::int64_t group_key,
                          const std::vector<LaneRelease>& lanes, Deadline deadline) {
  pg::ArrayWriter lane(pg::kInt4), token(pg::kInt8), position(pg::kInt8), epoch(pg::kInt8),
      repeat(pg::kBool);
  for (const LaneRelease& row : lanes) {
    lane.Int32(row.lane);
    token.Int64(row.token);
    position.Int64(row.position);
    epoch.Int64(row.epoch);
    repeat.Bool(row.may_repeat);
  }
  return connection
      .Query(kRelease,
             pg::Params()
                 .Int64(group_key)
                 .Array(&lane)
                 .Array(&token)
                 .Array(&position)
                 .Array(&epoch)
                 .Array(&repeat),
             deadline)
      .status();
}

absl::StatusOr<std::vector<ClaimedLane>> ClaimLanes(pg::Connection& connection,
                                                    std::int64_t group_key, const Uuid& daemon,
                                                    milliseconds lease,
                                                    const std::vector<LaneClaim>& claims,
                                                    Deadline deadline) {
  pg::ArrayWriter lane(pg::kInt4), token(pg::kInt8), member(pg::kUuid);
  for (const LaneClaim& claim : claims) {
    lane.Int32(claim.lane);
    token.Int64(claim.token);
    member.Uuid(claim.member);
  }
  auto result = connection.Query(kClaim,
                                 pg::Params()
                                     .Int64(group_key)
                                     .Uuid(daemon)
                                     .Double(static_cast<double>(lease.count()))
                                     .Array(&lane)
                                     .Array(&token)
                                     .Array(&member),
                                 deadline);
  if (!result.ok()) return result.status();
  std::map<std::int32_t, ClaimedLane> claimed;
  pg::ArrayWriter taken(pg::kInt4);
  for (int row = 0; row < result->rows(); ++row) {
    ClaimedLane& own = claimed[result->Int32(row, 0)];
    own.lane = result->Int32(row, 0);
    own.token = result->Int64(row, 1);
    own.position = result->Int64(row, 2);
    own.epoch = result->Int64(row, 3);
    own.may_repeat = result->Bool(row, 4);
    own.member = result->Uuid(row, 5);
    own.stopped_position = result->Int64(row, 6);
    taken.Int32(own.lane);
  }
  if (claimed.empty()) return std::vector<ClaimedLane>();
  // Later statements, so that they see what the owner before wrote last.
  pg::Params params;
  params.Int64(group_key).Array(&taken);
  auto known = connection.Query(kKnown, params, deadline);
  if (!known.ok()) return known.status();
  for (int row = 0; row < known->rows(); ++row) {
    KnownAttempt& attempt = claimed[known->Int32(row, 0)].known.emplace_back();
    attempt.position = known->Int64(row, 1);
    attempt.attempts = known->Int32(row, 2);
    attempt.due_in = milliseconds(known->Int64(row, 3));
    attempt.is_settled = known->Bool(row, 4);
    if (!known->IsNull(row, 5)) attempt.dead_letter_of = known->Uuid(row, 5);
  }
  auto parked = connection.Query(kParkedStreams, params, deadline);
  if (!parked.ok()) return parked.status();
  for (int row = 0; row < parked->rows(); ++row) {
    claimed[parked->Int32(row, 0)].parked_streams.push_back(
        static_cast<std::uint64_t>(parked->Int64(row, 1)));
  }
  std::vector<ClaimedLane> lanes;
  for (auto& [number, own] : claimed) lanes.push_back(std::move(own));
  return lanes;
}

absl::StatusOr<GroupView> ObserveGroup(pg::Connection& connection, std::int64_t group_key,
                                       std::string_view name, milliseconds expire,
                                       Deadline deadline) {
  auto result = connection.Query(kObserve,
                                 pg::Params()
                                     .Int64(group_key)
                                     .Text(name)
                                     .Double(static_cast<double>(expire.count()))
                                     .Int64(kRetriesMax),
                                 deadline);
  if (!result.ok()) return result.status();
  GroupView view;
  for (int row = 0; row < result->rows(); ++row) ParseViewRow(*result, row, &view);
  return view;
}

absl::StatusOr<std::vector<v1::Event>> ReadEventsAt(pg::Connection& connection,
                                                    const std::vector<std::int64_t>& positions,
                                                    Deadline deadline) {
  pg::ArrayWriter array(pg::kInt8);
  for (const std::int64_t position : positions) array.Int64(position);
  auto result = connection.Query(kEventsAt, pg::Params().Array(&array), deadline);
  if (!result.ok()) return result.status();
  std::vector<v1::Event> events(static_cast<std::size_t>(result->rows()));
  for (int row = 0; row < result->rows(); ++row) {
    ParseEvent(*result, row, 0, &events[static_cast<std::size_t>(row)]);
  }
  return events;
}

}  // namespace eventstore::tables
