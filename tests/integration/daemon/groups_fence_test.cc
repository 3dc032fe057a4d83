// A daemon that hangs while it owns a lane, and wakes up after another has taken it over.
#include <catch2/catch.hpp>
#include <csignal>

#include "tests/support/daemon_groups.h"

using namespace eventstore;
using namespace eventstore::testing;

namespace {

// Daemons that come as this user can be kept from the database.
class Login {
 public:
  explicit Login(std::string dsn) : dsn_(std::move(dsn)), name_(UniqueName("hung")) {
    for (char& c : name_) c = c == '-' ? '_' : c;
    RunSql(dsn_, "CREATE ROLE " + name_ + " SUPERUSER LOGIN");
  }
  [[nodiscard]] std::string dsn() const { return dsn_ + " user=" + name_; }
  void Cut() const {
    RunSql(dsn_, "ALTER ROLE " + name_ +
                     " NOLOGIN; SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                     " WHERE usename = '" +
                     name_ + "'");
  }
  void Mend() const { RunSql(dsn_, "ALTER ROLE " + name_ + " LOGIN"); }

 private:
  const std::string dsn_;
  std::string name_;
};

}  // namespace

// The daemon that owns the lane is frozen with acks that it has taken and could not write yet, or
// with acks in its socket; its lease ends and another daemon takes over. When it wakes up it must
// not move the checkpoint past what the new owner has in flight.
TEST_CASE("AFrozenDaemonThatWakesUpLateCannotMoveTheCheckpointPastAnothersUnsettledEvent",
          "[groups][sigstop]") {
  const bool is_acked_before = GENERATE(true, false);
  auto two = Daemon::Start();
  const Login login(two->dsn());
  auto one = Daemon::Start({.dsn = login.dsn()});
  v1::ConsumerGroupSettings settings;
  settings.set_lanes(1);
  SetMillis(3'000, settings.mutable_lease_duration());
  CreateGroup(two->client(), "g", settings);
  const auto lane = [&] { return GetGroup(two->client(), "g").lanes(0); };
  Consumer first(one->client(), "g");
  REQUIRE(first.WaitForLanes(1));
  Consumer second(two->client(), "g");
  REQUIRE(second.Next().has_value());  // joined, without a lane
  MustAppend(two->client(), NewStream(), NewEvents(5));
  const auto events = first.NextEvents(5);
  REQUIRE(events.size() == 5);
  const v1::ConsumerGroupLane before = lane();
  if (is_acked_before) {
    login.Cut();
    first.Ack(events);
    REQUIRE(Eventually(
        [&] { return one->Metric("eventstore_group_events_acked_total").value_or(0) == 5; }));
  }
  one->child().Signal(SIGSTOP);
  if (!is_acked_before) first.Ack(events);  // waits in the socket
  login.Mend();
  REQUIRE(second.WaitForLanes(1));
  CHECK(lane().token() > before.token());
  CHECK(lane().checkpoint() == before.checkpoint());
  const auto again = second.NextEvents(5);
  REQUIRE(again.size() == 5);
  for (const auto& event : again) CHECK(event.redelivered());
  one->child().Signal(SIGCONT);
  // It finds out, tells its member, and has written nothing.
  CHECK(first.WaitForLanes(0));
  CHECK(one->Metric("eventstore_group_lanes_lost_total").value_or(0) == 1);
  CHECK(Eventually([&] { return GetGroup(two->client(), "g").in_flight() == 5; }));
  CHECK(lane().checkpoint() == before.checkpoint());
  second.Ack(again);
  CHECK(WaitForLagZero(two->client(), "g"));
}
