// A network between a client and a server that can die without a word.
#ifndef EVENTSTORE_TESTS_SUPPORT_TCP_RELAY_H_
#define EVENTSTORE_TESTS_SUPPORT_TCP_RELAY_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace eventstore::testing {

// Forwards bytes between clients of 127.0.0.1:port() and a server's port, on a thread of its own.
// Once it is frozen it forwards nothing more and closes nothing: neither side gets a FIN or a RST.
class TcpRelay {
 public:
  explicit TcpRelay(int target_port) : target_port_(target_port) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_, 16) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("the relay cannot listen");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Run(); });
  }
  ~TcpRelay() {
    stopped_ = true;
    thread_.join();
    close(listener_);
    for (const auto& pair : pairs_) {
      close(pair[0]);
      close(pair[1]);
    }
  }
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  [[nodiscard]] int port() const { return port_; }
  void Freeze() { frozen_ = true; }

 private:
  static constexpr int kTickMs = 20;

  static sockaddr_in Loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return address;
  }

  void Run() {
    while (!stopped_) {
      std::vector<pollfd> polled{{listener_, POLLIN, 0}};
      for (const auto& pair : pairs_) {
        for (const int end : pair) polled.push_back({end, POLLIN, 0});
      }
      // While it is frozen nothing is read, so that polling the sockets would not wait.
      if (poll(polled.data(), frozen_ ? 0 : polled.size(), kTickMs) <= 0 || frozen_) continue;
      for (std::size_t i = 1; i < polled.size(); ++i) {
        auto& pair = pairs_[(i - 1) / 2];
        if (polled[i].revents != 0) Forward(&pair, (i - 1) % 2);
      }
      if (polled[0].revents != 0) Accept();
    }
  }

  void Accept() {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = Loopback(target_port_);
    if (connect(server, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      close(client);
      close(server);
      return;
    }
    pairs_.push_back({client, server});
  }

  // An end that is closed stays in the list as -1, which poll passes over.
  void Forward(std::array<int, 2>* pair, std::size_t from) {
    std::array<char, 16384> bytes;
    const ssize_t got = recv((*pair)[from], bytes.data(), bytes.size(), 0);
    ssize_t sent = 0;
    while (sent < got) {
      const ssize_t n = send((*pair)[1 - from], bytes.data() + sent,
                             static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += n;
    }
    if (got > 0 && sent == got) return;
    for (int& end : *pair) {
      close(end);
      end = -1;
    }
  }

  const int target_port_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> frozen_{false};
  std::atomic<bool> stopped_{false};
  std::vector<std::array<int, 2>> pairs_;  // client, server; of the thread
  std::thread thread_;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_TCP_RELAY_H_
