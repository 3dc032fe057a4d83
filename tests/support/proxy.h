// A proxy before a PostgreSQL server that can lose connections at chosen moments.
#ifndef EVENTSTORE_TESTS_SUPPORT_PROXY_H_
#define EVENTSTORE_TESTS_SUPPORT_PROXY_H_

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "server/core/mutex.h"
#include "server/process/embedded_postgres.h"

namespace eventstore::testing {

// Forwards bytes between clients of 127.0.0.1:port() and the server's Unix socket. A lane's COMMIT
// is known by the name of its prepared statement. Any thread may call it.
class Proxy {
 public:
  // What happens at the next COMMIT that a client sends.
  enum class AtCommit {
    kForward,     // nothing
    kLose,        // it does not reach the server: both connections are closed
    kLoseAnswer,  // the server commits, but its answer is lost: then both connections are closed
    kHangUp,      // the client's connection is closed; the server goes on as if it were there
    kSwallow,     // it does not reach the server, and nobody is told: the daemon seems to hang
  };

  explicit Proxy(const process::EmbeddedPostgres& server);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  // The server's connection string, by way of this proxy.
  [[nodiscard]] std::string Through(const std::string& conninfo) const;
  void Arm(AtCommit what) { at_commit_ = what; }
  // How often what it was armed for has happened.
  [[nodiscard]] int triggered() const { return triggered_; }
  // While true, new clients are turned away.
  void Refuse(bool refuse) { refuse_ = refuse; }

 private:
  struct Pair;
  void Accept();
  void Forward(int client);
  bool FromClient(Pair* pair);
  bool FromServer(Pair* pair);

  const std::string socket_path_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<AtCommit> at_commit_{AtCommit::kForward};
  std::atomic<int> triggered_{0};
  std::atomic<bool> refuse_{false};
  std::atomic<bool> stopped_{false};
  Mutex mutex_;
  std::vector<std::thread> pairs_ ABSL_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_PROXY_H_
