// Consumer groups under random members: they join, leave, crash, nack and forget to ack, on two
// daemons, one of which is killed. EVENTSTORE_GROUPS_SECONDS makes it longer, EVENTSTORE_TEST_SEED
// makes its choices again.
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "server/core/ids.h"
#include "server/core/lane_hash.h"
#include "server/core/mutex.h"
#include "tests/support/daemon_groups.h"

using namespace eventstore;
using namespace eventstore::testing;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

constexpr int kLanes = 8;
constexpr int kMembers = 6;
constexpr int kStreams = 30;

int FromEnvironment(const char* name, int otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::atoi(text) : otherwise;
}

// What the members did, as far as it can have had an effect: an ack is noted before it is sent.
class Journal {
 public:
  void Delivered(const v1::DeliveredEvent& delivered) {
    const v1::Event& event = delivered.event();
    MutexLock lock(&mutex_);
    ++deliveries_;
    redeliveries_ += delivered.redelivered() ? 1 : 0;
    if (delivered.lane() != LaneOf(StreamHash(event.stream()), kLanes)) Find("a wrong lane");
    if (delivered.attempt() < 1) Find("no attempt number");
    // What is delivered for the first time in this world follows what came before in its stream,
    // unless that was given up without ever reaching a client.
    auto& versions = seen_[event.stream().aggregate_id()];
    if (versions.insert(event.version()).second) {
      first_order_[event.stream().aggregate_id()].push_back(event.version());
    }
  }
  void Acking(const v1::Event& event) {
    MutexLock lock(&mutex_);
    acked_.insert(event.event_id());
    auto& times = acks_[event.stream().aggregate_id()][event.version()];
    if (times.first == 0) times.first = ++clock_;
    times.second = ++clock_;
  }
  std::set<std::string> Acked() {
    MutexLock lock(&mutex_);
    return acked_;
  }
  // Whether each event was acked after an ack of the one before it.
  void CheckOrder(const std::set<std::pair<std::string, std::int64_t>>& parked) {
    MutexLock lock(&mutex_);
    for (const auto& [stream, versions] : acks_) {
      for (const auto& [version, times] : versions) {
        if (version == 1 || parked.count({stream, version - 1}) > 0) continue;
        if (parked.count({stream, version}) > 0) continue;  // its acks came to nothing
        const auto before = versions.find(version - 1);
        if (before == versions.end() || before->second.first > times.second) {
          Find("stream " + stream + ": version " + std::to_string(version) +
               " was settled before the one before it");
        }
      }
    }
    for (const auto& [stream, order] : first_order_) {
      std::int64_t highest = 0;
      for (const std::int64_t version : order) {
        if (version < highest && parked.count({stream, version}) == 0) {
          Find("stream " + stream + ": version " + std::to_string(version) + " came late");
        }
        highest = std::max(highest, version);
      }
    }
  }
  void Note(const std::string& finding) {
    MutexLock lock(&mutex_);
    Find(finding);
  }
  std::vector<std::string> Findings() {
    MutexLock lock(&mutex_);
    return findings_;
  }
  std::pair<std::int64_t, std::int64_t> Counts() {
    MutexLock lock(&mutex_);
    return {deliveries_, redeliveries_};
  }

 private:
  void Find(const std::string& finding) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (findings_.size() < 20) findings_.push_back(finding);
  }

  Mutex mutex_;
  std::int64_t clock_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t deliveries_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t redeliveries_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<std::string> acked_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::map<std::int64_t, std::pair<std::int64_t, std::int64_t>>> acks_
      ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::set<std::int64_t>> seen_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::vector<std::int64_t>> first_order_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> findings_ ABSL_GUARDED_BY(mutex_);
};

struct World {
  Journal journal;
  std::atomic<int> ports[2] = {};  // 0: the daemon is dead
  std::atomic<bool> is_calm{false};
  std::atomic<bool> is_over{false};
  std::atomic<std::int64_t> crashes{0}, nacks{0}, leaves{0};
};

