// Relays of one daemon on a database with outbox entries, and a broker in memory.
#ifndef EVENTSTORE_TESTS_INTEGRATION_ENGINE_RELAY_SUPPORT_H_
#define EVENTSTORE_TESTS_INTEGRATION_ENGINE_RELAY_SUPPORT_H_

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "server/engine/relay/relays.h"
#include "tests/support/store.h"

namespace eventstore::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline const std::string kSinkName = "orders";

// A broker that takes events, refuses them, or is away, as it is told. Thread-safe.
class MemoryBroker {
 public:
  // What arrived, in order: "<aggregate id>/<version>".
  [[nodiscard]] std::vector<std::string> Received() {
    MutexLock lock(&mutex_);
    return received_;
  }
  [[nodiscard]] std::size_t Count() { return Received().size(); }
  // The versions of a stream as they arrived, each once.
  [[nodiscard]] std::vector<int> VersionsOf(const std::string& aggregate_id) {
    std::vector<int> versions;
    for (const std::string& name : Received()) {
      if (name.rfind(aggregate_id + "/", 0) != 0) continue;
      const int version = std::stoi(name.substr(aggregate_id.size() + 1));
      if (std::find(versions.begin(), versions.end(), version) == versions.end()) {
        versions.push_back(version);
      }
    }
    return versions;
  }
  // The most messages of one call.
  [[nodiscard]] std::size_t LargestBatch() {
    MutexLock lock(&mutex_);
    return largest_batch_;
  }
  void Refuse(const std::string& name, bool refuse = true) {
    MutexLock lock(&mutex_);
    if (refuse) {
      refused_.insert(name);
    } else {
      refused_.erase(name);
    }
  }
  // A worker brings an event.
  void Take(const v1::Event& event) {
    MutexLock lock(&mutex_);
    received_.push_back(NameOf(event));
  }
  void SetAway(bool away) {
    MutexLock lock(&mutex_);
    away_ = away;
  }
  // While held, a call waits with its messages received and not answered, whatever its deadline
  // is: a daemon that is frozen.
  void Hold(bool hold) {
    MutexLock lock(&mutex_);
    held_ = hold;
    changed_.NotifyAll();
  }
  [[nodiscard]] int Waiting() {
    MutexLock lock(&mutex_);
    return waiting_;
  }

  // What engine::OutboxOptions::make_sink is set to.
  [[nodiscard]] absl::StatusOr<std::unique_ptr<sinks::Sink>> Make() {
    return std::make_unique<Publisher>(this);
  }

 private:
  class Publisher : public sinks::Sink {
   public:
    explicit Publisher(MemoryBroker* broker) : broker_(broker) {}
    std::vector<sinks::Delivery> Publish(std::span<const sinks::Message> messages,
                                         Deadline /*deadline*/) override {
      return broker_->Publish(messages, &interrupted_);
    }
    void Interrupt() override {
      MutexLock lock(&broker_->mutex_);
      interrupted_ = true;
      broker_->changed_.NotifyAll();
    }

   private:
    MemoryBroker* const broker_;
    bool interrupted_ = false;  // under the broker's mutex
  };

  static std::string NameOf(const v1::Event& event) {
    return fmt::format("{}/{}", event.stream().aggregate_id(), event.version());
  }

  std::vector<sinks::Delivery> Publish(std::span<const sinks::Message> messages,
                                       const bool* interrupted) {
    MutexLock lock(&mutex_);
    std::vector<sinks::Delivery> deliveries(messages.size());
    std::set<std::int64_t> ended;
    largest_batch_ = std::max(largest_batch_, messages.size());
    for (std::size_t i = 0; i < messages.size(); ++i) {
      if (ended.contains(messages[i].stream_key)) continue;
      const v1::Event& event = *messages[i].event;
      const std::string name = NameOf(event);
      sinks::Delivery& delivery = deliveries[i];
      if (away_) {
        delivery = {sinks::Outcome::kUnavailable, "connection refused", {}};
        break;
      }
      if (refused_.contains(name)) {
        delivery = {sinks::Outcome::kRefused, "no such queue", {}};
        ended.insert(messages[i].stream_key);
        continue;
      }
      received_.push_back(name);
      delivery = {sinks::Outcome::kPublished, "", std::chrono::system_clock::now()};
    }
    ++waiting_;
    while (held_ && !*interrupted) changed_.Wait(&mutex_);
    --waiting_;
    return deliveries;
  }

  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> received_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> refused_ ABSL_GUARDED_BY(mutex_);
  std::size_t largest_batch_ ABSL_GUARDED_BY(mutex_) = 0;
  bool away_ ABSL_GUARDED_BY(mutex_) = false;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;
};

// A database with entries, written as an append writes them.
class OutboxDatabase {
 public:
  OutboxDatabase() : conninfo_(CreateStoreDatabase()), connection_(Connect(conninfo_, "public")) {}

