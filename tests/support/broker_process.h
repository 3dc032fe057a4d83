// Brokers as child processes of a test, on free ports of 127.0.0.1 and with folders of their own.
#ifndef EVENTSTORE_TESTS_SUPPORT_BROKER_PROCESS_H_
#define EVENTSTORE_TESTS_SUPPORT_BROKER_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace eventstore::testing {

// How long a broker may take to start: the machine may be busy.
inline constexpr std::chrono::seconds kBrokerPatience{90};

// What a consumer found at a broker.
struct Received {
  std::string subject;  // the routing key, topic, stream key, NATS subject or path
  std::string id;       // the protocol's own message id, if it has one
  std::string key;      // Kafka's
  std::map<std::string, std::string> headers;
  std::string content_type;
  std::string body;
};

// A port that nobody listens on.
int FreePort();

// Whether somebody takes connections on a port.
bool Answers(int port);

// A folder that goes with this object.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  // Writes a file in it; its path.
  std::string Write(const std::string& name, const std::string& content) const;

 private:
  std::string path_;
};

// A running program. Start it from the test's main thread: it is killed when the thread that
// started it ends, so that an aborted test leaves none behind.
class BrokerProcess {
 public:
  // `environment`: NAME=value, besides PATH. Its output is appended to `log_file`.
  BrokerProcess(std::vector<std::string> arguments, std::vector<std::string> environment,
                const std::string& log_file);
  // Kills it if it runs, and waits for its end.
  ~BrokerProcess();
  BrokerProcess(const BrokerProcess&) = delete;
  BrokerProcess& operator=(const BrokerProcess&) = delete;

  void Signal(int signal) const;
  // Waits until `is_ready`; throws with its log if it ends before, or takes too long.
  void AwaitReady(const std::function<bool()>& is_ready) const;

 private:
  const std::string log_file_;
  pid_t pid_ = -1;
};

// Stops a process for as long as it lives, as if the machine hung.
class Frozen {
 public:
  explicit Frozen(const BrokerProcess& process);
  ~Frozen();
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

 private:
  const BrokerProcess& process_;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_BROKER_PROCESS_H_
