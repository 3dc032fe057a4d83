// A failover that loses the last commits: the primary dies, and its replica had not received them.
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <thread>

#include "tests/faults/arena.h"
#include "tests/faults/replica.h"
#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::faults;
using namespace eventstore::testing;
using Message = v1::SubscribeResponse;

namespace {

constexpr char kService[] = "eventstore.v1.EventStoreService";
// More streams than the 32 keys that a promoted server skips: those made after the failover get
// keys that lost ones had.
constexpr int kManyStreams = 100;

const Settings kSettings = {
    {"writer.lock_timeout_ms", "1000"},      {"writer.idle_in_transaction_timeout_ms", "1000"},
    {"writer.statement_timeout_ms", "2000"}, {"hub.poll_interval_ms", "500"},
    {"daemon.heartbeat_ms", "300"},          {"database.connect_timeout_ms", "2000"}};

// Events that say where they belong.
std::vector<v1::NewEvent> EventsFor(const v1::StreamId& stream, int count) {
  return NewEvents(count, "For-" + stream.aggregate_id());
}

// A primary with its replica, and two daemons that connect to whichever takes writes.
struct Pair {
  std::unique_ptr<process::EmbeddedPostgres> primary = StartPostgres();
  std::string primary_dsn = CreateDatabase(*primary);
  Replica replica{*primary};
  std::unique_ptr<Daemon> one = StartDaemon();
  std::unique_ptr<Daemon> two = StartDaemon();

  std::unique_ptr<Daemon> StartDaemon() {
    return Daemon::Start({.dsn = replica.EitherHost(primary_dsn), .settings = kSettings});
  }

  // From now on what is acknowledged will be lost.
  void CutOff() {
    replica.CatchUp(primary_dsn);
    replica.CutOff();
  }

  void FailOver() {
    REQUIRE(primary->Stop(/*immediate=*/true).ok());
    replica.Promote();
    for (Daemon* daemon : {one.get(), two.get()}) {
      CHECK(Eventually([&] { return daemon->client().Health(kService) == "SERVING"; }, kPatience));
      CHECK(Eventually(
          [&] {
            v1::GetHeadResponse head;
            return daemon->client().Unary("GetHead", v1::GetHeadRequest(), &head).ok() &&
                   head.epoch() == 2;
          },
          kPatience));
    }
  }

