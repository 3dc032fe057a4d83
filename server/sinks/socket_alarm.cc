#include "server/sinks/socket_alarm.h"

#include <errno.h>
#include <sys/socket.h>

namespace eventstore::sinks {

SocketAlarm::SocketAlarm() : thread_([this] { Run(); }) {}

SocketAlarm::~SocketAlarm() {
  {
    const MutexLock lock(&mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void SocketAlarm::Arm(int fd, Deadline deadline) {
  const MutexLock lock(&mutex_);
  fd_ = fd;
  deadline_ = deadline;
  changed_.NotifyAll();
}

void SocketAlarm::Disarm() {
  const MutexLock lock(&mutex_);
  fd_ = -1;
}

void SocketAlarm::Interrupt() {
  const MutexLock lock(&mutex_);
  interrupted_ = true;
  changed_.NotifyAll();
}

bool SocketAlarm::interrupted() const {
  const MutexLock lock(&mutex_);
  return interrupted_;
}

void SocketAlarm::Run() {
  const MutexLock lock(&mutex_);
  while (!stopped_) {
    const bool due = interrupted_ || std::chrono::steady_clock::now() >= deadline_;
    if (fd_ >= 0 && due) {
      shutdown(fd_, SHUT_RDWR);
      fd_ = -1;
    } else if (fd_ >= 0 && deadline_ != Deadline::max()) {
      changed_.WaitUntil(&mutex_, deadline_);
    } else {
      changed_.Wait(&mutex_);
    }
  }
}

bool HasPeerClosed(int fd) {
  char byte = 0;
  const ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

}  // namespace eventstore::sinks
