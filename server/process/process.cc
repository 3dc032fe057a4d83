#include "server/process/process.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <memory>
#include <utility>

#include "server/core/mutex.h"
#include "server/process/embedded_postgres.h"
#include "server/process/housekeeper.h"
#include "server/process/migrate_command.h"
#include "server/process/store_registry.h"
#include "server/rpc/server.h"
#include "server/rpc/services.h"
#include "server/telemetry/http_server.h"
#include "server/telemetry/logging.h"
#include "server/telemetry/metrics.h"

namespace eventstore::process {
namespace {

using Clock = std::chrono::steady_clock;

// How long calls may take to end once the stores have answered everything.
constexpr std::chrono::seconds kLastCalls{1};

sigset_t EndingSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// Waits for what ends the daemon: a signal, or a failure that waiting cannot mend.
class Ending {
 public:
  Ending() : failed_fd_(eventfd(0, EFD_CLOEXEC)) {
    const sigset_t signals = EndingSignals();
    signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
  }
  ~Ending() {
    close(signal_fd_);
    close(failed_fd_);
  }
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;

  void Fail() {
    failed_.store(true);
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = write(failed_fd_, &one, sizeof one);
  }

  // Returns true for a signal, false for a failure.
  bool Wait() {
    pollfd fds[2] = {{signal_fd_, POLLIN, 0}, {failed_fd_, POLLIN, 0}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR) {
    }
    return !failed_.load();
  }

  // From now on a further signal ends the process at once, by its default action.
  void LetTheNextSignalKill() {
    signalfd_siginfo info{};
    pollfd fd{signal_fd_, POLLIN, 0};
    while (poll(&fd, 1, 0) > 0)
      [[maybe_unused]] const auto got = read(signal_fd_, &info, sizeof info);
    const sigset_t signals = EndingSignals();
    pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  }

 private:
  int signal_fd_ = -1;
  int failed_fd_ = -1;
  std::atomic<bool> failed_{false};
};

absl::StatusOr<std::unique_ptr<EmbeddedPostgres>> StartEmbedded(const Config& config,
                                                                engine::StoreOptions* store) {
  if (!config.IsEmbedded()) return std::unique_ptr<EmbeddedPostgres>();
  EmbeddedPostgresOptions options = config.embedded;
  options.data_dir = config.data_dir;
  auto embedded = EmbeddedPostgres::Start(options);
  if (!embedded.ok()) return embedded.status();
  store->connection.conninfo = (*embedded)->conninfo();
  return embedded;
}

rpc::RpcOptions RpcOptionsOf(const Config& config) {
  rpc::RpcOptions options;
  options.append_stream_in_flight_max = config.server.append_stream_in_flight_max;
  options.stall_timeout_ms = config.store.hub.stall_timeout_ms;
  return options;
}

rpc::ServerOptions ServerOptionsOf(const Config& config) {
  rpc::ServerOptions options;
  options.listen = config.listen;
  options.message_bytes_max = config.server.message_bytes_max;
  return options;
}

int Complain(const absl::Status& status) {
  spdlog::critical("{}", telemetry::MessageOf(status));
  return 1;
}

}  // namespace

const char* Version() { return EVENTSTORE_VERSION; }

void BlockSignals() {
  const sigset_t signals = EndingSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int Serve(const Config& config) {
  spdlog::info("eventstored {} starts", Version());
  Ending ending;
  engine::StoreOptions store_options = config.store;
  telemetry::Metrics metrics(Version());
  std::atomic<Housekeeper*> housekeeper_now{nullptr};
  auto http = telemetry::HttpServer::Start(
      config.metrics_listen, {[&metrics] { return metrics.Text(); },
                              [&housekeeper_now] {
                                Housekeeper* const housekeeper = housekeeper_now.load();
                                return housekeeper != nullptr ? housekeeper->NotReadyReason()
                                                              : std::string("starting");
                              }});
  if (!http.ok()) return Complain(http.status());
  auto embedded = StartEmbedded(config, &store_options);
  if (!embedded.ok()) return Complain(embedded.status());

  const auto wake = [&housekeeper_now] {
    if (Housekeeper* const housekeeper = housekeeper_now.load()) housekeeper->Wake();
  };
  StoreRegistry registry(store_options, config.database.migrate, &metrics,
                         {[wake](std::shared_ptr<engine::Store> store) {
                            store->OnMaintenanceWanted(wake);
                            wake();
                          },
                          [&ending](absl::Status status) {
                            spdlog::critical("the store cannot be opened: {}",
                                             telemetry::MessageOf(status));
                            ending.Fail();
                          }});
  rpc::Services services(rpc::BackendsOf(&registry), store_options.limits, RpcOptionsOf(config),
                         &metrics);
  auto server = rpc::RpcServer::Start(ServerOptionsOf(config), &services);
  if (!server.ok()) return Complain(server.status());
  Housekeeper housekeeper(store_options, &registry, embedded->get(),
                          [&server](bool serving) { (*server)->SetServing(serving); });
  housekeeper_now.store(&housekeeper);
  spdlog::info("gRPC on {} (port {}), metrics and health on {} (port {})", config.listen,
               (*server)->port(), config.metrics_listen, (*http)->port());

  const bool by_signal = ending.Wait();
  ending.LetTheNextSignalKill();
  const Deadline deadline = Clock::now() + config.server.drain_timeout_ms;
  spdlog::info("shutting down: draining for at most {} ms", config.server.drain_timeout_ms.count());
  housekeeper.Stop();
  (*server)->SetServing(false);
  services.BeginDrain();
  registry.Drain(deadline);
  // What is still there is not ours to finish: health watches, and clients that do not read.
  (*server)->Shutdown(std::min(deadline, Clock::now() + kLastCalls));
  http->reset();
  spdlog::info("stopped");
  return by_signal ? 0 : 1;
}

int Migrate(const Config& config, CommandLine::Command command) {
  engine::StoreOptions store_options = config.store;
  auto embedded = StartEmbedded(config, &store_options);
  if (!embedded.ok()) return Complain(embedded.status());
  return MigrateStore(store_options.connection, command);
}

}  // namespace eventstore::process
