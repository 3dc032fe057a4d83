#include "server/rpc/append_stream.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

// A lane that answers when the test says so.
class FakeLane {
 public:
  explicit FakeLane(FakeBackend* backend) {
    backend->submit = [this](ValidatedAppend append, Deadline, engine::PendingWrite::Done done) {
      MutexLock lock(&mutex_);
      const std::string id = append.request.stream().aggregate_id();
      waiting_[id] = std::move(done);
      ++submitted_;
      return [this, id] { Answer(id, absl::CancelledError("nothing was written"), true); };
    };
  }

  void Succeed(const std::string& id, std::int64_t version) {
    v1::AppendEventsResponse response;
    response.set_last_version(version);
    Answer(id, response, false);
  }
  int submitted() {
    MutexLock lock(&mutex_);
    return submitted_;
  }
  int cancelled() {
    MutexLock lock(&mutex_);
    return cancelled_;
  }

 private:
  void Answer(const std::string& id, absl::StatusOr<v1::AppendEventsResponse> answer, bool cancel) {
    engine::PendingWrite::Done done;
    {
      MutexLock lock(&mutex_);
      const auto found = waiting_.find(id);
      if (found == waiting_.end()) return;
      done = std::move(found->second);
      waiting_.erase(found);
      cancelled_ += cancel ? 1 : 0;
    }
    done(std::move(answer));
  }

  Mutex mutex_;
  std::map<std::string, engine::PendingWrite::Done> waiting_ ABSL_GUARDED_BY(mutex_);
  int submitted_ ABSL_GUARDED_BY(mutex_) = 0;
  int cancelled_ ABSL_GUARDED_BY(mutex_) = 0;
};

v1::AppendEventsStreamRequest Request(std::uint64_t id) {
  v1::AppendEventsStreamRequest request;
  request.set_correlation_id(id);
  *request.mutable_append() = OneEvent(std::to_string(id));
  return request;
}

}  // namespace

TEST_CASE("Answers come in the order of completion and carry their correlation id") {
  TestServer server;
  FakeLane lane(server.backend.get());
  const auto context = NewContext();
  const auto stream = server.stub->AppendEventsStream(context.get());
  for (const std::uint64_t id : {1, 2, 3}) REQUIRE(stream->Write(Request(id)));
  REQUIRE(stream->WritesDone());
  REQUIRE(Eventually([&] { return lane.submitted() == 3; }));
  v1::AppendEventsStreamResponse response;
  for (const int id : {3, 1, 2}) {
    lane.Succeed(std::to_string(id), id * 10);
    REQUIRE(stream->Read(&response));
    CHECK(response.correlation_id() == static_cast<std::uint64_t>(id));
    CHECK(response.appended().last_version() == id * 10);
  }
  // Half-closed and all answered: the call ends well.
  CHECK_FALSE(stream->Read(&response));
  CHECK(stream->Finish().ok());
  CHECK(server.Count("AppendEventsStream", grpc::StatusCode::OK) == 1);
}

TEST_CASE("A bad request is answered by an error, and those around it succeed") {
  TestServer server;
  server.backend->submit = [](ValidatedAppend, Deadline, const engine::PendingWrite::Done& done) {
    done(v1::AppendEventsResponse());
    return [] {};
  };
  const auto context = NewContext();
  const auto stream = server.stub->AppendEventsStream(context.get());
  std::vector<v1::AppendEventsStreamRequest> requests;
  for (std::uint64_t id = 1; id <= 6; ++id) requests.push_back(Request(id));
  requests[1].clear_append();
  requests[2].mutable_append()->mutable_stream()->set_aggregate_id("\xff");
  requests[4].mutable_append()->mutable_events(0)->set_payload("{");
  for (const auto& request : requests) REQUIRE(stream->Write(request));
  REQUIRE(stream->WritesDone());
  std::map<std::uint64_t, v1::AppendEventsStreamResponse> answers;
  v1::AppendEventsStreamResponse response;
  while (stream->Read(&response)) answers[response.correlation_id()] = response;
  CHECK(stream->Finish().ok());
  REQUIRE(answers.size() == 6);
  for (const std::uint64_t id : {1, 4, 6}) CHECK(answers[id].has_appended());
  CHECK(UnpackDetails(answers[2].error()).at(0).field() == "append");
  CHECK(UnpackDetails(answers[3].error()).at(0).field() == "append.stream.aggregate_id");
  CHECK(UnpackDetails(answers[5].error()).at(0).reason() == v1::ERROR_REASON_INVALID_EVENT);
}