// One membership, until it ends one way or another.
void Belong(World* world, int port, std::mt19937* dice) {
  const auto chance = [dice](unsigned per_thousand) { return (*dice)() % 1000 < per_thousand; };
  Client client(port);
  Consumer consumer(client, "g", 1 + (*dice)() % 40);
  while (!world->is_over) {
    const auto events = consumer.NextEvents(1, milliseconds(100));
    const bool calm = world->is_calm;
    std::vector<v1::DeliveredEvent> acked;
    for (const v1::DeliveredEvent& event : events) {
      world->journal.Delivered(event);
      if (!calm && chance(60)) {
        ++world->nacks;
        consumer.Nack(event, v1::NACK_ACTION_RETRY, "random");
      } else if (!calm && chance(10)) {
        ++world->nacks;
        consumer.Nack(event, v1::NACK_ACTION_PARK, "random park");
      } else if (!calm && chance(10)) {
        // Forgotten.
      } else {
        world->journal.Acking(event.event());
        acked.push_back(event);
      }
    }
    if (!calm && chance(15)) {
      ++world->crashes;
      return consumer.call().Cancel();
    }
    if (!acked.empty()) consumer.Ack(acked);
    if (consumer.call().ended()) return;
    if (!calm && chance(15)) {
      ++world->leaves;
      (void)consumer.Leave();
      return;
    }
  }
  (void)consumer.Leave();
}

void LiveAsMembers(World* world, unsigned seed) {
  std::mt19937 dice(seed);
  while (!world->is_over) {
    const int port = world->ports[dice() % 2];
    if (port != 0) Belong(world, port, &dice);
  }
}

void AppendUntilCalm(World* world, int port, unsigned seed) {
  std::mt19937 dice(seed);
  Client client(port);
  std::vector<v1::StreamId> streams;
  for (int i = 0; i < kStreams; ++i) streams.push_back(NewStream());
  while (!world->is_calm) {
    (void)MustAppend(client, streams[dice() % kStreams],
                     NewEvents(1 + static_cast<int>(dice() % 5)));
  }
}

using Place = std::pair<std::int32_t, std::int64_t>;  // lane, position

// No lane's checkpoint may have passed an event that nobody acked and that is no dead letter.
void CheckCheckpoints(World* world, pg::Connection& connection, std::map<std::int32_t, Place>* last,
                      std::map<std::int64_t, std::pair<std::int32_t, std::string>>* events) {
  const auto in = [] { return steady_clock::now() + kPatience; };
  const auto lanes = connection.QueryOnce(
      "SELECT lane, position, token FROM consumer_group_lanes ORDER BY lane", {}, in());
  if (!lanes.ok()) return world->journal.Note("the lanes cannot be read");
  const std::int64_t known = events->empty() ? 0 : events->rbegin()->first;
  const auto added = connection.QueryOnce(
      "SELECT global_position, event_id, aggregate_type, aggregate_id FROM events"
      " WHERE global_position > $1 ORDER BY global_position",
      std::move(pg::Params().Int64(known)), in());
  const auto parked = connection.QueryOnce("SELECT event_id FROM dead_letter_queue", {}, in());
  if (!added.ok() || !parked.ok()) return world->journal.Note("the events cannot be read");
  for (int row = 0; row < added->rows(); ++row) {
    v1::StreamId stream;
    stream.set_aggregate_type(std::string(added->Text(row, 2)));
    stream.set_aggregate_id(std::string(added->Text(row, 3)));
    (*events)[added->Int64(row, 0)] = {LaneOf(StreamHash(stream), kLanes),
                                       FormatUuid(added->Uuid(row, 1))};
  }
  std::set<std::string> settled = world->journal.Acked();
  for (int row = 0; row < parked->rows(); ++row) settled.insert(FormatUuid(parked->Uuid(row, 0)));
  std::map<std::int32_t, std::int64_t> checkpoints;
  for (int row = 0; row < lanes->rows(); ++row) {
    const std::int32_t lane = lanes->Int32(row, 0);
    checkpoints[lane] = lanes->Int64(row, 1);
    const Place now{static_cast<std::int32_t>(lanes->Int64(row, 2)), lanes->Int64(row, 1)};
    const auto before = last->find(lane);
    if (before != last->end() &&
        (now.first < before->second.first || now.second < before->second.second)) {
      world->journal.Note("a token or a checkpoint went back");
    }
    (*last)[lane] = now;
  }
  for (const auto& [position, event] : *events) {
    if (position <= checkpoints[event.first] && settled.count(event.second) == 0) {
      world->journal.Note("lane " + std::to_string(event.first) + ": the checkpoint " +
                          std::to_string(checkpoints[event.first]) + " passed the unsettled " +
                          std::to_string(position));
    }
  }
}

}  // namespace

