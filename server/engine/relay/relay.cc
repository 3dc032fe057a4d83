#include "server/engine/relay/relay.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "server/engine/relay/backoff.h"
#include "server/tables/outbox_table.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// How often the lease is renewed or asked for, and `paused` is read.
constexpr milliseconds kTick{1'000};
// When it is tried again to renew a lease where somebody else has its row locked.
constexpr milliseconds kTickAgain{200};
// Changes that are told of are looked at together: a worker may make thousands in a second.
constexpr milliseconds kChangeSpacing{50};
constexpr milliseconds kReconnectMin{50};
constexpr milliseconds kReconnectMax{2'000};
// Streams of one step of a sweep.
constexpr std::int64_t kSweepStreams = 1'000;
// How long giving the lease back may take; others wait for its end otherwise.
constexpr milliseconds kGiveBack{1'000};
// How long marking what was acknowledged may take after an interruption.
constexpr milliseconds kLastMarks{1'000};

}  // namespace

Relay::Relay(const StoreOptions& options, const OutboxSink& sink, Uuid daemon_id,
             std::unique_ptr<sinks::Sink> publisher, telemetry::RelayMetrics metrics)
    : options_(options),
      sink_(sink),
      publisher_(std::move(publisher)),
      metrics_(metrics),
      session_(options, sink),
      lease_{sink.options.name, daemon_id, 0},
      progress_(options.outbox.sweep_interval_ms),
      batch_events_(sink.batch_events_max),
      random_(std::random_device{}()) {
  ShowState();
  thread_ = std::thread([this] { ThreadMain(); });
}

Relay::~Relay() { Stop(Clock::now()); }

void Relay::NoticeCommit() {
  MutexLock lock(&mutex_);
  if (std::exchange(commit_noticed_, true)) return;
  if (heeds_commits_) changed_.NotifyAll();
}

void Relay::NoticeChange() {
  MutexLock lock(&mutex_);
  change_noticed_ = true;
  changed_.NotifyAll();
}

void Relay::BeginStop() {
  MutexLock lock(&mutex_);
  stopped_ = true;
  changed_.NotifyAll();
}

void Relay::Stop(Deadline deadline) {
  BeginStop();
  if (!AwaitEnd(deadline)) {
    publisher_->Interrupt();
    // What was acknowledged by then is marked still, unless the database does not answer.
    if (!AwaitEnd(Clock::now() + kLastMarks)) session_.Interrupt();
  }
  if (thread_.joinable()) thread_.join();
}

bool Relay::AwaitEnd(Deadline deadline) {
  MutexLock lock(&mutex_);
  while (!ended_ && changed_.WaitUntil(&mutex_, deadline)) {
  }
  return ended_;
}

bool Relay::Stopped() {
  MutexLock lock(&mutex_);
  return stopped_;
}

void Relay::ThreadMain() {
  while (!Stopped()) {
    absl::Status status = Round();
    if (!status.ok()) Disconnect(status);
    ShowState();
    Wait();
  }
  GiveBack();
  MutexLock lock(&mutex_);
  ended_ = true;
  changed_.NotifyAll();
}

void Relay::Wait() {
  const Deadline next = NextRound();
  MutexLock lock(&mutex_);
  heeds_commits_ = HeedsCommits();
  while (!stopped_ && !change_noticed_ && !(commit_noticed_ && heeds_commits_) &&
         changed_.WaitUntil(&mutex_, next)) {
  }
  if (heeds_commits_ && std::exchange(commit_noticed_, false)) scan_wanted_ = true;
  heeds_commits_ = false;
  if (std::exchange(change_noticed_, false)) {
    next_tick_ = std::min(next_tick_, last_tick_ + kChangeSpacing);
    next_sweep_ = std::min(next_sweep_, last_sweep_ + kChangeSpacing);
    sweep_again_ = sweep_after_.has_value();
  }
}

bool Relay::HeedsCommits() const {
  return session_.usable() && lease_.token != 0 && !paused_ && Clock::now() >= retry_at_;
}

Deadline Relay::NextRound() const {
  if (!session_.usable()) return next_connect_;
  if (lease_.token == 0 || paused_) return next_tick_;
  if (scan_wanted_ || sweep_after_.has_value()) return std::min(next_tick_, retry_at_);
  return std::min({next_tick_, next_sweep_, std::max(retry_at_, progress_.NextDue())});
}

absl::Status Relay::Round() {
  if (!session_.usable()) {
    if (Clock::now() < next_connect_) return absl::OkStatus();
    if (absl::Status connected = Connect(); !connected.ok()) return connected;
  }
  if (Clock::now() >= next_tick_) {
    if (absl::Status ticked = Tick(); !ticked.ok()) return ticked;
  }
  if (lease_.token == 0 || paused_) return absl::OkStatus();
  if (Clock::now() >= next_sweep_ || sweep_after_.has_value()) {
    if (absl::Status swept = Sweep(); !swept.ok()) return swept;
  }
  if (Clock::now() < retry_at_) return absl::OkStatus();
  return PublishBatch();
}

absl::Status Relay::Connect() {
  if (absl::Status opened = session_.Open(); !opened.ok()) return opened;
  if (std::exchange(connect_failures_, 0) > 0) {
    spdlog::info("store {}: the relay of {} has its connection back", options_.name, lease_.sink);
  }
  next_tick_ = {};
  return absl::OkStatus();
}

void Relay::Disconnect(const absl::Status& why) {
  if (connect_failures_++ == 0 && !Stopped()) {
    spdlog::warn("store {}: the relay of {} lost its connection: {}", options_.name, lease_.sink,
                 telemetry::MessageOf(why));
  }
  session_.Close();
  lease_.token = 0;
  next_connect_ = Clock::now() + Backoff(kReconnectMin, kReconnectMax, connect_failures_,
                                         std::uniform_real_distribution<double>(0, 1)(random_));
}

absl::Status Relay::Tick() {
  const milliseconds duration = options_.outbox.lease_ms;
  const auto now = last_tick_ = Clock::now();
  next_tick_ = now + std::min(kTick, duration / 4);
  if (lease_.token == 0) {
    auto taken = tables::TakeOutboxLease(session_.connection(), lease_.sink, lease_.daemon,
                                         duration, session_.RoundTripDeadline());
    if (!taken.ok()) return taken.status();
    if (!taken->has_value()) return absl::OkStatus();
    lease_end_ = now + duration;
    Own(**taken);
    return absl::OkStatus();
  }
  auto renewed = tables::RenewOutboxLease(session_.connection(), lease_, duration,
                                          away_ > 0 ? "unavailable" : "running", last_error_,
                                          session_.RoundTripDeadline());
  if (!renewed.ok()) {
    // Somebody who claims entries may hold the row for a moment.
    if (!session_.usable() || Clock::now() >= lease_end_) return renewed.status();
    next_tick_ = Clock::now() + kTickAgain;
    return absl::OkStatus();
  }
  if (!renewed->has_value()) {
    Disown("another daemon has it");
    return absl::OkStatus();
  }
  lease_end_ = now + duration;
  if (std::exchange(paused_, (*renewed)->paused) && !paused_) scan_wanted_ = true;
  return absl::OkStatus();
}

void Relay::Own(const tables::OutboxLeaseState& lease) {
  spdlog::info("store {}: this daemon publishes to {} now", options_.name, lease_.sink);
  lease_.token = lease.token;
  paused_ = lease.paused;
  progress_ = RelayProgress(options_.outbox.sweep_interval_ms);
  scan_wanted_ = true;
  next_sweep_ = Clock::now() + options_.outbox.sweep_interval_ms;
  sweep_after_.reset();
  away_ = 0;
  retry_at_ = {};
  last_error_.clear();
}

void Relay::Disown(const char* why) {
  spdlog::warn("store {}: this daemon does not publish to {} any more: {}", options_.name,
               lease_.sink, why);
  lease_.token = 0;
}

absl::Status Relay::Sweep() {
  if (!sweep_after_.has_value()) {
    last_sweep_ = Clock::now();
    // Nobody else does it where no worker claims any more.
    auto released = tables::ReleaseExpiredClaims(session_.connection(), lease_.sink,
                                                 session_.RoundTripDeadline());
    if (!released.ok()) return released.status();
  }
  auto heads = tables::SweepOutboxStreams(
      session_.connection(), lease_.sink,
      sweep_after_.value_or(std::numeric_limits<std::int64_t>::min()), kSweepStreams,
      sink_.continue_after_failed, session_.RoundTripDeadline());
  if (!heads.ok()) return heads.status();
  progress_.NoteHeads(*heads, Clock::now());
  if (std::cmp_equal(heads->size(), kSweepStreams)) {
    sweep_after_ = heads->back().stream_key;
    return absl::OkStatus();
  }
  sweep_after_.reset();
  next_sweep_ =
      Clock::now() +
      (std::exchange(sweep_again_, false) ? kChangeSpacing : options_.outbox.sweep_interval_ms);
  scan_wanted_ = true;  // the net under a lost notification
  return absl::OkStatus();
}

void Relay::ShowState() {
  const State state = lease_.token == 0 ? State::kStandby
                      : paused_         ? State::kPaused
                      : away_ > 0       ? State::kUnavailable
                                        : State::kRunning;
  metrics_.standby->Set(state == State::kStandby ? 1 : 0);
  metrics_.running->Set(state == State::kRunning ? 1 : 0);
  metrics_.unavailable->Set(state == State::kUnavailable ? 1 : 0);
  metrics_.paused->Set(state == State::kPaused ? 1 : 0);
}

void Relay::GiveBack() {
  if (lease_.token != 0 && session_.usable()) {
    (void)tables::ReleaseOutboxLease(session_.connection(), lease_, Clock::now() + kGiveBack);
  }
  lease_.token = 0;
  session_.Close();
  ShowState();
}

}  // namespace eventstore::engine
