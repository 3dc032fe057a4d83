// groups create|update|delete|get|list|watch: consumer groups from outside. groups consume is in
// consume.cc.
#include "client/cli/groups.h"

#include <fmt/format.h>

#include <functional>
#include <memory>
#include <string>

#include "eventstore/v1/consumer_group_service.grpc.pb.h"

#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/filter_options.h"
#include "client/cli/json.h"
#include "client/cli/parse.h"
#include "client/cli/retry.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

constexpr std::int32_t kPageSize = 100;

// The options that become settings; what is not given stays unset.
struct SettingsOptions {
  v1::ConsumerGroupSettings settings;
  FilterOptions filter;
  std::string on_failure;

  void AddTo(CLI::App* command, bool with_fixed) {
    if (with_fixed) {
      AddNumber(command, "--lanes", "into how many lanes streams are spread (default 16)",
                [this](std::int64_t n) { settings.set_lanes(static_cast<std::int32_t>(n)); });
      filter.AddTo(command);
    }
    AddNumber(command, "--member-in-flight", "most events in flight to one member",
              [this](std::int64_t n) { settings.set_member_in_flight_max(n); });
    AddNumber(command, "--lane-in-flight", "most events in flight of one lane",
              [this](std::int64_t n) { settings.set_lane_in_flight_max(n); });
    AddNumber(command, "--attempts", "deliveries before an event is given up",
              [this](std::int64_t n) { settings.set_max_attempts(static_cast<std::int32_t>(n)); });
    AddNumber(command, "--span", "most unsettled events of one lane",
              [this](std::int64_t n) { settings.set_unsettled_span_max(n); });
    AddMillis(command, "--ack-timeout-ms", "time for an ack",
              [this] { return settings.mutable_ack_timeout(); });
    AddMillis(command, "--backoff-min-ms", "pause after the first failure",
              [this] { return settings.mutable_backoff_min(); });
    AddMillis(command, "--backoff-max-ms", "longest pause after a failure",
              [this] { return settings.mutable_backoff_max(); });
    AddMillis(command, "--lease-ms", "after such a silence a daemon loses its lanes",
              [this] { return settings.mutable_lease_duration(); });
    command
        ->add_option("--on-failure", on_failure,
                     "what becomes of an event that was given up: park, park-stream or stop")
        ->check(CLI::IsMember({"park", "park-stream", "stop"}).description(""))
        ->type_name("park|park-stream|stop");
  }

  [[nodiscard]] v1::ConsumerGroupSettings ToProto() const {
    v1::ConsumerGroupSettings result = settings;
    if (on_failure == "park") result.set_on_failure(v1::ON_FAILURE_PARK);
    if (on_failure == "park-stream") result.set_on_failure(v1::ON_FAILURE_PARK_STREAM);
    if (on_failure == "stop") result.set_on_failure(v1::ON_FAILURE_STOP);
    const v1::Filter wanted = filter.ToProto();
    if (wanted.ByteSizeLong() > 0) *result.mutable_filter() = wanted;
    return result;
  }

 private:
  static void AddMillis(CLI::App* command, const std::string& name, const std::string& description,
                        const std::function<google::protobuf::Duration*()>& field) {
    AddNumber(command, name, description, [field](std::int64_t millis) {
      field()->set_seconds(millis / 1'000);
      field()->set_nanos(static_cast<std::int32_t>(millis % 1'000 * 1'000'000));
    });
  }
};

std::string Seconds(bool present, const google::protobuf::Duration& time) {
  if (!present) return "-";
  return fmt::format("{:.1f}s", static_cast<double>(time.seconds()) + time.nanos() / 1e9);
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
    line->Number("in_flight", lane.in_flight());
    line->Number("retrying", lane.retrying());
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

bool PrintGroup(const v1::ConsumerGroup& group, Session* session) {
  if (!session->json()) return session->Print(GroupText(group));
  JsonLine line;
  AddGroupJson(group, &line);
  return session->Print(line.Finish());
}

int RunCreate(const v1::CreateConsumerGroupRequest& request, Session* session) {
  const auto stub = v1::ConsumerGroupService::NewStub(session->channel());
  v1::CreateConsumerGroupResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return stub->CreateConsumerGroup(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  PrintGroup(response.group(), session);
  return kExitOk;
}

int RunUpdate(const v1::UpdateConsumerGroupRequest& request, Session* session) {
  const auto stub = v1::ConsumerGroupService::NewStub(session->channel());
  v1::UpdateConsumerGroupResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return stub->UpdateConsumerGroup(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  PrintGroup(response.group(), session);
  return kExitOk;
}

int RunDelete(const v1::DeleteConsumerGroupRequest& request, Session* session) {
  const auto stub = v1::ConsumerGroupService::NewStub(session->channel());
  v1::DeleteConsumerGroupResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return stub->DeleteConsumerGroup(context, request, &response);
  });
  return status.ok() ? static_cast<int>(kExitOk) : ReportFailure(FailureOf(status), session);
}

int RunGet(const v1::GetConsumerGroupRequest& request, std::int64_t watch_s, Session* session) {
  const auto stub = v1::ConsumerGroupService::NewStub(session->channel());
  for (;;) {
    v1::GetConsumerGroupResponse response;
    const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
      return stub->GetConsumerGroup(context, request, &response);
    });
    if (session->interrupt().raised()) return kExitOk;
    if (!status.ok()) return ReportFailure(FailureOf(status), session);
    // A terminal shows one picture; a pipe gets them all.
    if (watch_s > 0 && !session->json() && session->console().err_is_terminal) {
      session->Print("\x1b[H\x1b[2J");
    }
    if (!PrintGroup(response.group(), session)) return kExitFailed;
    session->console().out->flush();
    if (watch_s == 0 || session->interrupt().WaitFor(std::chrono::seconds(watch_s))) return kExitOk;
  }
}

int RunList(v1::ListConsumerGroupsRequest request, Session* session) {
  const auto stub = v1::ConsumerGroupService::NewStub(session->channel());
  Table table({"GROUP", "LANES", "CHECKPOINT", "LAG", "IN FLIGHT", "RETRYING", "PARKED"});
  request.set_page_size(kPageSize);
  for (;;) {
    v1::ListConsumerGroupsResponse page;
    const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
      return stub->ListConsumerGroups(context, request, &page);
    });
    if (!status.ok()) return ReportFailure(FailureOf(status), session);
    std::string text;
    for (const v1::ConsumerGroup& group : page.groups()) {
      if (session->json()) {
        JsonLine line;
        AddGroupJson(group, &line);
        text += line.Finish();
        continue;
      }
      table.Add({Escape(group.name()), std::to_string(group.settings().lanes()),
                 Grouped(group.checkpoint()), Grouped(group.lag_positions()),
                 Grouped(group.in_flight()), Grouped(group.retrying()), Grouped(group.parked())});
    }
    if (!session->json()) text = table.Take();
    if (!session->Print(text)) return kExitFailed;
    if (page.next_page_token().empty()) return kExitOk;
    request.set_page_token(page.next_page_token());
  }
}

