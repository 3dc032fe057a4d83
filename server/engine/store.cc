#include "server/engine/store.h"

#include <absl/strings/str_cat.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "server/engine/lane_session.h"
#include "server/engine/store_errors.h"
#include "server/tables/daemons_table.h"
#include "server/tables/log_table.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

// How long giving the consumer groups' lanes back may take at a shutdown; others wait for the end
// of their leases otherwise.
constexpr std::chrono::milliseconds kGiveBackLanes{500};

// How this process is named in the registry of daemons.
std::string DaemonAddress() {
  char host[256] = "unknown";
  (void)gethostname(host, sizeof host - 1);
  return absl::StrCat(host, ":", getpid());
}

// Pooled connections read, and write checkpoints and dead letters, by plans that no statistics can
// spoil.
pg::ConnectionOptions PooledConnection(const StoreOptions& options) {
  pg::ConnectionOptions connection = options.connection;
  connection.settings.emplace_back("statement_timeout",
                                   absl::StrCat(options.reader.statement_timeout_ms.count()));
  connection.settings.emplace_back("default_transaction_isolation", "read committed");
  connection.settings.emplace_back("enable_seqscan", "off");
  return connection;
}

}  // namespace

Store::Store(StoreOptions options, OutboxRoutes routes, telemetry::Metrics* metrics)
    : options_(std::move(options)),
      routes_(std::move(routes)),
      daemon_id_(MakeUuidV7()),
      metrics_(metrics),
      partitions_(options_.partitions),
      sampler_(metrics->Projections(options_.name)) {
  pool_ = std::make_unique<pg::Pool>(PooledConnection(options_), options_.pool,
                                     metrics->Pool(options_.name));
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(StoreOptions options,
                                                   telemetry::Metrics* metrics, Deadline deadline) {
  auto routes = OutboxRoutes::Make(options.outbox, options.limits);
  if (!routes.ok()) return routes.status();
  std::unique_ptr<Store> store(new Store(std::move(options), *std::move(routes), metrics));
  auto connection = store->pool_->Acquire(deadline);
  if (!connection.ok()) return ToStoreError(connection.status());
  auto head = tables::ReadHead(**connection, deadline);
  if (!head.ok()) return ToStoreError(head.status());
  store->store_id_ = FormatUuid(head->store_id);
  auto partition_end = store->partitions_.Ensure(**connection, head->position, deadline);
  if (!partition_end.ok()) return ToStoreError(partition_end.status());
  // Before the listener says hello: those who hear it count this daemon.
  auto others = tables::Heartbeat(**connection, store->daemon_id_, DaemonAddress(),
                                  store->options_.daemon.expire_ms, deadline);
  if (!others.ok()) return ToStoreError(others.status());
  if (absl::Status started = store->Start(*head, *partition_end); !started.ok()) return started;
  store->listener_->SetOtherDaemons(*others);
  return store;
}

absl::Status Store::Start(const tables::Head& head, std::int64_t partition_end) {
  auto relays = Relays::Start(options_, daemon_id_, pool_.get(), metrics_);
  if (!relays.ok()) return relays.status();
  relays_ = *std::move(relays);
  const telemetry::ReadMetrics read_metrics = metrics_->Read(options_.name);
  reader_ = std::make_unique<Reader>(options_.reader, options_.query, pool_.get(), read_metrics);
  projections_ = std::make_unique<TableProjections>(&reader_->workers());
  dead_letters_ = std::make_unique<TableDeadLetters>(&reader_->workers());
  snapshots_ = std::make_unique<TableSnapshots>(&reader_->workers());
  outbox_ = std::make_unique<TableOutbox>(options_.outbox, &reader_->workers());
  outbox_->OnChanged([this] { relays_->NoticeChange(); });
  index_builder_ = std::make_unique<PayloadIndexBuilder>(options_, daemon_id_);
  payload_indexes_ =
      std::make_unique<TablePayloadIndexes>(&reader_->workers(), index_builder_.get());
  hub_ = std::make_unique<Hub>(options_.hub, reader_.get(), read_metrics);
  hub_->Rewind(head.epoch, head.position, head.revision);
  groups_ = std::make_unique<Groups>(options_, daemon_id_, store_id_, pool_.get(), reader_.get(),
                                     hub_.get(), metrics_);
  hub_->OnChanges([this](const tables::LogChanges& changes) { groups_->Forget(changes); });
  listener_ = std::make_unique<Listener>(
      options_, daemon_id_, store_id_, read_metrics,
      Listener::Callbacks{[this](std::int64_t epoch, std::int64_t position, std::int64_t revision) {
                            hub_->NoticeHead(epoch, position, revision);
                            relays_->NoticeCommit();
                          },
                          [this] { WantMaintenance(); }});
  lifecycle_ = std::make_unique<TableLifecycle>(
      options_, &reader_->workers(), metrics_->Lifecycle(options_.name),
      TableLifecycle::Callbacks{
          [this](const tables::LogChanges& changes) {
            hub_->Apply(changes);
            listener_->Changed(changes.head, changes.revision);
          },
          [this](std::function<void()> settled) { groups_->Settle(std::move(settled)); }});
  writer_ = std::make_unique<Writer>(
      options_, std::make_unique<LaneSession>(options_, daemon_id_, &routes_),
      metrics_->Lane(options_.name),
      Writer::Callbacks{
          [this](CommittedBatch batch) {
            relays_->NoticeCommit();
            listener_->Committed(batch.epoch, batch.events.back().global_position());
            hub_->Publish(std::move(batch));
          },
          [this](std::int64_t epoch, std::int64_t position) { hub_->Rewind(epoch, position); },
          [this] { WantMaintenance(); },
          [this](std::int64_t epoch, std::int64_t position) {
            return hub_->Recent(epoch, position);
          }});
  transactor_ = std::make_unique<Transactor>(
      options_, &reader_->workers(), writer_.get(),
      ConditionMemory::Source{[this] { return hub_->Remembered(); },
                              [this](std::int64_t epoch, std::int64_t position) {
                                return hub_->Recent(epoch, position);
                              }},
      metrics_->Transactions(options_.name));
  writer_->SetPartitionEnd(partition_end);
  return absl::OkStatus();
}

Store::~Store() { Drain(Clock::now()); }

bool Store::available() const { return writer_->connected() && listener_->connected(); }

void Store::OnMaintenanceWanted(std::function<void()> wake) {
  MutexLock lock(&mutex_);
  wake_ = std::move(wake);
}

void Store::WantMaintenance() {
  std::function<void()> wake;
  {
    MutexLock lock(&mutex_);
    wake = wake_;
  }
  if (wake) wake();
}

absl::Status Store::Maintain(Deadline deadline, bool partitions) {
  auto connection = pool_->Acquire(deadline);
  if (!connection.ok()) return connection.status();
  auto others = tables::Heartbeat(**connection, daemon_id_, DaemonAddress(),
                                  options_.daemon.expire_ms, deadline);
  if (!others.ok()) return others.status();
  listener_->SetOtherDaemons(*others);
  if (absl::Status sampled = sampler_.Sample(**connection, deadline); !sampled.ok()) return sampled;
  if (absl::Status kept = index_builder_->Upkeep(**connection, deadline); !kept.ok()) return kept;
  if (!partitions) return absl::OkStatus();
  auto head = tables::ReadHead(**connection, deadline);
  if (!head.ok()) return head.status();
  auto partition_end = partitions_.Ensure(**connection, head->position, deadline);
  if (!partition_end.ok()) return partition_end.status();
  writer_->SetPartitionEnd(*partition_end);
  return absl::OkStatus();
}

void Store::Drain(Deadline deadline) {
  if (writer_ != nullptr) {
    groups_->Stop(Clock::now() + kGiveBackLanes);
    hub_->Stop();
    writer_->Drain(deadline);
    relays_->Stop(deadline);
    listener_->Stop();
    reader_->Stop();
    index_builder_->Stop();
    // Best effort: whoever cannot say goodbye is forgotten after a while.
    auto connection = pool_->Acquire(Clock::now() + std::chrono::milliseconds(500));
    if (connection.ok()) {
      (void)tables::SignOff(**connection, daemon_id_, Clock::now() + std::chrono::seconds(1));
    }
  }
  pool_->Close();
}

}  // namespace eventstore::engine
