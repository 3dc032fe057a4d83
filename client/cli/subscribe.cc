// subscribe: history first, then what commits, until told to stop.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "client/cli/commands.h"
#include "client/cli/event_printer.h"
#include "client/cli/failure.h"
#include "client/cli/filter_options.h"
#include "client/cli/parse.h"
#include "client/cli/retry.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

// The most events that may be asked for in one message under the server's default limits.
constexpr std::int64_t kBatchMax = 500;

struct SubscribeOptions {
  std::string stream;
  std::string from = "beginning";
  std::int64_t epoch = 0;
  std::int64_t limit = 0;
  bool reconnect = true;
  FilterOptions filter;
};

// One subscription over as many calls as it takes. One thread.
class Subscription {
 public:
  Subscription(const SubscribeOptions& options, v1::SubscribeRequest request, Session* session)
      : options_(options),
        request_(std::move(request)),
        session_(session),
        printer_(EventPrinter::Columns::kWholeStore, session) {}

  // Follows until the limit, an interrupt or an error that a new call would not cure.
  int Run() {
    for (;;) {
      const grpc::Status status = FollowOnce();
      if (!printable_) return kExitFailed;  // RunCli tells.
      if (Done()) break;
      const Failure failure = FailureOf(status);
      if (!ShouldReconnect(status, failure)) {
        Summarize();
        return ReportFailure(failure, session_);
      }
      Resume();
      const std::chrono::milliseconds delay = backoff_.Next(failure);
      session_->Notice(fmt::format("{}: {}; subscribing again after position {} in {} ms",
                                   ReasonOf(failure), Escape(failure.message), position_,
                                   delay.count()));
      if (session_->interrupt().WaitFor(delay)) break;
    }
    Summarize();
    return kExitOk;
  }

 private:
  [[nodiscard]] bool Done() const {
    return session_->interrupt().raised() ||
           (options_.limit > 0 && printer_.printed() >= options_.limit);
  }

  // Before the first answer there is nothing to resume: then the server is not there, or the
  // request is wrong, and the user should know at once. A call that the server ends with OK is a
  // shutdown.
  [[nodiscard]] bool ShouldReconnect(const grpc::Status& status, const Failure& failure) const {
    if (!options_.reconnect || !confirmed_) return false;
    return status.ok() || IsRetryable(failure) || failure.Is(v1::ERROR_REASON_SLOW_CONSUMER);
  }

  // Starts the next call where this one ended.
  void Resume() {
    request_.set_after_position(position_);
    request_.set_epoch(epoch_);
  }

  grpc::Status FollowOnce() {
    grpc::ClientContext context;
    const Interrupt::Callback cancel(&session_->interrupt(), [&context] { context.TryCancel(); });
    const auto reader = session_->stub().Subscribe(&context, request_);
    v1::SubscribeResponse response;
    while (reader->Read(&response)) {
      backoff_.Reset();
      Handle(response);
      // What arrived should be seen at once, whatever buffer stands behind a pipe.
      session_->console().out->flush();
      if (!printable_ || Done()) {
        context.TryCancel();
        break;
      }
    }
    return reader->Finish();
  }

  void Handle(const v1::SubscribeResponse& response) {
    switch (response.message_case()) {
      case v1::SubscribeResponse::kConfirmed:
        Advance(response.confirmed());
        if (!confirmed_) Tell("subscribed");
        confirmed_ = true;
        break;
      case v1::SubscribeResponse::kEvents:
        HandleEvents(response.events());
        break;
      case v1::SubscribeResponse::kCheckpoint:
        Advance(response.checkpoint());
        break;
      case v1::SubscribeResponse::kCaughtUp:
        Advance(response.caught_up());
        Tell("caught up; live from here");
        break;
      case v1::SubscribeResponse::kFellBehind:
        Advance(response.fell_behind());
        Tell("fell behind; reading history");
        break;
      case v1::SubscribeResponse::MESSAGE_NOT_SET:
        break;  // A newer server's message; nothing that this client could lose.
    }
  }

  void HandleEvents(const v1::EventBatch& batch) {
    const std::int64_t left = options_.limit > 0 ? options_.limit - printer_.printed() : 0;
    printable_ = printer_.Print(batch, left);
    Advance(batch);
    // Of a batch that was cut, the last event printed is the one to resume after.
    if (left > 0 && left < batch.events_size()) {
      position_ = batch.events(static_cast<int>(left) - 1).global_position();
    }
  }

  template <typename Message>
  void Advance(const Message& message) {
    position_ = message.position();
    epoch_ = message.epoch();
  }

  // Notices are for people; programs have the events.
  void Tell(std::string_view what) {
    if (session_->json()) return;
    session_->console().out->flush();
    session_->Notice(fmt::format("-- {}, after position {}", what, position_));
  }

  void Summarize() {
    if (session_->json() || !confirmed_) return;
    session_->console().out->flush();
    session_->Notice(fmt::format("{}; to go on: --from {} --epoch {}",
                                 Count(printer_.printed(), "event"), position_, epoch_));
  }

  const SubscribeOptions& options_;
  v1::SubscribeRequest request_;
  Session* const session_;
  EventPrinter printer_;
  Backoff backoff_;
  bool confirmed_ = false;
  bool printable_ = true;
  std::int64_t position_ = 0;
  std::int64_t epoch_ = 0;
};

int RunSubscribe(const SubscribeOptions& options, Session* session) {
  v1::SubscribeRequest request;
  if (const auto status = ParseStart(options.from, &request); !status.ok()) {
    return ReportUsage(MessageOf(status), session);
  }
  const v1::Filter filter = options.filter.ToProto();
  if (!options.stream.empty()) {
    v1::Filter only_tenant;
    only_tenant.set_tenant_id(options.filter.tenant);
    if (filter.SerializeAsString() != only_tenant.SerializeAsString()) {
      return ReportUsage("--stream goes with --tenant, not with other filters", session);
    }
    const auto stream = ParseStream(options.stream, options.filter.tenant);
    if (!stream.ok()) return ReportUsage(MessageOf(stream.status()), session);
    *request.mutable_stream() = *stream;
  } else {
    *request.mutable_filter() = filter;
  }
  request.set_epoch(options.epoch);
  if (options.limit > 0) {
    request.set_max_batch_size(static_cast<std::int32_t>(std::min(options.limit, kBatchMax)));
  }
  return Subscription(options, std::move(request), session).Run();
}

}  // namespace

void AddSubscribeCommand(CLI::App* app, Action* action) {
  const auto options = std::make_shared<SubscribeOptions>();
  CLI::App* const command = app->add_subcommand(
      "subscribe", "Follow the store or one stream: history first, then live. Ctrl-C ends it.");
  command->add_option("--stream", options->stream, "TYPE/ID: only this stream");
  command
      ->add_option(
          "--from", options->from,
          "beginning, end, a position to start after, checkpoint:NAME, or a time (of storing)")
      ->capture_default_str();
  AddNumber(command, "--epoch", "the epoch that the position came with; 0: not checked",
            [options](std::int64_t value) { options->epoch = value; });
  AddNumber(command, "--limit", "stop after so many events; 0: never",
            [options](std::int64_t value) { options->limit = value; });
  command->add_flag("--reconnect,!--no-reconnect", options->reconnect,
                    "subscribe again after the last position when the connection breaks or the "
                    "server drops a slow reader (the default)");
  options->filter.AddTo(command);
  command->callback(
      [=] { *action = [=](Session& session) { return RunSubscribe(*options, &session); }; });
}

}  // namespace eventstore::cli
