// read, read-all: history, of one stream or of the whole store.
#include <fmt/format.h>

#include <memory>
#include <string>

#include "client/cli/commands.h"
#include "client/cli/event_printer.h"
#include "client/cli/failure.h"
#include "client/cli/filter_options.h"
#include "client/cli/parse.h"
#include "client/cli/snapshot_output.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

// What both commands have.
struct TimeOptions {
  std::string since;
  std::string until;
  bool backwards = false;
};

struct ReadOptions {
  TimeOptions common;
  v1::ReadStreamRequest request;
};

struct ReadAllOptions {
  TimeOptions common;
  FilterOptions filter;
  v1::ReadAllRequest request;
};

// Moves direction and times into either request. Returns "" or what is wrong.
template <typename Request>
std::string Complete(const TimeOptions& common, Request* request) {
  request->set_direction(common.backwards ? v1::DIRECTION_BACKWARDS : v1::DIRECTION_FORWARDS);
  if (!common.since.empty()) {
    const auto time = ParseTimeOption("--since", common.since);
    if (!time.ok()) return MessageOf(time.status());
    *request->mutable_from_timestamp() = *time;
  }
  if (!common.until.empty()) {
    const auto time = ParseTimeOption("--until", common.until);
    if (!time.ok()) return MessageOf(time.status());
    *request->mutable_to_timestamp() = *time;
  }
  return "";
}

// Tells how a read went that printed what it got. A user's interrupt is no failure.
int Conclude(const grpc::Status& status, bool printable, Session* session) {
  if (!printable) return kExitFailed;  // RunCli tells.
  if (status.ok()) return kExitOk;
  if (session->interrupt().raised()) {
    session->Notice("interrupted");
    return kExitFailed;
  }
  return ReportFailure(FailureOf(status), session);
}

int RunRead(ReadOptions* options, Session* session) {
  const std::string wrong = Complete(options->common, &options->request);
  if (!wrong.empty()) return ReportUsage(wrong, session);
  grpc::ClientContext context;
  const Interrupt::Callback cancel(&session->interrupt(), [&context] { context.TryCancel(); });
  const auto reader = session->stub().ReadStream(&context, options->request);
  EventPrinter printer(EventPrinter::Columns::kOneStream, session);
  v1::StreamInfo info;
  v1::ReadStreamResponse response;
  bool printable = true;
  while (printable && reader->Read(&response)) {
    if (response.has_info()) info = response.info();
    if (response.has_snapshot()) PrintSnapshot(response.snapshot(), session);
    printable = printer.Print(response.events(), 0);
  }
  if (!printable) context.TryCancel();
  const int code = Conclude(reader->Finish(), printable, session);
  if (code != kExitOk || session->json()) return code;
  const std::string stream = FormatStream(options->request.stream());
  session->console().out->flush();
  session->Notice(info.exists()
                      ? fmt::format("{} of {}, which is at version {}",
                                    Count(printer.printed(), "event"), stream, info.version())
                      : fmt::format("{} has no events", stream));
  return kExitOk;
}

int RunReadAll(ReadAllOptions* options, Session* session) {
  const std::string wrong = Complete(options->common, &options->request);
  if (!wrong.empty()) return ReportUsage(wrong, session);
  *options->request.mutable_filter() = options->filter.ToProto();
  grpc::ClientContext context;
  const Interrupt::Callback cancel(&session->interrupt(), [&context] { context.TryCancel(); });
  const auto reader = session->stub().ReadAll(&context, options->request);
  EventPrinter printer(EventPrinter::Columns::kWholeStore, session);
  std::int64_t position = options->request.after_position();
  std::int64_t epoch = options->request.epoch();
  v1::ReadAllResponse response;
  bool printable = true;
  while (printable && reader->Read(&response)) {
    if (response.has_events()) {
      position = response.events().position();
      epoch = response.events().epoch();
    }
    printable = printer.Print(response.events(), 0);
  }
  if (!printable) context.TryCancel();
  const int code = Conclude(reader->Finish(), printable, session);
  // After an error, where to go on matters only if something was read.
  const bool told = code == kExitOk || printer.printed() > 0;
  if (session->json() || !printable || !told) return code;
  session->console().out->flush();
  std::string summary = Count(printer.printed(), "event");
  if (position > 0) {
    summary += fmt::format("; to go on: --after {} --epoch {}", position, epoch);
    if (options->common.backwards) summary += " --backwards";
  }
  session->Notice(summary);
  return code;
}

void AddCommonOptions(CLI::App* command, TimeOptions* common) {
  command->add_flag("--backwards", common->backwards, "newest first");
  command->add_option("--since", common->since, "only events that happened at or after this time");
  command->add_option("--until", common->until, "only events that happened before this time");
}

void AddReadCommand(CLI::App* app, Action* action) {
  const auto options = std::make_shared<ReadOptions>();
  CLI::App* const command = app->add_subcommand("read", "Read the events of one stream.");
  v1::ReadStreamRequest* const request = &options->request;
  command
      ->add_option("TYPE", *request->mutable_stream()->mutable_aggregate_type(), "aggregate type")
      ->required();
  command->add_option("ID", *request->mutable_stream()->mutable_aggregate_id(), "aggregate id")
      ->required();
  command->add_option("--tenant", *request->mutable_stream()->mutable_tenant_id(),
                      "tenant, a UUID");
  AddNumber(command, "--from", "first version to read, inclusive",
            [request](std::int64_t value) { request->set_from_version(value); });
  AddNumber(command, "--to", "last version to read, inclusive",
            [request](std::int64_t value) { request->set_to_version(value); });
  AddNumber(command, "--limit", "most events to read; 0: no limit",
            [request](std::int64_t value) { request->set_limit(value); });
  command->add_flag_function(
      "--from-snapshot", [request](std::int64_t) { request->set_from_snapshot(true); },
      "print the newest snapshot, if there is one, and only the events after it");
  command
      ->add_option_function<std::int32_t>(
          "--snapshot-schema-version",
          [request](std::int32_t value) { request->set_snapshot_schema_version(value); },
          "with --from-snapshot: only a snapshot of this schema version")
      ->check(CLI::NonNegativeNumber);
  AddCommonOptions(command, &options->common);
  command->callback(
      [=] { *action = [=](Session& session) { return RunRead(options.get(), &session); }; });
}

void AddReadAllCommand(CLI::App* app, Action* action) {
  const auto options = std::make_shared<ReadAllOptions>();
  CLI::App* const command =
      app->add_subcommand("read-all", "Read the events of the whole store, in commit order.");
  v1::ReadAllRequest* const request = &options->request;
  AddNumber(command, "--after",
            "position to start after, exclusive (backwards: before); 0: from the start (the end)",
            [request](std::int64_t value) { request->set_after_position(value); });
  AddNumber(command, "--epoch", "the epoch that the position came with; 0: not checked",
            [request](std::int64_t value) { request->set_epoch(value); });
  AddNumber(command, "--limit", "most events to read; 0: no limit",
            [request](std::int64_t value) { request->set_limit(value); });
  AddCommonOptions(command, &options->common);
  options->filter.AddTo(command);
  command->callback(
      [=] { *action = [=](Session& session) { return RunReadAll(options.get(), &session); }; });
}

}  // namespace

void AddReadCommands(CLI::App* app, Action* action) {
  AddReadCommand(app, action);
  AddReadAllCommand(app, action);
}

}  // namespace eventstore::cli
