// TCP servers that misbehave.
#ifndef EVENTSTORE_TESTS_INTEGRATION_PG_FAKE_SERVER_H_
#define EVENTSTORE_TESTS_INTEGRATION_PG_FAKE_SERVER_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <thread>

namespace eventstore::testing {

// Listens on 127.0.0.1 and never answers: the kernel accepts connections, nobody reads them.
class BlackHole {
 public:
  BlackHole() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(listen(fd_, 16) == 0);
    REQUIRE(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~BlackHole() { close(fd_); }
  BlackHole(const BlackHole&) = delete;
  BlackHole& operator=(const BlackHole&) = delete;

  [[nodiscard]] std::string port() const { return std::to_string(port_); }

 protected:
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
  int port_ = 0;
};

// Answers one client's wish for TLS with a no, as a server without TLS does.
class ServerWithoutTls : public BlackHole {
 public:
  ServerWithoutTls() : thread_([this] { Serve(); }) {}
  ~ServerWithoutTls() {
    shutdown(fd(), SHUT_RDWR);  // Ends the accept.
    thread_.join();
  }

 private:
  void Serve() const {
    const int client = accept(fd(), nullptr, nullptr);
    if (client < 0) return;
    char request[8];
    if (recv(client, request, sizeof(request), MSG_WAITALL) == sizeof(request)) {
      send(client, "N", 1, MSG_NOSIGNAL);
      recv(client, request, 1, 0);  // Until the client goes.
    }
    close(client);
  }

  std::thread thread_;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_INTEGRATION_PG_FAKE_SERVER_H_
