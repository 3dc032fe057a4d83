#include "server/engine/relay/outbox_keeper.h"

#include <spdlog/spdlog.h>

#include "server/tables/outbox_relay.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

OutboxKeeper::OutboxKeeper(const StoreOptions& options, pg::Pool* pool, telemetry::Metrics* metrics)
    : options_(options), pool_(pool) {
  for (const OutboxSink& sink : options.outbox.sinks) {
    sinks_.emplace_back(sink.options.name, metrics->Outbox(options.name, sink.options.name));
  }
  thread_ = std::thread([this] { ThreadMain(); });
}

OutboxKeeper::~OutboxKeeper() { Stop(); }

void OutboxKeeper::Stop() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

bool OutboxKeeper::Stopped() {
  MutexLock lock(&mutex_);
  return stopped_;
}

void OutboxKeeper::ThreadMain() {
  while (!Stopped()) {
    absl::Status kept = Sample();
    if (kept.ok()) kept = DeletePublished();
    if (kept.ok()) {
      complained_ = false;
    } else if (!Stopped() && !std::exchange(complained_, true)) {
      spdlog::warn("store {}: cannot keep the outbox: {}", options_.name,
                   telemetry::MessageOf(kept));
    }
    const Deadline next = Clock::now() + options_.outbox.sweep_interval_ms;
    MutexLock lock(&mutex_);
    while (!stopped_ && changed_.WaitUntil(&mutex_, next)) {
    }
  }
}

absl::Status OutboxKeeper::Sample() {
  const Deadline deadline = Clock::now() + options_.reader.statement_timeout_ms;
  auto connection = pool_->Acquire(deadline);
  if (!connection.ok()) return connection.status();
  for (const auto& [sink, metrics] : sinks_) {
    auto figures = tables::ReadOutboxFigures(**connection, sink, kCountMax, deadline);
    if (!figures.ok()) return figures.status();
    metrics.pending->Set(static_cast<double>(figures->pending));
    metrics.failed->Set(static_cast<double>(figures->failed));
    metrics.oldest_pending_age_seconds->Set(figures->oldest_pending_age_seconds);
  }
  return absl::OkStatus();
}

absl::Status OutboxKeeper::DeletePublished() {
  while (!Stopped()) {
    const Deadline deadline = Clock::now() + options_.reader.statement_timeout_ms;
    // Not one connection for all of it: others wait for them.
    auto connection = pool_->Acquire(deadline);
    if (!connection.ok()) return connection.status();
    auto deleted = tables::DeletePublishedOutbox(**connection, options_.outbox.retention_seconds,
                                                 kDeleteMax, deadline);
    if (!deleted.ok()) return deleted.status();
    if (*deleted < kDeleteMax) break;
  }
  return absl::OkStatus();
}

}  // namespace eventstore::engine
