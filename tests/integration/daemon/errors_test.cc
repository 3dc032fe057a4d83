// Every reason that an error can have now, over every kind of call, with its code and its details.
#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "tests/support/daemon_events.h"
#include "tests/support/daemon_groups.h"

using namespace eventstore;
using namespace eventstore::testing;

namespace {

using Codes = absl::StatusCode;

v1::StreamId BadStream() { return {}; }

// Makes the errors. Each function gives how a call ended.
class Scenarios {
 public:
  Client& good() { return SharedDaemon().client(); }

  static CallStatus Unary(Client& client, const v1::AppendEventsRequest& request) {
    v1::AppendEventsResponse response;
    return Append(client, request, &response);
  }

  // The same as an answer on a call of many; the call itself must end well.
  static CallStatus Bidi(Client& client, const v1::AppendEventsRequest& append) {
    v1::AppendEventsStreamRequest request;
    request.set_correlation_id(77);
    *request.mutable_append() = append;
    const auto call = client.Start("AppendEventsStream");
    CHECK(call->Write(request.SerializeAsString()));
    call->WritesDone();
    const auto answer = ReadMessage<v1::AppendEventsStreamResponse>(*call);
    const CallStatus end = call->Finish();
    if (!answer.has_value()) return end;
    CHECK(end.ok());
    CHECK(answer->correlation_id() == 77);
    return StatusOf(answer->error().code(), answer->error().message(),
                    answer->error().SerializeAsString());
  }

  template <typename Request>
  static CallStatus Stream(Client& client, const std::string& method, const Request& request) {
    return client.Stream(method, request)->Finish();
  }

  static CallStatus Head(Client& client) {
    v1::GetHeadResponse response;
    return client.Unary("GetHead", v1::GetHeadRequest(), &response);
  }

  v1::AppendEventsRequest Conflict() { return AppendRequest(NewStream(), Exact(3), NewEvents(1)); }

  v1::AppendEventsRequest Duplicate() {
    const auto events = NewEvents(1);
    MustAppend(good(), NewStream(), events);
    return AppendRequest(NewStream(), Any(), events);
  }

  v1::AppendEventsRequest Deleted() {
    const auto stream = NewStream();
    MustAppend(good(), stream, NewEvents(1));
    // What deleting a stream for good will write.
    RunSql(SharedDaemon().dsn(),
           "BEGIN; SELECT FROM log_head FOR UPDATE;"
           "UPDATE streams SET tombstoned = true WHERE aggregate_id = '" +
               stream.aggregate_id() +
               "'; UPDATE log_head SET revision = revision + 1;"
               "INSERT INTO log_changes (revision, stream_key, kind) SELECT revision, stream_key,"
               " 'test' FROM log_head, streams WHERE aggregate_id = '" +
               stream.aggregate_id() + "'; COMMIT");
    return AppendRequest(stream, Any(), NewEvents(1));
  }

  v1::AppendEventsRequest BadEvent() {
    auto events = NewEvents(3);
    events[2].clear_event_type();
    return AppendRequest(NewStream(), Any(), events);
  }

  v1::AppendEventsRequest TooLarge() {
    auto events = NewEvents(1);
    for (int i = 0; i < 33; ++i) events[0].add_tags("tag" + std::to_string(i));
    return AppendRequest(NewStream(), Any(), events);
  }

  v1::ReadAllRequest TooLargeFilter() {
    v1::ReadAllRequest request;
    for (int i = 0; i < 101; ++i) request.mutable_filter()->add_tags("t" + std::to_string(i));
    return request;
  }

  // A daemon whose database is not there.
  Client& down() {
    if (down_ == nullptr) {
      down_ = Daemon::Start(
          {.dsn = "host=127.0.0.1 port=1 user=nobody dbname=none", .wait_ready = false});
    }
    return down_->client();
  }

