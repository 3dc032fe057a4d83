#include "server/tables/consumer_groups_table.h"

#include <absl/strings/escaping.h>
#include <absl/strings/str_cat.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <vector>

#include "server/core/errors.h"
#include "server/core/ids.h"
#include "server/core/validation.h"
#include "server/tables/log_table.h"

namespace eventstore::tables {
namespace {

constexpr char kKind[] = "consumer group";

constexpr pg::Statement kCreate{
    "groups_create",
    "WITH made AS (INSERT INTO consumer_groups (name, settings) VALUES ($1, $2)"
    " ON CONFLICT (name) DO NOTHING RETURNING group_key)"
    " INSERT INTO consumer_group_lanes (group_key, lane, position, epoch)"
    " SELECT group_key, lane, $4, $5 FROM made, generate_series(0, $3 - 1) AS lane"};

constexpr pg::Statement kRead{
    "groups_read", "SELECT group_key, settings, revision FROM consumer_groups WHERE name = $1"};

constexpr pg::Statement kUpdate{
    "groups_update",
    "UPDATE consumer_groups SET settings = $3, revision = revision + 1,"
    " updated_at = clock_timestamp() WHERE group_key = $1 AND revision = $2"};

constexpr pg::Statement kDelete{"groups_delete", "DELETE FROM consumer_groups WHERE name = $1"};

// The lag is the head's distance to the lowest lane.
#define EVENTSTORE_GROUP_COLUMNS                                                               \
  "g.name, g.settings, g.revision, g.created_at, g.updated_at, l.checkpoint, h.last_position," \
  " l.in_flight, l.retrying, (SELECT count(*) FROM dead_letter_queue d"                        \
  " WHERE d.projection_name = g.name AND d.status <> 'resolved')"
#define EVENTSTORE_GROUP_TABLES                                                        \
  " FROM consumer_groups g CROSS JOIN log_head h CROSS JOIN LATERAL"                   \
  " (SELECT min(position)::bigint AS checkpoint, sum(in_flight)::bigint AS in_flight," \
  " sum(retrying)::bigint AS retrying FROM consumer_group_lanes WHERE group_key = g.group_key) l"

constexpr pg::Statement kDescribe{"groups_describe",
                                  "SELECT " EVENTSTORE_GROUP_COLUMNS EVENTSTORE_GROUP_TABLES
                                  " WHERE g.name = $1"};

constexpr pg::Statement kList{"groups_list",
                              "SELECT " EVENTSTORE_GROUP_COLUMNS EVENTSTORE_GROUP_TABLES
                              " WHERE g.name > $1 ORDER BY g.name LIMIT $2"};

constexpr pg::Statement kMembers{
    "groups_members",
    "SELECT m.member, m.name, m.daemon, m.joined_at, (SELECT count(*)::int"
    " FROM consumer_group_lanes l WHERE l.group_key = m.group_key AND l.member = m.member)"
    " FROM consumer_group_members m JOIN consumer_groups g USING (group_key)"
    " WHERE g.name = $1 ORDER BY m.joined_at, m.member"};

// What nobody reports is at least as old as the event after the checkpoint.
constexpr pg::Statement kLanes{
    "groups_lanes",
    "SELECT l.lane, l.member, l.daemon, l.token, l.position, l.epoch, l.in_flight, l.retrying,"
    " greatest(0, h.last_position - l.position),"
    " greatest(0, extract(epoch FROM clock_timestamp() - coalesce(l.oldest_created_at,"
    " CASE WHEN l.position < h.last_position THEN (SELECT e.created_at FROM events e"
    " WHERE e.global_position = l.position + 1) END)))::float8,"
    " extract(epoch FROM clock_timestamp() - l.oldest_unacked_at)::float8, l.stopped_event_id,"
    " (SELECT count(*) FROM consumer_group_parked_streams p"
    " WHERE p.group_key = l.group_key AND p.lane = l.lane), l.lease_until > clock_timestamp()"
    " FROM consumer_group_lanes l JOIN consumer_groups g USING (group_key) CROSS JOIN log_head h"
    " WHERE g.name = $1 ORDER BY l.lane"};

std::string ToJson(const v1::ConsumerGroupSettings& settings) {
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(settings, &json);
  return json;
}

// What a later version wrote and this one does not know is passed over.
absl::Status FromJson(std::string_view json, v1::ConsumerGroupSettings* settings) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  if (google::protobuf::util::JsonStringToMessage(
          google::protobuf::StringPiece(json.data(), json.size()), settings, options)
          .ok()) {
    return absl::OkStatus();
  }
  return absl::DataLossError("the settings of a consumer group cannot be read");
}

void SetSeconds(double seconds, google::protobuf::Duration* duration) {
  const auto micros = static_cast<std::int64_t>(seconds * 1e6);
  duration->set_seconds(micros / 1'000'000);
  duration->set_nanos(static_cast<std::int32_t>(micros % 1'000'000 * 1000));
}

absl::Status ParseGroup(const pg::Result& result, int row, v1::ConsumerGroup* group) {
  *group->mutable_name() = result.Text(row, 0);
  absl::Status parsed = FromJson(result.Jsonb(row, 1), group->mutable_settings());
  if (!parsed.ok()) return parsed;
  group->set_revision(result.Int64(row, 2));
  FromUnixMicros(result.Timestamp(row, 3), group->mutable_created_at());
  FromUnixMicros(result.Timestamp(row, 4), group->mutable_updated_at());
  group->set_checkpoint(result.Int64(row, 5));
  group->set_head_position(result.Int64(row, 6));
  group->set_lag_positions(std::max<std::int64_t>(0, group->head_position() - group->checkpoint()));
  group->set_in_flight(result.Int64(row, 7));
  group->set_retrying(result.Int64(row, 8));
  group->set_parked(result.Int64(row, 9));
  return absl::OkStatus();
}

void ParseMember(const pg::Result& result, int row, v1::ConsumerGroupMember* member) {
  member->set_member_id(FormatUuid(result.Uuid(row, 0)));
  *member->mutable_member_name() = result.Text(row, 1);
  member->set_daemon_id(FormatUuid(result.Uuid(row, 2)));
  FromUnixMicros(result.Timestamp(row, 3), member->mutable_joined_at());
  member->set_lanes(result.Int32(row, 4));
}

void ParseLane(const pg::Result& result, int row, v1::ConsumerGroupLane* lane) {
  lane->set_lane(result.Int32(row, 0));
  if (result.Bool(row, 13)) {
    if (!result.IsNull(row, 1)) lane->set_member_id(FormatUuid(result.Uuid(row, 1)));
    if (!result.IsNull(row, 2)) lane->set_daemon_id(FormatUuid(result.Uuid(row, 2)));
  }
  lane->set_token(result.Int64(row, 3));
  lane->set_checkpoint(result.Int64(row, 4));
  lane->set_epoch(result.Int64(row, 5));
  lane->set_in_flight(result.Int64(row, 6));
  lane->set_retrying(result.Int64(row, 7));
  lane->set_lag_positions(result.Int64(row, 8));
  if (!result.IsNull(row, 9)) SetSeconds(result.Double(row, 9), lane->mutable_lag());
  if (!result.IsNull(row, 10)) {
    SetSeconds(std::max(0.0, result.Double(row, 10)), lane->mutable_oldest_unacked_age());
  }
  if (!result.IsNull(row, 11)) lane->set_stopped_event_id(FormatUuid(result.Uuid(row, 11)));
  lane->set_parked_streams(result.Int64(row, 12));
}

}  // namespace

