// truncate, delete-stream, erase: what happens to streams and events after they were written.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/fields.h"
#include "client/cli/json.h"
#include "client/cli/parse.h"
#include "client/cli/retry.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

void AddStream(CLI::App* command, v1::StreamId* stream) {
  command->add_option("TYPE", *stream->mutable_aggregate_type(), "aggregate type")->required();
  command->add_option("ID", *stream->mutable_aggregate_id(), "aggregate id")->required();
  command->add_option("--tenant", *stream->mutable_tenant_id(), "the stream's tenant, a UUID");
}

int RunTruncate(const v1::TruncateStreamRequest& request, Session* session) {
  v1::TruncateStreamResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return session->stub().TruncateStream(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  PrintStreamInfo(response.info(), session);
  return kExitOk;
}

void AddTruncate(CLI::App* app, Action* action) {
  const auto request = std::make_shared<v1::TruncateStreamRequest>();
  CLI::App* const command = app->add_subcommand(
      "truncate",
      "Hide a stream's events below a version. Readers of the whole store still get them.");
  AddStream(command, request->mutable_stream());
  AddNumber(command, "--before", "first version that stays readable",
            [request](std::int64_t value) { request->set_before_version(value); })
      ->required();
  command->callback(
      [=] { *action = [=](Session& session) { return RunTruncate(*request, &session); }; });
}

struct DeleteOptions {
  v1::DeleteStreamRequest request;
  std::string expected = "any";
};

int RunDelete(DeleteOptions* options, Session* session) {
  auto expected = ParseExpected(options->expected);
  if (!expected.ok()) return ReportUsage(MessageOf(expected.status()), session);
  *options->request.mutable_expected_version() = *expected;
  v1::DeleteStreamResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return session->stub().DeleteStream(context, options->request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  PrintStreamInfo(response.info(), session);
  return kExitOk;
}

void AddDelete(CLI::App* app, Action* action) {
  const auto options = std::make_shared<DeleteOptions>();
  CLI::App* const command = app->add_subcommand(
      "delete-stream",
      "Delete a stream: it reads as missing, and can be written to again unless --permanent.");
  AddStream(command, options->request.mutable_stream());
  command->add_option("--expected", options->expected, "what must hold: any, exists or a version")
      ->capture_default_str();
  command->add_flag_function(
      "--permanent", [options](std::int64_t) { options->request.set_permanent(true); },
      "for good: it takes no event ever again");
  command->callback(
      [=] { *action = [=](Session& session) { return RunDelete(options.get(), &session); }; });
}

struct EraseOptions {
  v1::EraseEventsRequest request;
  v1::StreamId stream;
  std::vector<std::int64_t> versions;
  std::vector<std::string> event_ids;
  bool all = false;
};

// What is wrong with the choice of events; empty if nothing is.
std::string CheckChoice(const EraseOptions& options) {
  const bool has_stream =
      !options.stream.aggregate_type().empty() || !options.stream.aggregate_id().empty();
  if (!options.event_ids.empty()) {
    const bool both = has_stream || !options.versions.empty() || options.all;
    return both ? "--event-id stands alone: give either event ids, or a stream with versions" : "";
  }
  if (options.stream.aggregate_type().empty() || options.stream.aggregate_id().empty()) {
    return "name the events: TYPE ID with --version or --all, or --event-id";
  }
  if (options.versions.empty() != options.all) {
    return options.all ? "give --version or --all, not both"
                       : "give --version for some of the stream's events, or --all";
  }
  return "";
}

int RunErase(EraseOptions* options, Session* session) {
  const std::string wrong = CheckChoice(*options);
  if (!wrong.empty()) return ReportUsage(wrong, session);
  v1::EraseEventsRequest& request = options->request;
  if (options->event_ids.empty()) {
    *request.mutable_stream() = options->stream;
    request.mutable_versions()->Assign(options->versions.begin(), options->versions.end());
  } else {
    request.set_tenant_id(options->stream.tenant_id());
    request.mutable_event_ids()->Assign(options->event_ids.begin(), options->event_ids.end());
  }
  v1::EraseEventsResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return session->stub().EraseEvents(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  if (session->json()) {
    JsonLine line;
    line.Number("erased", response.erased());
    session->Print(line.Finish());
  } else {
    PrintFields({{"erased", Count(response.erased(), "event")}}, session);
  }
  return kExitOk;
}

void AddErase(CLI::App* app, Action* action) {
  const auto options = std::make_shared<EraseOptions>();
  CLI::App* const command = app->add_subcommand(
      "erase", "Erase the content of events for good, and write who did it and why to the audit.");
  command->add_option("TYPE", *options->stream.mutable_aggregate_type(), "aggregate type");
  command->add_option("ID", *options->stream.mutable_aggregate_id(), "aggregate id");
  command->add_option("--tenant", *options->stream.mutable_tenant_id(),
                      "tenant of the stream; with --event-id: only if it is theirs");
  command->add_option("--version", options->versions, "a version of the stream; may be repeated")
      ->take_all()
      ->expected(1);
  command->add_flag("--all", options->all, "every event of the stream, hidden ones too");
  command->add_option("--event-id", options->event_ids, "an event's id; may be repeated")
      ->take_all()
      ->expected(1);
  command->add_option("--reason", *options->request.mutable_reason(), "why, for the audit")
      ->required();
  command->add_option("--by", *options->request.mutable_erased_by(), "who, for the audit")
      ->required();
  command->callback(
      [=] { *action = [=](Session& session) { return RunErase(options.get(), &session); }; });
}

}  // namespace

void AddLifecycleCommands(CLI::App* app, Action* action) {
  AddTruncate(app, action);
  AddDelete(app, action);
  AddErase(app, action);
}

}  // namespace eventstore::cli
