// Ends what a client library does on a socket, for libraries whose calls have no deadline of their
// own.
#ifndef EVENTSTORE_SERVER_SINKS_SOCKET_ALARM_H_
#define EVENTSTORE_SERVER_SINKS_SOCKET_ALARM_H_

#include <thread>

#include "server/core/mutex.h"

namespace eventstore::sinks {

// Shuts a socket down at a deadline or when it is interrupted: whatever blocks on it then fails at
// once. It has a thread of its own. Arm and Disarm are called by the socket's owner, Interrupt by
// any thread.
class SocketAlarm {
 public:
  SocketAlarm();
  ~SocketAlarm();
  SocketAlarm(const SocketAlarm&) = delete;
  SocketAlarm& operator=(const SocketAlarm&) = delete;

  // Watches over `fd` until Disarm. After an interruption it is shut down at once.
  void Arm(int fd, Deadline deadline);
  // The socket is not touched any more once this returned.
  void Disarm();
  // Shuts down what is watched, and what will be. For good.
  void Interrupt();
  [[nodiscard]] bool interrupted() const;

 private:
  void Run();

  mutable Mutex mutex_;
  CondVar changed_;
  int fd_ ABSL_GUARDED_BY(mutex_) = -1;
  Deadline deadline_ ABSL_GUARDED_BY(mutex_) = Deadline::max();
  bool interrupted_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Watches over a socket for as long as it lives.
class ArmedSocket {
 public:
  ArmedSocket(SocketAlarm* alarm, int fd, Deadline deadline) : alarm_(alarm) {
    alarm_->Arm(fd, deadline);
  }
  ~ArmedSocket() { alarm_->Disarm(); }
  ArmedSocket(const ArmedSocket&) = delete;
  ArmedSocket& operator=(const ArmedSocket&) = delete;

 private:
  SocketAlarm* alarm_;
};

// Whether the other end closed an idle connection, as a restarted broker has.
[[nodiscard]] bool HasPeerClosed(int fd);

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_SOCKET_ALARM_H_
