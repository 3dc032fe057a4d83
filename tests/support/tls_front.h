// TLS before a server that speaks none.
#ifndef EVENTSTORE_TESTS_SUPPORT_TLS_FRONT_H_
#define EVENTSTORE_TESTS_SUPPORT_TLS_FRONT_H_

#include <atomic>
#include <thread>
#include <vector>

#include "tests/support/certificates.h"

struct ssl_ctx_st;
struct ssl_st;

namespace eventstore::testing {

// Takes TLS connections on 127.0.0.1:port() and forwards what they say to another port.
class TlsFront {
 public:
  TlsFront(const Certificates& certificates, int target_port);
  ~TlsFront();
  TlsFront(const TlsFront&) = delete;
  TlsFront& operator=(const TlsFront&) = delete;

  [[nodiscard]] int port() const { return port_; }

 private:
  void Accept();
  void Serve(int client) const;
  void Forward(ssl_st* tls, int client, int server) const;

  const int target_port_;
  const int port_;
  ssl_ctx_st* context_ = nullptr;
  int listener_ = -1;
  std::atomic<bool> stopped_{false};
  std::vector<std::thread> connections_;  // of the acceptor until it ended
  std::thread acceptor_;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_TLS_FRONT_H_
