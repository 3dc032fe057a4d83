// What the tests of configuration keys have in common: one row a daemon, with the keys that it
// changes and what is to be seen of them.
#ifndef EVENTSTORE_TESTS_INTEGRATION_DAEMON_CONFIG_EFFECT_H_
#define EVENTSTORE_TESTS_INTEGRATION_DAEMON_CONFIG_EFFECT_H_

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/daemon_events.h"
#include "tests/support/daemon_groups.h"

namespace eventstore::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

struct Row {
  std::string name;
  // The keys that this row is about, with their values.
  Settings changed;
  // Sees the effect.
  void (*see)(const Settings& changed);
};

inline const Settings kPatientLane = {{"writer.lock_timeout_ms", "600000"},
                                      {"writer.statement_timeout_ms", "600000"},
                                      {"writer.max_wait_ms", "600000"}};
// Without upkeep in the background.
inline const Settings kQuiet = {{"daemon.heartbeat_ms", "600000"},
                                {"daemon.expire_ms", "3600000"},
                                {"hub.poll_interval_ms", "600000"},
                                {"partitions.check_interval_ms", "3600000"}};

inline std::unique_ptr<Daemon> StartWith(Settings changed, const Settings& more = {}) {
  changed.insert(more.begin(), more.end());
  return Daemon::Start({.settings = std::move(changed)});
}

inline double Value(const Daemon& daemon, const std::string& metric) {
  return daemon.Metric(metric).value_or(-1);
}

inline v1::AppendEventsRequest Sized(std::size_t bytes) {
  return AppendRequest(NewStream(), Any(),
                       {NewEvent("Sized", "\"" + std::string(bytes, 'x') + "\"")});
}

inline std::unique_ptr<Call> Begin(Daemon& daemon, const v1::AppendEventsRequest& request) {
  return daemon.client().Stream("AppendEvents", request);
}

inline std::unique_ptr<Call> BeginHead(Daemon& daemon) {
  return daemon.client().Stream("GetHead", v1::GetHeadRequest());
}

inline CallStatus TryAppend(Daemon& daemon, const v1::AppendEventsRequest& request) {
  v1::AppendEventsResponse response;
  return Append(daemon.client(), request, &response);
}

// An append that the lane holds, with the head locked from outside.
inline std::unique_ptr<Call> Occupy(Daemon& daemon) {
  auto call = Begin(daemon, Sized(1));
  REQUIRE(WaitForBlockedSessions(daemon.dsn(), 1));
  return call;
}

inline bool WaitForQueue(Daemon& daemon, double appends) {
  return Eventually([&] { return Value(daemon, "eventstore_lane_queue_appends") == appends; });
}

// Whether a session that waits for a lock began to wait `times` times anew within `within`.
inline bool WaitsAnew(const std::string& dsn, std::size_t times, milliseconds within) {
  std::set<std::int64_t> starts;
  return Eventually(
      [&] {
        starts.insert(QueryNumber(
            dsn,
            "SELECT coalesce(max((extract(epoch FROM query_start) * 1000000)::bigint), 0)"
            " FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
            "current_database()"));
        starts.erase(0);
        return starts.size() >= times;
      },
      within);
}

inline std::int64_t Transactions(const std::string& dsn) {
  return QueryNumber(SharedPostgres().conninfo(),
                     "SELECT xact_commit FROM pg_stat_database WHERE datname = '" +
                         dsn.substr(dsn.rfind('=') + 1) + "'");
}

inline int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

// The rows of each part of the configuration.
[[nodiscard]] std::vector<Row> ProcessRows();       // config_effect_process_test.cc
[[nodiscard]] std::vector<Row> PoolAndLimitRows();  // config_effect_pool_and_limits_test.cc
[[nodiscard]] std::vector<Row> WriterRows();        // config_effect_writer_test.cc
[[nodiscard]] std::vector<Row> ReaderRows();        // config_effect_readers_test.cc
[[nodiscard]] std::vector<Row> OutboxRows();        // config_effect_outbox_test.cc

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_INTEGRATION_DAEMON_CONFIG_EFFECT_H_
