// The operators' HTTP port: /metrics, /health/live, /health/ready.
#ifndef EVENTSTORE_SERVER_TELEMETRY_HTTP_SERVER_H_
#define EVENTSTORE_SERVER_TELEMETRY_HTTP_SERVER_H_

#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <string>

namespace eventstore::telemetry {

// Serves from construction to destruction on threads of its own (civetweb).
class HttpServer {
 public:
  struct Handlers {
    // The body of /metrics.
    std::function<std::string()> metrics;
    // Empty: ready (200). Otherwise why not (503, and the text as the body). Must not block.
    std::function<std::string()> not_ready_reason;
  };

  // Listens on `address` ("host:port"; port 0 picks a free one). /health/live always answers 200.
  // An IPv6 host stands in brackets, and needs a civetweb that is built with IPv6, which Debian
  // 12's is not. Errors: INVALID_ARGUMENT for what is no address, UNAVAILABLE where it cannot be
  // listened on.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address,
                                                                         Handlers handlers);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] int port() const { return port_; }

 private:
  HttpServer() = default;
  struct Impl;
  std::unique_ptr<Impl> impl_;
  int port_ = 0;
};

}  // namespace eventstore::telemetry

#endif  // EVENTSTORE_SERVER_TELEMETRY_HTTP_SERVER_H_
