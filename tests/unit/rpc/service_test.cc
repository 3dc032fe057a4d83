#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "server/core/ids.h"
#include "server/rpc/event_store_service.h"
#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

constexpr char kAppendEvents[] = "/eventstore.v1.EventStoreService/AppendEvents";

v1::StreamId OrderOne() {
  v1::StreamId stream;
  stream.set_aggregate_type("Order");
  stream.set_aggregate_id("1");
  return stream;
}

template <typename Response>
grpc::Status ReadToEnd(std::unique_ptr<grpc::ClientReader<Response>> reader) {
  Response response;
  while (reader->Read(&response)) {
  }
  return reader->Finish();
}

// One AppendEventsStream call with one request: the error in its answer.
google::rpc::Status AppendOnStream(TestServer& server, const v1::AppendEventsRequest& append) {
  const auto context = NewContext();
  const auto stream = server.stub->AppendEventsStream(context.get());
  v1::AppendEventsStreamRequest request;
  request.set_correlation_id(77);
  *request.mutable_append() = append;
  REQUIRE(stream->Write(request));
  REQUIRE(stream->WritesDone());
  v1::AppendEventsStreamResponse response;
  REQUIRE(stream->Read(&response));
  CHECK(response.correlation_id() == 77);
  CHECK_FALSE(stream->Read(&response));
  CHECK(stream->Finish().ok());
  return response.error();
}

// Every method with the same valid stream, and how it ended.
std::vector<std::pair<std::string, grpc::Status>> CallAll(TestServer& server) {
  std::vector<std::pair<std::string, grpc::Status>> results;
  const auto unary = [&results](const char* name, auto method) {
    const auto context = NewContext();
    results.emplace_back(name, method(context.get()));
  };
  unary("AppendEvents", [&](grpc::ClientContext* context) {
    v1::AppendEventsResponse response;
    return server.stub->AppendEvents(context, OneEvent("1"), &response);
  });
  unary("Transact", [&](grpc::ClientContext* context) {
    v1::TransactRequest request;
    *request.add_appends() = OneEvent("1");
    v1::TransactResponse response;
    return server.stub->Transact(context, request, &response);
  });
  unary("GetStreamInfo", [&](grpc::ClientContext* context) {
    v1::GetStreamInfoRequest request;
    *request.mutable_stream() = OrderOne();
    v1::GetStreamInfoResponse response;
    return server.stub->GetStreamInfo(context, request, &response);
  });
  unary("ListStreams", [&](grpc::ClientContext* context) {
    v1::ListStreamsResponse response;
    return server.stub->ListStreams(context, {}, &response);
  });
  unary("GetEvent", [&](grpc::ClientContext* context) {
    v1::GetEventRequest request;
    request.set_event_id(FormatUuid(MakeUuidV7()));
    v1::GetEventResponse response;
    return server.stub->GetEvent(context, request, &response);
  });
  unary("GetHead", [&](grpc::ClientContext* context) {
    v1::GetHeadResponse response;
    return server.stub->GetHead(context, {}, &response);
  });
  unary("ReadStream", [&](grpc::ClientContext* context) {
    v1::ReadStreamRequest request;
    *request.mutable_stream() = OrderOne();
    return ReadToEnd(server.stub->ReadStream(context, request));
  });
  unary("ReadAll",
        [&](grpc::ClientContext* context) { return ReadToEnd(server.stub->ReadAll(context, {})); });
  unary("Subscribe", [&](grpc::ClientContext* context) {
    return ReadToEnd(server.stub->Subscribe(context, {}));
  });
  return results;
}

}  // namespace

