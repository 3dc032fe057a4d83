#include "tests/support/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace eventstore::testing {
namespace {

// How often a thread looks whether the proxy was stopped.
constexpr int kPollMs = 20;
// The name of the lane's prepared COMMIT, and the tag with which the server answers it.
constexpr std::string_view kCommitName("tx_commit", 10);
constexpr std::string_view kCommitTag("COMMIT", 7);

int ConnectTo(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
  close(fd);
  return -1;
}

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// Looks for a text in a flow of bytes, across the borders of what is received at once.
class Finder {
 public:
  explicit Finder(std::string_view text) : text_(text) {}
  bool Feed(std::string_view bytes) {
    tail_.append(bytes);
    const bool found = tail_.find(text_) != std::string::npos;
    if (found || tail_.size() >= text_.size()) {
      tail_.erase(0, found ? tail_.size() : tail_.size() - text_.size() + 1);
    }
    return found;
  }

 private:
  const std::string_view text_;
  std::string tail_;
};

}  // namespace

// One client with its connection to the server.
struct Proxy::Pair {
  int client;
  int server;
  Finder commit{kCommitName};
  Finder committed{kCommitTag};
  bool deaf = false;     // what the client sends is lost
  bool swallow = false;  // the server's answers are lost
  bool hung_up = false;  // the client's connection is closed, the server's is read until it ends
};

Proxy::Proxy(const process::EmbeddedPostgres& server)
    : socket_path_(server.socket_dir() + "/.s.PGSQL.5432"),
      listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 64) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the proxy cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

Proxy::~Proxy() {
  stopped_ = true;
  acceptor_.join();
  std::vector<std::thread> pairs;
  {
    MutexLock lock(&mutex_);
    pairs.swap(pairs_);
  }
  for (std::thread& pair : pairs) pair.join();
  close(listener_);
}

std::string Proxy::Through(const std::string& conninfo) const {
  return conninfo + " host=127.0.0.1 sslmode=disable port=" + std::to_string(port_);
}

void Proxy::Accept() {
  while (!stopped_) {
    pollfd waiting{listener_, POLLIN, 0};
    if (poll(&waiting, 1, kPollMs) <= 0) continue;
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    if (refuse_) {
      close(client);
      continue;
    }
    MutexLock lock(&mutex_);
    pairs_.emplace_back([this, client] { Forward(client); });
  }
}

void Proxy::Forward(int client) {
  Pair pair{client, ConnectTo(socket_path_)};
  while (!stopped_ && pair.server >= 0) {
    pollfd both[2] = {{pair.hung_up ? -1 : pair.client, POLLIN, 0}, {pair.server, POLLIN, 0}};
    if (poll(both, 2, kPollMs) <= 0) continue;
    if (both[0].revents != 0 && !FromClient(&pair)) break;
    if (both[1].revents != 0 && !FromServer(&pair)) break;
  }
  if (!pair.hung_up) close(pair.client);
  if (pair.server >= 0) close(pair.server);
}

bool Proxy::FromClient(Pair* pair) {
  char buffer[65536];
  const ssize_t got = recv(pair->client, buffer, sizeof(buffer), 0);
  if (got <= 0) return false;
  const std::string_view bytes(buffer, static_cast<std::size_t>(got));
  AtCommit what = AtCommit::kForward;
  if (pair->commit.Feed(bytes)) what = at_commit_.exchange(AtCommit::kForward);
  if (what != AtCommit::kForward) ++triggered_;
  if (what == AtCommit::kLose) return false;
  pair->deaf = pair->deaf || what == AtCommit::kSwallow;
  if (pair->deaf) return true;
  pair->swallow = pair->swallow || what == AtCommit::kLoseAnswer;
  if (!SendAll(pair->server, bytes)) return false;
  if (what == AtCommit::kHangUp) {
    close(pair->client);
    pair->hung_up = true;
  }
  return true;
}

bool Proxy::FromServer(Pair* pair) {
  char buffer[65536];
  const ssize_t got = recv(pair->server, buffer, sizeof(buffer), 0);
  if (got <= 0) return false;
  const std::string_view bytes(buffer, static_cast<std::size_t>(got));
  if (pair->hung_up) return true;
  if (pair->swallow) return !pair->committed.Feed(bytes);
  return SendAll(pair->client, bytes);
}

}  // namespace eventstore::testing