TEST_CASE("WhateverMembersAndDaemonsDoEveryEventIsSettledInOrderAndNothingIsLost",
          "[groups][random]") {
  const auto seed = static_cast<unsigned>(FromEnvironment(
      "EVENTSTORE_TEST_SEED", static_cast<int>(std::random_device()() % 1'000'000)));
  const seconds duration(FromEnvironment("EVENTSTORE_GROUPS_SECONDS", 10));
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  std::mt19937 dice(seed);
  auto one = Daemon::Start();
  auto two = Daemon::Start({.dsn = one->dsn()});
  v1::ConsumerGroupSettings settings;
  settings.set_lanes(kLanes);
  settings.set_max_attempts(4);
  settings.set_unsettled_span_max(60);
  SetMillis(20, settings.mutable_backoff_min());
  SetMillis(100, settings.mutable_backoff_max());
  SetMillis(1'000, settings.mutable_ack_timeout());
  SetMillis(1'500, settings.mutable_lease_duration());
  CreateGroup(two->client(), "g", settings);
  World world;
  world.ports[0] = one->port();
  world.ports[1] = two->port();
  std::vector<std::thread> threads;
  for (int i = 0; i < kMembers; ++i) {
    threads.emplace_back([&, i] { LiveAsMembers(&world, seed + 1 + static_cast<unsigned>(i)); });
  }
  std::thread appender([&] { AppendUntilCalm(&world, two->port(), seed); });
  const auto connection = Connect(two->dsn(), "eventstore");
  std::map<std::int32_t, Place> last;
  std::map<std::int64_t, std::pair<std::int32_t, std::string>> events;
  const auto start = steady_clock::now();
  auto kill_at = start + duration / 4;
  auto revive_at = start + duration / 2;
  while (steady_clock::now() < start + duration) {
    CheckCheckpoints(&world, *connection, &last, &events);
    if (world.ports[0] != 0 && steady_clock::now() >= kill_at) {
      world.ports[0] = 0;
      one->child().Signal(SIGKILL);
      CHECK(one->child().WaitExit() == 128 + SIGKILL);
      revive_at = steady_clock::now() + milliseconds(500 + dice() % 3'000);
      kill_at = steady_clock::now() + milliseconds(6'000 + dice() % 6'000);
    } else if (world.ports[0] == 0 && steady_clock::now() >= revive_at) {
      one->Restart();
      world.ports[0] = one->port();
    }
  }
  if (world.ports[0] == 0) {
    one->Restart();
    world.ports[0] = one->port();
  }
  world.is_calm = true;
  appender.join();
  const bool is_done = WaitForLagZero(two->client(), "g");
  CheckCheckpoints(&world, *connection, &last, &events);
  world.is_over = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(is_done);
  std::set<std::pair<std::string, std::int64_t>> parked;
  std::set<std::string> settled = world.journal.Acked();
  const auto letters = connection->QueryOnce(
      "SELECT e.event_id, e.aggregate_id, e.version FROM dead_letter_queue d"
      " JOIN events e ON e.event_id = d.event_id",
      {}, steady_clock::now() + kPatience);
  REQUIRE(letters.ok());
  for (int row = 0; row < letters->rows(); ++row) {
    settled.insert(FormatUuid(letters->Uuid(row, 0)));
    parked.emplace(std::string(letters->Text(row, 1)), letters->Int64(row, 2));
  }
  for (const auto& [position, event] : events) {
    if (settled.count(event.second) == 0) world.journal.Note("lost: " + std::to_string(position));
  }
  world.journal.CheckOrder(parked);
  for (const std::string& finding : world.journal.Findings()) UNSCOPED_INFO(finding);
  CHECK(world.journal.Findings().empty());
  const auto [deliveries, redeliveries] = world.journal.Counts();
  WARN("EVENTSTORE_TEST_SEED=" << seed << ": " << events.size() << " events, " << deliveries
                               << " deliveries, " << redeliveries << " of them again, "
                               << parked.size() << " dead letters, " << world.crashes
                               << " crashes, " << world.leaves << " leaves, " << world.nacks
                               << " nacks");
  CHECK(events.size() > 100);
  CHECK(redeliveries > 0);
}
