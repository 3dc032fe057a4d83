#include "server/process/housekeeper.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "server/telemetry/logging.h"

namespace eventstore::process {
namespace {

using Clock = std::chrono::steady_clock;

// How often health and the embedded server are looked at: two flags and a waitpid.
constexpr std::chrono::milliseconds kTick{250};
constexpr std::chrono::seconds kMaintainTime{5};

}  // namespace

Housekeeper::Housekeeper(const engine::StoreOptions& options, StoreRegistry* registry,
                         EmbeddedPostgres* embedded, std::function<void(bool)> serving)
    : options_(options),
      registry_(registry),
      embedded_(embedded),
      serving_(std::move(serving)),
      thread_([this] { ThreadMain(); }) {}

Housekeeper::~Housekeeper() { Stop(); }

void Housekeeper::Wake() {
  MutexLock lock(&mutex_);
  woken_ = true;
  changed_.NotifyAll();
}

std::string Housekeeper::NotReadyReason() {
  MutexLock lock(&mutex_);
  return not_ready_;
}

void Housekeeper::Stop() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    not_ready_ = "the server is shutting down";
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Housekeeper::ThreadMain() {
  Deadline next_heartbeat{};
  Deadline next_partitions{};
  while (true) {
    bool woken = false;
    {
      MutexLock lock(&mutex_);
      if (!woken_ && !stopped_) changed_.WaitUntil(&mutex_, Clock::now() + kTick);
      if (stopped_) return;
      woken = std::exchange(woken_, false);
    }
    CheckEmbedded();
    CheckHealth();
    const auto now = Clock::now();
    const bool partitions = woken || now >= next_partitions;
    if (!partitions && now < next_heartbeat) continue;
    Maintain(partitions);
    next_heartbeat = now + options_.daemon.heartbeat_ms;
    if (partitions) next_partitions = now + options_.partitions.check_interval_ms;
  }
}

void Housekeeper::CheckEmbedded() {
  if (embedded_ == nullptr || embedded_->IsRunning()) return;
  spdlog::error("the embedded PostgreSQL stopped by itself; starting it again");
  const absl::Status restarted = embedded_->Restart();
  if (!restarted.ok()) {
    spdlog::error("the embedded PostgreSQL does not start: {}", telemetry::MessageOf(restarted));
  }
}

void Housekeeper::CheckHealth() {
  std::string reason = registry_->WaitingFor();
  for (const auto& store : registry_->Stores()) {
    if (!store->available()) reason = "waiting for the database";
  }
  {
    MutexLock lock(&mutex_);
    if (stopped_ || reason == not_ready_) return;
    std::swap(reason, not_ready_);
    reason = not_ready_;
  }
  if (reason.empty()) {
    spdlog::info("ready");
  } else {
    spdlog::warn("not ready: {}", reason);
  }
  serving_(reason.empty());
}

void Housekeeper::Maintain(bool partitions) {
  for (const auto& store : registry_->Stores()) {
    if (!store->available()) continue;
    const absl::Status status = store->Maintain(Clock::now() + kMaintainTime, partitions);
    if (!status.ok() && !maintain_failed_) {
      spdlog::warn("upkeep failed and will be tried again: {}", telemetry::MessageOf(status));
    }
    maintain_failed_ = !status.ok();
  }
}

}  // namespace eventstore::process
