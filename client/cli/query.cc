// query: events by what their payloads hold.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/event_printer.h"
#include "client/cli/failure.h"
#include "client/cli/filter_options.h"
#include "client/cli/parse.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

struct QueryOptions {
  v1::QueryEventsRequest request;
  FilterOptions filter;
  std::vector<std::string> equals;
  std::string since;
  std::string until;
};

// Fills in what needs reading. Returns "" or what is wrong.
std::string Complete(QueryOptions* options) {
  *options->request.mutable_filter() = options->filter.ToProto();
  for (const std::string& text : options->equals) {
    const auto pair = ParseKeyValue(text);
    if (!pair.ok()) return MessageOf(pair.status());
    (*options->request.mutable_payload_equals())[pair->first] = pair->second;
  }
  if (!options->since.empty()) {
    const auto time = ParseTimeOption("--since", options->since);
    if (!time.ok()) return MessageOf(time.status());
    *options->request.mutable_from_timestamp() = *time;
  }
  if (!options->until.empty()) {
    const auto time = ParseTimeOption("--until", options->until);
    if (!time.ok()) return MessageOf(time.status());
    *options->request.mutable_to_timestamp() = *time;
  }
  if (options->equals.empty() && options->request.payload_contains().empty()) {
    return "give --contains JSON or --equals PATH=TEXT; read-all reads without them";
  }
  return "";
}

int RunQuery(QueryOptions* options, Session* session) {
  const std::string wrong = Complete(options);
  if (!wrong.empty()) return ReportUsage(wrong, session);
  grpc::ClientContext context;
  const Interrupt::Callback cancel(&session->interrupt(), [&context] { context.TryCancel(); });
  const auto reader = session->stub().QueryEvents(&context, options->request);
  EventPrinter printer(EventPrinter::Columns::kWholeStore, session);
  std::int64_t position = options->request.after_position();
  std::int64_t epoch = options->request.epoch();
  v1::QueryEventsResponse response;
  bool printable = true;
  while (printable && reader->Read(&response)) {
    position = response.events().position();
    epoch = response.events().epoch();
    printable = printer.Print(response.events(), 0);
  }
  if (!printable) context.TryCancel();
  const grpc::Status status = reader->Finish();
  if (!printable) return kExitFailed;  // RunCli tells.
  int code = kExitOk;
  if (session->interrupt().raised() && !status.ok()) {
    session->Notice("interrupted");
    code = kExitFailed;
  } else if (!status.ok()) {
    code = ReportFailure(FailureOf(status), session);
  }
  if (session->json() || (code != kExitOk && position == 0)) return code;
  session->console().out->flush();
  session->Notice(fmt::format("{}; to go on: --after {} --epoch {}",
                              Count(printer.printed(), "event"), position, epoch));
  return code;
}

}  // namespace

void AddQueryCommand(CLI::App* app, Action* action) {
  const auto options = std::make_shared<QueryOptions>();
  CLI::App* const command =
      app->add_subcommand("query", "Read events by what their JSON payloads hold.");
  v1::QueryEventsRequest* const request = &options->request;
  command->add_option("--contains", *request->mutable_payload_contains(),
                      "JSON that the payload contains, such as {\"customer\": {\"id\": 7}}");
  command
      ->add_option("--equals", options->equals,
                   "PATH=TEXT: the field at the path is the text; repeated: all of them. A path is "
                   "keys joined with dots; \\. is a dot in a key")
      ->take_all()
      ->expected(1);
  AddNumber(command, "--after", "position to start after, exclusive; 0: from the start",
            [request](std::int64_t value) { request->set_after_position(value); });
  AddNumber(command, "--epoch", "the epoch that the position came with; 0: not checked",
            [request](std::int64_t value) { request->set_epoch(value); });
  AddNumber(command, "--limit", "most events to read; 0: no limit",
            [request](std::int64_t value) { request->set_limit(value); });
  command->add_option("--since", options->since, "only events that happened at or after this time");
  command->add_option("--until", options->until, "only events that happened before this time");
  options->filter.AddTo(command);
  command->callback(
      [=] { *action = [=](Session& session) { return RunQuery(options.get(), &session); }; });
}

}  // namespace eventstore::cli