  // A daemon whose store begins at position 6: what lay before is archived.
  Client& archived() {
    if (archived_ == nullptr) {
      archived_ = Daemon::Start();
      archived_events_ = NewEvents(10);
      MustAppend(archived_->client(), archived_stream_, archived_events_);
      RunSql(
          archived_->dsn(),
          "UPDATE log_head SET first_position = 6; DELETE FROM events WHERE global_position < 6");
    }
    return archived_->client();
  }
  v1::ReadStreamRequest ArchivedStream() {
    v1::ReadStreamRequest request;
    *request.mutable_stream() = archived_stream_;
    return request;
  }
  CallStatus ArchivedEvent() {
    Client& client = archived();
    v1::GetEventRequest request;
    request.set_event_id(archived_events_[2].event_id());
    v1::GetEventResponse response;
    return client.Unary("GetEvent", request, &response);
  }

  CallStatus Missing() {
    v1::GetEventRequest request;
    request.set_event_id(NewUuid());
    v1::GetEventResponse response;
    return good().Unary("GetEvent", request, &response);
  }

 private:
  std::unique_ptr<Daemon> down_;
  std::unique_ptr<Daemon> archived_;
  v1::StreamId archived_stream_ = NewStream();
  std::vector<v1::NewEvent> archived_events_;
};

struct Case {
  std::string name;
  v1::ErrorReason reason;
  Codes code;
  std::function<CallStatus()> call;
  std::function<bool(const v1::ErrorInfo&)> has_fields;
};

bool NoFields(const v1::ErrorInfo&) { return true; }

std::vector<Case> CasesOfAppends(Scenarios& make) {
  struct Kind {
    v1::ErrorReason reason;
    Codes code;
    std::function<v1::AppendEventsRequest()> request;
    std::function<bool(const v1::ErrorInfo&)> has_fields;
  };
  const std::vector<Kind> kinds = {
      {v1::ERROR_REASON_VERSION_CONFLICT, Codes::kAborted, [&] { return make.Conflict(); },
       [](const auto& info) {
         return info.has_stream() && info.expected().exact() == 3 && info.actual() == 0;
       }},
      {v1::ERROR_REASON_DUPLICATE_EVENT_ID, Codes::kAlreadyExists, [&] { return make.Duplicate(); },
       [](const auto& info) {
         return info.event_id().size() == 36 && info.has_stream() && info.position() > 0;
       }},
      {v1::ERROR_REASON_STREAM_DELETED, Codes::kFailedPrecondition, [&] { return make.Deleted(); },
       [](const auto& info) { return info.has_stream(); }},
      {v1::ERROR_REASON_INVALID_EVENT, Codes::kInvalidArgument, [&] { return make.BadEvent(); },
       [](const auto& info) {
         return info.field().find("events[2].event_type") != std::string::npos && info.index() == 2;
       }},
      {v1::ERROR_REASON_INVALID_REQUEST, Codes::kInvalidArgument,
       [] { return AppendRequest(BadStream(), Any(), NewEvents(1)); },
       [](const auto& info) { return info.field().find("stream") != std::string::npos; }},
      {v1::ERROR_REASON_TOO_LARGE, Codes::kInvalidArgument, [&] { return make.TooLarge(); },
       [](const auto& info) {
         return info.limit_name() == "tags_max" && info.limit() == 32 && info.value() == 33 &&
                info.has_index() && info.index() == 0;
       }},
  };
  std::vector<Case> cases;
  for (const Kind& kind : kinds) {
    const std::string name = v1::ErrorReason_Name(kind.reason);
    cases.push_back({name + " unary", kind.reason, kind.code,
                     [&make, kind] { return make.Unary(make.good(), kind.request()); },
                     kind.has_fields});
    cases.push_back({name + " bidi", kind.reason, kind.code,
                     [&make, kind] { return make.Bidi(make.good(), kind.request()); },
                     kind.has_fields});
  }
  return cases;
}

std::vector<Case> CasesOfReads(Scenarios& make) {
  v1::ReadAllRequest negative;
  negative.set_after_position(-1);
  v1::SubscribeRequest negative_start;
  negative_start.set_after_position(-1);
  v1::ReadAllRequest ahead;
  ahead.set_after_position(INT64_MAX);
  v1::SubscribeRequest start_ahead;
  start_ahead.set_after_position(INT64_MAX);
  const auto field = [](const std::string& name) {
    return [name](const v1::ErrorInfo& info) { return info.field() == name; };
  };
  const auto is_ahead = [](const v1::ErrorInfo& info) {
    return info.value() == INT64_MAX && info.epoch() == 1 && info.limit() >= info.position();
  };
  const auto is_archived = [](const v1::ErrorInfo& info) { return info.position() == 6; };
  const auto invalid = v1::ERROR_REASON_INVALID_REQUEST;
  const auto archived = v1::ERROR_REASON_ARCHIVED;
  return {
      {"INVALID_REQUEST ReadStream", invalid, Codes::kInvalidArgument,
       [&] { return make.Stream(make.good(), "ReadStream", v1::ReadStreamRequest()); },
       [](const auto& info) { return info.field().find("stream") == 0; }},
      {"INVALID_REQUEST ReadAll", invalid, Codes::kInvalidArgument,
       [&make, negative] { return make.Stream(make.good(), "ReadAll", negative); },
       field("after_position")},
      {"INVALID_REQUEST Subscribe", invalid, Codes::kInvalidArgument,
       [&make, negative_start] { return make.Stream(make.good(), "Subscribe", negative_start); },
       field("after_position")},
      {"TOO_LARGE ReadAll", v1::ERROR_REASON_TOO_LARGE, Codes::kInvalidArgument,
       [&] { return make.Stream(make.good(), "ReadAll", make.TooLargeFilter()); },
       [](const auto& info) {
         return info.limit_name() == "filter_values_max" && info.limit() == 100 &&
                info.value() == 101 && info.field() == "filter.tags";
       }},
      {"POSITION_AHEAD ReadAll", v1::ERROR_REASON_POSITION_AHEAD, Codes::kOutOfRange,
       [&make, ahead] { return make.Stream(make.good(), "ReadAll", ahead); }, is_ahead},
      {"POSITION_AHEAD Subscribe", v1::ERROR_REASON_POSITION_AHEAD, Codes::kOutOfRange,
       [&make, start_ahead] { return make.Stream(make.good(), "Subscribe", start_ahead); },
       is_ahead},
      {"ARCHIVED ReadAll", archived, Codes::kOutOfRange,
       [&] { return make.Stream(make.archived(), "ReadAll", v1::ReadAllRequest()); }, is_archived},
      {"ARCHIVED ReadStream", archived, Codes::kOutOfRange,
       [&] { return make.Stream(make.archived(), "ReadStream", make.ArchivedStream()); },
       is_archived},
      {"ARCHIVED Subscribe", archived, Codes::kOutOfRange,
       [&] { return make.Stream(make.archived(), "Subscribe", v1::SubscribeRequest()); },
       is_archived},
      {"ARCHIVED GetEvent", archived, Codes::kOutOfRange, [&] { return make.ArchivedEvent(); },
       is_archived},
      {"NOT_FOUND GetEvent", v1::ERROR_REASON_NOT_FOUND, Codes::kNotFound,
       [&] { return make.Missing(); }, [](const auto& info) { return !info.field().empty(); }},
  };
}

std::vector<Case> CasesWithoutDatabase(Scenarios& make) {
  const auto away = v1::ERROR_REASON_STORE_UNAVAILABLE;
  const auto good = [] { return AppendRequest(NewStream(), Any(), NewEvents(1)); };
  v1::ReadStreamRequest read;
  *read.mutable_stream() = NewStream();
  return {
      {"STORE_UNAVAILABLE AppendEvents", away, Codes::kUnavailable,
       [&make, good] { return make.Unary(make.down(), good()); }, NoFields},
      {"STORE_UNAVAILABLE AppendEventsStream", away, Codes::kUnavailable,
       [&make, good] { return make.Bidi(make.down(), good()); }, NoFields},
      {"STORE_UNAVAILABLE GetHead", away, Codes::kUnavailable,
       [&make] { return make.Head(make.down()); }, NoFields},
      {"STORE_UNAVAILABLE ReadStream", away, Codes::kUnavailable,
       [&make, read] { return make.Stream(make.down(), "ReadStream", read); }, NoFields},
      {"STORE_UNAVAILABLE ReadAll", away, Codes::kUnavailable,
       [&make] { return make.Stream(make.down(), "ReadAll", v1::ReadAllRequest()); }, NoFields},
      {"STORE_UNAVAILABLE Subscribe", away, Codes::kUnavailable,
       [&make] { return make.Stream(make.down(), "Subscribe", v1::SubscribeRequest()); }, NoFields},
  };
}

std::vector<Case> CasesOfGroups(Scenarios& make) {
  return {
      {"ALREADY_EXISTS CreateConsumerGroup", v1::ERROR_REASON_ALREADY_EXISTS, Codes::kAlreadyExists,
       [&make] {
         v1::CreateConsumerGroupRequest request;
         v1::CreateConsumerGroupResponse response;
         request.set_name(UniqueName("g"));
         CreateGroup(make.good(), request.name());
         return make.good().Unary(GroupMethod("CreateConsumerGroup"), request, &response);
       },
       [](const auto& info) { return !info.field().empty(); }},
      {"CONDITION_FAILED UpdateConsumerGroup", v1::ERROR_REASON_CONDITION_FAILED, Codes::kAborted,
       [&make] {
         v1::UpdateConsumerGroupRequest request;
         v1::UpdateConsumerGroupResponse response;
         request.set_name(UniqueName("g"));
         request.set_expected_revision(2);
         CreateGroup(make.good(), request.name());
         return make.good().Unary(GroupMethod("UpdateConsumerGroup"), request, &response);
       },
       [](const auto& info) { return info.field() == "expected_revision" && info.actual() == 1; }},
  };
}

// These need a daemon in a state of its own each; tests of their own below and in overload_test.cc.
const std::set<v1::ErrorReason> kElsewhere = {v1::ERROR_REASON_OVERLOADED,
                                              v1::ERROR_REASON_SLOW_CONSUMER};
// Of services that are not there yet.
const std::set<v1::ErrorReason> kNotReachable = {v1::ERROR_REASON_UNSPECIFIED,
                                                 v1::ERROR_REASON_UNAUTHENTICATED,
                                                 v1::ERROR_REASON_PERMISSION_DENIED};

}  // namespace

