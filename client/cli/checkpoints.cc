// checkpoints: how far projections have come.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>

#include "eventstore/v1/projection_service.grpc.pb.h"

#include "client/cli/checkpoint_output.h"
#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/fields.h"
#include "client/cli/filter_options.h"
#include "client/cli/json.h"
#include "client/cli/listing.h"
#include "client/cli/retry.h"
#include "client/cli/text.h"
#include "client/cli/watch.h"

namespace eventstore::cli {
namespace {

using Stub = v1::ProjectionService::Stub;

std::unique_ptr<Stub> Projections(Session* session) {
  return v1::ProjectionService::NewStub(session->channel());
}

struct ListOptions {
  v1::ListCheckpointsRequest request;
  double stale_after_s = 0;
  std::int64_t limit = 0;
  WatchOptions watch;
};

struct SaveOptions {
  v1::SaveCheckpointRequest request;
  FilterOptions filter;
  bool every_event = false;
};

void SetStaleAfter(double seconds, google::protobuf::Duration* duration) {
  duration->set_seconds(static_cast<std::int64_t>(seconds));
  duration->set_nanos(
      static_cast<std::int32_t>((seconds - static_cast<double>(duration->seconds())) * 1e9));
}

// Prints all pages, or as many checkpoints as the limit says.
Listed ShowList(const ListOptions& options, Session* session) {
  const auto stub = Projections(session);
  v1::ListCheckpointsRequest request = options.request;
  if (options.stale_after_s > 0) {
    SetStaleAfter(options.stale_after_s, request.mutable_stale_after());
  }
  Table table({"PROJECTION", "POSITION", "LAG", "SECONDS", "STATE", "PROCESSED", "MOVED"});
  return PrintPages(
      stub.get(), &Stub::ListCheckpoints, request, options.limit, &table, session,
      [&](const v1::ListCheckpointsResponse& page, std::string* text) {
        for (const v1::CheckpointStatus& entry : page.checkpoints()) {
          if (session->json()) {
            *text += JsonOf(entry);
            continue;
          }
          const v1::Checkpoint& checkpoint = entry.checkpoint();
          table.Add(
              {Escape(checkpoint.projection_name()), std::to_string(checkpoint.position()),
               LagOf(entry), SecondsOf(entry), StateOf(entry),
               std::to_string(checkpoint.events_processed()),
               TimeOrNone(checkpoint.has_last_processed_at(), checkpoint.last_processed_at())});
        }
        return page.checkpoints_size();
      });
}

int RunList(const ListOptions& options, Session* session) {
  return FinishListing(ShowList(options, session), "checkpoint", "checkpoints", session);
}

int RunGet(const v1::GetCheckpointRequest& request, Session* session) {
  v1::GetCheckpointResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Projections(session)->GetCheckpoint(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  if (session->json()) {
    session->Print(JsonOf(response.status()));
    return kExitOk;
  }
  Fields fields = {{"lag", LagOf(response.status())},
                   {"lag seconds", SecondsOf(response.status())},
                   {"state", StateOf(response.status())}};
  if (response.status().is_rewound()) {
    fields.emplace_back("rewind to", std::to_string(response.status().rewind_position()));
  }
  PrintCheckpoint(response.status().checkpoint(), std::move(fields), session);
  return kExitOk;
}

// After a change: the checkpoint as it is now.
int PrintChanged(const v1::Checkpoint& checkpoint, Session* session) {
  if (session->json()) {
    JsonLine line;
    AddCheckpoint(checkpoint, &line);
    session->Print(line.Finish());
  } else {
    PrintCheckpoint(checkpoint, {}, session);
  }
  return kExitOk;
}

int RunSave(const SaveOptions& options, Session* session) {
  v1::SaveCheckpointRequest request = options.request;
  const v1::Filter filter = options.filter.ToProto();
  if (options.every_event && filter.ByteSizeLong() > 0) {
    return ReportUsage("--every-event takes the filter away; give it or a filter", session);
  }
  if (options.every_event || filter.ByteSizeLong() > 0) *request.mutable_filter() = filter;
  request.set_tenant_id(options.filter.tenant);
  v1::SaveCheckpointResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Projections(session)->SaveCheckpoint(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  if (!session->json()) {
    if (response.saved()) return PrintChanged(response.checkpoint(), session);
    session->Notice(
        fmt::format("not saved: the checkpoint is at {} already; --allow-rewind moves it backwards",
                    response.checkpoint().position()));
    return kExitFailed;
  }
  JsonLine line;
  line.Bool("saved", response.saved());
  AddCheckpoint(response.checkpoint(), &line);
  session->Print(line.Finish());
  return response.saved() ? kExitOk : kExitFailed;
}

int RunReset(const v1::ResetCheckpointRequest& request, Session* session) {
  v1::ResetCheckpointResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Projections(session)->ResetCheckpoint(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  return PrintChanged(response.checkpoint(), session);
}

int RunDelete(const v1::DeleteCheckpointRequest& request, Session* session) {
  v1::DeleteCheckpointResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Projections(session)->DeleteCheckpoint(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  if (session->json()) {
    JsonLine line;
    line.Bool("deleted", response.deleted());
    session->Print(line.Finish());
  } else {
    session->Print(response.deleted() ? "deleted\n" : "there was none\n");
  }
  return kExitOk;
}

int RunWatch(const ListOptions& options, Session* session) {
  return Watch(options.watch, session, [&] { return ShowList(options, session).status; });
}

void AddListOptions(CLI::App* command, const std::shared_ptr<ListOptions>& options) {
  command->add_flag_function(
      "--stale", [options](std::int64_t) { options->request.set_only_stale(true); },
      "only those that are stale or rewound");
  command
      ->add_option("--stale-after", options->stale_after_s,
                   "seconds without a save after which one with work to do is stale; default 300")
      ->check(CLI::Range(0.001, 315360000.0).description(""));
  AddNumber(command, "--limit", "most checkpoints to list; 0: no limit",
            [options](std::int64_t value) { options->limit = value; });
  command->add_option("--tenant", *options->request.mutable_tenant_id(),
                      "tenant (a UUID) that has a store of its own");
}

void AddSave(CLI::App* checkpoints, Action* action) {
  const auto options = std::make_shared<SaveOptions>();
  CLI::App* const command =
      checkpoints->add_subcommand("save", "Move a checkpoint; exit code 1 if it was not saved.");
  v1::SaveCheckpointRequest* const request = &options->request;
  command->add_option("PROJECTION", *request->mutable_projection_name(), "the projection")
      ->required();
  AddNumber(command, "POSITION", "everything up to here is processed",
            [request](std::int64_t value) { request->set_position(value); })
      ->required();
  AddNumber(command, "--epoch", "the epoch that the position came with; 0: not checked",
            [request](std::int64_t value) { request->set_epoch(value); });
  AddNumber(command, "--expected", "save only if the checkpoint is at this position",
            [request](std::int64_t value) { request->set_expected_position(value); });
  AddNumber(command, "--processed", "events processed since the last save",
            [request](std::int64_t value) { request->set_events_processed(value); });
  command->add_option("--last-event-id", *request->mutable_last_event_id(),
                      "the last event processed, a UUID");
  command->add_option("--last-event-type", *request->mutable_last_event_type(), "its type");
  command->add_flag_function(
      "--allow-rewind", [request](std::int64_t) { request->set_allow_rewind(true); },
      "also backwards");
  command->add_flag("--every-event", options->every_event,
                    "take the checkpoint's filter away: its lag counts every event");
  options->filter.AddTo(command);
  command->callback(
      [=] { *action = [=](Session& session) { return RunSave(*options, &session); }; });
}

template <typename Request>
std::pair<CLI::App*, std::shared_ptr<Request>> AddOne(CLI::App* checkpoints, Action* action,
                                                      const char* name, const char* description,
                                                      int (*run)(const Request&, Session*)) {
  auto request = std::make_shared<Request>();
  CLI::App* const command = checkpoints->add_subcommand(name, description);
  command->add_option("PROJECTION", *request->mutable_projection_name(), "the projection")
      ->required();
  command->add_option("--tenant", *request->mutable_tenant_id(),
                      "tenant (a UUID) that has a store of its own");
  command->callback([=] { *action = [=](Session& session) { return run(*request, &session); }; });
  return {command, request};
}

}  // namespace

void AddCheckpointsCommand(CLI::App* app, Action* action) {
  CLI::App* const checkpoints =
      app->add_subcommand("checkpoints", "How far projections have come.");
  checkpoints->require_subcommand(1);
  checkpoints->fallthrough();
  for (const bool watch : {false, true}) {
    const auto options = std::make_shared<ListOptions>();
    CLI::App* const command = checkpoints->add_subcommand(
        watch ? "watch" : "list",
        watch ? "List them again and again until Ctrl-C." : "List them with their lag.");
    AddListOptions(command, options);
    if (watch) options->watch.AddTo(command);
    command->callback([=] {
      *action = [=](Session& session) {
        return watch ? RunWatch(*options, &session) : RunList(*options, &session);
      };
    });
  }
  AddOne<v1::GetCheckpointRequest>(checkpoints, action, "get", "Show one with its lag.", RunGet);
  AddSave(checkpoints, action);
  const auto [reset, request] = AddOne<v1::ResetCheckpointRequest>(
      checkpoints, action, "reset", "Set a projection back; stop it first.", RunReset);
  AddNumber(reset, "--to", "position to go on after; 0: from the beginning",
            [request = request](std::int64_t value) { request->set_position(value); });
  AddNumber(reset, "--epoch", "the epoch that the position came with; 0: not checked",
            [request = request](std::int64_t value) { request->set_epoch(value); });
  AddOne<v1::DeleteCheckpointRequest>(checkpoints, action, "delete", "Forget a projection.",
                                      RunDelete);
}

}  // namespace eventstore::cli