void AddCreate(CLI::App* groups, Action* action) {
  struct Options {
    v1::CreateConsumerGroupRequest request;
    SettingsOptions settings;
    std::string from = "beginning";
  };
  const auto options = std::make_shared<Options>();
  CLI::App* const command = groups->add_subcommand("create", "Create a group.");
  command->add_option("group", *options->request.mutable_name(), "name")->required();
  command->add_option("--from", options->from, "beginning, end, or a position to start after")
      ->capture_default_str();
  AddNumber(command, "--epoch", "the epoch that the position came with; 0: not checked",
            [options](std::int64_t value) { options->request.set_epoch(value); });
  options->settings.AddTo(command, /*with_fixed=*/true);
  command->callback([=] {
    *action = [=](Session& session) {
      v1::SubscribeRequest start;
      const absl::Status parsed = ParseStart(options->from, &start);
      if (!parsed.ok()) return ReportUsage(MessageOf(parsed), &session);
      if (start.has_end()) options->request.mutable_end();
      if (start.has_after_position()) {
        options->request.set_after_position(start.after_position());
      }
      if (start.has_from_timestamp()) {
        return ReportUsage("--from: a group starts at beginning, end or a position", &session);
      }
      *options->request.mutable_settings() = options->settings.ToProto();
      options->request.set_tenant_id(options->settings.filter.tenant);
      return RunCreate(options->request, &session);
    };
  });
}

void AddUpdate(CLI::App* groups, Action* action) {
  struct Options {
    v1::UpdateConsumerGroupRequest request;
    SettingsOptions settings;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* const command =
      groups->add_subcommand("update", "Change a group's settings; what is not given stays.");
  command->add_option("group", *options->request.mutable_name(), "name")->required();
  AddNumber(command, "--revision", "fail unless the group has this revision",
            [options](std::int64_t value) { options->request.set_expected_revision(value); });
  options->settings.AddTo(command, /*with_fixed=*/false);
  command->callback([=] {
    *action = [=](Session& session) {
      *options->request.mutable_settings() = options->settings.ToProto();
      return RunUpdate(options->request, &session);
    };
  });
}

void AddViews(CLI::App* groups, Action* action) {
  const auto get = std::make_shared<v1::GetConsumerGroupRequest>();
  CLI::App* command = groups->add_subcommand("get", "Show a group: members, lanes, lag.");
  command->add_option("group", *get->mutable_name(), "name")->required();
  command->callback([=] { *action = [=](Session& session) { return RunGet(*get, 0, &session); }; });

  const auto interval = std::make_shared<std::int64_t>(1);
  const auto watch = std::make_shared<v1::GetConsumerGroupRequest>();
  command = groups->add_subcommand("watch", "Show a group again and again until Ctrl-C.");
  command->add_option("group", *watch->mutable_name(), "name")->required();
  command->add_option("--interval", *interval, "seconds between two pictures")
      ->check(CLI::Range(1, 3600).description(""))
      ->capture_default_str();
  command->callback(
      [=] { *action = [=](Session& session) { return RunGet(*watch, *interval, &session); }; });

  const auto list = std::make_shared<v1::ListConsumerGroupsRequest>();
  command = groups->add_subcommand("list", "List all groups.");
  command->callback([=] { *action = [=](Session& session) { return RunList(*list, &session); }; });

  const auto gone = std::make_shared<v1::DeleteConsumerGroupRequest>();
  command = groups->add_subcommand("delete", "Delete a group with its checkpoints.");
  command->add_option("group", *gone->mutable_name(), "name")->required();
  command->callback(
      [=] { *action = [=](Session& session) { return RunDelete(*gone, &session); }; });
}

}  // namespace

void AddGroupsCommand(CLI::App* app, Action* action) {
  CLI::App* const groups = app->add_subcommand("groups", "Consumer groups.");
  groups->require_subcommand(1);
  groups->fallthrough();
  AddCreate(groups, action);
  AddUpdate(groups, action);
  AddViews(groups, action);
  AddConsumeCommand(groups, action);
}

}  // namespace eventstore::cli
