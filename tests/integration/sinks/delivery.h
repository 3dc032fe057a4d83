// The proof of the outbox: every acknowledged event arrives at least once, and in order, while
// daemons are killed and the broker is away.
//
// EVENTSTORE_SINK_EVENTS says how many events (default 2,000), EVENTSTORE_TEST_SEED which.
#ifndef EVENTSTORE_TESTS_INTEGRATION_SINKS_DELIVERY_H_
#define EVENTSTORE_TESTS_INTEGRATION_SINKS_DELIVERY_H_

#include <fmt/format.h>
#include <rapidjson/document.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "server/core/mutex.h"
#include "tests/support/broker_process.h"
#include "tests/support/daemon_events.h"
#include "tests/support/postgres.h"

namespace eventstore::testing {

// A broker of one kind, for one run. Start it from the main thread.
class DeliveryTarget {
 public:
  virtual ~DeliveryTarget() = default;
  // The settings of its sink, a line each, with `type`.
  [[nodiscard]] virtual std::vector<std::string> Settings() const = 0;
  virtual void Stop() = 0;
  virtual void Restart() = 0;
  // The bodies of what it took, in the order in which it has them; there are `count` or more.
  [[nodiscard]] virtual std::vector<std::string> Bodies(std::size_t count) = 0;
};

// The bodies of what a broker was read.
inline std::vector<std::string> BodiesOf(const std::vector<Received>& messages) {
  std::vector<std::string> bodies;
  for (const Received& message : messages) bodies.push_back(message.body);
  return bodies;
}

// Two daemons on one database, each at ports that survive a restart.
class DeliveryDaemons {
 public:
  explicit DeliveryDaemons(const DeliveryTarget& target) {
    std::string text =
        "outbox:\n  enabled: true\n  lease_ms: 4000\n  sweep_interval_ms: 1000\n"
        "  routes:\n    - sink: target\n  sinks:\n    target:\n      publish_timeout_ms: 2000\n"
        "      backoff_max_ms: 500\n      mode: structured\n";
    for (const std::string& line : target.Settings()) text += "      " + line + "\n";
    const std::string file = folder_.Write("eventstored.yaml", text);
    const std::string dsn = CreateDatabase();
    for (int i = 0; i < 2; ++i) {
      ports_.push_back(FreePort());
      DaemonOptions options;
      options.dsn = dsn;
      options.arguments = {"--config", file};
      options.settings["listen"] = "127.0.0.1:" + std::to_string(ports_.back());
      daemons_.push_back(Daemon::Start(options));
    }
    connection_ = Connect(dsn, "eventstore");
  }

  [[nodiscard]] int port(std::size_t index) const { return ports_[index]; }
  // Which one publishes; the first if none does.
  [[nodiscard]] std::size_t Owner() const {
    const std::string standby =
        R"(eventstore_outbox_relay_state{sink="target",state="standby",store="default"})";
    return daemons_[1]->Metric(standby) == 0.0 ? 1 : 0;
  }
  void KillAndRestart(std::size_t index) {
    daemons_[index]->child().Signal(SIGKILL);
    REQUIRE(daemons_[index]->child().WaitExit() == 128 + SIGKILL);
    daemons_[index]->Restart();
  }
  std::int64_t Count(const std::string& condition) {
    auto result = connection_->QueryOnce("SELECT count(*) FROM event_outbox WHERE " + condition,
                                         pg::Params(), In(kPatience));
    if (!result.ok()) throw std::runtime_error(std::string(result.status().message()));
    return result->Int64(0, 0);
  }
  // What waits, and why, for a test that fails.
  std::string State() {
    auto result = connection_->QueryOnce(
        "SELECT coalesce(string_agg(line, '; '), '') FROM (SELECT status || ' ' || count(*) || ' '"
        " || coalesce(max(last_error), '') AS line FROM event_outbox GROUP BY status UNION ALL"
        " SELECT state || ' ' || coalesce(last_error, '') FROM outbox_sinks) lines",
        pg::Params(), In(kPatience));
    return result.ok() ? std::string(result->Text(0, 0)) : std::string(result.status().message());
  }

 private:
  const TempFolder folder_;
  std::vector<int> ports_;
  std::vector<std::unique_ptr<Daemon>> daemons_;
  std::unique_ptr<pg::Connection> connection_;
};

// Clients that append until all events are acknowledged, whatever happens to the daemons.
class DeliveryAppenders {
 public:
  static constexpr int kThreads = 4;
  static constexpr int kAggregates = 500;

  // They begin when they are allowed to.
  DeliveryAppenders(const DeliveryDaemons& daemons, std::size_t events, std::uint64_t seed)
      : events_(events) {
    for (int i = 0; i < kThreads; ++i) {
      threads_.emplace_back([this, &daemons, random = std::mt19937_64(seed + i)]() mutable {
        Client first(daemons.port(0)), second(daemons.port(1));
        while (std::size_t count = Next(&random)) {
          const bool to_first = random() % 2 == 0;
          AppendOne(to_first ? first : second, to_first ? second : first, count, &random);
        }
      });
    }
  }
  ~DeliveryAppenders() { Join(); }

