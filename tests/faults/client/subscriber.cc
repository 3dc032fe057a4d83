// The subscriber: follows across every interruption, and makes some of its own.
#include <algorithm>
#include <optional>

#include "eventstore/v1/event_store_service.pb.h"

#include "tests/faults/checker/record.h"
#include "tests/faults/client/appender.h"
#include "tests/faults/client/roles.h"
#include "tests/faults/dice.h"
#include "tests/support/daemon_client.h"

namespace eventstore::faults {
namespace {

using Kind = SubscriberStep::Kind;
using std::chrono::milliseconds;

constexpr milliseconds kCallTime{600'000};
// How long one wait for a message takes, and after how much silence another daemon is tried.
constexpr milliseconds kWait{500};
constexpr milliseconds kSilenceMax{8'000};
// How often it reads nothing for a while, so that it falls behind.
constexpr int kPausePercent = 2;
// In a session: one with small batches would not come to the end of a long log otherwise.
constexpr int kPausesMax = 5;

class Follower {
 public:
  Follower(const ClientOptions& options, const StopSignal& stop)
      : options_(options),
        stop_(stop),
        clients_(ConnectTo(options.ports)),
        dice_(options.seed),
        recorder_(options.record) {
    Resume(ReadSubscriber(options.record));
  }

  int Run() {
    while (closed_ < options_.until) {
      if (stop_.WaitFor(dice_.Millis(0, 200))) return 2;  // ended before it saw everything
      Session();
    }
    recorder_.Write(DoneLine());
    return 0;
  }

 private:
  // Goes on where the record of a killed process ends.
  void Resume(const SubscriberHistory& before) {
    if (before.steps.empty()) {
      SubscriberHistory what;
      what.type = options_.type;
      if (!options_.stream.empty()) what.stream = ParseStream(options_.stream);
      recorder_.Write(FollowLine(what));
    }
    for (const SubscriberStep& step : before.steps) {
      if (step.kind != Kind::kEvent && step.kind != Kind::kMark) continue;
      position_ = std::max(position_, step.position);
      if (step.kind == Kind::kMark) epoch_ = step.epoch;
    }
    closed_ = static_cast<int>(
        std::count_if(before.steps.begin(), before.steps.end(),
                      [](const SubscriberStep& step) { return step.text == kClosedMark; }));
  }

  v1::SubscribeRequest MakeRequest() {
    v1::SubscribeRequest request;
    if (position_ == 0) {
      request.mutable_beginning();
    } else {
      request.set_after_position(position_);
      request.set_epoch(epoch_);
    }
    if (!options_.type.empty()) request.mutable_filter()->add_aggregate_types(options_.type);
    if (!options_.stream.empty()) {
      const StreamName stream = ParseStream(options_.stream);
      request.mutable_stream()->set_aggregate_type(stream.type);
      request.mutable_stream()->set_aggregate_id(stream.id);
    }
    request.set_checkpoint_interval(dice_.Between(10, 200));
    request.set_max_batch_size(static_cast<std::int32_t>(dice_.Between(1, 500)));
    return request;
  }

  void Session() {
    const std::int64_t daemon = dice_.Between(0, static_cast<std::int64_t>(clients_.size()) - 1);
    Note({Kind::kSession, position_, epoch_, static_cast<int>(daemon), {}, 0, ""});
    const auto call =
        clients_[static_cast<std::size_t>(daemon)]->Stream("Subscribe", MakeRequest(), kCallTime);
    // Half of the sessions last until somebody else ends them.
    std::int64_t messages_left = dice_.Percent(50) ? dice_.Between(5, 1000) : -1;
    int pauses_left = kPausesMax;
    milliseconds silence{0};
    while (closed_ < options_.until && messages_left != 0 && silence < kSilenceMax &&
           !stop_.came()) {
      const auto message = testing::ReadMessage<v1::SubscribeResponse>(*call, kWait);
      if (!message.has_value()) {
        if (call->ended()) return End(call->Finish());
        silence += kWait;
        continue;
      }
      silence = milliseconds(0);
      --messages_left;
      OnMessage(*message);
      if (dice_.Percent(kPausePercent) && pauses_left-- > 0) {
        (void)stop_.WaitFor(dice_.Millis(50, 3000));
      }
    }
    Note({Kind::kEnd, 0, 0, 0, {}, 0, "LEFT"});
    call->Cancel();
  }

  void End(const testing::CallStatus& status) {
    const std::string reason = status.details.empty() ? "-" : v1::ErrorReason_Name(status.reason());
    Note({Kind::kEnd, 0, 0, 0, {}, 0, absl::StatusCodeToString(status.code) + ":" + reason});
  }

  void OnMessage(const v1::SubscribeResponse& message) {
    switch (message.message_case()) {
      case v1::SubscribeResponse::kConfirmed:
        return Mark("confirmed", message.confirmed().position(), message.confirmed().epoch());
      case v1::SubscribeResponse::kEvents:
        return OnEvents(message.events());
      case v1::SubscribeResponse::kCheckpoint:
        return Mark("checkpoint", message.checkpoint().position(), message.checkpoint().epoch());
      case v1::SubscribeResponse::kCaughtUp:
        return Mark("caught_up", message.caught_up().position(), message.caught_up().epoch());
      case v1::SubscribeResponse::kFellBehind:
        return Mark("fell_behind", message.fell_behind().position(), message.fell_behind().epoch());
      case v1::SubscribeResponse::MESSAGE_NOT_SET:
        return Mark("nothing", 0, 0);
    }
  }

  void OnEvents(const v1::EventBatch& batch) {
    std::string lines;
    for (const v1::Event& event : batch.events()) {
      const StreamName stream = {event.stream().aggregate_type(), event.stream().aggregate_id()};
      lines += StepLine(
          {Kind::kEvent, event.global_position(), 0, 0, stream, event.version(), event.event_id()});
      if (event.event_type() != kClosedType) continue;
      lines +=
          StepLine({Kind::kMark, event.global_position(), batch.epoch(), 0, {}, 0, kClosedMark});
      ++closed_;
    }
    recorder_.Write(lines);
    Mark("batch", batch.position(), batch.epoch());
  }

  void Mark(const std::string& kind, std::int64_t position, std::int64_t epoch) {
    Note({Kind::kMark, position, epoch, 0, {}, 0, kind});
    position_ = position;
    epoch_ = epoch;
  }

  void Note(const SubscriberStep& step) { recorder_.Write(StepLine(step)); }

  static constexpr char kClosedMark[] = "closed";

  const ClientOptions& options_;
  const StopSignal& stop_;
  const Clients clients_;
  Dice dice_;
  const Recorder recorder_;
  std::int64_t position_ = 0;
  std::int64_t epoch_ = 0;
  int closed_ = 0;
};

}  // namespace

int RunSubscriber(const ClientOptions& options, const StopSignal& stop) {
  return Follower(options, stop).Run();
}

}  // namespace eventstore::faults
