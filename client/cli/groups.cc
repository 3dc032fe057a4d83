// groups create|update|delete|get|list|watch: consumer groups from outside. groups consume is in
// consume.cc.
#include "client/cli/groups.h"

#include <functional>
#include <memory>
#include <string>

#include "eventstore/v1/consumer_group_service.grpc.pb.h"

#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/filter_options.h"
#include "client/cli/group_output.h"
#include "client/cli/json.h"
#include "client/cli/parse.h"
#include "client/cli/retry.h"
#include "client/cli/text.h"
#include "client/cli/watch.h"

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

grpc::Status ShowGroup(const v1::GetConsumerGroupRequest& request, Session* session) {
  const auto stub = v1::ConsumerGroupService::NewStub(session->channel());
  v1::GetConsumerGroupResponse response;
  grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return stub->GetConsumerGroup(context, request, &response);
  });
  if (status.ok()) PrintGroup(response.group(), session);
  return status;
}

int RunGet(const v1::GetConsumerGroupRequest& request, Session* session) {
  const grpc::Status status = ShowGroup(request, session);
  return status.ok() ? static_cast<int>(kExitOk) : ReportFailure(FailureOf(status), session);
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

// Groups start at positions: a subscription knows at which one a time or a checkpoint is.
grpc::Status FindPosition(v1::SubscribeRequest start, v1::CreateConsumerGroupRequest* request,
                          Session* session) {
  if (!request->tenant_id().empty()) start.mutable_filter()->set_tenant_id(request->tenant_id());
  v1::SubscribeResponse response;
  grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    const auto call = session->stub().Subscribe(context, start);
    const bool is_found = call->Read(&response) && response.has_confirmed();
    if (is_found) context->TryCancel();
    const grpc::Status ended = call->Finish();
    if (is_found) return grpc::Status::OK;
    return ended.ok() ? grpc::Status(grpc::StatusCode::INTERNAL, "no position was told") : ended;
  });
  if (!status.ok()) return status;
  request->set_after_position(response.confirmed().position());
  request->set_epoch(response.confirmed().epoch());
  return status;
}

grpc::Status SetStart(const v1::SubscribeRequest& start, v1::CreateConsumerGroupRequest* request,
                      Session* session) {
  if (start.has_from_timestamp() || start.has_checkpoint()) {
    return FindPosition(start, request, session);
  }
  if (start.has_beginning()) request->mutable_beginning();
  if (start.has_end()) request->mutable_end();
  if (start.has_after_position()) request->set_after_position(start.after_position());
  return grpc::Status::OK;
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
  command
      ->add_option("--from", options->from,
                   "beginning, end, a position to start after, checkpoint:NAME, or a time")
      ->capture_default_str();
  AddNumber(command, "--epoch", "the epoch that the position came with; 0: not checked",
            [options](std::int64_t value) { options->request.set_epoch(value); });
  options->settings.AddTo(command, /*with_fixed=*/true);
  command->callback([=] {
    *action = [=](Session& session) {
      v1::SubscribeRequest start;
      const absl::Status parsed = ParseStart(options->from, &start);
      if (!parsed.ok()) return ReportUsage(MessageOf(parsed), &session);
      *options->request.mutable_settings() = options->settings.ToProto();
      options->request.set_tenant_id(options->settings.filter.tenant);
      const grpc::Status found = SetStart(start, &options->request, &session);
      if (!found.ok()) return ReportFailure(FailureOf(found), &session);
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
  command->callback([=] { *action = [=](Session& session) { return RunGet(*get, &session); }; });

  const auto options = std::make_shared<WatchOptions>();
  const auto watch = std::make_shared<v1::GetConsumerGroupRequest>();
  command = groups->add_subcommand("watch", "Show a group again and again until Ctrl-C.");
  command->add_option("group", *watch->mutable_name(), "name")->required();
  options->AddTo(command);
  command->callback([=] {
    *action = [=](Session& session) {
      return Watch(*options, &session, [&] { return ShowGroup(*watch, &session); });
    };
  });

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