TEST_CASE("EveryErrorReasonOverEveryKindOfCall") {
  SharedDaemon();
  Scenarios make;
  std::vector<Case> cases = CasesOfAppends(make);
  for (const auto& more : {CasesOfReads(make), CasesWithoutDatabase(make), CasesOfGroups(make)}) {
    cases.insert(cases.end(), more.begin(), more.end());
  }
  std::set<v1::ErrorReason> seen;
  for (const Case& one : cases) {
    const CallStatus status = one.call();
    INFO(one.name << ": " << status.Text());
    CHECK(status.code == one.code);
    CHECK(status.reason() == one.reason);
    CHECK(one.has_fields(status.info()));
    CHECK_FALSE(status.message.empty());
    CHECK(status.info().message() == status.message);
    CHECK(status.details_bytes > 0);
    CHECK(status.details_bytes <= 4096);
    seen.insert(status.reason());
  }
  for (int reason = 0; reason < v1::ErrorReason_ARRAYSIZE; ++reason) {
    const auto value = static_cast<v1::ErrorReason>(reason);
    INFO("no case makes " << v1::ErrorReason_Name(value));
    CHECK(seen.count(value) + kElsewhere.count(value) + kNotReachable.count(value) == 1);
  }
}

TEST_CASE("ManyProblemsAreToldOfTogetherWithinFourKibibytes") {
  auto events = NewEvents(1000);
  for (auto& event : events) {
    event.set_event_type(std::string(300, 'x'));
    event.set_payload("{\"broken\": " + std::string(200, '['));
  }
  v1::AppendEventsResponse response;
  const CallStatus status =
      Append(SharedDaemon().client(), AppendRequest(BadStream(), Any(), events), &response);
  CHECK(status.code == absl::StatusCode::kInvalidArgument);
  CHECK(status.details.size() > 3);
  CHECK(status.details_bytes <= 4096);
  CHECK(status.info().truncated());
  CHECK(status.info().total() >= 2002);
}

TEST_CASE("AMethodThatIsNotThereIsUnimplemented") {
  std::string response;
  CHECK(SharedDaemon().client().Raw("NoSuchMethod", "", &response).code ==
        absl::StatusCode::kUnimplemented);
}