  // Lets them append this part of the events, so that what happens meanwhile happens under load.
  void Allow(double part) {
    const MutexLock lock(&mutex_);
    allowed_ = static_cast<std::size_t>(part * static_cast<double>(events_));
    changed_.NotifyAll();
  }
  // Waits until this part of the events is acknowledged.
  [[nodiscard]] bool Await(double part) const {
    const double wanted = std::floor(part * static_cast<double>(events_));
    return Eventually([&] { return static_cast<double>(acknowledged_) >= wanted; },
                      std::chrono::minutes(10));
  }
  // The ids of what was acknowledged.
  const std::set<std::string>& Join() {
    Allow(1);
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
    const MutexLock lock(&mutex_);
    return ids_;
  }

 private:
  // How many events are to be appended together; 0: there are enough.
  std::size_t Next(std::mt19937_64* random) {
    const MutexLock lock(&mutex_);
    while (started_ >= allowed_ && started_ < events_) changed_.Wait(&mutex_);
    if (started_ >= events_) return 0;
    const std::size_t count = 1 + (*random)() % 8;
    started_ += count;
    return count;
  }

  void AppendOne(Client& client, Client& other, std::size_t count, std::mt19937_64* random) {
    v1::StreamId stream;
    stream.set_aggregate_type("Order");
    stream.set_aggregate_id("a" + std::to_string((*random)() % kAggregates));
    const v1::AppendEventsRequest request =
        AppendRequest(stream, Any(), NewEvents(static_cast<int>(count)));
    // The same ids again until somebody acknowledges them.
    const Deadline end = In(std::chrono::minutes(5));
    for (Client* next = &client; std::chrono::steady_clock::now() < end;
         next = next == &client ? &other : &client) {
      v1::AppendEventsResponse response;
      if (!Append(*next, request, &response, std::chrono::seconds(5)).ok()) continue;
      acknowledged_ += count;
      const MutexLock lock(&mutex_);
      for (const v1::NewEvent& event : request.events()) ids_.insert(event.event_id());
      return;
    }
  }

  const std::size_t events_;
  std::atomic<std::size_t> acknowledged_{0};
  Mutex mutex_;
  CondVar changed_;
  std::size_t allowed_ ABSL_GUARDED_BY(mutex_) = 0;
  std::size_t started_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<std::string> ids_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

// Every id is among the bodies, and each aggregate's versions grow, once duplicates are dropped.
inline void CheckArrived(const std::set<std::string>& ids, const std::vector<std::string>& bodies) {
  std::set<std::string> seen;
  std::map<std::string, std::int64_t> versions;
  std::vector<std::string> out_of_order;
  for (const std::string& body : bodies) {
    rapidjson::Document json;
    json.Parse(body.c_str());
    REQUIRE((json.IsObject() && json.HasMember("id") && json.HasMember("streamversion")));
    if (!seen.insert(json["id"].GetString()).second) continue;
    std::int64_t& last = versions[json["aggregateid"].GetString()];
    const std::int64_t version = std::stoll(json["streamversion"].GetString());
    if (version != last + 1) out_of_order.push_back(body);
    last = version;
  }
  std::vector<std::string> missing;
  std::set_difference(ids.begin(), ids.end(), seen.begin(), seen.end(),
                      std::back_inserter(missing));
  CAPTURE(ids.size(), bodies.size(), seen.size());
  CHECK(missing.empty());
  CHECK(out_of_order.empty());
  fmt::print("{} events acknowledged, {} messages arrived, {} of them again\n", ids.size(),
             bodies.size(), bodies.size() - seen.size());
}

inline void EveryEventArrives(DeliveryTarget& target) {
  const char* const wanted = std::getenv("EVENTSTORE_SINK_EVENTS");
  const std::size_t events = wanted == nullptr ? 2'000 : std::stoull(wanted);
  const char* const chosen = std::getenv("EVENTSTORE_TEST_SEED");
  const std::uint64_t seed = chosen == nullptr ? std::random_device{}() : std::stoull(chosen);
  CAPTURE(seed);
  DeliveryDaemons daemons(target);
  DeliveryAppenders appenders(daemons, events, seed);
  appenders.Allow(0.3);
  REQUIRE(appenders.Await(0.1));
  daemons.KillAndRestart(daemons.Owner());
  REQUIRE(appenders.Await(0.3));
  appenders.Allow(0.6);
  REQUIRE(appenders.Await(0.4));
  target.Stop();
  REQUIRE(appenders.Await(0.6));  // appends do not wait for the broker
  target.Restart();
  appenders.Allow(0.8);
  daemons.KillAndRestart(1 - daemons.Owner());
  REQUIRE(appenders.Await(0.8));
  appenders.Allow(1);
  REQUIRE(appenders.Await(0.9));
  daemons.KillAndRestart(daemons.Owner());
  REQUIRE(appenders.Await(1));
  const std::set<std::string>& ids = appenders.Join();
  const std::chrono::minutes patience(1 + ids.size() / 5'000);
  if (!Eventually([&] { return daemons.Count("status <> 'published'") == 0; }, patience)) {
    FAIL(daemons.State());
  }
  CHECK(daemons.Count("true") == static_cast<std::int64_t>(ids.size()));
  CheckArrived(ids, target.Bodies(ids.size()));
}

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_INTEGRATION_SINKS_DELIVERY_H_
