#include "server/sinks/opening.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "server/sinks/socket_alarm.h"

namespace eventstore::sinks {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

bool Never() { return false; }

// Two ends of a connection on which nothing is ever sent.
struct Ends {
  Ends() { REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0); }
  ~Ends() {
    close(fds[0]);
    close(fds[1]);
  }
  // Blocks until something ends it.
  [[nodiscard]] ssize_t Read() const {
    char byte = 0;
    return recv(fds[0], &byte, 1, 0);
  }
  std::array<int, 2> fds{};
};

TEST_CASE("OpeningACallThatIsLeftIsWaitedForByTheNext") {
  Opening<int> opening;
  std::promise<void> go;
  auto gone = go.get_future().share();
  CHECK_FALSE(opening
                  .Await(
                      [gone] {
                        gone.wait();
                        return 1;
                      },
                      steady_clock::now() + milliseconds(20), Never)
                  .has_value());
  CHECK_FALSE(opening.Settle(steady_clock::now() + milliseconds(20), Never));
  go.set_value();
  CHECK(opening.Await([] { return 2; }, steady_clock::now() + seconds(20), Never) == 1);
  CHECK(opening.Await([] { return 2; }, steady_clock::now() + seconds(20), Never) == 2);
  CHECK(opening.Settle(steady_clock::now(), Never));
}

TEST_CASE("OpeningWhoWaitsLeavesWhenHeIsToldTo") {
  Opening<int> opening;
  std::promise<void> go;
  auto gone = go.get_future().share();
  const auto call = [gone] {
    gone.wait();
    return 1;
  };
  CHECK_FALSE(opening.Await(call, Deadline::max(), [] { return true; }).has_value());
  go.set_value();
}

TEST_CASE("SocketAlarmADeadlineEndsWhatBlocksOnTheSocket") {
  SocketAlarm alarm;
  const Ends ends;
  const ArmedSocket armed(&alarm, ends.fds[0], steady_clock::now() + milliseconds(20));
  CHECK(ends.Read() == 0);
  CHECK_FALSE(alarm.interrupted());
}

TEST_CASE("SocketAlarmAnInterruptionEndsWhatBlocksAndAllThatIsWatchedLater") {
  SocketAlarm alarm;
  const Ends first;
  const Ends second;
  std::thread other;
  {
    const ArmedSocket armed(&alarm, first.fds[0], Deadline::max());
    other = std::thread([&] { alarm.Interrupt(); });
    CHECK(first.Read() == 0);
  }
  other.join();
  const ArmedSocket armed(&alarm, second.fds[0], Deadline::max());
  CHECK(second.Read() == 0);
}

TEST_CASE("SocketAlarmASocketThatIsNotWatchedAnyMoreIsLeftAlone") {
  SocketAlarm alarm;
  const Ends ends;
  { const ArmedSocket armed(&alarm, ends.fds[0], steady_clock::now() + milliseconds(5)); }
  alarm.Interrupt();
  CHECK_FALSE(HasPeerClosed(ends.fds[0]));
  CHECK(send(ends.fds[1], "x", 1, 0) == 1);
  CHECK(ends.Read() == 1);
  shutdown(ends.fds[1], SHUT_RDWR);
  CHECK(HasPeerClosed(ends.fds[0]));
}

}  // namespace
}  // namespace eventstore::sinks
