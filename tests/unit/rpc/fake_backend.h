// A server in this process over a backend that tests script, and what they wait with.
#ifndef EVENTSTORE_TESTS_UNIT_RPC_FAKE_BACKEND_H_
#define EVENTSTORE_TESTS_UNIT_RPC_FAKE_BACKEND_H_

#include <grpcpp/create_channel.h>
#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "eventstore/v1/errors.pb.h"
#include "eventstore/v1/event_store_service.grpc.pb.h"
#include "google/rpc/status.pb.h"

#include "server/core/errors.h"
#include "server/core/mutex.h"
#include "server/rpc/server.h"
#include "server/rpc/services.h"
#include "server/telemetry/metrics.h"

namespace eventstore::rpc {

// Longest wait for what must happen; only a failing test waits so long.
inline constexpr std::chrono::seconds kPatience{20};

inline Deadline Patience() { return std::chrono::steady_clock::now() + kPatience; }

// Whether `condition` comes true in time.
template <typename Condition>
bool Eventually(Condition condition) {
  const Deadline deadline = Patience();
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// A subscription whose messages the test hands out.
class FakeFeed final : public Feed {
 public:
  void RequestNext(engine::Subscription::Next next) override {
    std::function<void()> answer;
    {
      MutexLock lock(&mutex_);
      next_ = std::move(next);
      answer = Match();
    }
    if (answer) answer();
  }
  void Close() override {
    {
      MutexLock lock(&mutex_);
      closed_ = true;
    }
    Give(absl::CancelledError("the subscription was closed"));
  }
  const std::string& id() const override { return id_; }

  // The next answer.
  void Give(absl::StatusOr<engine::SubscriptionMessage> message) {
    std::function<void()> answer;
    {
      MutexLock lock(&mutex_);
      messages_.push_back(std::move(message));
      answer = Match();
    }
    if (answer) answer();
  }
  void Give(engine::SubscriptionMessage::Kind kind, std::int64_t position) {
    engine::SubscriptionMessage message;
    message.kind = kind;
    message.position = position;
    message.epoch = 1;
    Give(std::move(message));
  }
  bool closed() {
    MutexLock lock(&mutex_);
    return closed_;
  }
  // How many answers the service was given and has begun to write.
  int taken() {
    MutexLock lock(&mutex_);
    return taken_;
  }

 private:
  std::function<void()> Match() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!next_ || messages_.empty()) return nullptr;
    auto message =
        std::make_shared<absl::StatusOr<engine::SubscriptionMessage>>(std::move(messages_.front()));
    messages_.erase(messages_.begin());
    return [this, next = std::exchange(next_, nullptr), message] {
      next(std::move(*message));
      MutexLock lock(&mutex_);
      ++taken_;
    };
  }

