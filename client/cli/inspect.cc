// streams, head, info, event, health: what is there, and how it is.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "grpc/health/v1/health.grpc.pb.h"

#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/fields.h"
#include "client/cli/json.h"
#include "client/cli/listing.h"
#include "client/cli/retry.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

struct StreamsOptions {
  v1::ListStreamsRequest request;
  std::int64_t limit = 0;
};

// Adds the page's streams to the table, or to the text as JSON. Returns their number.
int AddStreams(const v1::ListStreamsResponse& page, bool json, Table* table, std::string* text) {
  for (const v1::StreamInfo& info : page.streams()) {
    if (json) {
      JsonLine line;
      line.StreamInfo(info);
      *text += line.Finish();
      continue;
    }
    const std::string& tenant = info.stream().tenant_id();
    table->Add({Escape(info.stream().aggregate_type()), Escape(info.stream().aggregate_id()),
                std::to_string(info.version()),
                TimeOrNone(info.has_created_at(), info.created_at()),
                TimeOrNone(info.has_updated_at(), info.updated_at()),
                tenant.empty() ? "-" : Escape(tenant)});
  }
  return page.streams_size();
}

int RunStreams(const StreamsOptions& options, Session* session) {
  Table table({"TYPE", "ID", "VERSION", "CREATED", "UPDATED", "TENANT"});
  const Listed listed = PrintPages(&session->stub(), &v1::EventStoreService::Stub::ListStreams,
                                   options.request, options.limit, &table, session,
                                   [&](const v1::ListStreamsResponse& page, std::string* text) {
                                     return AddStreams(page, session->json(), &table, text);
                                   });
  return FinishListing(listed, "stream", "streams", session);
}

int RunHead(const v1::GetHeadRequest& request, Session* session) {
  v1::GetHeadResponse head;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return session->stub().GetHead(context, request, &head);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  if (session->json()) {
    JsonLine line;
    line.Number("position", head.position());
    line.Number("epoch", head.epoch());
    line.Text("store_id", head.store_id());
    if (head.has_created_at()) line.Time("created_at", head.created_at());
    session->Print(line.Finish());
    return kExitOk;
  }
  PrintFields({{"position", std::to_string(head.position())},
               {"epoch", std::to_string(head.epoch())},
               {"store", Escape(head.store_id())},
               {"newest", TimeOrNone(head.has_created_at(), head.created_at())}},
              session);
  return kExitOk;
}

