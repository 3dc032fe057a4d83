// append: events from arguments, a file or stdin.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/event_lines.h"
#include "client/cli/failure.h"
#include "client/cli/json.h"
#include "client/cli/parse.h"
#include "client/cli/retry.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

// What is gathered for one request at most; above the server's own limit, and a bound on memory.
constexpr std::size_t kRequestBytesMax = 64 << 20;

struct AppendOptions {
  v1::StreamId stream;
  std::string expected = "any";
  std::string event_type;
  std::string payload;
  std::string file;
  std::int64_t batch = 0;
  int retries = 5;
  std::vector<std::string> metadata;
  std::vector<std::string> tags;
  std::string timestamp;
  v1::NewEvent event;
};

// Appends what it is given to one stream, request by request, and tells of the results.
class Appender {
 public:
  Appender(const AppendOptions& options, v1::ExpectedVersion expected, Session* session)
      : options_(options), session_(session), progress_(&session->console()) {
    *request_.mutable_stream() = options.stream;
    *request_.mutable_expected_version() = std::move(expected);
  }

  v1::NewEvent* AddEvent() { return request_.add_events(); }
  void DropLastEvent() { request_.mutable_events()->RemoveLast(); }
  [[nodiscard]] std::int64_t pending() const { return request_.events_size(); }
  [[nodiscard]] std::int64_t appended() const { return appended_; }

  // Sends the events added since the last call. Returns an exit code.
  int Send() {
    v1::AppendEventsResponse response;
    const grpc::Status status =
        CallWithRetries(options_.retries, session_, [&](grpc::ClientContext* context) {
          return session_->stub().AppendEvents(context, request_, &response);
        });
    if (!status.ok()) {
      progress_.Clear();
      return ReportFailure(FailureOf(status), session_);
    }
    Account(response);
    // The next request expects what this one left behind, if it expects anything exactly.
    auto* const expected = request_.mutable_expected_version();
    if (expected->has_exact() || expected->has_no_stream()) {
      expected->set_exact(response.last_version());
    }
    request_.clear_events();
    return kExitOk;
  }

  // Tells of all requests together.
  void Summarize() {
    progress_.Clear();
    if (session_->json()) return;
    const auto range = [](std::string_view noun, std::int64_t first, std::int64_t last) {
      return first == last ? fmt::format("{} {}", noun, first)
                           : fmt::format("{}s {} to {}", noun, first, last);
    };
    std::string text =
        fmt::format("{} to {}: {}, {}", Count(appended_, "event"), FormatStream(options_.stream),
                    range("version", first_.first_version(), last_.last_version()),
                    range("position", first_.first_position(), last_.last_position()));
    if (appended_ == 1) text += ", id " + Escape(last_.event_ids(0));
    if (replayed_ == appended_) {
      text += " (stored before with the same ids; nothing was written now)";
    } else if (replayed_ > 0) {
      text += fmt::format(" ({} of them stored before with the same ids)", Grouped(replayed_));
    }
    session_->Print(text + "\n");
  }

 private:
  void Account(const v1::AppendEventsResponse& response) {
    if (appended_ == 0) first_ = response;
    last_ = response;
    appended_ += pending();
    if (response.deduplicated()) replayed_ += pending();
    if (session_->json()) {
      session_->Print(ToJson(response));
    } else {
      progress_.Show(Count(appended_, "event") + " appended");
    }
  }

  std::string ToJson(const v1::AppendEventsResponse& response) const {
    JsonLine line;
    line.Stream(options_.stream);
    line.Number("first_version", response.first_version());
    line.Number("last_version", response.last_version());
    line.Number("first_position", response.first_position());
    line.Number("last_position", response.last_position());
    line.Time("created_at", response.created_at());
    line.Texts("event_ids", response.event_ids());
    line.Bool("deduplicated", response.deduplicated());
    return line.Finish();
  }

  const AppendOptions& options_;
  Session* const session_;
  ProgressLine progress_;
  v1::AppendEventsRequest request_;
  v1::AppendEventsResponse first_;
  v1::AppendEventsResponse last_;
  std::int64_t appended_ = 0;
  std::int64_t replayed_ = 0;
};

int AppendArguments(const AppendOptions& options, Appender* appender) {
  v1::NewEvent* const event = appender->AddEvent();
  *event = options.event;
  event->set_event_type(options.event_type);
  event->set_payload(options.payload);
  CompleteEvent(event);
  const int code = appender->Send();
  if (code == kExitOk) appender->Summarize();
  return code;
}

// What was appended before a request failed stays appended.
int ReportPartial(int code, const Appender& appender, std::int64_t resume_line, Session* session) {
  if (appender.appended() > 0) {
    session->Notice(fmt::format("{} before line {} were appended and stay; go on from that line",
                                Count(appender.appended(), "event"), resume_line));
  }
  return code;
}