absl::Status CreateGroup(pg::Connection& connection, const v1::CreateConsumerGroupRequest& request,
                         Deadline deadline) {
  auto head = ReadHead(connection, deadline);
  if (!head.ok()) return head.status();
  std::int64_t position = 0;
  if (request.has_end()) position = head->position;
  if (request.has_after_position()) {
    position = request.after_position();
    absl::Status checked = CheckPosition(connection, *head, position, request.epoch(), deadline);
    if (!checked.ok()) return checked;
  }
  if (position + 1 < head->first_position) {
    return Archived(head->first_position, "the store's history before this position was archived");
  }
  auto made = connection.Query(kCreate,
                               pg::Params()
                                   .Text(request.name())
                                   .Jsonb(ToJson(request.settings()))
                                   .Int32(request.settings().lanes())
                                   .Int64(position)
                                   .Int64(head->epoch),
                               deadline);
  if (!made.ok()) return made.status();
  if (made->affected() > 0) return absl::OkStatus();
  v1::ErrorInfo info;
  info.set_reason(v1::ERROR_REASON_ALREADY_EXISTS);
  info.set_field(kKind);
  info.set_message(absl::StrCat("a consumer group named \"", request.name(), "\" exists already"));
  return MakeError(std::move(info));
}

absl::StatusOr<GroupRow> ReadGroup(pg::Connection& connection, std::string_view name,
                                   Deadline deadline) {
  auto result = connection.Query(kRead, pg::Params().Text(name), deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return NotFound(kKind, name);
  GroupRow row;
  row.key = result->Int64(0, 0);
  row.name = name;
  absl::Status parsed = FromJson(result->Jsonb(0, 1), &row.settings);
  if (!parsed.ok()) return parsed;
  row.revision = result->Int64(0, 2);
  return row;
}

absl::StatusOr<bool> UpdateGroup(pg::Connection& connection, const GroupRow& row,
                                 Deadline deadline) {
  auto result = connection.Query(
      kUpdate, pg::Params().Int64(row.key).Int64(row.revision).Jsonb(ToJson(row.settings)),
      deadline);
  if (!result.ok()) return result.status();
  return result->affected() == 1;
}

absl::Status DeleteGroup(pg::Connection& connection, std::string_view name, Deadline deadline) {
  auto result = connection.Query(kDelete, pg::Params().Text(name), deadline);
  if (!result.ok()) return result.status();
  return result->affected() == 1 ? absl::OkStatus() : NotFound(kKind, name);
}

absl::StatusOr<v1::ConsumerGroup> DescribeGroup(pg::Connection& connection, std::string_view name,
                                                Deadline deadline) {
  pg::Pipeline pipeline(&connection);
  for (const pg::Statement& statement : {kDescribe, kMembers, kLanes}) {
    pipeline.Add(statement, std::move(pg::Params().Text(name)));
  }
  const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) return outcome.status;
  if (outcome.results[0].rows() == 0) return NotFound(kKind, name);
  v1::ConsumerGroup group;
  absl::Status parsed = ParseGroup(outcome.results[0], 0, &group);
  if (!parsed.ok()) return parsed;
  for (int row = 0; row < outcome.results[1].rows(); ++row) {
    ParseMember(outcome.results[1], row, group.add_members());
  }
  for (int row = 0; row < outcome.results[2].rows(); ++row) {
    ParseLane(outcome.results[2], row, group.add_lanes());
  }
  return group;
}

absl::StatusOr<v1::ListConsumerGroupsResponse> ListGroups(
    pg::Connection& connection, const v1::ListConsumerGroupsRequest& request, Deadline deadline) {
  std::string after;
  if (!absl::WebSafeBase64Unescape(request.page_token(), &after) ||
      after.find('\0') != std::string::npos) {
    return InvalidRequest("page_token",
                          "is not one that this server made; give back the next_page_token of the "
                          "page before, or nothing");
  }
  auto result = connection.Query(
      kList, pg::Params().Text(after).Int64(std::int64_t{request.page_size()} + 1), deadline);
  if (!result.ok()) return result.status();
  v1::ListConsumerGroupsResponse page;
  const int rows = std::min(result->rows(), request.page_size());
  for (int row = 0; row < rows; ++row) {
    absl::Status parsed = ParseGroup(*result, row, page.add_groups());
    if (!parsed.ok()) return parsed;
  }
  if (result->rows() > rows) {
    absl::WebSafeBase64Escape(page.groups(rows - 1).name(), page.mutable_next_page_token());
  }
  return page;
}

}  // namespace eventstore::tables