  // The log is dense, the same for both daemons and for every kind of read, and no event is in
  // another stream than its own.
  void CheckStore() {
    const AllRead all = ReadAll(one->client(), {});
    REQUIRE(all.status.ok());
    const AllRead other = ReadAll(two->client(), {});
    CHECK(IdsOf(all.events) == IdsOf(other.events));
    CHECK(static_cast<std::int64_t>(all.events.size()) == all.head);
    std::map<std::string, std::vector<v1::Event>> streams;
    std::set<std::string> ids;
    std::int64_t position = 0;
    for (const v1::Event& event : all.events) {
      CHECK(event.global_position() == ++position);
      CHECK(event.event_type() == "For-" + event.stream().aggregate_id());
      CHECK(ids.insert(event.event_id()).second);
      auto& stream = streams[event.stream().aggregate_id()];
      stream.push_back(event);
      CHECK(event.version() == static_cast<std::int64_t>(stream.size()));
    }
    for (const auto& [id, events] : streams) {
      for (Daemon* daemon : {one.get(), two.get()}) {
        const StreamRead read = ReadStream(daemon->client(), events.front().stream());
        CHECK(IdsOf(read.events) == IdsOf(events));
        CHECK(read.info.version() == static_cast<std::int64_t>(events.size()));
      }
    }
    v1::SubscribeRequest from_beginning;
    from_beginning.mutable_beginning();
    Subscriber subscriber(two->client(), from_beginning);
    CHECK(IdsOf(subscriber.NextEvents(all.events.size())) == IdsOf(all.events));
    CHECK(subscriber.violation() == "");
  }
};

void CheckAhead(const CallStatus& status, std::int64_t asked, std::int64_t end) {
  INFO(status.Text());
  CHECK(status.code == absl::StatusCode::kOutOfRange);
  CHECK(status.reason() == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(status.info().value() == asked);
  CHECK(status.info().position() == end);
  CHECK(status.info().epoch() == 2);
}

void MustConflict(Client& client, const v1::StreamId& stream, std::int64_t expected,
                  std::int64_t actual) {
  v1::AppendEventsResponse response;
  const CallStatus status =
      Append(client, AppendRequest(stream, Exact(expected), EventsFor(stream, 1)), &response);
  INFO(status.Text());
  CHECK(status.reason() == v1::ERROR_REASON_VERSION_CONFLICT);
  CHECK(status.info().actual() == actual);
}

void MustStore(Client& client, const v1::AppendEventsRequest& request, std::int64_t first_version) {
  v1::AppendEventsResponse response;
  const CallStatus status = Append(client, request, &response);
  INFO(status.Text());
  REQUIRE(status.ok());
  CHECK_FALSE(response.deduplicated());
  CHECK(response.first_version() == first_version);
}

v1::SubscribeRequest After(std::int64_t position, std::int64_t epoch) {
  v1::SubscribeRequest request;
  request.set_after_position(position);
  request.set_epoch(epoch);
  return request;
}

// A reader of a lost history that comes back is told so, by every daemon and every kind of read.
void CheckComingBack(Pair* pair, std::int64_t lost_head, std::int64_t kept_head) {
  for (Daemon* daemon : {pair->one.get(), pair->two.get()}) {
    Subscriber ahead(daemon->client(), After(lost_head, 1));
    CheckAhead(ahead.call().Finish(), lost_head, kept_head);
    v1::ReadAllRequest read;
    read.set_after_position(lost_head);
    read.set_epoch(1);
    CheckAhead(ReadAll(daemon->client(), read).status, lost_head, kept_head);
    // Where both histories still agree one goes on.
    Subscriber agreed(daemon->client(), After(kept_head, 1));
    CHECK(agreed.ReadUntil(Message::kCaughtUp));
    CHECK(agreed.confirmed().epoch() == 2);
    read.set_after_position(kept_head);
    CHECK(ReadAll(daemon->client(), read).status.ok());
  }
}

}  // namespace

TEST_CASE("AFailoverThatLostCommitsIsToldAndTouchesNoWrongStream") {
  Pair pair;
  std::vector<v1::StreamId> kept;
  for (int i = 0; i < 10; ++i) {
    kept.push_back(NewStream());
    MustAppend(pair.one->client(), kept.back(), EventsFor(kept.back(), 3));
  }
  const std::int64_t kept_head = GetHead(pair.one->client()).position();
  REQUIRE(GetHead(pair.one->client()).epoch() == 1);
  Subscriber live_one(pair.one->client(), {});
  Subscriber live_two(pair.two->client(), {});
  pair.CutOff();

  // Both daemons write, and remember, what will be lost.
  std::vector<v1::AppendEventsRequest> lost;
  for (int i = 0; i < kManyStreams; ++i) {
    const auto stream = NewStream();
    lost.push_back(AppendRequest(stream, NoStream(), EventsFor(stream, 2)));
    MustStore((i % 2 == 0 ? pair.one : pair.two)->client(), lost.back(), 1);
  }
  for (const auto& stream : kept) {
    MustAppend(pair.two->client(), stream, EventsFor(stream, 2));
    MustAppend(pair.one->client(), stream, EventsFor(stream, 1));
  }
  const std::int64_t lost_head = GetHead(pair.two->client()).position();
  REQUIRE(lost_head == kept_head + 2 * kManyStreams + 30);
  for (Subscriber* live : {&live_one, &live_two}) {
    CHECK(live->NextEvents(static_cast<std::size_t>(lost_head)).size() ==
          static_cast<std::size_t>(lost_head));
    CHECK((live->caught_up_count() > 0 || live->ReadUntil(Message::kCaughtUp)));
  }

  pair.FailOver();
  CHECK(GetHead(pair.one->client()).position() == kept_head);
  // Those who were there while it happened.
  for (Subscriber* live : {&live_one, &live_two}) {
    CheckAhead(live->call().Finish(), lost_head, kept_head);
  }
  CheckComingBack(&pair, lost_head, kept_head);

  // New streams get the lost ones' keys, until the head is where it was in the lost history.
  for (int i = 0; i < kManyStreams; ++i) {
    const auto stream = NewStream();
    MustStore(pair.one->client(), AppendRequest(stream, NoStream(), EventsFor(stream, 2)), 1);
  }
  const auto filler = NewStream();
  MustAppend(pair.one->client(), filler, EventsFor(filler, 30));
  REQUIRE(GetHead(pair.two->client()).position() == lost_head);
  CheckComingBack(&pair, lost_head, kept_head);

  // The other daemon, which has not written since, must not believe what it remembers.
  for (std::size_t i = 0; i < lost.size(); ++i) {
    MustConflict(pair.two->client(), lost[i].stream(), 2, 0);
    MustStore((i % 3 == 0 ? pair.one : pair.two)->client(), lost[i], 1);
  }
  for (std::size_t i = 0; i < kept.size(); ++i) {
    Client& client = (i % 2 == 0 ? pair.one : pair.two)->client();
    MustConflict(client, kept[i], 6, 3);
    MustStore(client, AppendRequest(kept[i], Exact(3), EventsFor(kept[i], 1)), 4);
  }
  pair.CheckStore();
  CheckComingBack(&pair, lost_head, kept_head);

  // The epoch is raised once, not with every start.
  pair.one->Restart();
  CHECK(GetHead(pair.one->client()).epoch() == 2);
  const auto last = NewStream();
  MustStore(pair.one->client(), AppendRequest(last, NoStream(), EventsFor(last, 1)), 1);
  pair.CheckStore();
}

TEST_CASE("WritersInTheMidstOfAFailoverGoOnAndTouchNoWrongStream") {
  Pair pair;
  constexpr int kWriters = 4;
  std::atomic<bool> stop{false};
  std::atomic<int> stored{0};
  std::atomic<int> strange{0};
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      Client client((w % 2 == 0 ? pair.one : pair.two)->port());
      std::vector<v1::StreamId> streams;
      for (int i = 0; !stop; ++i) {
        if (i % 3 != 2) streams.push_back(NewStream());
        const auto& stream = streams[streams.size() - 1 - streams.size() / 4 % streams.size()];
        const auto request = AppendRequest(stream, Any(), EventsFor(stream, 1 + i % 3));
        // With the same ids until it is stored.
        v1::AppendEventsResponse response;
        const bool done = Eventually(
            [&] { return Append(client, request, &response, std::chrono::seconds(5)).ok(); },
            kPatience);
        ++(done ? stored : strange);
      }
    });
  }
  const auto more = [&](int count) {
    const int goal = stored + count;
    return Eventually([&] { return stored >= goal; }, kPatience);
  };
  CHECK(more(300));
  pair.CutOff();
  CHECK(more(300));
  const std::int64_t lost_head = GetHead(pair.one->client()).position();
  pair.FailOver();
  CHECK(more(300));
  stop = true;
  for (std::thread& writer : writers) writer.join();
  CHECK(strange == 0);
  pair.CheckStore();
  v1::ReadAllRequest read;
  read.set_after_position(lost_head);
  read.set_epoch(1);
  CHECK(ReadAll(pair.two->client(), read).status.reason() == v1::ERROR_REASON_POSITION_AHEAD);
}
