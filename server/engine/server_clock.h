// The database's clock, as far as the daemon knows it.
#ifndef EVENTSTORE_SERVER_ENGINE_SERVER_CLOCK_H_
#define EVENTSTORE_SERVER_ENGINE_SERVER_CLOCK_H_

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace eventstore::engine {

// Follows a clock that is read over a connection. A reading happened somewhere between the moments
// at which the question left and the answer came (which may be long after, where a lock was waited
// for), so it bounds how far that clock is from ours. The estimate begins at the lower bound, never
// in the future, and moves only as far as the bounds ask. Used by one thread.
class ServerClock {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // The server's clock showed `micros` (since the Unix epoch) between `asked` and `answered`.
  void Note(std::int64_t micros, TimePoint asked, TimePoint answered) {
    const std::int64_t least = micros - MicrosOf(answered);
    const std::int64_t most = micros - MicrosOf(asked);
    offset_micros_ = known_ ? std::clamp(offset_micros_, least, most) : least;
    known_ = true;
  }
  // Whether there was a reading.
  [[nodiscard]] bool known() const { return known_; }
  // What the server's clock shows at `now`, in microseconds since the Unix epoch.
  [[nodiscard]] std::int64_t At(TimePoint now) const { return MicrosOf(now) + offset_micros_; }

 private:
  static std::int64_t MicrosOf(TimePoint time) {
    return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
  }

  bool known_ = false;
  std::int64_t offset_micros_ = 0;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_SERVER_CLOCK_H_
