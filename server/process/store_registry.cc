#include "server/process/store_registry.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "schema/migrations.h"

#include "server/core/errors.h"
#include "server/pg/errors.h"
#include "server/pg/migrator.h"
#include "server/telemetry/logging.h"

namespace eventstore::process {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kOpenPause{500};
constexpr std::chrono::seconds kComplainInterval{10};
// How long one try may take; migrations of a large store may build indexes.
constexpr std::chrono::seconds kConnectTime{15};
constexpr std::chrono::minutes kMigrateTime{60};

// Whether waiting may help: the database is away or busy. What it refuses for good needs a person.
bool MayPass(const absl::Status& status) {
  if (absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status)) return false;
  const auto error = pg::ErrorOf(status);
  if (!error.has_value() || error->sqlstate.empty()) return true;
  // Missing rights (42501) or tables (42P01). A connection that is refused, for a wrong password
  // too, has no SQLSTATE here, and may be mended on the other side while the daemon waits and says
  // why.
  return error->sqlstate.substr(0, 2) != "42";
}

}  // namespace

StoreRegistry::StoreRegistry(engine::StoreOptions options, bool migrate,
                             telemetry::Metrics* metrics, Callbacks callbacks)
    : options_(std::move(options)),
      migrate_(migrate),
      metrics_(metrics),
      callbacks_(std::move(callbacks)),
      thread_([this] { ThreadMain(); }) {}

StoreRegistry::~StoreRegistry() { Drain(Clock::now()); }

void StoreRegistry::ThreadMain() {
  Deadline next_complaint{};
  while (true) {
    const absl::Status status = TryOpen();
    if (status.ok()) return;
    if (!MayPass(status)) return callbacks_.failed(status);
    if (Clock::now() >= next_complaint) {
      spdlog::warn("waiting for the database: {}", telemetry::MessageOf(status));
      next_complaint = Clock::now() + kComplainInterval;
    }
    MutexLock lock(&mutex_);
    waiting_for_ = "waiting for the database: " + std::string(telemetry::MessageOf(status));
    if (!stopped_) changed_.WaitUntil(&mutex_, Clock::now() + kOpenPause);
    if (stopped_) return;
  }
}

absl::Status StoreRegistry::TryOpen() {
  if (migrate_) {
    auto connection = pg::Connection::Open(options_.connection, Clock::now() + kConnectTime);
    if (!connection.ok()) return connection.status();
    pg::Migrator migrator(connection->get(), options_.connection.schema, schema::Migrations());
    auto applied = migrator.Apply(Clock::now() + kMigrateTime);
    if (!applied.ok()) return applied.status();
    for (const int version : *applied) spdlog::info("applied migration {}", version);
  }
  auto store = engine::Store::Open(options_, metrics_, Clock::now() + kConnectTime);
  if (!store.ok()) return store.status();
  std::shared_ptr<engine::Store> opened = std::move(*store);
  {
    MutexLock lock(&mutex_);
    if (stopped_) return absl::OkStatus();
    store_ = opened;
    waiting_for_.clear();
  }
  callbacks_.opened(std::move(opened));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<engine::Store>> StoreRegistry::Find(std::string_view) {
  MutexLock lock(&mutex_);
  if (store_ == nullptr) return StoreUnavailable("the store is not open yet");
  return store_;
}

std::vector<std::shared_ptr<engine::Store>> StoreRegistry::Stores() {
  MutexLock lock(&mutex_);
  if (store_ == nullptr) return {};
  return {store_};
}

std::string StoreRegistry::WaitingFor() {
  MutexLock lock(&mutex_);
  return waiting_for_;
}

void StoreRegistry::Drain(Deadline deadline) {
  std::shared_ptr<engine::Store> store;
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
  for (const auto& open : Stores()) open->Drain(deadline);
}

}  // namespace eventstore::process
