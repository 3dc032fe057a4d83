#include "client/cli/group_output.h"

#include <fmt/format.h>

#include <cmath>

#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

double RealSeconds(const google::protobuf::Duration& time) {
  return std::round(static_cast<double>(time.seconds()) * 1e3 + time.nanos() / 1e6) / 1e3;
}

std::string Seconds(bool present, const google::protobuf::Duration& time) {
  return present ? fmt::format("{:.1f}s", RealSeconds(time)) : "-";
}

std::string OrDash(const std::string& text) { return text.empty() ? "-" : Escape(text); }

std::string OnFailureText(v1::OnFailure on_failure) {
  switch (on_failure) {
    case v1::ON_FAILURE_PARK_STREAM:
      return "park-stream";
    case v1::ON_FAILURE_STOP:
      return "stop";
    default:
      return "park";
  }
}

}  // namespace

void AddGroupJson(const v1::ConsumerGroup& group, JsonLine* line) {
  line->Text("name", group.name());
  line->Number("revision", group.revision());
  line->Number("lanes", group.settings().lanes());
  line->Number("max_attempts", group.settings().max_attempts());
  line->Text("on_failure", OnFailureText(group.settings().on_failure()));
  line->Number("checkpoint", group.checkpoint());
  line->Number("head_position", group.head_position());
  line->Number("lag_positions", group.lag_positions());
  line->Number("in_flight", group.in_flight());
  line->Number("retrying", group.retrying());
  line->Number("parked", group.parked());
  if (group.members_size() > 0) {
    line->OpenArray("members");
    for (const v1::ConsumerGroupMember& member : group.members()) {
      line->OpenObject("");
      line->Text("member_id", member.member_id());
      line->TextUnlessEmpty("member_name", member.member_name());
      line->Text("daemon_id", member.daemon_id());
      line->Number("lanes", member.lanes());
      line->CloseObject();
    }
    line->CloseArray();
  }
  if (group.lanes_size() == 0) return;
  line->OpenArray("lane_states");
  for (const v1::ConsumerGroupLane& lane : group.lanes()) {
    line->OpenObject("");
    line->Number("lane", lane.lane());
    line->TextUnlessEmpty("member_id", lane.member_id());
    line->Number("token", lane.token());
    line->Number("checkpoint", lane.checkpoint());
    line->Number("lag_positions", lane.lag_positions());
    line->Real("lag_seconds", RealSeconds(lane.lag()));
    line->Number("in_flight", lane.in_flight());
    line->Number("retrying", lane.retrying());
    line->Real("oldest_unacked_seconds", RealSeconds(lane.oldest_unacked_age()));
    line->TextUnlessEmpty("stopped_event_id", lane.stopped_event_id());
    line->Number("parked_streams", lane.parked_streams());
    line->CloseObject();
  }
  line->CloseArray();
}

std::string GroupText(const v1::ConsumerGroup& group) {
  std::string text = fmt::format(
      "group {}  revision {}  checkpoint {}  head {}  lag {}  in flight {}  retrying {}  parked "
      "{}\n"
      "attempts {}  ack timeout {}  backoff {}..{}  on failure {}  span {}  lease {}\n",
      Escape(group.name()), group.revision(), Grouped(group.checkpoint()),
      Grouped(group.head_position()), Grouped(group.lag_positions()), Grouped(group.in_flight()),
      Grouped(group.retrying()), Grouped(group.parked()), group.settings().max_attempts(),
      Seconds(true, group.settings().ack_timeout()), Seconds(true, group.settings().backoff_min()),
      Seconds(true, group.settings().backoff_max()), OnFailureText(group.settings().on_failure()),
      group.settings().unsettled_span_max(), Seconds(true, group.settings().lease_duration()));
  Table members({"MEMBER", "NAME", "DAEMON", "LANES", "JOINED"});
  for (const v1::ConsumerGroupMember& member : group.members()) {
    members.Add({OrDash(member.member_id()), OrDash(member.member_name()),
                 OrDash(member.daemon_id()), std::to_string(member.lanes()),
                 FormatTime(member.joined_at())});
  }
  Table lanes({"LANE", "MEMBER", "TOKEN", "CHECKPOINT", "LAG", "AGE", "IN FLIGHT", "RETRYING",
               "UNACKED", "WAITS FOR"});
  for (const v1::ConsumerGroupLane& lane : group.lanes()) {
    const std::string waits = !lane.stopped_event_id().empty() ? lane.stopped_event_id()
                              : lane.parked_streams() > 0
                                  ? Count(lane.parked_streams(), "parked stream")
                                  : "-";
    lanes.Add({std::to_string(lane.lane()), OrDash(lane.member_id()), std::to_string(lane.token()),
               Grouped(lane.checkpoint()), Grouped(lane.lag_positions()),
               Seconds(lane.has_lag(), lane.lag()), Grouped(lane.in_flight()),
               Grouped(lane.retrying()),
               Seconds(lane.has_oldest_unacked_age(), lane.oldest_unacked_age()), Escape(waits)});
  }
  return text + members.Take() + lanes.Take();
}

}  // namespace eventstore::cli