int AppendLines(const AppendOptions& options, const std::string& name, std::istream* in,
                Session* session, Appender* appender) {
  EventLines lines(name, in, options.event);
  std::int64_t first_line = 1;  // of the request being gathered
  std::size_t bytes = 0;
  for (;;) {
    if (session->interrupt().raised()) {
      session->Notice("interrupted");
      return ReportPartial(kExitFailed, *appender, first_line, session);
    }
    v1::NewEvent* const event = appender->AddEvent();
    const auto more = lines.Next(event);
    if (!more.ok()) {
      return ReportPartial(ReportUsage(MessageOf(more.status()), session), *appender, first_line,
                           session);
    }
    if (!*more) break;
    bytes += event->ByteSizeLong();
    if (bytes > kRequestBytesMax) {
      return ReportPartial(
          ReportUsage(fmt::format("{}, line {}: over {} bytes for one request; use --batch N to "
                                  "append in requests of N events",
                                  name, lines.line_number(), Grouped(kRequestBytesMax)),
                      session),
          *appender, first_line, session);
    }
    if (appender->pending() != options.batch) continue;
    if (const int code = appender->Send(); code != kExitOk) {
      return ReportPartial(code, *appender, first_line, session);
    }
    first_line = lines.line_number() + 1;
    bytes = 0;
  }
  appender->DropLastEvent();
  if (appender->pending() > 0) {
    if (const int code = appender->Send(); code != kExitOk) {
      return ReportPartial(code, *appender, first_line, session);
    }
  }
  if (appender->appended() == 0) return ReportUsage(name + " has no events", session);
  appender->Summarize();
  return kExitOk;
}

// Fills in what needs a parser of its own. Returns "" or what is wrong.
std::string CompleteOptions(AppendOptions* options) {
  for (const std::string& entry : options->metadata) {
    const auto pair = ParseKeyValue(entry);
    if (!pair.ok()) return MessageOf(pair.status());
    (*options->event.mutable_metadata())[pair->first] = pair->second;
  }
  for (const std::string& tag : options->tags) options->event.add_tags(tag);
  if (!options->timestamp.empty()) {
    const auto time = ParseTimeOption("--timestamp", options->timestamp);
    if (!time.ok()) return MessageOf(time.status());
    *options->event.mutable_timestamp() = *time;
  }
  const bool from_file = !options->file.empty();
  if (from_file && !options->event_type.empty()) {
    return "give either EVENT_TYPE [PAYLOAD] or --file, not both";
  }
  if (!from_file && options->event_type.empty()) {
    return "give EVENT_TYPE [PAYLOAD], or --file F with one JSON object per line (- is stdin)";
  }
  if (from_file && !options->event.event_id().empty()) {
    return "--event-id goes with EVENT_TYPE; in a file, each line has its own \"event_id\"";
  }
  if (!from_file && options->batch > 0) return "--batch goes with --file";
  return "";
}

int RunAppend(AppendOptions* options, Session* session) {
  const std::string wrong = CompleteOptions(options);
  if (!wrong.empty()) return ReportUsage(wrong, session);
  auto expected = ParseExpected(options->expected);
  if (!expected.ok()) return ReportUsage(MessageOf(expected.status()), session);
  Appender appender(*options, *std::move(expected), session);
  if (options->file.empty()) return AppendArguments(*options, &appender);
  if (options->file == "-") {
    return AppendLines(*options, "stdin", session->console().in, session, &appender);
  }
  std::ifstream file(options->file);
  // Opening a folder succeeds; reading it is what fails.
  if (!file.is_open() || (file.peek() == std::ifstream::traits_type::eof() && !file.eof())) {
    return ReportUsage(fmt::format("cannot read {}: {}", options->file, std::strerror(errno)),
                       session);
  }
  return AppendLines(*options, options->file, &file, session, &appender);
}

}  // namespace

void AddAppendCommand(CLI::App* app, Action* action) {
  const auto options = std::make_shared<AppendOptions>();
  CLI::App* const command = app->add_subcommand(
      "append",
      "Append events to a stream. Every event gets an id, so a retry never appends twice.");
  command->add_option("TYPE", *options->stream.mutable_aggregate_type(), "aggregate type")
      ->required();
  command->add_option("ID", *options->stream.mutable_aggregate_id(), "aggregate id")->required();
  command->add_option("EVENT_TYPE", options->event_type, "what happened, such as OrderPlaced");
  command->add_option("PAYLOAD", options->payload, "its data; {} if not given");
  command->add_option("--file", options->file,
                      "read events from this file, or stdin for -, one JSON object per line");
  command
      ->add_option("--batch", options->batch,
                   "with --file: append in requests of N events instead of one atomic request")
      ->check(CLI::PositiveNumber);
  command->add_option("--expected", options->expected, "any, no-stream, exists, or a version")
      ->capture_default_str();
  command->add_option("--tenant", *options->stream.mutable_tenant_id(), "tenant, a UUID");
  command->add_option("--metadata", options->metadata, "key=value; may be repeated")
      ->take_all()
      ->expected(1);
  command->add_option("--tag", options->tags, "a label; may be repeated")->take_all()->expected(1);
  command->add_option("--actor", *options->event.mutable_actor_id(), "who caused the event");
  command->add_option("--correlation-id", *options->event.mutable_correlation_id(),
                      "the business transaction");
  command->add_option("--causation-id", *options->event.mutable_causation_id(),
                      "the message that caused the event");
  command->add_option("--event-id", *options->event.mutable_event_id(),
                      "the event's id, a UUID; made if not given");
  command->add_option("--content-type", *options->event.mutable_content_type(),
                      "media type of the payload; application/json if not given");
  command->add_option("--timestamp", options->timestamp, "when it happened, as RFC 3339");
  command
      ->add_option("--retries", options->retries,
                   "how often to try again while the server is unavailable or overloaded")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command->callback(
      [=] { *action = [=](Session& session) { return RunAppend(options.get(), &session); }; });
}

}  // namespace eventstore::cli