int RunInfo(const v1::GetStreamInfoRequest& request, Session* session) {
  v1::GetStreamInfoResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return session->stub().GetStreamInfo(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  PrintStreamInfo(response.info(), session);
  return kExitOk;
}

void PrintEvent(const v1::Event& event, Session* session) {
  Fields fields = {{"event id", Escape(event.event_id())},
                   {"event type", Escape(event.event_type())},
                   {"stream", FormatStream(event.stream())},
                   {"version", std::to_string(event.version())},
                   {"position", std::to_string(event.global_position())},
                   {"happened", FormatTime(event.timestamp())},
                   {"stored", FormatTime(event.created_at())}};
  const auto text = [&fields](std::string_view name, const std::string& value) {
    if (!value.empty()) fields.emplace_back(name, Escape(value));
  };
  text("actor", event.actor_id());
  text("correlation id", event.correlation_id());
  text("causation id", event.causation_id());
  for (const std::string& tag : event.tags()) text("tag", tag);
  std::vector<std::string> metadata;
  for (const auto& [key, value] : event.metadata()) metadata.push_back(key + "=" + value);
  std::sort(metadata.begin(), metadata.end());
  for (const std::string& entry : metadata) text("metadata", entry);
  fields.emplace_back("schema version", std::to_string(event.schema_version()));
  text("content type", event.content_type());
  fields.emplace_back("payload", FormatPayload(event.payload(), event.content_type()));
  PrintFields(fields, session);
}

int RunEvent(const v1::GetEventRequest& request, Session* session) {
  v1::GetEventResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return session->stub().GetEvent(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  if (session->json()) {
    JsonLine line;
    line.Event(response.event());
    session->Print(line.Finish());
  } else {
    PrintEvent(response.event(), session);
  }
  return kExitOk;
}

int RunHealth(const grpc::health::v1::HealthCheckRequest& request, Session* session) {
  const auto stub = grpc::health::v1::Health::NewStub(session->channel());
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return stub->Check(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  std::string name = grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
  if (name.empty()) name = std::to_string(static_cast<int>(response.status()));
  if (session->json()) {
    JsonLine line;
    line.Text("service", request.service());
    line.Text("status", name);
    session->Print(line.Finish());
  } else {
    session->Print(name + "\n");
  }
  const bool serving = response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  return serving ? kExitOk : kExitFailed;
}

void AddStreamsCommand(CLI::App* app, Action* action) {
  const auto options = std::make_shared<StreamsOptions>();
  CLI::App* const command = app->add_subcommand(
      "streams", "List streams in the order of tenant, aggregate type and aggregate id.");
  command->add_option("--type", *options->request.mutable_aggregate_type(), "aggregate type");
  command->add_option("--prefix", *options->request.mutable_aggregate_id_prefix(),
                      "start of the aggregate id");
  command->add_option("--tenant", *options->request.mutable_tenant_id(), "tenant, a UUID");
  AddNumber(command, "--limit", "most streams to list; 0: no limit",
            [options](std::int64_t value) { options->limit = value; });
  command->callback(
      [=] { *action = [=](Session& session) { return RunStreams(*options, &session); }; });
}

// Adds a command that makes one request of this type and has no other options.
template <typename Request>
std::pair<CLI::App*, std::shared_ptr<Request>> AddUnary(CLI::App* app, Action* action,
                                                        const char* name, const char* description,
                                                        int (*run)(const Request& request,
                                                                   Session* session)) {
  auto request = std::make_shared<Request>();
  CLI::App* const command = app->add_subcommand(name, description);
  command->callback([=] { *action = [=](Session& session) { return run(*request, &session); }; });
  return {command, request};
}

}  // namespace

void PrintStreamInfo(const v1::StreamInfo& info, Session* session) {
  if (session->json()) {
    JsonLine line;
    line.StreamInfo(info);
    session->Print(line.Finish());
    return;
  }
  const char* const deleted = info.permanently_deleted() ? "for good" : "yes";
  PrintFields({{"stream", FormatStream(info.stream())},
               {"exists", info.exists() ? "yes" : "no"},
               {"version", std::to_string(info.version())},
               {"first version", std::to_string(info.first_version())},
               {"created", TimeOrNone(info.has_created_at(), info.created_at())},
               {"updated", TimeOrNone(info.has_updated_at(), info.updated_at())},
               {"deleted", info.deleted() ? deleted : "no"}},
              session);
}

void AddInspectCommands(CLI::App* app, Action* action) {
  AddStreamsCommand(app, action);
  {
    const auto [command, request] = AddUnary<v1::GetHeadRequest>(
        app, action, "head", "Show the position of the newest event.", RunHead);
    command->add_option("--tenant", *request->mutable_tenant_id(),
                        "tenant (a UUID) that has a store of its own");
  }
  {
    const auto [command, request] = AddUnary<v1::GetStreamInfoRequest>(
        app, action, "info", "Show a stream's version and times.", RunInfo);
    v1::StreamId* const stream = request->mutable_stream();
    command->add_option("TYPE", *stream->mutable_aggregate_type(), "aggregate type")->required();
    command->add_option("ID", *stream->mutable_aggregate_id(), "aggregate id")->required();
    command->add_option("--tenant", *stream->mutable_tenant_id(), "tenant, a UUID");
  }
  {
    const auto [command, request] =
        AddUnary<v1::GetEventRequest>(app, action, "event", "Show one event.", RunEvent);
    command->add_option("EVENT_ID", *request->mutable_event_id(), "the event's id, a UUID")
        ->required();
    command->add_option("--tenant", *request->mutable_tenant_id(),
                        "only if it belongs to this tenant, a UUID");
  }
  {
    const auto [command, request] = AddUnary<grpc::health::v1::HealthCheckRequest>(
        app, action, "health", "Ask whether the server serves; exit code 0 if it does, else 1.",
        RunHealth);
    command->add_option("--service", *request->mutable_service(),
                        "full name of a service, such as eventstore.v1.EventStoreService");
  }
}

}  // namespace eventstore::cli