TEST_CASE("No more is read while too many requests are unanswered") {
  RpcOptions options;
  options.append_stream_in_flight_max = 2;
  TestServer server(options);
  FakeLane lane(server.backend.get());
  const auto context = NewContext();
  const auto stream = server.stub->AppendEventsStream(context.get());
  for (const std::uint64_t id : {1, 2, 3, 4}) REQUIRE(stream->Write(Request(id)));
  REQUIRE(stream->WritesDone());
  v1::AppendEventsStreamResponse response;
  for (int id = 1; id <= 4; ++id) {
    // At each answer one more is read, and never a third one at once.
    REQUIRE(Eventually([&] { return lane.submitted() == std::min(4, id + 1); }));
    lane.Succeed(std::to_string(id), 1);
    REQUIRE(stream->Read(&response));
    CHECK(lane.submitted() <= id + 2);
  }
  CHECK_FALSE(stream->Read(&response));
  CHECK(stream->Finish().ok());
}

TEST_CASE("A client that goes away cancels what is in flight") {
  TestServer server;
  FakeLane lane(server.backend.get());
  const auto context = NewContext();
  const auto stream = server.stub->AppendEventsStream(context.get());
  for (const std::uint64_t id : {1, 2, 3}) REQUIRE(stream->Write(Request(id)));
  REQUIRE(Eventually([&] { return lane.submitted() == 3; }));
  lane.Succeed("2", 1);
  v1::AppendEventsStreamResponse response;
  REQUIRE(stream->Read(&response));
  context->TryCancel();
  CHECK(stream->Finish().error_code() == grpc::StatusCode::CANCELLED);
  CHECK(Eventually([&] { return lane.cancelled() == 2; }));
  CHECK(Eventually([&] { return server.InFlight("AppendEventsStream") == 0; }));
  CHECK(server.Count("AppendEventsStream", grpc::StatusCode::CANCELLED) == 1);
}

TEST_CASE("Draining ends the call after what is in flight was answered") {
  TestServer server;
  FakeLane lane(server.backend.get());
  const auto context = NewContext();
  const auto stream = server.stub->AppendEventsStream(context.get());
  for (const std::uint64_t id : {1, 2}) REQUIRE(stream->Write(Request(id)));
  REQUIRE(Eventually([&] { return lane.submitted() == 2; }));
  server.service().BeginDrain();
  v1::AppendEventsStreamResponse response;
  for (const char* id : {"1", "2"}) {
    lane.Succeed(id, 5);
    REQUIRE(stream->Read(&response));
    CHECK(response.appended().last_version() == 5);
  }
  CHECK_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(DetailOf(status).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(lane.cancelled() == 0);
}

TEST_CASE("Answers that arrive after the client has gone are dropped") {
  TestServer server;
  Mutex mutex;
  engine::PendingWrite::Done late;
  server.backend->submit = [&](ValidatedAppend, Deadline, engine::PendingWrite::Done done) {
    MutexLock lock(&mutex);
    late = std::move(done);
    return [] {};  // already in a batch: cannot be cancelled
  };
  const auto context = NewContext();
  const auto stream = server.stub->AppendEventsStream(context.get());
  REQUIRE(stream->Write(Request(1)));
  REQUIRE(Eventually([&] {
    MutexLock lock(&mutex);
    return static_cast<bool>(late);
  }));
  context->TryCancel();
  CHECK(stream->Finish().error_code() == grpc::StatusCode::CANCELLED);
  // The call is over although the lane still works on it.
  CHECK(Eventually(
      [&] { return server.Count("AppendEventsStream", grpc::StatusCode::CANCELLED) == 1; }));
  MutexLock lock(&mutex);
  late(v1::AppendEventsResponse());
  late = nullptr;
  CHECK(Eventually([&] { return server.InFlight("AppendEventsStream") == 0; }));
}

}  // namespace eventstore::rpc
