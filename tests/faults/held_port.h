// A TCP port of this machine that a daemon can come back to after it was killed.
#ifndef EVENTSTORE_TESTS_FAULTS_HELD_PORT_H_
#define EVENTSTORE_TESTS_FAULTS_HELD_PORT_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

namespace eventstore::faults {

// Binds a free port without listening on it: whoever binds it with SO_REUSEADDR may listen there,
// as gRPC's servers do, but the kernel gives it to nobody else, not even for the near end of a
// connection. Without a listener clients are refused.
class HeldPort {
 public:
  HeldPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no port can be held");
    }
    port_ = ntohs(address.sin_port);
  }
  ~HeldPort() { close(fd_); }
  HeldPort(const HeldPort&) = delete;
  HeldPort& operator=(const HeldPort&) = delete;

  [[nodiscard]] int port() const { return port_; }

 private:
  int fd_ = -1;
  int port_ = 0;
};

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_HELD_PORT_H_
