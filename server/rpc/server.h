// The gRPC server: its socket, its limits, health and reflection.
#ifndef EVENTSTORE_SERVER_RPC_SERVER_H_
#define EVENTSTORE_SERVER_RPC_SERVER_H_

#include <absl/status/statusor.h>
#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/core/mutex.h"
#include "server/rpc/options.h"
#include "server/rpc/services.h"

namespace eventstore::rpc {

// Serves from Start to Shutdown on threads of gRPC. Any thread may call it.
class RpcServer {
 public:
  // `services` must outlive the result. Not serving for health checks yet. Errors: UNAVAILABLE that
  // names the address where it cannot listen there. Call it from one thread at a time.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<RpcServer>> Start(
      const ServerOptions& options, Services* services);
  // Shuts down at once.
  ~RpcServer();
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  // The port that it listens on.
  [[nodiscard]] int port() const { return port_; }

  // What grpc.health.v1 answers for the server as a whole ("") and for each service.
  void SetServing(bool serving);

  // Takes no new calls, waits until those that are there have ended, and cancels what is left at
  // `deadline`. Ending streaming calls is up to Services::BeginDrain. Idempotent.
  void Shutdown(Deadline deadline);

 private:
  RpcServer(std::unique_ptr<grpc::Server> server, int port, std::vector<std::string> names)
      : server_(std::move(server)), port_(port), names_(std::move(names)) {}

  const std::unique_ptr<grpc::Server> server_;
  const int port_;
  const std::vector<std::string> names_;  // of the services, for health
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_SERVER_H_
