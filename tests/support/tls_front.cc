#include "tests/support/tls_front.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace eventstore::testing {
namespace {

constexpr int kTickMs = 20;
using Buffer = std::array<char, 16384>;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

bool SendAll(int fd, const char* data, int size) {
  return send(fd, data, static_cast<std::size_t>(size), MSG_NOSIGNAL) == size;
}

}  // namespace

TlsFront::TlsFront(const Certificates& certificates, int target_port)
    : target_port_(target_port), port_(FreePort()), context_(SSL_CTX_new(TLS_server_method())) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port_);
  if (SSL_CTX_use_certificate_chain_file(context_, certificates.certificate().c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(context_, certificates.key().c_str(), SSL_FILETYPE_PEM) != 1 ||
      bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener_, 16) != 0) {
    throw std::runtime_error("the front cannot listen");
  }
  acceptor_ = std::thread([this] { Accept(); });
}

TlsFront::~TlsFront() {
  stopped_ = true;
  acceptor_.join();
  for (std::thread& connection : connections_) connection.join();
  close(listener_);
  SSL_CTX_free(context_);
}

void TlsFront::Accept() {
  while (!stopped_) {
    pollfd polled{listener_, POLLIN, 0};
    if (poll(&polled, 1, kTickMs) <= 0) continue;
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client >= 0) connections_.emplace_back([this, client] { Serve(client); });
  }
}

void TlsFront::Serve(int client) const {
  const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(target_port_);
  SSL* tls = SSL_new(context_);
  SSL_set_fd(tls, client);
  // A client that does not trust us hangs up here.
  if (SSL_accept(tls) == 1 &&
      connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    Forward(tls, client, server);
  }
  SSL_free(tls);
  close(client);
  close(server);
}

void TlsFront::Forward(SSL* tls, int client, int server) const {
  Buffer buffer{};
  while (!stopped_) {
    std::array<pollfd, 2> polled = {pollfd{client, POLLIN, 0}, pollfd{server, POLLIN, 0}};
    if (SSL_pending(tls) == 0 && poll(polled.data(), polled.size(), kTickMs) <= 0) continue;
    if (SSL_pending(tls) > 0 || polled[0].revents != 0) {
      const int got = SSL_read(tls, buffer.data(), static_cast<int>(buffer.size()));
      if (got <= 0 || !SendAll(server, buffer.data(), got)) return;
    }
    if (polled[1].revents != 0) {
      const ssize_t got = recv(server, buffer.data(), buffer.size(), 0);
      if (got <= 0 || SSL_write(tls, buffer.data(), static_cast<int>(got)) != got) return;
    }
  }
}

}  // namespace eventstore::testing
