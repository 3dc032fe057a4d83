// Consumer groups, through the public door: made, changed, listed, deleted, and calls that are
// refused.
#include <catch2/catch.hpp>

#include "tests/support/daemon_groups.h"

using namespace eventstore;
using namespace eventstore::testing;
using std::chrono::milliseconds;

TEST_CASE("UnknownGroupsAndDeletedOnesEndTheCallWithTheReason", "[groups]") {
  auto daemon = Daemon::Start();
  Consumer nobody(daemon->client(), "missing");
  CHECK_FALSE(nobody.Next().has_value());
  CHECK(nobody.call().Finish().reason() == v1::ERROR_REASON_NOT_FOUND);
  CreateGroup(daemon->client(), "g");
  Consumer consumer(daemon->client(), "g");
  REQUIRE(consumer.WaitForLanes(16));
  v1::DeleteConsumerGroupRequest request;
  request.set_name("g");
  v1::DeleteConsumerGroupResponse response;
  CHECK(daemon->client().Unary(GroupMethod("DeleteConsumerGroup"), request, &response).ok());
  while (consumer.Next().has_value()) {
  }
  CHECK(consumer.call().Finish().reason() == v1::ERROR_REASON_NOT_FOUND);
  CHECK(daemon->client().Unary(GroupMethod("DeleteConsumerGroup"), request, &response).reason() ==
        v1::ERROR_REASON_NOT_FOUND);
  // Another one of that name is another one.
  CreateGroup(daemon->client(), "g");
  Consumer again(daemon->client(), "g");
  CHECK(again.WaitForLanes(16));
}

TEST_CASE("SettingsChangeWithoutAnyMemberBeingDropped", "[groups]") {
  auto daemon = Daemon::Start();
  CreateGroup(daemon->client(), "g");
  Consumer consumer(daemon->client(), "g");
  REQUIRE(consumer.WaitForLanes(16));
  v1::UpdateConsumerGroupRequest request;
  request.set_name("g");
  SetMillis(300, request.mutable_settings()->mutable_ack_timeout());
  request.mutable_settings()->set_max_attempts(1);
  request.set_expected_revision(1);
  v1::UpdateConsumerGroupResponse response;
  CHECK(daemon->client().Unary(GroupMethod("UpdateConsumerGroup"), request, &response).ok());
  CHECK(response.group().revision() == 2);
  CHECK(response.group().settings().max_attempts() == 1);
  CHECK(response.group().settings().unsettled_span_max() == 1'000);
  CHECK(daemon->client().Unary(GroupMethod("UpdateConsumerGroup"), request, &response).reason() ==
        v1::ERROR_REASON_CONDITION_FAILED);
  request.clear_expected_revision();
  // The new time-out and number of attempts hold for the member that is there.
  CHECK(Eventually([&] {
    MustAppend(daemon->client(), NewStream(), NewEvents(1));
    (void)consumer.NextEvents(1, milliseconds(1'000));
    return FailedDeadLetters(daemon->client(), "g") > 0;
  }));
  CHECK_FALSE(consumer.call().ended());
}

TEST_CASE("GroupsAreListedPageByPage", "[groups]") {
  auto daemon = Daemon::Start();
  for (const char* name : {"c", "a", "b"}) CreateGroup(daemon->client(), name);
  v1::ListConsumerGroupsRequest request;
  request.set_page_size(2);
  std::vector<std::string> names;
  do {
    v1::ListConsumerGroupsResponse page;
    REQUIRE(daemon->client().Unary(GroupMethod("ListConsumerGroups"), request, &page).ok());
    for (const auto& group : page.groups()) names.push_back(group.name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  CHECK(names == std::vector<std::string>{"a", "b", "c"});
  v1::CreateConsumerGroupRequest again;
  again.set_name("a");
  v1::CreateConsumerGroupResponse response;
  CHECK(daemon->client().Unary(GroupMethod("CreateConsumerGroup"), again, &response).reason() ==
        v1::ERROR_REASON_ALREADY_EXISTS);
}

TEST_CASE("AGroupStartsWhereItWasTold", "[groups]") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(5));
  v1::CreateConsumerGroupRequest request;
  v1::CreateConsumerGroupResponse response;
  request.set_name("end");
  request.mutable_end();
  REQUIRE(daemon->client().Unary(GroupMethod("CreateConsumerGroup"), request, &response).ok());
  CHECK(response.group().lag_positions() == 0);
  request.set_name("after");
  request.set_after_position(3);
  REQUIRE(daemon->client().Unary(GroupMethod("CreateConsumerGroup"), request, &response).ok());
  Consumer consumer(daemon->client(), "after");
  CHECK(consumer.NextEvents(2).size() == 2);
  request.set_name("ahead");
  request.set_after_position(6);
  CHECK(daemon->client().Unary(GroupMethod("CreateConsumerGroup"), request, &response).reason() ==
        v1::ERROR_REASON_POSITION_AHEAD);
}

TEST_CASE("WrongMessagesOfAMemberAreRefused", "[groups]") {
  Daemon& daemon = SharedDaemon();
  const std::string name = UniqueName("g");
  CreateGroup(daemon.client(), name);
  const int mistake = GENERATE(0, 1, 2, 3);
  auto call = daemon.client().Start(GroupMethod("Consume"));
  v1::ConsumeRequest join, wrong;
  join.mutable_join()->set_group(name);
  if (mistake == 0) wrong.mutable_nack();
  if (mistake == 1) wrong.mutable_join()->set_group(name);
  if (mistake == 2) wrong.mutable_credits()->set_max_in_flight(-1);
  if (mistake == 3) join.mutable_join()->clear_group();
  call->Write(join.SerializeAsString());
  if (mistake != 3) call->Write(wrong.SerializeAsString());
  while (call->Read().has_value()) {
  }
  CHECK(call->Finish().reason() == v1::ERROR_REASON_INVALID_REQUEST);
}

TEST_CASE("LanesAndFilterCannotBeChangedAndTheAnswerSaysWhatToDo", "[groups]") {
  Client& client = SharedDaemon().client();
  const std::string name = UniqueName("g");
  v1::ConsumerGroupSettings settings;
  settings.mutable_filter()->add_event_types("A");
  CreateGroup(client, name, settings);
  v1::UpdateConsumerGroupRequest request;
  v1::UpdateConsumerGroupResponse response;
  request.set_name(name);
  request.mutable_settings()->set_max_attempts(7);
  const bool is_lanes = GENERATE(true, false);
  if (is_lanes) {
    request.mutable_settings()->set_lanes(8);
  } else {
    request.mutable_settings()->mutable_filter()->add_event_types("B");
  }
  const CallStatus status = client.Unary(GroupMethod("UpdateConsumerGroup"), request, &response);
  INFO(status.Text());
  CHECK(status.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(status.info().field() == (is_lanes ? "settings.lanes" : "settings.filter"));
  CHECK_THAT(status.info().message(), Catch::Contains("create another group"));
  // Nothing of it was changed. What it has already may be said again.
  CHECK(GetGroup(client, name).settings().max_attempts() == 5);
  *request.mutable_settings() = GetGroup(client, name).settings();
  CHECK(client.Unary(GroupMethod("UpdateConsumerGroup"), request, &response).ok());
}
