// An HTTP server in the test's process that takes what webhooks send.
#ifndef EVENTSTORE_TESTS_SUPPORT_HTTP_RECEIVER_H_
#define EVENTSTORE_TESTS_SUPPORT_HTTP_RECEIVER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/core/mutex.h"
#include "tests/support/broker_process.h"

struct mg_context;
struct mg_connection;

namespace eventstore::testing {

// What it answers.
struct HttpReply {
  int status = 204;
  std::string headers;  // lines that end with \r\n
  std::string body;
};

// Keeps every request in the order in which they came, and answers by a rule. Any thread.
class HttpReceiver {
 public:
  // Called by several threads at once.
  using Rule = std::function<HttpReply(const Received& request)>;

  // Port 0: a free one.
  explicit HttpReceiver(int port = 0);
  ~HttpReceiver();
  HttpReceiver(const HttpReceiver&) = delete;
  HttpReceiver& operator=(const HttpReceiver&) = delete;

  // Ends what runs, and takes no more; what came is kept. The thread that made it.
  void Stop();

  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] std::string url(const std::string& path = "/events") const;
  void SetRule(Rule rule);
  // Header names are in lower case.
  [[nodiscard]] std::vector<Received> Requests() const;

 private:
  static int Handle(mg_connection* connection, void* self);

  const int port_;
  mutable Mutex mutex_;
  Rule rule_ ABSL_GUARDED_BY(mutex_);
  std::vector<Received> requests_ ABSL_GUARDED_BY(mutex_);
  mg_context* context_ = nullptr;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_HTTP_RECEIVER_H_
