#include "server/telemetry/http_server.h"

#include <civetweb.h>
#include <fmt/format.h>
#include <netdb.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

namespace eventstore::telemetry {
namespace {

// Scrapers and probes are few; each answer is quick.
constexpr char kThreads[] = "4";
constexpr char kConnectionQueueMax[] = "32";
constexpr char kRequestTimeoutMs[] = "10000";
constexpr char kRequestBytesMax[] = "8192";

// mg_check_feature's number for IPv6. Debian's build of civetweb has none.
constexpr unsigned kFeatureIpv6 = 8;

constexpr std::chrono::milliseconds kKnockInterval{10};

constexpr char kPlainText[] = "text/plain; charset=utf-8";
// The exposition format's media type (https://prometheus.io/docs/instrumenting/exposition_formats).
constexpr char kMetricsText[] = "text/plain; version=0.0.4; charset=utf-8";

struct Response {
  int code;
  std::string_view reason;
  std::string body;
  const char* content_type = kPlainText;
};

// Checks "host:port" where an IPv6 host stands in brackets. civetweb takes more than that (lists,
// TLS marks) in the same option, none of which is meant here.
absl::Status CheckAddress(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  const std::string_view host = std::string_view(address).substr(0, colon);
  bool good = colon != std::string::npos && !host.empty() &&
              host.find_first_of(",; \t+") == std::string_view::npos;
  const bool brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  good &= brackets || host.find_first_of("[]:") == std::string_view::npos;
  if (good) {
    const char* const first = address.data() + colon + 1;
    const char* const last = address.data() + address.size();
    unsigned port = 0;
    const auto [end, error] = std::from_chars(first, last, port);
    good = error == std::errc() && end == last && first != last && port <= 65535;
  }
  if (!good) {
    return absl::InvalidArgumentError(fmt::format(
        "'{}' is not an address to listen on; it must be host:port, such as 127.0.0.1:9440",
        address));
  }
  if (brackets && mg_check_feature(kFeatureIpv6) == 0) {
    return absl::InvalidArgumentError(fmt::format(
        "cannot listen on '{}': the installed civetweb is built without IPv6; give an IPv4 "
        "address, such as 127.0.0.1:9440 or 0.0.0.0:9440",
        address));
  }
  return absl::OkStatus();
}

// Connects to `host`:`port` and hangs up. Whether that succeeds does not matter.
void Knock(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    const int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    const timeval timeout{0, 100'000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    const bool connected = connect(fd, at->ai_addr, at->ai_addrlen) == 0;
    close(fd);
    if (connected) break;
  }
  freeaddrinfo(found);
}

// Stops civetweb, which looks whether it should only when a client connects or every two seconds:
// knocks until it has noticed.
void Stop(mg_context* context, const std::string& host, int port) {
  std::mutex mutex;
  std::condition_variable changed;
  bool stopped = false;
  std::thread knocker([&] {
    std::unique_lock<std::mutex> lock(mutex);
    while (!stopped) {
      lock.unlock();
      Knock(host, port);
      lock.lock();
      changed.wait_for(lock, kKnockInterval, [&stopped] { return stopped; });
    }
  });
  mg_stop(context);
  {
    const std::lock_guard<std::mutex> lock(mutex);
    stopped = true;
  }
  changed.notify_one();
  knocker.join();
}

}  // namespace

// What civetweb's callbacks see. Its threads end before this does.
struct HttpServer::Impl {
  Handlers handlers;
  mg_context* context = nullptr;
  bool library_ready = false;
  std::string host;  // as given, without the port
  int port = 0;
  std::mutex mutex;
  std::string first_message;  // guarded by `mutex`: civetweb's first complaint, the specific one

