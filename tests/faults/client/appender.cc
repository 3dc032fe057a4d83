#include "tests/faults/client/appender.h"

#include <poll.h>

#include <utility>

namespace eventstore::faults {
namespace {

// How much longer than a call's own deadline its end is waited for.
constexpr std::chrono::milliseconds kSlack{10'000};

}  // namespace

Tracked AppendLog::Ask(Wish wish) {
  Tracked tracked;
  tracked.number = next_++;
  tracked.wish = std::move(wish);
  recorder_.Write(RequestLine(tracked.number, tracked.wish.record));
  return tracked;
}

void AppendLog::Sending(Tracked* tracked, int daemon) {
  std::vector<Attempt>& attempts = tracked->wish.record.attempts;
  Attempt attempt;
  attempt.daemon = daemon;
  attempt.sent_at_us = NowMicros();
  attempts.push_back(attempt);
  recorder_.Write(SendLine(tracked->number, attempts.size() - 1, attempts.back()));
}

Verdict AppendLog::Answered(Tracked* tracked, const v1::AppendEventsResponse& response) {
  Appended appended;
  appended.first_version = response.first_version();
  appended.last_version = response.last_version();
  appended.first_position = response.first_position();
  appended.last_position = response.last_position();
  appended.created_at_us =
      response.created_at().seconds() * 1'000'000 + response.created_at().nanos() / 1000;
  appended.deduplicated = response.deduplicated();
  appended.ids.assign(response.event_ids().begin(), response.event_ids().end());
  tracked->wish.record.attempts.back().appended = std::move(appended);
  return Record(tracked);
}

Verdict AppendLog::Failed(Tracked* tracked, const testing::CallStatus& status) {
  Attempt& attempt = tracked->wish.record.attempts.back();
  attempt.code = absl::StatusCodeToString(status.code);
  attempt.reason = status.details.empty() ? "-" : v1::ErrorReason_Name(status.reason());
  attempt.actual = status.info().actual();
  return Record(tracked);
}

Verdict AppendLog::Record(Tracked* tracked) {
  Attempt& attempt = tracked->wish.record.attempts.back();
  attempt.answered_at_us = NowMicros();
  recorder_.Write(AnswerLine(tracked->number, tracked->wish.record.attempts.size() - 1, attempt));
  if (attempt.appended.has_value()) return Verdict::kAcknowledged;
  const bool refused = attempt.code == "ABORTED" || attempt.code == "INVALID_ARGUMENT" ||
                       attempt.code == "ALREADY_EXISTS";
  return refused ? Verdict::kRefused : Verdict::kUnclear;
}

Clients ConnectTo(const std::vector<int>& ports) {
  Clients clients;
  for (const int port : ports) clients.push_back(std::make_unique<testing::Client>(port));
  return clients;
}

Verdict SendOnce(const Clients& clients, const SendPlan& plan, AppendLog* log, Tracked* tracked) {
  log->Sending(tracked, plan.daemon);
  testing::Client& client = *clients[static_cast<std::size_t>(plan.daemon)];
  const auto call = client.Start("AppendEvents", plan.timeout);
  if (call->Write(tracked->wish.request.SerializeAsString(), plan.timeout)) call->WritesDone();
  auto bytes = call->Read(plan.cancel_after.value_or(plan.timeout + kSlack));
  if (!bytes.has_value() && !call->ended()) {
    call->Cancel();
    bytes = call->Read(kSlack);  // The answer may have been faster.
  }
  testing::CallStatus status = call->Finish();
  v1::AppendEventsResponse response;
  if (status.ok() && bytes.has_value() && response.ParseFromString(*bytes)) {
    return log->Answered(tracked, response);
  }
  if (status.ok()) status.code = absl::StatusCode::kDataLoss;
  return log->Failed(tracked, status);
}

std::optional<std::int64_t> ToldVersion(const Attempt& attempt) {
  if (attempt.appended.has_value()) return attempt.appended->last_version;
  if (attempt.reason == "ERROR_REASON_VERSION_CONFLICT") return attempt.actual;
  return std::nullopt;
}

void BackOff(std::chrono::milliseconds duration) {
  (void)poll(nullptr, 0, static_cast<int>(duration.count()));
}

}  // namespace eventstore::faults
