// groups consume: a member of a group that prints what it gets.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>

#include "eventstore/v1/consumer_group_service.grpc.pb.h"

#include "client/cli/commands.h"
#include "client/cli/event_printer.h"
#include "client/cli/failure.h"
#include "client/cli/groups.h"
#include "server/core/mutex.h"

namespace eventstore::cli {
namespace {

struct ConsumeOptions {
  v1::ConsumeJoin join;
  std::int64_t limit = 0;
  std::string answer = "ack";
  std::string reason;
};

// One membership. One thread.
class Membership {
 public:
  Membership(const ConsumeOptions& options, Session* session)
      : options_(options),
        session_(session),
        printer_(EventPrinter::Columns::kWholeStore, session) {}

  int Run() {
    const auto stub = v1::ConsumerGroupService::NewStub(session_->channel());
    grpc::ClientContext context;
    const auto stream = stub->Consume(&context);
    // An interrupt leaves in order. Only one thread may write at a time.
    Mutex writing;
    bool has_left = false;
    const auto write = [&](const v1::ConsumeRequest& request) {
      MutexLock lock(&writing);
      return !has_left && stream->Write(request);
    };
    const auto leave = [&] {
      MutexLock lock(&writing);
      if (!std::exchange(has_left, true)) stream->WritesDone();
    };
    const Interrupt::Callback on_interrupt(&session_->interrupt(), leave);
    v1::ConsumeRequest join;
    *join.mutable_join() = options_.join;
    bool alive = write(join);
    v1::ConsumeResponse response;
    while (alive && !IsDone() && stream->Read(&response)) {
      if (response.has_joined()) Tell("joined as " + response.joined().member_id());
      if (response.has_lanes()) TellLanes(response.lanes());
      if (!response.has_events()) continue;
      alive = write(Process(response.events())) && is_printable_;
    }
    // What was not processed goes to others and is no failure.
    leave();
    while (stream->Read(&response)) {
    }
    const grpc::Status status = stream->Finish();
    if (!is_printable_) return kExitFailed;
    if (status.ok() || session_->interrupt().raised()) return kExitOk;
    return ReportFailure(FailureOf(status), session_);
  }

 private:
  [[nodiscard]] bool IsDone() const {
    return session_->interrupt().raised() ||
           (options_.limit > 0 && printer_.printed() >= options_.limit);
  }

  // Prints the events, as far as the limit goes, and answers for those.
  v1::ConsumeRequest Process(const v1::DeliveredEvents& events) {
    v1::ConsumeRequest request;
    v1::EventBatch batch;
    for (const v1::DeliveredEvent& delivered : events.events()) {
      if (options_.limit > 0 && printer_.printed() + batch.events_size() >= options_.limit) break;
      *batch.add_events() = delivered.event();
      if (options_.answer == "ack") {
        request.mutable_ack()->add_delivery_ids(delivered.delivery_id());
        continue;
      }
      v1::ConsumeNack* const nack = request.mutable_nack();
      nack->add_delivery_ids(delivered.delivery_id());
      nack->set_reason(options_.reason);
      nack->set_action(options_.answer == "retry"  ? v1::NACK_ACTION_RETRY
                       : options_.answer == "park" ? v1::NACK_ACTION_PARK
                                                   : v1::NACK_ACTION_SKIP);
    }
    is_printable_ = printer_.Print(batch, 0);
    session_->console().out->flush();
    if (!is_printable_) request.Clear();  // what could not be shown was not processed
    if (request.message_case() == v1::ConsumeRequest::MESSAGE_NOT_SET) request.mutable_ack();
    return request;
  }

  void TellLanes(const v1::ConsumeLanes& lanes) {
    std::string text = "lanes";
    for (const std::int32_t lane : lanes.assigned()) text += fmt::format(" +{}", lane);
    for (const std::int32_t lane : lanes.revoked()) text += fmt::format(" -{}", lane);
    Tell(text);
  }

  void Tell(const std::string& what) {
    if (!session_->json()) session_->Notice("-- " + what);
  }

  const ConsumeOptions& options_;
  Session* const session_;
  EventPrinter printer_;
  bool is_printable_ = true;
};

}  // namespace

void AddConsumeCommand(CLI::App* groups, Action* action) {
  const auto options = std::make_shared<ConsumeOptions>();
  CLI::App* const command = groups->add_subcommand(
      "consume", "Join a group, print its events and answer for them. Ctrl-C ends it.");
  command->add_option("group", *options->join.mutable_group(), "name")->required();
  command->add_option("--name", *options->join.mutable_member_name(),
                      "how the member is shown to others");
  AddNumber(command, "--in-flight", "most events in flight; 0: as many as the group allows",
            [options](std::int64_t value) { options->join.set_max_in_flight(value); });
  AddNumber(command, "--limit", "leave after so many events; 0: never",
            [options](std::int64_t value) { options->limit = value; });
  command->add_option("--answer", options->answer, "what to say of each event")
      ->check(CLI::IsMember({"ack", "retry", "park", "skip"}).description(""))
      ->type_name("ack|retry|park|skip")
      ->capture_default_str();
  command->add_option("--reason", options->reason, "why, with retry and park");
  command->callback(
      [=] { *action = [=](Session& session) { return Membership(*options, &session).Run(); }; });
}

}  // namespace eventstore::cli
