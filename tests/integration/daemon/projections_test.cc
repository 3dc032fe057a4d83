// ProjectionService and DeadLetterService of a running daemon, and subscriptions that resume at a
// checkpoint.
#include <catch2/catch.hpp>

#include "eventstore/v1/dead_letter_service.pb.h"
#include "eventstore/v1/projection_service.pb.h"

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;
using Message = v1::SubscribeResponse;

namespace {

Client& Shared() { return SharedDaemon().client(); }

template <typename Request, typename Response>
CallStatus Ask(Client& client, const std::string& method, const Request& request,
               Response* response) {
  const bool letters = method.find("DeadLetter") != std::string::npos;
  return client.Unary(
      (letters ? "/eventstore.v1.DeadLetterService/" : "/eventstore.v1.ProjectionService/") +
          method,
      request, response);
}

v1::SaveCheckpointResponse MustSave(Client& client, const std::string& name, std::int64_t position,
                                    std::int64_t epoch) {
  v1::SaveCheckpointRequest request;
  request.set_projection_name(name);
  request.set_position(position);
  request.set_epoch(epoch);
  v1::SaveCheckpointResponse response;
  const CallStatus status = Ask(client, "SaveCheckpoint", request, &response);
  INFO(status.Text());
  REQUIRE(status.ok());
  return response;
}

v1::SubscribeRequest FromCheckpoint(const std::string& name, const std::string& type) {
  v1::SubscribeRequest request;
  request.set_checkpoint(name);
  request.mutable_filter()->add_aggregate_types(type);
  return request;
}

}  // namespace

TEST_CASE("ASubscriptionResumesExactlyAfterItsCheckpoint") {
  const std::string name = UniqueName("projection");
  const std::string type = UniqueName("Resumed");
  const auto events = NewEvents(40);
  MustAppend(Shared(), NewStream(type), events);
  std::vector<std::string> wanted;
  for (const v1::NewEvent& event : events) wanted.push_back(event.event_id());

  // Ten times over: read some, save where that ended, break off, subscribe again.
  std::vector<std::string> seen;
  for (int run = 0; run < 10; ++run) {
    Subscriber subscriber(Shared(), FromCheckpoint(name, type));
    const auto got = subscriber.NextEvents(4);
    REQUIRE(got.size() >= 4);
    CHECK(subscriber.violation().empty());
    for (std::size_t i = 0; i < 4; ++i) seen.push_back(got[i].event_id());
    CHECK(
        MustSave(Shared(), name, got[3].global_position(), subscriber.confirmed().epoch()).saved());
    subscriber.call().Cancel();
  }
  CHECK(seen == wanted);
  // And live: nothing that was processed comes again, what is new does.
  Subscriber subscriber(Shared(), FromCheckpoint(name, type));
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  const auto fresh = NewEvents(1);
  MustAppend(Shared(), NewStream(type), fresh);
  const auto live = subscriber.NextEvents(1);
  REQUIRE(live.size() == 1);
  CHECK(live[0].event_id() == fresh[0].event_id());
}

TEST_CASE("ASubscriptionWithoutACheckpointStartsAtTheBeginning") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(3));
  v1::SubscribeRequest request;
  request.set_checkpoint("nobody");
  Subscriber subscriber(daemon->client(), request);
  CHECK(subscriber.NextEvents(3).size() == 3);
  CHECK(subscriber.confirmed().start_position() == 0);
}

TEST_CASE("ACheckpointOfALostHistoryIsPositionAheadUntilItIsReset") {
  auto daemon = Daemon::Start();
  Client& client = daemon->client();
  MustAppend(client, NewStream(), NewEvents(10));
  MustSave(client, "orders", 10, 1);
  // As if another server had taken over at position 6: events 7 to 10 are others now.
  RunSql(daemon->dsn(), "UPDATE log_head SET epoch = 2; INSERT INTO log_epochs VALUES (2, 7)");
  v1::SubscribeRequest request;
  request.set_checkpoint("orders");
  Subscriber refused(client, request);
  CHECK_FALSE(refused.Next().has_value());
  const CallStatus ahead = refused.call().Finish();
  CHECK(ahead.reason() == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(ahead.info().position() == 6);
  CHECK(ahead.info().epoch() == 2);

  v1::ListCheckpointsRequest list;
  list.set_only_stale(true);
  v1::ListCheckpointsResponse listed;
  REQUIRE(Ask(client, "ListCheckpoints", list, &listed).ok());
  REQUIRE(listed.checkpoints_size() == 1);
  CHECK(listed.checkpoints(0).is_rewound());

  v1::ResetCheckpointRequest reset;
  reset.set_projection_name("orders");
  reset.set_position(ahead.info().position());
  reset.set_epoch(ahead.info().epoch());
  v1::ResetCheckpointResponse done;
  REQUIRE(Ask(client, "ResetCheckpoint", reset, &done).ok());
  Subscriber subscriber(client, request);
  const auto events = subscriber.NextEvents(4);
  REQUIRE(events.size() == 4);
  CHECK(events[0].global_position() == 7);
}

TEST_CASE("ACheckpointIsKeptOverARestart") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(5));
  MustSave(daemon->client(), "orders", 4, 1);
  daemon->Restart();
  v1::SubscribeRequest request;
  request.set_checkpoint("orders");
  Subscriber subscriber(daemon->client(), request);
  const auto events = subscriber.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].global_position() == 5);
}

