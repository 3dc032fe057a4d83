#include "tests/faults/client/stream_writer.h"

#include <utility>
#include <vector>

#include "google/rpc/status.pb.h"

namespace eventstore::faults {
namespace {

constexpr std::size_t kInFlightMax = 12;
constexpr std::chrono::milliseconds kCallTime{60'000};
// A daemon that answers nothing for so long is left.
constexpr std::chrono::milliseconds kAnswerTime{5'000};

}  // namespace

StreamWriter::StreamWriter(const ClientOptions& options, const std::string& name,
                           std::uint64_t seed, const StopSignal& stop, AppendLog* log)
    : clients_(ConnectTo(options.ports)),
      stop_(stop),
      log_(log),
      dice_(seed),
      maker_(name, seed + 1) {}

void StreamWriter::Run() {
  while (!stop_.came() || !open_.empty()) {
    Session();
    BackOff(dice_.Millis(1, 50));
  }
}

void StreamWriter::Session() {
  daemon_ = static_cast<int>(dice_.Between(0, static_cast<std::int64_t>(clients_.size()) - 1));
  const auto call =
      clients_[static_cast<std::size_t>(daemon_)]->Start("AppendEventsStream", kCallTime);
  in_flight_.clear();
  bool alive = true;
  std::vector<std::int64_t> left;
  for (const auto& [number, tracked] : open_) left.push_back(number);
  for (const std::int64_t number : left) {
    alive = alive && Send(call.get(), &open_.at(number));
    if (alive && in_flight_.size() >= kInFlightMax) alive = ReceiveOne(call.get());
  }
  for (std::int64_t rounds = dice_.Between(20, 300); alive && rounds > 0; --rounds) {
    while (alive && !stop_.WaitFor(dice_.Millis(0, 1)) && in_flight_.size() < kInFlightMax) {
      Tracked tracked = log_->Ask(maker_.Next());
      const std::int64_t number = tracked.number;
      alive = Send(call.get(), &open_.emplace(number, std::move(tracked)).first->second);
    }
    if (in_flight_.empty()) break;
    alive = alive && ReceiveOne(call.get());
  }
  if (alive && dice_.Percent(60)) {
    call->WritesDone();
    while (!in_flight_.empty() && ReceiveOne(call.get())) {
    }
  }
  call->Cancel();
  (void)call->Finish();
  // What has no answer now has none; what is not repeated stays unknown.
  for (const std::int64_t number : in_flight_) {
    if (!open_.at(number).wish.record.forever) open_.erase(number);
  }
}

bool StreamWriter::Send(testing::Call* call, Tracked* tracked) {
  log_->Sending(tracked, daemon_);
  in_flight_.insert(tracked->number);
  v1::AppendEventsStreamRequest request;
  request.set_correlation_id(static_cast<std::uint64_t>(tracked->number));
  *request.mutable_append() = tracked->wish.request;
  return call->Write(request.SerializeAsString(), kAnswerTime);
}

bool StreamWriter::ReceiveOne(testing::Call* call) {
  const auto answer = testing::ReadMessage<v1::AppendEventsStreamResponse>(*call, kAnswerTime);
  if (!answer.has_value()) return false;
  const auto number = static_cast<std::int64_t>(answer->correlation_id());
  if (in_flight_.erase(number) == 0) throw std::runtime_error("an answer that nobody awaits");
  Tracked& tracked = open_.at(number);
  if (answer->has_appended()) {
    Settle(number, log_->Answered(&tracked, answer->appended()));
  } else {
    const auto& error = answer->error();
    Settle(number, log_->Failed(&tracked, testing::StatusOf(error.code(), error.message(),
                                                            error.SerializeAsString())));
  }
  return true;
}

void StreamWriter::Settle(std::int64_t number, Verdict verdict) {
  const Tracked& tracked = open_.at(number);
  const Request& record = tracked.wish.record;
  if (const auto version = ToldVersion(record.attempts.back())) {
    maker_.Learn(record.stream, *version);
  }
  if (verdict == Verdict::kAcknowledged) maker_.LearnId(record.events.back().id);
  // An unclear one that is repeated for ever goes with the next call.
  if (verdict != Verdict::kUnclear || !record.forever) open_.erase(number);
}

}  // namespace eventstore::faults