  Response Answer(std::string_view method, std::string_view path) const;
  static int OnRequest(mg_connection* connection);
  static int OnMessage(const mg_connection* connection, const char* message);
};

Response HttpServer::Impl::Answer(std::string_view method, std::string_view path) const {
  const bool known = path == "/metrics" || path == "/health/live" || path == "/health/ready";
  if (!known) {
    return {404, "Not Found", "Not found. Here are /metrics, /health/live and /health/ready.\n"};
  }
  if (method != "GET" && method != "HEAD") {
    return {405, "Method Not Allowed", "Only GET and HEAD are allowed.\n"};
  }
  if (path == "/metrics") return {200, "OK", handlers.metrics(), kMetricsText};
  if (path == "/health/live") return {200, "OK", "live\n"};
  const std::string reason = handlers.not_ready_reason();
  if (reason.empty()) return {200, "OK", "ready\n"};
  return {503, "Service Unavailable", reason + "\n"};
}

int HttpServer::Impl::OnRequest(mg_connection* connection) {
  const mg_request_info* request = mg_get_request_info(connection);
  const auto* impl = static_cast<const Impl*>(request->user_data);
  const std::string_view method = request->request_method;
  Response response{500, "Internal Server Error", "The handler failed; the log says why.\n"};
  try {
    response = impl->Answer(method, request->local_uri != nullptr ? request->local_uri : "");
  } catch (const std::exception& error) {
    // An exception must not unwind into civetweb's C code.
    spdlog::error("operators' HTTP port: {} {} failed: {}", method,
                  request->local_uri != nullptr ? request->local_uri : "", error.what());
  }
  const std::string head = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}Cache-Control: no-store\r\n"
      "Connection: close\r\n\r\n",
      response.code, response.reason, response.content_type, response.body.size(),
      response.code == 405 ? "Allow: GET, HEAD\r\n" : "");
  if (mg_write(connection, head.data(), head.size()) > 0 && method != "HEAD") {
    mg_write(connection, response.body.data(), response.body.size());
  }
  return response.code;
}

int HttpServer::Impl::OnMessage(const mg_connection* connection, const char* message) {
  auto* impl = static_cast<Impl*>(mg_get_user_data(mg_get_context(connection)));
  spdlog::debug("operators' HTTP port: {}", message);
  if (impl != nullptr) {
    const std::lock_guard<std::mutex> lock(impl->mutex);
    if (impl->first_message.empty()) impl->first_message = message;
  }
  return 1;  // keeps civetweb from writing it to stderr as well
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address,
                                                              Handlers handlers) {
  if (absl::Status status = CheckAddress(address); !status.ok()) return status;
  std::unique_ptr<HttpServer> server(new HttpServer);
  server->impl_ = std::make_unique<Impl>();
  Impl* impl = server->impl_.get();
  impl->handlers = std::move(handlers);
  impl->host = address.substr(0, address.rfind(':'));
  if (impl->host.front() == '[') impl->host = impl->host.substr(1, impl->host.size() - 2);
  mg_init_library(0);  // counted by civetweb: one exit per init
  impl->library_ready = true;

  mg_callbacks callbacks{};
  callbacks.begin_request = &Impl::OnRequest;
  callbacks.log_message = &Impl::OnMessage;
  // No log_access: without it there is no access log, and civetweb's threads do not race for the
  // one result of localtime() in formatting it.
  std::array<const char*, 15> options = {"listening_ports",
                                         address.c_str(),
                                         "num_threads",
                                         kThreads,
                                         "connection_queue",
                                         kConnectionQueueMax,
                                         "request_timeout_ms",
                                         kRequestTimeoutMs,
                                         "max_request_size",
                                         kRequestBytesMax,
                                         "enable_keep_alive",
                                         "no",
                                         "tcp_nodelay",
                                         "1",
                                         nullptr};
  std::array<char, 256> error_text{};
  mg_init_data init{&callbacks, impl, options.data()};
  mg_error_data error{nullptr, error_text.data(), error_text.size()};
  impl->context = mg_start2(&init, &error);
  if (impl->context == nullptr) {
    const std::lock_guard<std::mutex> lock(impl->mutex);
    return absl::UnavailableError(
        fmt::format("cannot listen on {}: {}", address,
                    impl->first_message.empty() ? error_text.data() : impl->first_message));
  }
  mg_server_port port{};
  if (mg_get_server_ports(impl->context, 1, &port) < 1) {
    return absl::InternalError(fmt::format("cannot tell which port {} became", address));
  }
  server->port_ = port.port;
  impl->port = port.port;
  return server;
}

HttpServer::~HttpServer() {
  if (impl_ == nullptr) return;
  if (impl_->context != nullptr) Stop(impl_->context, impl_->host, impl_->port);
  if (impl_->library_ready) mg_exit_library();
}

}  // namespace eventstore::telemetry