TEST_CASE("Every method tells the same rich error when there is no store") {
  TestServer server;
  server.find_error = StoreUnavailable("the store is not open yet");
  for (const auto& [method, status] : CallAll(server)) {
    INFO(method);
    CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(status.error_message() == "the store is not open yet");
    CHECK(DetailOf(status).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
    CHECK(server.Count(method, grpc::StatusCode::UNAVAILABLE) == 1);
  }
  const google::rpc::Status error = AppendOnStream(server, OneEvent("1"));
  CHECK(error.code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(UnpackDetails(error).at(0).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
}

TEST_CASE("Every method passes on what the store answers") {
  TestServer server;  // its backend says that the database is away
  for (const auto& [method, status] : CallAll(server)) {
    INFO(method);
    CHECK(status.error_message() == "the database is away");
    CHECK(DetailOf(status).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
  }
  CHECK(AppendOnStream(server, OneEvent("1")).message() == "the database is away");
}

TEST_CASE("Every error reason reaches unary, server-streaming and bidirectional calls alike") {
  TestServer server;
  const google::protobuf::EnumDescriptor* reasons = v1::ErrorReason_descriptor();
  for (int i = 1; i < reasons->value_count(); ++i) {
    INFO(reasons->value(i)->name());
    v1::ErrorInfo info;
    info.set_reason(static_cast<v1::ErrorReason>(reasons->value(i)->number()));
    info.set_message("what was wrong");
    info.set_position(7);
    *info.mutable_stream() = OrderOne();
    server.find_error = MakeError(info);
    const auto matches = [&info](const v1::ErrorInfo& detail) {
      return detail.SerializeAsString() == info.SerializeAsString();
    };
    v1::AppendEventsResponse response;
    const auto context = NewContext();
    const grpc::Status unary = server.stub->AppendEvents(context.get(), OneEvent("1"), &response);
    CHECK(matches(DetailOf(unary)));
    const auto read_context = NewContext();
    const grpc::Status read = ReadToEnd(server.stub->ReadAll(read_context.get(), {}));
    CHECK(matches(DetailOf(read)));
    CHECK(read.error_code() == unary.error_code());
    const google::rpc::Status answer = AppendOnStream(server, OneEvent("1"));
    CHECK(matches(UnpackDetails(answer).at(0)));
    CHECK(answer.code() == unary.error_code());
  }
}

TEST_CASE("An invalid request names the field, whatever the kind of call") {
  TestServer server;
  v1::AppendEventsRequest bad = OneEvent("1");
  bad.clear_expected_version();
  const auto context = NewContext();
  v1::AppendEventsResponse response;
  const grpc::Status unary = server.stub->AppendEvents(context.get(), bad, &response);
  CHECK(unary.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(DetailOf(unary).field() == "expected_version");
  CHECK(UnpackDetails(AppendOnStream(server, bad)).at(0).field() == "expected_version");

  v1::ReadAllRequest read;
  read.set_limit(-1);
  const auto read_context = NewContext();
  const grpc::Status streaming = ReadToEnd(server.stub->ReadAll(read_context.get(), read));
  CHECK(streaming.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(DetailOf(streaming).field() == "limit");

  v1::GetEventRequest event;
  event.set_event_id("42");
  v1::GetEventResponse event_response;
  const auto event_context = NewContext();
  CHECK(DetailOf(server.stub->GetEvent(event_context.get(), event, &event_response)).field() ==
        "event_id");
}

TEST_CASE("Text that is not UTF-8 is INVALID_REQUEST in every kind of call") {
  TestServer server;
  v1::AppendEventsRequest bad = OneEvent("1");
  bad.mutable_stream()->set_aggregate_type("a\xff");
  const auto context = NewContext();
  v1::AppendEventsResponse response;
  const grpc::Status unary = server.stub->AppendEvents(context.get(), bad, &response);
  CHECK(unary.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(DetailOf(unary).reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(DetailOf(unary).field() == "stream.aggregate_type");
  CHECK(UnpackDetails(AppendOnStream(server, bad)).at(0).field() == "append.stream.aggregate_type");

  v1::ReadStreamRequest read;
  *read.mutable_stream() = bad.stream();
  const auto read_context = NewContext();
  CHECK(DetailOf(ReadToEnd(server.stub->ReadStream(read_context.get(), read))).field() ==
        "stream.aggregate_type");
}

namespace {

// A unary call with bytes of the test's choice.
grpc::Status CallRaw(TestServer& server, const std::string& method, const std::string& bytes,
                     grpc::ClientContext* context) {
  grpc::GenericStub stub(server.channel);
  grpc::CompletionQueue queue;
  const grpc::Slice slice(bytes);
  auto call = stub.PrepareUnaryCall(context, method, grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  REQUIRE(queue.Next(&tag, &ok));
  return status;
}

}  // namespace

TEST_CASE("Garbage is INVALID_REQUEST, not UNIMPLEMENTED") {
  TestServer server;
  const auto context = NewContext();
  const grpc::Status status = CallRaw(server, kAppendEvents, "\xff\xff\xff", context.get());
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(DetailOf(status).reason() == v1::ERROR_REASON_INVALID_REQUEST);
}

TEST_CASE("All of a transaction lies in one store") {
  TestServer server;
  const std::string tenant = FormatUuid(MakeUuidV7());
  server.tenant_backends[tenant] = std::make_shared<FakeBackend>("a store of its own");
  for (const auto& backend : {server.backend, server.tenant_backends[tenant]}) {
    backend->transact = [](const ValidatedTransaction&) { return v1::TransactResponse(); };
  }
  const auto transact = [&](const std::function<void(v1::TransactRequest*)>& change) {
    v1::TransactRequest request;
    *request.add_appends() = OneEvent("1");
    change(&request);
    v1::TransactResponse response;
    const auto context = NewContext();
    return server.stub->Transact(context.get(), request, &response);
  };
  const auto in_tenant = [&](v1::TransactRequest* request) {
    request->mutable_appends(0)->mutable_stream()->set_tenant_id(tenant);
  };
  CHECK(transact([](auto*) {}).ok());
  CHECK(transact(in_tenant).ok());
  CHECK(server.last_tenant == tenant);
  // What names no tenant goes with the rest.
  CHECK(transact([&](auto* request) {
          in_tenant(request);
          request->add_conditions();
          request->mutable_checkpoint()->set_projection_name("p");
        }).ok());
  const auto apart = [&](const std::string& field, auto change) {
    const grpc::Status status = transact(change);
    INFO(field);
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK(DetailOf(status).reason() == v1::ERROR_REASON_INVALID_REQUEST);
    CHECK(DetailOf(status).field() == field);
  };
  apart("appends[1]", [&](auto* request) {
    *request->add_appends() = OneEvent("2");
    request->mutable_appends(1)->mutable_stream()->set_tenant_id(tenant);
  });
  apart("conditions[0]", [&](auto* request) { request->add_conditions()->set_tenant_id(tenant); });
  apart("checkpoint", [&](auto* request) {
    request->mutable_checkpoint()->set_projection_name("p");
    request->mutable_checkpoint()->set_tenant_id(tenant);
  });
}

TEST_CASE("A method that does not exist is UNIMPLEMENTED") {
  TestServer server;
  const auto context = NewContext();
  const grpc::Status status =
      CallRaw(server, "/eventstore.v1.EventStoreService/NoSuchMethod", "", context.get());
  CHECK(status.error_code() == grpc::StatusCode::UNIMPLEMENTED);
}

TEST_CASE("A message over the transport's limit is refused by the transport, alone") {
  ServerOptions options = TestServer::DefaultServerOptions();
  options.message_bytes_max = 100'000;
  TestServer server({}, {}, options);
  v1::AppendEventsRequest large = OneEvent("1");
  large.mutable_events(0)->set_payload(std::string(200'000, ' '));
  v1::AppendEventsResponse response;
  const auto context = NewContext();
  CHECK(server.stub->AppendEvents(context.get(), large, &response).error_code() ==
        grpc::StatusCode::RESOURCE_EXHAUSTED);
  // Compressed it is small on the wire, but counts by what it becomes.
  const auto compressed = NewContext();
  compressed->set_compression_algorithm(GRPC_COMPRESS_GZIP);
  CHECK(server.stub->AppendEvents(compressed.get(), large, &response).error_code() ==
        grpc::StatusCode::RESOURCE_EXHAUSTED);
  const auto next = NewContext();
  CHECK(server.stub->AppendEvents(next.get(), OneEvent("1"), &response).error_message() ==
        "the database is away");
}

TEST_CASE("A request over our limit is TOO_LARGE and names the limit") {
  Limits limits;
  limits.request_bytes_max = 5000;
  TestServer server({}, limits);
  v1::AppendEventsRequest large = OneEvent("1");
  large.mutable_events(0)->set_content_type("text/plain");
  large.mutable_events(0)->set_payload(std::string(10'000, 'x'));
  v1::AppendEventsResponse response;
  const auto context = NewContext();
  const v1::ErrorInfo detail = DetailOf(server.stub->AppendEvents(context.get(), large, &response));
  CHECK(detail.reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(detail.limit_name() == "request_bytes_max");
}

namespace {

// A lane that answers nothing but cancellations.
struct StuckLane {
  explicit StuckLane(FakeBackend* backend) {
    backend->submit = [this](ValidatedAppend, Deadline deadline,
                             const engine::PendingWrite::Done& done) {
      had_deadline = deadline < std::chrono::steady_clock::now() + std::chrono::hours(1);
      ++submitted;
      return [this, done] {
        ++cancelled;
        done(absl::CancelledError("nothing was written"));
      };
    };
  }
  std::atomic<bool> had_deadline{false};
  std::atomic<int> submitted{0};
  std::atomic<int> cancelled{0};
};

}  // namespace

TEST_CASE("An append that a client gives up on is cancelled in the lane") {
  TestServer server;
  StuckLane lane(server.backend.get());
  const auto context = NewContext();
  grpc::Status status;
  std::thread client([&] {
    v1::AppendEventsResponse response;
    status = server.stub->AppendEvents(context.get(), OneEvent("1"), &response);
  });
  CHECK(Eventually([&] { return lane.submitted == 1; }));
  context->TryCancel();
  client.join();
  CHECK(status.error_code() == grpc::StatusCode::CANCELLED);
  CHECK(Eventually([&] { return lane.cancelled == 1; }));
  CHECK(lane.had_deadline);
  CHECK(Eventually([&] { return server.InFlight("AppendEvents") == 0; }));
}

TEST_CASE("An append whose deadline passes never stays in the lane") {
  TestServer server;
  StuckLane lane(server.backend.get());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  v1::AppendEventsResponse response;
  const grpc::Status status = server.stub->AppendEvents(&context, OneEvent("1"), &response);
  CHECK(status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  // On a busy machine it may not even have come there.
  CHECK(Eventually(
      [&] { return lane.cancelled == lane.submitted && server.InFlight("AppendEvents") == 0; }));
}

TEST_CASE("A call without a deadline has none in the store") {
  TestServer server;
  Deadline seen;
  server.backend->head = [&seen](Deadline deadline, const engine::Done<tables::Head>& done) {
    seen = deadline;
    tables::Head head;
    head.position = 42;
    head.epoch = 2;
    head.created_at_micros = 1'500'000;
    done(head);
  };
  grpc::ClientContext context;
  v1::GetHeadResponse response;
  REQUIRE(server.stub->GetHead(&context, {}, &response).ok());
  CHECK(seen == Deadline::max());
  CHECK(response.position() == 42);
  CHECK(response.epoch() == 2);
  CHECK(response.created_at().nanos() == 500'000'000);
  CHECK(server.Count("GetHead", grpc::StatusCode::OK) == 1);
}

TEST_CASE("The tenant chooses the store, in lower case") {
  TestServer server;
  const auto context = NewContext();
  v1::GetHeadRequest request;
  request.set_tenant_id("0190B2C4-0000-7000-8000-0000000000AA");
  v1::GetHeadResponse response;
  (void)server.stub->GetHead(context.get(), request, &response);
  CHECK(server.last_tenant == "0190b2c4-0000-7000-8000-0000000000aa");
}

TEST_CASE("The client's request id comes back, and one is made where it has none") {
  TestServer server;
  const auto returned_id = [&server](const char* sent) {
    const auto context = NewContext();
    if (sent != nullptr) context->AddMetadata("x-request-id", sent);
    v1::GetHeadResponse response;
    (void)server.stub->GetHead(context.get(), {}, &response);
    const auto& metadata = context->GetServerInitialMetadata();
    const auto found = metadata.find("x-request-id");
    REQUIRE(found != metadata.end());
    return std::string(found->second.data(), found->second.size());
  };
  CHECK(returned_id("order-17/attempt-2") == "order-17/attempt-2");
  CHECK(ParseUuid(returned_id(nullptr)).has_value());
  CHECK(ParseUuid(returned_id("has a space")).has_value());
  CHECK(returned_id(std::string(128, 'a').c_str()) == std::string(128, 'a'));
  CHECK(ParseUuid(returned_id(std::string(129, 'a').c_str())).has_value());
}

TEST_CASE("An internal error tells its request id and nothing else") {
  TestServer server;
  server.backend->head = [](Deadline, const engine::Done<tables::Head>& done) {
    done(absl::InternalError("SELECT secret"));
  };
  const auto context = NewContext();
  context->AddMetadata("x-request-id", "r-9");
  v1::GetHeadResponse response;
  const grpc::Status status = server.stub->GetHead(context.get(), {}, &response);
  CHECK(status.error_code() == grpc::StatusCode::INTERNAL);
  CHECK(status.error_message() == "internal error (request r-9)");
}

TEST_CASE("A draining service refuses new calls of every kind") {
  TestServer server;
  server.service().BeginDrain();
  for (const auto& [method, status] : CallAll(server)) {
    INFO(method);
    CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(DetailOf(status).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
    CHECK(status.error_message().find("shutting down") != std::string::npos);
  }
  const auto context = NewContext();
  const auto stream = server.stub->AppendEventsStream(context.get());
  v1::AppendEventsStreamResponse response;
  CHECK_FALSE(stream->Read(&response));
  CHECK(DetailOf(stream->Finish()).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
}

}  // namespace eventstore::rpc
