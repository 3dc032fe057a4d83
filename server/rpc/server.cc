#include "server/rpc/server.h"

#include <absl/strings/str_cat.h>
#include <absl/synchronization/mutex.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>

namespace eventstore::rpc {
namespace {

// Reflection is the only service of the blocking kind; each of its calls holds a thread.
constexpr int kReflectionThreadsMax = 16;

// gRPC's own log lines go where ours go.
void LogFromGrpc(gpr_log_func_args* line) {
  switch (line->severity) {
    case GPR_LOG_SEVERITY_ERROR:
      spdlog::warn("grpc: {}", line->message);
      break;
    case GPR_LOG_SEVERITY_INFO:
      spdlog::debug("grpc: {}", line->message);
      break;
    case GPR_LOG_SEVERITY_DEBUG:
      spdlog::trace("grpc: {}", line->message);
      break;
  }
}

// What is set once for the whole process.
void SetUpGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Debian's Abseil looks for lock cycles at every lock that gRPC takes.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    gpr_set_log_function(&LogFromGrpc);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

void SetLimits(const ServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(static_cast<int>(options.message_bytes_max));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.calls_per_connection_max);
  grpc::ResourceQuota quota("eventstored");
  quota.Resize(static_cast<std::size_t>(options.memory_bytes_max));
  quota.SetMaxThreads(kReflectionThreadsMax);
  builder->SetResourceQuota(quota);
  builder->SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder->SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 1);
}

void SetKeepalive(const ServerOptions& options, grpc::ServerBuilder* builder) {
  const auto set = [builder](const char* name, std::chrono::milliseconds value) {
    builder->AddChannelArgument(name, static_cast<int>(value.count()));
  };
  set(GRPC_ARG_KEEPALIVE_TIME_MS, options.keepalive_time_ms);
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, options.keepalive_timeout_ms);
  set(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, options.client_ping_interval_min_ms);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // A subscriber may be silent for hours; gRPC would stop pinging after two pings without data.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const ServerOptions& options,
                                                            Services* services) {
  SetUpGrpc();
  grpc::ServerBuilder builder;
  SetLimits(options, &builder);
  SetKeepalive(options, &builder);
  // Otherwise a second daemon would share the port, and half of the calls would go to each.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  int port = 0;
  builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &port);
  std::vector<std::string> names = {""};
  for (const Services::Entry& entry : services->entries()) {
    builder.RegisterService(entry.service);
    names.push_back(entry.name);
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", options.listen,
        " for gRPC; is another daemon using this address, or is it none of this machine's?"));
  }
  std::unique_ptr<RpcServer> result(new RpcServer(std::move(server), port, std::move(names)));
  result->SetServing(false);
  return result;
}

RpcServer::~RpcServer() { Shutdown(Deadline::min()); }

void RpcServer::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  if (health == nullptr) return;
  for (const std::string& name : names_) health->SetServingStatus(name, serving);
}

void RpcServer::Shutdown(Deadline deadline) {
  if (auto* health = server_->GetHealthCheckService(); health != nullptr) health->Shutdown();
  const auto now = std::chrono::steady_clock::now();
  const auto left = deadline > now ? deadline - now : std::chrono::steady_clock::duration::zero();
  // Bounded, for the sum with the clock must not overflow.
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::min<std::chrono::steady_clock::duration>(left, std::chrono::hours(24)));
}

}  // namespace eventstore::rpc