  [[nodiscard]] const std::string& conninfo() const { return conninfo_; }
  pg::Connection& operator*() { return *connection_; }
  // Adds the next `count` entries of each of these streams, by turns.
  void Add(const std::vector<std::string>& aggregate_ids, int count = 1) {
    for (const std::string& id : aggregate_ids) keys_.try_emplace(id, keys_.size() + 1);
    std::string rows;
    for (int i = 0; i < count; ++i) {
      for (const std::string& id : aggregate_ids) {
        rows += fmt::format("{}('{}', {}, {}, {})", rows.empty() ? "" : ", ", id, keys_[id],
                            ++versions_[id], ++position_);
      }
    }
    Run(*connection_,
        fmt::format(
            "INSERT INTO event_outbox (event_id, event_type, aggregate_id, aggregate_type, sink,"
            " stream_key, global_position, event_data) SELECT i, 'Happened', a, 'Order', '{}', k,"
            " p, jsonb_build_object('event_id', i, 'event_type', 'Happened', 'aggregate_type',"
            " 'Order', 'aggregate_id', a, 'version', v, 'global_position', p, 'created_at',"
            " to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))"
            " FROM (SELECT gen_random_uuid() AS i, * FROM (VALUES {}) AS n(a, k, v, p)) AS rows",
            kSinkName, rows));
  }
  // How many entries this condition holds for.
  std::int64_t Count(const std::string& condition) {
    return SelectInt(*connection_, "SELECT count(*) FROM event_outbox WHERE " + condition);
  }
  std::string Text(const std::string& sql) {
    const pg::Result result = Select(*connection_, sql);
    return result.rows() == 0 || result.IsNull(0, 0) ? "" : std::string(result.Text(0, 0));
  }
  bool AwaitPublished(std::int64_t count) {
    return Eventually([&] { return Count("status = 'published'") >= count; });
  }
  std::int64_t Token() {
    return SelectInt(*connection_, "SELECT coalesce(max(token), 0) FROM outbox_sinks");
  }

 private:
  const std::string conninfo_;
  const std::unique_ptr<pg::Connection> connection_;
  std::map<std::string, std::size_t> keys_;
  std::map<std::string, int> versions_;
  std::int64_t position_ = 0;
};

// One sink with short times, to which everything goes; sweeps are too rare to be what makes a test
// pass.
inline engine::OutboxOptions RelayOutbox(MemoryBroker* broker) {
  engine::OutboxOptions outbox;
  outbox.enabled = true;
  outbox.lease_ms = milliseconds(2'600);
  outbox.sweep_interval_ms = seconds(600);
  outbox.make_sink = [broker](const sinks::SinkOptions&) { return broker->Make(); };
  engine::OutboxSink sink;
  sink.options.name = kSinkName;
  sink.options.type = "memory";
  sink.publish_timeout_ms = milliseconds(500);
  sink.backoff_min_ms = milliseconds(5);
  sink.backoff_max_ms = milliseconds(40);
  outbox.sinks.push_back(sink);
  outbox.routes = {{.sink = kSinkName}};
  return outbox;
}

inline engine::StoreOptions RelayOptions(const std::string& conninfo, MemoryBroker* broker) {
  engine::StoreOptions options = SmallOptions(conninfo);
  options.outbox = RelayOutbox(broker);
  return options;
}

// What a daemon's store has of the outbox.
class TestRelays {
 public:
  explicit TestRelays(engine::StoreOptions options)
      : options_(std::move(options)),
        pool_(PooledConnection(options_), options_.pool, metrics_.Pool("test")),
        relays_(*engine::Relays::Start(options_, MakeUuidV7(), &pool_, &metrics_)) {}
  ~TestRelays() {
    Stop();
    pool_.Close();
  }

  engine::Relays* operator->() { return relays_.get(); }
  void Stop() { relays_->Stop(In(seconds(5))); }
  // A metric's value, by its name and what its labels contain; -1: it is not there.
  [[nodiscard]] double Metric(const std::string& name, const std::string& label = "") const {
    std::istringstream text(metrics_.Text());
    for (std::string line; std::getline(text, line);) {
      if (line.rfind(name + "{", 0) == 0 && line.find(label) != std::string::npos) {
        return std::stod(line.substr(line.rfind(' ') + 1));
      }
    }
    return -1;
  }
  [[nodiscard]] bool Owns() const {
    return Metric("eventstore_outbox_relay_state", "standby") == 0;
  }

 private:
  static pg::ConnectionOptions PooledConnection(const engine::StoreOptions& options) {
    pg::ConnectionOptions connection = options.connection;
    connection.settings.emplace_back("enable_seqscan", "off");
    return connection;
  }

  const engine::StoreOptions options_;
  telemetry::Metrics metrics_{"test"};
  pg::Pool pool_;
  std::unique_ptr<engine::Relays> relays_;
};

// s0, s1 and so on.
inline std::vector<std::string> StreamNames(int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back("s" + std::to_string(i));
  return names;
}

inline std::vector<int> UpTo(int last) {
  std::vector<int> numbers(static_cast<std::size_t>(last));
  for (int i = 0; i < last; ++i) numbers[static_cast<std::size_t>(i)] = i + 1;
  return numbers;
}

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_INTEGRATION_ENGINE_RELAY_SUPPORT_H_