  const std::string id_ = "0190b2c4-0000-7000-8000-000000000001";
  Mutex mutex_;
  engine::Subscription::Next next_ ABSL_GUARDED_BY(mutex_);
  std::vector<absl::StatusOr<engine::SubscriptionMessage>> messages_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int taken_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Answers what the test set, by type of request; unset, the store is away.
#define EVENTSTORE_FAKE_METHOD(Name)                                                               \
  std::function<absl::StatusOr<v1::Name##Response>(const v1::Name##Request&)> on_##Name;           \
  void Name(v1::Name##Request request, Deadline, engine::Done<v1::Name##Response> done) override { \
    if (!on_##Name) return done(StoreUnavailable("the database is away"));                         \
    done(on_##Name(request));                                                                      \
  }

class FakeProjections final : public engine::Projections {
 public:
  EVENTSTORE_FAKE_METHOD(SaveCheckpoint)
  EVENTSTORE_FAKE_METHOD(GetCheckpoint)
  EVENTSTORE_FAKE_METHOD(ListCheckpoints)
  EVENTSTORE_FAKE_METHOD(ResetCheckpoint)
  EVENTSTORE_FAKE_METHOD(DeleteCheckpoint)
};

class FakeDeadLetters final : public engine::DeadLetters {
 public:
  EVENTSTORE_FAKE_METHOD(AddDeadLetter)
  EVENTSTORE_FAKE_METHOD(ListDeadLetters)
  EVENTSTORE_FAKE_METHOD(GetDeadLetter)
  EVENTSTORE_FAKE_METHOD(RetryDeadLetters)
  EVENTSTORE_FAKE_METHOD(ResolveDeadLetters)
  EVENTSTORE_FAKE_METHOD(GetDeadLetterStats)
  EVENTSTORE_FAKE_METHOD(PurgeDeadLetters)
};

class FakeSnapshots final : public engine::Snapshots {
 public:
  EVENTSTORE_FAKE_METHOD(SaveSnapshot)
  EVENTSTORE_FAKE_METHOD(GetSnapshot)
  EVENTSTORE_FAKE_METHOD(ListSnapshots)
  EVENTSTORE_FAKE_METHOD(DeleteSnapshots)
};

class FakeOutbox final : public engine::Outbox {
 public:
  EVENTSTORE_FAKE_METHOD(ClaimOutbox)
  EVENTSTORE_FAKE_METHOD(CompleteOutbox)
  EVENTSTORE_FAKE_METHOD(FailOutbox)
  EVENTSTORE_FAKE_METHOD(ListOutbox)
  EVENTSTORE_FAKE_METHOD(RetryOutbox)
  EVENTSTORE_FAKE_METHOD(GetOutboxStats)
  EVENTSTORE_FAKE_METHOD(PauseOutbox)
  EVENTSTORE_FAKE_METHOD(PurgeOutbox)
};

class FakePayloadIndexes final : public engine::PayloadIndexes {
 public:
  EVENTSTORE_FAKE_METHOD(CreatePayloadIndex)
  EVENTSTORE_FAKE_METHOD(DropPayloadIndex)
  EVENTSTORE_FAKE_METHOD(ListPayloadIndexes)
};
#undef EVENTSTORE_FAKE_METHOD

// Answers what changes streams and events as it is told, and keeps the last request of each.
class FakeLifecycle final : public engine::Lifecycle {
 public:
  absl::Status answer;
  v1::TruncateStreamRequest truncated;
  v1::DeleteStreamRequest deleted;
  v1::EraseEventsRequest erased;

  void TruncateStream(v1::TruncateStreamRequest request, Deadline,
                      engine::Done<v1::TruncateStreamResponse> done) override {
    truncated = std::move(request);
    Answer<v1::TruncateStreamResponse>(done);
  }
  void DeleteStream(v1::DeleteStreamRequest request, Deadline,
                    engine::Done<v1::DeleteStreamResponse> done) override {
    deleted = std::move(request);
    Answer<v1::DeleteStreamResponse>(done);
  }
  void EraseEvents(v1::EraseEventsRequest request, Deadline,
                   engine::Done<v1::EraseEventsResponse> done) override {
    erased = std::move(request);
    Answer<v1::EraseEventsResponse>(done);
  }

 private:
  template <typename Response>
  void Answer(const engine::Done<Response>& done) {
    answer.ok() ? done(Response()) : done(answer);
  }
};

// Each method does what the test set; unset, the store is away.
class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(std::string store_id = "0190b2c4-0000-7000-8000-0000000000aa")
      : store_id_(std::move(store_id)) {}

  std::function<std::function<void()>(ValidatedAppend, Deadline, engine::PendingWrite::Done)>
      submit = [](ValidatedAppend, Deadline, const engine::PendingWrite::Done& done) {
        done(Away());
        return [] {};
      };
  std::function<absl::StatusOr<v1::TransactResponse>(const ValidatedTransaction&)> transact =
      [](const ValidatedTransaction&) { return Away(); };
  std::function<absl::StatusOr<engine::StreamPage>(const engine::StreamPageQuery&)> stream_page =
      [](const engine::StreamPageQuery&) { return Away(); };
  std::function<absl::StatusOr<engine::AllPage>(const engine::AllPageQuery&)> all_page =
      [](const engine::AllPageQuery&) { return Away(); };
  std::function<absl::StatusOr<engine::AllPage>(const engine::AllPageQuery&)> query_page =
      [](const engine::AllPageQuery&) { return Away(); };
  std::function<void(Deadline, engine::Done<tables::Head>)> head =
      [](Deadline, const engine::Done<tables::Head>& done) { done(Away()); };
  std::function<absl::StatusOr<std::shared_ptr<Feed>>(engine::SubscriptionQuery,
                                                      std::function<void(absl::Status)>)>
      subscribe = [](const engine::SubscriptionQuery&, const std::function<void(absl::Status)>&) {
        return Away();
      };

  std::function<void()> Submit(ValidatedAppend append, Deadline deadline,
                               engine::PendingWrite::Done done) override {
    return submit(std::move(append), deadline, std::move(done));
  }
  std::function<void()> Transact(ValidatedTransaction transaction, Deadline,
                                 engine::Done<v1::TransactResponse> done) override {
    done(transact(transaction));
    return [] {};
  }
  void ReadStreamPage(engine::StreamPageQuery query, Deadline,
                      engine::Done<engine::StreamPage> done) override {
    done(stream_page(query));
  }
  void ReadAllPage(engine::AllPageQuery query, Deadline,
                   engine::Done<engine::AllPage> done) override {
    done(all_page(query));
  }
  void QueryPage(engine::AllPageQuery query, Deadline,
                 engine::Done<engine::AllPage> done) override {
    done(query_page(query));
  }
  void GetStreamInfo(v1::StreamId, Deadline, engine::Done<v1::StreamInfo> done) override {
    done(Away());
  }
  void ListStreams(v1::ListStreamsRequest, Deadline,
                   engine::Done<v1::ListStreamsResponse> done) override {
    done(Away());
  }
  void GetEvent(v1::GetEventRequest, Deadline, engine::Done<v1::Event> done) override {
    done(Away());
  }
  void GetHead(Deadline deadline, engine::Done<tables::Head> done) override {
    head(deadline, std::move(done));
  }
  absl::StatusOr<std::shared_ptr<Feed>> Subscribe(
      engine::SubscriptionQuery query, std::function<void(absl::Status)> on_dropped) override {
    return subscribe(std::move(query), std::move(on_dropped));
  }
  engine::Groups& groups() override { throw std::logic_error("there are no groups here"); }
  const std::string& store_id() const override { return store_id_; }
  FakeProjections& projections() override { return projections_; }
  FakeDeadLetters& dead_letters() override { return dead_letters_; }
  FakeSnapshots& snapshots() override { return snapshots_; }
  FakeOutbox& outbox() override { return outbox_; }
  FakeLifecycle& lifecycle() override { return lifecycle_; }
  FakePayloadIndexes& payload_indexes() override { return payload_indexes_; }

 private:
  static absl::Status Away() { return StoreUnavailable("the database is away"); }

  const std::string store_id_;
  FakeProjections projections_;
  FakeDeadLetters dead_letters_;
  FakeSnapshots snapshots_;
  FakeOutbox outbox_;
  FakeLifecycle lifecycle_;
  FakePayloadIndexes payload_indexes_;
};

// Serves a FakeBackend on a port of its own.
class TestServer {
 public:
  explicit TestServer(const RpcOptions& options = {}, const Limits& limits = {},
                      const ServerOptions& server_options = DefaultServerOptions())
      : services_(
            [this](std::string_view tenant_id) -> absl::StatusOr<std::shared_ptr<Backend>> {
              if (!find_error.ok()) return find_error;
              last_tenant = std::string(tenant_id);
              const auto own = tenant_backends.find(last_tenant);
              return own == tenant_backends.end() ? backend : own->second;
            },
            limits, options, &metrics) {
    auto server = RpcServer::Start(server_options, &services_);
    REQUIRE(server.ok());
    server_ = *std::move(server);
    channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->port()),
                                  grpc::InsecureChannelCredentials());
    stub = v1::EventStoreService::NewStub(channel);
  }

