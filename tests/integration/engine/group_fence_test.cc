// Every write of a consumer group's lane carries the lane's token, and without it changes nothing.
#include <catch2/catch.hpp>
#include <functional>
#include <map>

#include "server/tables/consumer_group_lanes_table.h"
#include "server/tables/consumer_groups_table.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using std::chrono::milliseconds;

constexpr milliseconds kLease{60'000};

Deadline Soon() { return std::chrono::steady_clock::now() + kPatience; }

// A group of one lane whose owner lost it and has it again: the same daemon, another token.
struct Owned {
  Owned()
      : conninfo(CreateStoreDatabase()),
        store(SmallOptions(conninfo)),
        sql(Connect(conninfo, "public")) {
    REQUIRE(Append(*store, Stream("s"), Any(), NewIds(3)).ok());
    v1::CreateConsumerGroupRequest request;
    request.set_name("g");
    request.mutable_settings()->set_lanes(1);
    REQUIRE(tables::CreateGroup(*sql, request, Soon()).ok());
    key = tables::ReadGroup(*sql, "g", Soon())->key;
    old_token = Claim(0);
    Run(*sql, "UPDATE consumer_group_lanes SET lease_until = now() - interval '1 second'");
    token = Claim(old_token);
    REQUIRE(token > old_token);
    const auto read = tables::ReadEventsAt(*sql, {1}, Soon());
    REQUIRE(read.ok());
    event = read->at(0);
  }

  std::int64_t Claim(std::int64_t seen) {
    const auto claimed = tables::ClaimLanes(*sql, key, daemon, kLease, {{0, seen, member}}, Soon());
    REQUIRE(claimed.ok());
    REQUIRE(claimed->size() == 1);
    return claimed->at(0).token;
  }
  // All that an owner's write could change.
  std::string Everything() {
    const pg::Result rows = Select(
        *sql,
        "SELECT concat_ws('; ', (SELECT string_agg(l::text, ',') FROM consumer_group_lanes l),"
        " (SELECT string_agg(r::text, ',') FROM consumer_group_retries r),"
        " (SELECT string_agg(p::text, ',') FROM consumer_group_parked_streams p),"
        " (SELECT string_agg(d::text, ',') FROM dead_letter_queue d))::text");
    return std::string(rows.Text(0, 0));
  }
  tables::LaneProgress Progress(std::int64_t with) const {
    tables::LaneProgress row;
    row.token = with;
    row.position = 2;
    row.epoch = 1;
    return row;
  }
  tables::ParkedEvent Parked(std::int64_t with, bool stops, std::int64_t stream) const {
    tables::ParkedEvent row;
    row.token = with;
    row.event = event;
    row.error = "poison";
    row.attempts = 1;
    row.stops_lane = stops;
    row.parks_stream = stream;
    return row;
  }

  const std::string conninfo;
  TestStore store;
  std::unique_ptr<pg::Connection> sql;
  const Uuid daemon = MakeUuidV7();
  const Uuid member = MakeUuidV7();
  std::int64_t key = 0;
  std::int64_t old_token = 0;
  std::int64_t token = 0;
  v1::Event event;
};

// The writes by name; each must succeed as a statement, whatever it finds.
std::map<std::string, std::function<absl::Status(Owned&, std::int64_t)>> Writes() {
  const auto parks = [](bool stops, std::int64_t stream) {
    return [=](Owned& o, std::int64_t token) {
      return tables::WriteDeadLetters(*o.sql, o.key, "g", {o.Parked(token, stops, stream)}, {},
                                      Soon())
          .status();
    };
  };
  return {
      {"a checkpoint",
       [](Owned& o, std::int64_t token) {
         return tables::KeepLanes(*o.sql, o.key, o.daemon, kLease, {o.Progress(token)}, {}, Soon())
             .status();
       }},
      {"an attempt",
       [](Owned& o, std::int64_t token) {
         return tables::KeepLanes(*o.sql, o.key, o.daemon, kLease, {o.Progress(token)},
                                  {{0, 3, 1, milliseconds(5), "no"}}, Soon())
             .status();
       }},
      {"a rewind",
       [](Owned& o, std::int64_t token) {
         return tables::RewindLanes(*o.sql, o.key, {o.Progress(token)}, Soon());
       }},
      {"a release",
       [](Owned& o, std::int64_t token) {
         return tables::ReleaseLanes(*o.sql, o.key, {{0, token, 2, 1, true}}, Soon());
       }},
      {"a park", parks(false, 0)},
      {"a park that stops the lane", parks(true, 0)},
      {"a park of a stream", parks(false, 77)},
      {"a retry that is done",
       [](Owned& o, std::int64_t token) {
         const Uuid id = *ParseUuid(o.event.event_id());
         return tables::WriteDeadLetters(*o.sql, o.key, "g", {}, {{0, token, id}}, Soon()).status();
       }},
      {"a stream that goes on",
       [](Owned& o, std::int64_t token) {
         return tables::FreeStream(*o.sql, o.key, "g", 0, token, 77, Soon()).status();
       }},
  };
}

// What must be there for the write to have something to change.
void Prepare(Owned& o, const std::string& write) {
  const bool is_retry = write == "a retry that is done";
  const bool is_free = write == "a stream that goes on";
  if (!is_retry && !is_free) return;
  const auto parked = tables::WriteDeadLetters(
      *o.sql, o.key, "g", {o.Parked(o.token, false, is_free ? 77 : 0)}, {}, Soon());
  REQUIRE(parked.ok());
  Run(*o.sql, is_free ? "UPDATE dead_letter_queue SET status = 'resolved', resolved_at = now(),"
                        " resolved_by = 'me'"
                      : "UPDATE dead_letter_queue SET status = 'retrying'");
}

TEST_CASE("Whoever lost a lane's token writes nothing, even on the daemon that owns it again",
          "[groups]") {
  for (const auto& [name, write] : Writes()) {
    DYNAMIC_SECTION(name) {
      Owned o;
      Prepare(o, name);
      const std::string before = o.Everything();
      REQUIRE(write(o, o.old_token).ok());
      CHECK(o.Everything() == before);
      // With the token it does change something: the check above can fail.
      REQUIRE(write(o, o.token).ok());
      CHECK(o.Everything() != before);
    }
  }
}

TEST_CASE("A lane that was given back is renewed by nobody", "[groups]") {
  Owned o;
  // A release whose answer was lost: the owner does not know.
  REQUIRE(tables::ReleaseLanes(*o.sql, o.key, {{0, o.token, 1, 1, false}}, Soon()).ok());
  const std::string before = o.Everything();
  const auto kept =
      tables::KeepLanes(*o.sql, o.key, o.daemon, kLease, {o.Progress(o.token)}, {}, Soon());
  REQUIRE(kept.ok());
  CHECK(kept->empty());
  CHECK(o.Everything() == before);
}

TEST_CASE("A new owner learns which unsettled events have a dead letter", "[groups]") {
  Owned o;
  const std::string status = GENERATE("failed", "retrying", "resolved");
  const auto parked =
      tables::WriteDeadLetters(*o.sql, o.key, "g", {o.Parked(o.token, true, 0)}, {}, Soon());
  REQUIRE(parked.ok());
  Run(*o.sql, "UPDATE dead_letter_queue SET status = '" + status + "'" +
                  (status == "resolved" ? ", resolved_at = now(), resolved_by = 'me'" : ""));
  REQUIRE(tables::ReleaseLanes(*o.sql, o.key, {{0, o.token, 0, 1, true}}, Soon()).ok());
  const auto claimed =
      tables::ClaimLanes(*o.sql, o.key, o.daemon, kLease, {{0, o.token, o.member}}, Soon());
  REQUIRE(claimed.ok());
  REQUIRE(claimed->at(0).known.size() == 1);
  const tables::KnownAttempt& known = claimed->at(0).known[0];
  CHECK(known.position == 1);
  CHECK_FALSE(known.is_settled);
  CHECK(known.dead_letter_of.has_value() == (status != "resolved"));
}

}  // namespace
}  // namespace eventstore::engine
