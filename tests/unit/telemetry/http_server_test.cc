#include "server/telemetry/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/telemetry/logging.h"

namespace eventstore::telemetry {
namespace {

struct Answer {
  int code = 0;
  std::string head;
  std::string body;
};

// Sends `request` to 127.0.0.1 (or ::1) and reads until the server closes. The code of the answer
// is 0 if there was none that is HTTP. Asserts nothing, since other threads than the test's call
// it.
Answer Send(int port, const std::string& request, bool ipv6 = false) {
  const int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return {};
  const timeval timeout{20, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  int connected;
  if (ipv6) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    address.sin6_port = htons(static_cast<std::uint16_t>(port));
    connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  } else {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  }
  std::string text;
  std::array<char, 4096> part;
  if (connected == 0 && send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
                            static_cast<ssize_t>(request.size())) {
    for (ssize_t got; (got = recv(fd, part.data(), part.size(), 0)) > 0;) {
      text.append(part.data(), static_cast<std::size_t>(got));
    }
  }
  close(fd);
  Answer answer;
  const std::size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos || text.rfind("HTTP/1.1 ", 0) != 0) return answer;
  answer.head = text.substr(0, end);
  answer.body = text.substr(end + 4);
  answer.code = std::atoi(text.c_str() + 9);
  return answer;
}

Answer Ask(int port, const std::string& method, const std::string& path) {
  return Send(port, method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

HttpServer::Handlers Ready() {
  HttpServer::Handlers handlers;
  handlers.metrics = [] { return std::string("a_metric 1\n"); };
  handlers.not_ready_reason = [] { return std::string(); };
  return handlers;
}

std::unique_ptr<HttpServer> Start(HttpServer::Handlers handlers,
                                  const std::string& address = "127.0.0.1:0") {
  auto server = HttpServer::Start(address, std::move(handlers));
  CAPTURE(server.status().ToString());
  REQUIRE(server.ok());
  REQUIRE((*server)->port() > 0);
  return *std::move(server);
}

TEST_CASE("MetricsAreServedAsPrometheusText") {
  const auto server = Start(Ready());
  const Answer answer = Ask(server->port(), "GET", "/metrics");
  CHECK(answer.code == 200);
  CHECK(answer.body == "a_metric 1\n");
  CHECK(answer.head.find("Content-Type: text/plain; version=0.0.4") != std::string::npos);
  CHECK(answer.head.find("Content-Length: 11") != std::string::npos);
}

TEST_CASE("ALargeBodyArrivesWhole") {
  HttpServer::Handlers handlers = Ready();
  handlers.metrics = [] { return std::string(3'000'000, 'm'); };
  const auto server = Start(std::move(handlers));
  CHECK(Ask(server->port(), "GET", "/metrics").body.size() == 3'000'000);
}

TEST_CASE("LiveIsAlwaysOkAndReadyTellsWhyNot") {
  std::atomic<bool> ready{false};
  HttpServer::Handlers handlers = Ready();
  handlers.not_ready_reason = [&ready] {
    return std::string(ready ? "" : "PostgreSQL does not answer");
  };
  const auto server = Start(std::move(handlers));
  CHECK(Ask(server->port(), "GET", "/health/live").code == 200);
  const Answer not_ready = Ask(server->port(), "GET", "/health/ready");
  CHECK(not_ready.code == 503);
  CHECK(not_ready.body == "PostgreSQL does not answer\n");
  ready = true;
  CHECK(Ask(server->port(), "GET", "/health/ready").code == 200);
  CHECK(Ask(server->port(), "GET", "/health/ready?verbose=1").code == 200);
}

TEST_CASE("OtherPathsAre404AndNameThePathsThereAre") {
  const auto server = Start(Ready());
  for (const char* path :
       {"/", "/metrics/x", "/health", "/Metrics", "/../etc/passwd", "/health/live/", "/%2e%2e/"}) {
    CAPTURE(path);
    const Answer answer = Ask(server->port(), "GET", path);
    CHECK(answer.code == 404);
    for (const char* name : {"/metrics", "/health/live", "/health/ready"}) {
      CHECK(answer.body.find(name) != std::string::npos);
    }
  }
}

TEST_CASE("OnlyGetAndHeadAreAllowed") {
  const auto server = Start(Ready());
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"}) {
    CAPTURE(method);
    const Answer answer = Ask(server->port(), method, "/metrics");
    CHECK(answer.code == 405);
    CHECK(answer.head.find("Allow: GET, HEAD") != std::string::npos);
  }
  const Answer head = Ask(server->port(), "HEAD", "/metrics");
  CHECK(head.code == 200);
  CHECK(head.body.empty());
  CHECK(head.head.find("Content-Length: 11") != std::string::npos);
}

TEST_CASE("AHandlerThatThrowsIsA500") {
  HttpServer::Handlers handlers = Ready();
  handlers.metrics = []() -> std::string { throw std::runtime_error("broken"); };
  const auto server = Start(std::move(handlers));
  CHECK(Ask(server->port(), "GET", "/metrics").code == 500);
  CHECK(Ask(server->port(), "GET", "/health/live").code == 200);
}

TEST_CASE("GarbageDoesNotHarmTheServer") {
  const auto server = Start(Ready());
  CHECK(Send(server->port(), "\x16\x03\x01 nonsense\r\n\r\n").code != 200);
  CHECK(Send(server->port(), "GET /" + std::string(20'000, 'x') + " HTTP/1.1\r\n\r\n").code != 200);
  CHECK(Ask(server->port(), "GET", "/health/live").code == 200);
}

TEST_CASE("AnAddressInUseIsAnErrorThatNamesIt") {
  const auto server = Start(Ready());
  const std::string address = "127.0.0.1:" + std::to_string(server->port());
  const auto second = HttpServer::Start(address, Ready());
  REQUIRE_FALSE(second.ok());
  CAPTURE(second.status().ToString());
  CHECK(second.status().code() == absl::StatusCode::kUnavailable);
  CHECK(MessageOf(second.status()).find(address) != std::string::npos);
  CHECK(MessageOf(second.status()).find("in use") != std::string::npos);
  CHECK(Ask(server->port(), "GET", "/health/live").code == 200);
}

TEST_CASE("AnAddressThatIsNoneIsRefused") {
  const std::string address =
      GENERATE("", "9440", ":9440", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1",
               "127.0.0.1:80s", "127.0.0.1:80,127.0.0.1:81", "::1:9440", "[::1]", "a b:1",
               "127.0.0.1:+1", "+:1", "[]:1");
  CAPTURE(address);
  const auto server = HttpServer::Start(address, Ready());
  REQUIRE_FALSE(server.ok());
  CHECK(server.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(MessageOf(server.status()).find("'" + address + "'") != std::string::npos);
}

TEST_CASE("AHostThatIsNotThisMachineIsAnErrorThatNamesIt") {
  const auto server = HttpServer::Start("192.0.2.1:9440", Ready());  // reserved for documentation
  REQUIRE_FALSE(server.ok());
  CHECK(MessageOf(server.status()).find("192.0.2.1:9440") != std::string::npos);
}

TEST_CASE("AHostMayBeAName") {
  CHECK(Ask(Start(Ready(), "localhost:0")->port(), "GET", "/health/live").code == 200);
}

TEST_CASE("Ipv6IsListenedOnOrRefusedWithTheReason") {
  const auto server = HttpServer::Start("[::1]:0", Ready());
  if (server.ok()) {
    CHECK(Send((*server)->port(), "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", true).code ==
          200);
  } else {
    const std::string message(MessageOf(server.status()));
    CAPTURE(message);
    CHECK((message.find("built without IPv6") != std::string::npos ||
           message.find("cannot listen on [::1]:0: ") != std::string::npos));
  }
}

TEST_CASE("ManyClientsAtOnceAreServed") {
  const auto server = Start(Ready());
  std::atomic<int> good{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&server, &good] {
      if (Ask(server->port(), "GET", "/metrics").code == 200) ++good;
    });
  }
  for (std::thread& client : clients) client.join();
  CHECK(good == 16);
}

TEST_CASE("AServerEndsAtOnceAndFreesItsPort") {
  auto server = Start(Ready(), GENERATE("127.0.0.1:0", "0.0.0.0:0", "localhost:0"));
  const std::string address = "127.0.0.1:" + std::to_string(server->port());
  const auto start = std::chrono::steady_clock::now();
  server.reset();
  // civetweb alone takes 2 seconds.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::milliseconds(1500));
  const auto again = HttpServer::Start(address, Ready());
  CAPTURE(again.status().ToString());
  CHECK(again.ok());
}

}  // namespace
}  // namespace eventstore::telemetry
