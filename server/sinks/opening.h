// Calls into client libraries that can be neither hurried nor stopped.
#ifndef EVENTSTORE_SERVER_SINKS_OPENING_H_
#define EVENTSTORE_SERVER_SINKS_OPENING_H_

#include <chrono>
#include <functional>
#include <future>
#include <optional>
#include <utility>

#include "server/core/mutex.h"

namespace eventstore::sinks {

// Runs a blocking call on a thread of its own, so that who waits for it can leave. One thread at a
// time. The destructor waits for a call that still runs: it must end by itself, by its own
// time-out.
template <typename T>
class Opening {
 public:
  // Makes the call, or goes on waiting for one that was left before, and returns what it gives;
  // nothing if the deadline passes or `stopped` says so first.
  std::optional<T> Await(std::function<T()> call, Deadline deadline,
                         const std::function<bool()>& stopped) {
    if (!future_.valid()) future_ = std::async(std::launch::async, std::move(call));
    while (future_.wait_for(kTick) != std::future_status::ready) {
      if (stopped() || std::chrono::steady_clock::now() >= deadline) return std::nullopt;
    }
    return future_.get();
  }

  // Waits for a call that was left, and forgets what it gives; false as Await gives nothing.
  bool Settle(Deadline deadline, const std::function<bool()>& stopped) {
    return !future_.valid() || Await({}, deadline, stopped).has_value();
  }

 private:
  // How long an interruption may go unseen, and by how much a deadline may be missed.
  static constexpr std::chrono::milliseconds kTick{10};

  std::future<T> future_;
};

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_OPENING_H_