  static ServerOptions DefaultServerOptions() {
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    return options;
  }

  Services& service() { return services_; }
  RpcServer& server() { return *server_; }
  // A client whose transport takes only 64 KiB ahead of its reader: by default gRPC widens that by
  // what it measures, to several MiB on a busy machine.
  std::unique_ptr<v1::EventStoreService::Stub> NarrowStub() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    return v1::EventStoreService::NewStub(
        grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()),
                                  grpc::InsecureChannelCredentials(), arguments));
  }
  // How often a method ended with a code.
  double Count(const std::string& method, grpc::StatusCode code) {
    return metrics.Rpc(method).requests_by_code.at(static_cast<std::size_t>(code))->Value();
  }
  double InFlight(const std::string& method) { return metrics.Rpc(method).in_flight->Value(); }

  telemetry::Metrics metrics{"test"};
  const std::shared_ptr<FakeBackend> backend = std::make_shared<FakeBackend>();
  std::map<std::string, std::shared_ptr<FakeBackend>> tenant_backends;  // those with their own
  absl::Status find_error;  // set before the calls that it is for
  std::string last_tenant;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::EventStoreService::Stub> stub;

 private:
  Services services_;
  std::unique_ptr<RpcServer> server_;
};

// A client's side of a call that does not hang for ever.
inline std::unique_ptr<grpc::ClientContext> NewContext() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + kPatience);
  return context;
}

inline std::vector<v1::ErrorInfo> UnpackDetails(const google::rpc::Status& status) {
  std::vector<v1::ErrorInfo> details;
  for (const google::protobuf::Any& any : status.details()) {
    REQUIRE(any.UnpackTo(&details.emplace_back()));
  }
  return details;
}

// The first detail of an error, which must agree with the error itself.
inline v1::ErrorInfo DetailOf(const grpc::Status& status) {
  google::rpc::Status rich;
  REQUIRE(rich.ParseFromString(status.error_details()));
  CHECK(rich.code() == status.error_code());
  CHECK(rich.message() == status.error_message());
  const std::vector<v1::ErrorInfo> details = UnpackDetails(rich);
  REQUIRE_FALSE(details.empty());
  return details[0];
}

// A valid append of one event.
inline v1::AppendEventsRequest OneEvent(const std::string& aggregate_id) {
  v1::AppendEventsRequest request;
  request.mutable_stream()->set_aggregate_type("Order");
  request.mutable_stream()->set_aggregate_id(aggregate_id);
  request.mutable_expected_version()->mutable_any();
  v1::NewEvent* event = request.add_events();
  event->set_event_type("OrderPlaced");
  event->set_payload("{}");
  return request;
}

inline v1::Event StoredEvent(std::int64_t position, std::size_t payload_bytes = 2) {
  v1::Event event;
  event.set_global_position(position);
  event.mutable_stream()->set_aggregate_type("Order");
  event.mutable_stream()->set_aggregate_id("1");
  event.set_version(position);
  event.set_event_type("OrderPlaced");
  event.set_payload(std::string(payload_bytes, 'x'));
  return event;
}

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_TESTS_UNIT_RPC_FAKE_BACKEND_H_