TEST_CASE("CheckpointErrorsAreTyped") {
  const std::string name = UniqueName("errors");
  MustAppend(Shared(), NewStream(), NewEvents(3));
  MustSave(Shared(), name, 2, 1);
  v1::SaveCheckpointRequest save;
  v1::SaveCheckpointResponse saved;
  CHECK(Ask(Shared(), "SaveCheckpoint", save, &saved).reason() == v1::ERROR_REASON_INVALID_REQUEST);
  save.set_projection_name(name);
  save.set_position(3);
  save.set_expected_position(1);
  const CallStatus moved = Ask(Shared(), "SaveCheckpoint", save, &saved);
  CHECK(moved.code == absl::StatusCode::kAborted);
  CHECK(moved.reason() == v1::ERROR_REASON_CONDITION_FAILED);
  CHECK(moved.info().position() == 2);
  save.clear_expected_position();
  save.set_position(1'000'000'000);
  const CallStatus ahead = Ask(Shared(), "SaveCheckpoint", save, &saved);
  CHECK(ahead.code == absl::StatusCode::kOutOfRange);
  CHECK(ahead.reason() == v1::ERROR_REASON_POSITION_AHEAD);
  v1::GetCheckpointRequest get;
  get.set_projection_name(UniqueName("none"));
  v1::GetCheckpointResponse got;
  const CallStatus none = Ask(Shared(), "GetCheckpoint", get, &got);
  CHECK(none.code == absl::StatusCode::kNotFound);
  CHECK(none.info().field() == "checkpoint");
}

TEST_CASE("ADeadLetterGoesFromFailedOverRetryingToResolvedAndAway") {
  Client& client = Shared();
  const std::string projection = UniqueName("letters");
  const auto events = NewEvents(2);
  MustAppend(client, NewStream(), events);
  v1::AddDeadLetterRequest add;
  add.set_event_id(events[0].event_id());
  add.set_projection_name(projection);
  add.set_error_message("no such customer");
  v1::AddDeadLetterResponse added;
  REQUIRE(Ask(client, "AddDeadLetter", add, &added).ok());
  CHECK(added.created());
  v1::RetryDeadLettersRequest retry;
  retry.mutable_selection()->set_all_of_projection(projection);
  v1::RetryDeadLettersResponse retried;
  REQUIRE(Ask(client, "RetryDeadLetters", retry, &retried).ok());
  CHECK(retried.retried() == 1);
  v1::ListDeadLettersRequest list;
  list.mutable_filter()->set_projection_name(projection);
  list.mutable_filter()->set_status(v1::DEAD_LETTER_STATUS_RETRYING);
  v1::ListDeadLettersResponse listed;
  REQUIRE(Ask(client, "ListDeadLetters", list, &listed).ok());
  REQUIRE(listed.dead_letters_size() == 1);
  CHECK(listed.dead_letters(0).event_data() == R"({"number": 0})");
  v1::ResolveDeadLettersRequest resolve;
  resolve.mutable_selection()->mutable_ids()->add_ids(listed.dead_letters(0).id());
  resolve.set_resolved_by("ada");
  v1::ResolveDeadLettersResponse resolved;
  REQUIRE(Ask(client, "ResolveDeadLetters", resolve, &resolved).ok());
  CHECK(resolved.resolved() == 1);
  v1::GetDeadLetterStatsRequest stats;
  stats.set_projection_name(projection);
  v1::GetDeadLetterStatsResponse counted;
  REQUIRE(Ask(client, "GetDeadLetterStats", stats, &counted).ok());
  REQUIRE(counted.stats_size() == 1);
  CHECK(counted.stats(0).resolved() == 1);
  v1::PurgeDeadLettersRequest purge;
  purge.set_projection_name(projection);
  purge.mutable_resolved_before()->set_seconds(4'000'000'000);
  v1::PurgeDeadLettersResponse purged;
  REQUIRE(Ask(client, "PurgeDeadLetters", purge, &purged).ok());
  CHECK(purged.purged() == 1);
  add.set_event_id(NewUuid());
  CHECK(Ask(client, "AddDeadLetter", add, &added).reason() == v1::ERROR_REASON_NOT_FOUND);
}
