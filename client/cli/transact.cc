// transact: a transaction from a file or stdin.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <istream>
#include <iterator>
#include <memory>
#include <string>

#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/json.h"
#include "client/cli/parse.h"
#include "client/cli/retry.h"
#include "client/cli/text.h"
#include "client/cli/transaction_json.h"

namespace eventstore::cli {
namespace {

// What is read at most; above the server's own limit, and a bound on memory.
constexpr std::size_t kRequestBytesMax = 64 << 20;

struct TransactOptions {
  std::string file;
  int retries = 5;
};

// All of the input; nothing if it is too large.
bool ReadInput(std::istream* in, std::string* text) {
  char block[64 << 10];
  while (in->read(block, sizeof(block)) || in->gcount() > 0) {
    text->append(block, static_cast<std::size_t>(in->gcount()));
    if (text->size() > kRequestBytesMax) return false;
  }
  return true;
}

std::string ToJson(const v1::TransactRequest& request, const v1::TransactResponse& response) {
  JsonLine line;
  line.OpenArray("results");
  for (int i = 0; i < response.results_size(); ++i) {
    const v1::AppendEventsResponse& result = response.results(i);
    line.OpenObject("");
    line.Stream(request.appends(i).stream());
    line.Number("first_version", result.first_version());
    line.Number("last_version", result.last_version());
    line.Number("first_position", result.first_position());
    line.Number("last_position", result.last_position());
    line.Time("created_at", result.created_at());
    line.Texts("event_ids", result.event_ids());
    line.CloseObject();
  }
  line.CloseArray();
  if (response.has_checkpoint()) {
    line.OpenObject("checkpoint");
    line.Text("projection_name", response.checkpoint().projection_name());
    line.Number("position", response.checkpoint().position());
    line.Number("epoch", response.checkpoint().epoch());
    line.CloseObject();
  }
  if (response.snapshots_saved_size() > 0) {
    line.OpenArray("snapshots_saved");
    for (const bool saved : response.snapshots_saved()) line.Bool("", saved);
    line.CloseArray();
  }
  line.Bool("deduplicated", response.deduplicated());
  return line.Finish();
}

std::string ToText(const v1::TransactRequest& request, const v1::TransactResponse& response) {
  std::string text;
  const auto range = [](std::string_view noun, std::int64_t first, std::int64_t last) {
    return first == last ? fmt::format("{} {}", noun, first)
                         : fmt::format("{}s {} to {}", noun, first, last);
  };
  for (int i = 0; i < response.results_size(); ++i) {
    const v1::AppendEventsResponse& result = response.results(i);
    text += fmt::format("{} to {}: {}, {}\n", Count(request.appends(i).events_size(), "event"),
                        FormatStream(request.appends(i).stream()),
                        range("version", result.first_version(), result.last_version()),
                        range("position", result.first_position(), result.last_position()));
  }
  if (response.has_checkpoint()) {
    text += fmt::format("checkpoint of {}: position {}\n",
                        Escape(response.checkpoint().projection_name()),
                        response.checkpoint().position());
  }
  for (int i = 0; i < response.snapshots_saved_size(); ++i) {
    text += fmt::format("snapshot of {} at version {}: {}\n",
                        FormatStream(request.snapshots(i).stream()), request.snapshots(i).version(),
                        response.snapshots_saved(i) ? "saved" : "not saved, newer ones are there");
  }
  if (response.deduplicated()) {
    text += "stored before with the same ids; nothing was written now\n";
  }
  return text;
}

int RunTransact(const TransactOptions& options, Session* session) {
  std::string json;
  bool fits = true;
  if (options.file == "-") {
    fits = ReadInput(session->console().in, &json);
  } else {
    std::ifstream file(options.file);
    if (!file.is_open() || (file.peek() == std::ifstream::traits_type::eof() && !file.eof())) {
      return ReportUsage(fmt::format("cannot read {}: {}", options.file, std::strerror(errno)),
                         session);
    }
    file.clear();
    fits = ReadInput(&file, &json);
  }
  if (!fits) {
    return ReportUsage(fmt::format("over {} bytes for one request", Grouped(kRequestBytesMax)),
                       session);
  }
  const auto request = ParseTransaction(json);
  if (!request.ok()) return ReportUsage(MessageOf(request.status()), session);
  v1::TransactResponse response;
  const grpc::Status status =
      CallWithRetries(options.retries, session, [&](grpc::ClientContext* context) {
        return session->stub().Transact(context, *request, &response);
      });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  session->Print(session->json() ? ToJson(*request, response) : ToText(*request, response));
  return kExitOk;
}

}  // namespace

void AddTransactCommand(CLI::App* app, Action* action) {
  const auto options = std::make_shared<TransactOptions>();
  CLI::App* const command = app->add_subcommand(
      "transact",
      "Append to several streams at once, all or nothing, with checks, conditions, a checkpoint "
      "and snapshots. Every event gets an id, so a retry never writes twice.");
  command
      ->add_option("FILE", options->file,
                   "the transaction, a JSON object as TransactRequest has it; - is stdin")
      ->required();
  command
      ->add_option("--retries", options->retries,
                   "how often to try again while the server is unavailable or overloaded")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command->callback(
      [=] { *action = [=](Session& session) { return RunTransact(*options, &session); }; });
}

}  // namespace eventstore::cli
