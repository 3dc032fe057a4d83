// A server of EventStoreService with a list instead of a database, for the client's tests.
#ifndef EVENTSTORE_TESTS_UNIT_CLIENT_FAKE_SERVER_H_
#define EVENTSTORE_TESTS_UNIT_CLIENT_FAKE_SERVER_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "eventstore/v1/errors.pb.h"
#include "eventstore/v1/event_store_service.grpc.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"

#include "server/core/mutex.h"

namespace eventstore::cli {

// A status as the real server makes it.
inline grpc::Status RichError(grpc::StatusCode code, const v1::ErrorInfo& problem) {
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(problem.message());
  details.add_details()->PackFrom(problem);
  return {code, problem.message(), details.SerializeAsString()};
}

// Never more than this is waited for something that should happen.
inline Deadline SoonEnough() { return std::chrono::steady_clock::now() + std::chrono::seconds(20); }

// Listens on a port of loopback while it lives. Keeps every request for a test to look at, and
// fails as told. Any thread.
class FakeServer : public v1::EventStoreService::Service, public grpc::health::v1::Health::Service {
 public:
  FakeServer() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(static_cast<v1::EventStoreService::Service*>(this));
    builder.RegisterService(static_cast<grpc::health::v1::Health::Service*>(this));
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }

  ~FakeServer() override {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      changed_.NotifyAll();
    }
    server_->Shutdown(std::chrono::system_clock::now());
  }

  [[nodiscard]] const std::string& address() const { return address_; }

  // The next requests of any kind fail so, one each, in this order.
  void FailNext(grpc::Status status) {
    MutexLock lock(&mutex_);
    failures_.push_back(std::move(status));
  }
  // The next subscription breaks with this status after so many events.
  void BreakSubscription(int after_events, grpc::Status status) {
    MutexLock lock(&mutex_);
    break_after_ = after_events;
    break_status_ = std::move(status);
  }
  void SetServing(bool serving) {
    MutexLock lock(&mutex_);
    serving_ = serving;
  }
  // What a read from a snapshot gives, beside all events.
  void SetSnapshot(v1::Snapshot snapshot) {
    MutexLock lock(&mutex_);
    snapshot_ = std::move(snapshot);
  }
  // Stores an event as it is, with the next position and version.
  void Add(v1::Event event) {
    MutexLock lock(&mutex_);
    Store(std::move(event));
  }

  [[nodiscard]] std::vector<v1::Event> events() {
    MutexLock lock(&mutex_);
    return events_;
  }
  [[nodiscard]] std::vector<v1::AppendEventsRequest> appends() {
    MutexLock lock(&mutex_);
    return appends_;
  }
  [[nodiscard]] std::vector<v1::TransactRequest> transactions() {
    MutexLock lock(&mutex_);
    return transactions_;
  }
  [[nodiscard]] std::vector<v1::SubscribeRequest> subscriptions() {
    MutexLock lock(&mutex_);
    return subscriptions_;
  }
  [[nodiscard]] v1::ReadStreamRequest last_read() {
    MutexLock lock(&mutex_);
    return last_read_;
  }
  [[nodiscard]] v1::ReadAllRequest last_read_all() {
    MutexLock lock(&mutex_);
    return last_read_all_;
  }
  // Waits until so many subscriptions were asked for.
  bool WaitForSubscriptions(std::size_t count) {
    const Deadline deadline = SoonEnough();
    MutexLock lock(&mutex_);
    while (subscriptions_.size() < count) {
      if (!changed_.WaitUntil(&mutex_, deadline)) return false;
    }
    return true;
  }

  // Waits until so many appends were asked for.
  bool WaitForAppends(std::size_t count) {
    const Deadline deadline = SoonEnough();
    MutexLock lock(&mutex_);
    while (appends_.size() < count) {
      if (!changed_.WaitUntil(&mutex_, deadline)) return false;
    }
    return true;
  }

  grpc::Status AppendEvents(grpc::ServerContext* /*context*/,
                            const v1::AppendEventsRequest* request,
                            v1::AppendEventsResponse* response) override {
    MutexLock lock(&mutex_);
    return Append(*request, response);
  }

  grpc::Status Transact(grpc::ServerContext* /*context*/, const v1::TransactRequest* request,
                        v1::TransactResponse* response) override {
    MutexLock lock(&mutex_);
    transactions_.push_back(*request);
    for (const v1::AppendEventsRequest& append : request->appends()) {
      grpc::Status status = Append(append, response->add_results());
      if (!status.ok()) return status;
    }
    if (request->has_checkpoint()) {
      response->mutable_checkpoint()->set_projection_name(request->checkpoint().projection_name());
      response->mutable_checkpoint()->set_position(request->checkpoint().position());
    }
    for (int i = 0; i < request->snapshots_size(); ++i) response->add_snapshots_saved(i == 0);
    return grpc::Status::OK;
  }

  grpc::Status AppendEventsStream(
      grpc::ServerContext* /*context*/,
      grpc::ServerReaderWriter<v1::AppendEventsStreamResponse, v1::AppendEventsStreamRequest>*
          stream) override {
    v1::AppendEventsStreamRequest request;
    while (stream->Read(&request)) {
      v1::AppendEventsStreamResponse response;
      response.set_correlation_id(request.correlation_id());
      {
        MutexLock lock(&mutex_);
        const grpc::Status status = Append(request.append(), response.mutable_appended());
        if (!status.ok()) {
          response.mutable_error()->ParseFromString(status.error_details());
          response.mutable_error()->set_code(status.error_code());
        }
      }
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

  grpc::Status ReadStream(grpc::ServerContext* /*context*/, const v1::ReadStreamRequest* request,
                          grpc::ServerWriter<v1::ReadStreamResponse>* writer) override {
    MutexLock lock(&mutex_);
    last_read_ = *request;
    if (auto status = TakeFailure(); !status.ok()) return status;
    v1::ReadStreamResponse response;
    *response.mutable_info() = InfoOf(request->stream());
    if (request->from_snapshot()) *response.mutable_snapshot() = snapshot_;
    for (const v1::Event& event : events_) {
      if (!SameStream(event.stream(), request->stream())) continue;
      if (request->limit() > 0 && response.events().events_size() == request->limit()) break;
      *response.mutable_events()->add_events() = event;
    }
    if (request->direction() == v1::DIRECTION_BACKWARDS) {
      auto* const events = response.mutable_events()->mutable_events();
      std::reverse(events->begin(), events->end());
    }
    writer->Write(response);
    return grpc::Status::OK;
  }

  grpc::Status ReadAll(grpc::ServerContext* /*context*/, const v1::ReadAllRequest* request,
                       grpc::ServerWriter<v1::ReadAllResponse>* writer) override {
    MutexLock lock(&mutex_);
    last_read_all_ = *request;
    if (auto status = TakeFailure(); !status.ok()) return status;
    // One event a message, so that a reader must join them.
    std::int64_t sent = 0;
    for (const v1::Event& event : events_) {
      if (event.global_position() <= request->after_position()) continue;
      if (request->limit() > 0 && sent == request->limit()) break;
      ++sent;
      v1::ReadAllResponse response;
      *response.mutable_events()->add_events() = event;
      response.mutable_events()->set_position(event.global_position());
      response.mutable_events()->set_epoch(kEpoch);
      writer->Write(response);
    }
    return grpc::Status::OK;
  }

  grpc::Status Subscribe(grpc::ServerContext* context, const v1::SubscribeRequest* request,
                         grpc::ServerWriter<v1::SubscribeResponse>* writer) override {
    std::int64_t position = 0;
    {
      MutexLock lock(&mutex_);
      subscriptions_.push_back(*request);
      changed_.NotifyAll();
      if (auto status = TakeFailure(); !status.ok()) return status;
      position = request->has_end() ? Head() : request->after_position();
    }
    v1::SubscribeResponse response;
    response.mutable_confirmed()->set_position(position);
    response.mutable_confirmed()->set_epoch(kEpoch);
    writer->Write(response);
    return Follow(context, position, writer);
  }

  grpc::Status GetStreamInfo(grpc::ServerContext* /*context*/,
                             const v1::GetStreamInfoRequest* request,
                             v1::GetStreamInfoResponse* response) override {
    MutexLock lock(&mutex_);
    *response->mutable_info() = InfoOf(request->stream());
    return TakeFailure();
  }

  // One stream a page, so that a reader must ask again.
  grpc::Status ListStreams(grpc::ServerContext* /*context*/, const v1::ListStreamsRequest* request,
                           v1::ListStreamsResponse* response) override {
    MutexLock lock(&mutex_);
    if (auto status = TakeFailure(); !status.ok()) return status;
    std::vector<v1::StreamId> streams;
    for (const v1::Event& event : events_) {
      if (event.version() == 1) streams.push_back(event.stream());
    }
    const std::size_t page = request->page_token().empty() ? 0 : std::stoul(request->page_token());
    if (page < streams.size()) *response->add_streams() = InfoOf(streams[page]);
    if (page + 1 < streams.size()) response->set_next_page_token(std::to_string(page + 1));
    return grpc::Status::OK;
  }

  grpc::Status GetEvent(grpc::ServerContext* /*context*/, const v1::GetEventRequest* request,
                        v1::GetEventResponse* response) override {
    MutexLock lock(&mutex_);
    for (const v1::Event& event : events_) {
      if (event.event_id() != request->event_id()) continue;
      *response->mutable_event() = event;
      return grpc::Status::OK;
    }
    v1::ErrorInfo problem;
    problem.set_reason(v1::ERROR_REASON_NOT_FOUND);
    problem.set_field("event");
    problem.set_message("no event has this id");
    return RichError(grpc::StatusCode::NOT_FOUND, problem);
  }

  grpc::Status GetHead(grpc::ServerContext* /*context*/, const v1::GetHeadRequest* /*request*/,
                       v1::GetHeadResponse* response) override {
    MutexLock lock(&mutex_);
    response->set_position(Head());
    response->set_epoch(kEpoch);
    response->set_store_id("0190a0a0-0000-7000-8000-00000000000f");
    return TakeFailure();
  }

  grpc::Status Check(grpc::ServerContext* /*context*/,
                     const grpc::health::v1::HealthCheckRequest* /*request*/,
                     grpc::health::v1::HealthCheckResponse* response) override {
    MutexLock lock(&mutex_);
    response->set_status(serving_ ? grpc::health::v1::HealthCheckResponse::SERVING
                                  : grpc::health::v1::HealthCheckResponse::NOT_SERVING);
    return grpc::Status::OK;
  }

 private:
  static constexpr std::int64_t kEpoch = 3;

  static bool SameStream(const v1::StreamId& a, const v1::StreamId& b) {
    return a.SerializeAsString() == b.SerializeAsString();
  }

  std::int64_t Head() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return static_cast<std::int64_t>(events_.size());
  }

  grpc::Status TakeFailure() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (failures_.empty()) return grpc::Status::OK;
    grpc::Status status = failures_.front();
    failures_.pop_front();
    return status;
  }

  v1::StreamInfo InfoOf(const v1::StreamId& stream) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    v1::StreamInfo info;
    *info.mutable_stream() = stream;
    for (const v1::Event& event : events_) {
      if (!SameStream(event.stream(), stream)) continue;
      info.set_exists(true);
      info.set_first_version(1);
      info.set_version(event.version());
      *info.mutable_updated_at() = event.created_at();
      if (!info.has_created_at()) *info.mutable_created_at() = event.created_at();
    }
    return info;
  }

  void Store(v1::Event event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    event.set_version(InfoOf(event.stream()).version() + 1);
    event.set_global_position(Head() + 1);
    // 2024-05-01T12:00:00Z, one second more for each position.
    event.mutable_created_at()->set_seconds(1714564800 + event.global_position());
    if (!event.has_timestamp()) *event.mutable_timestamp() = event.created_at();
    if (event.content_type().empty()) event.set_content_type("application/json");
    if (event.schema_version() == 0) event.set_schema_version(1);
    events_.push_back(std::move(event));
    changed_.NotifyAll();
  }

  grpc::Status Append(const v1::AppendEventsRequest& request, v1::AppendEventsResponse* response)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    appends_.push_back(request);
    changed_.NotifyAll();
    if (auto status = TakeFailure(); !status.ok()) return status;
    const v1::StreamInfo info = InfoOf(request.stream());
    response->set_first_version(info.version() + 1);
    response->set_first_position(Head() + 1);
    for (const v1::NewEvent& added : request.events()) {
      v1::Event event;
      *event.mutable_stream() = request.stream();
      event.set_event_id(added.event_id());
      event.set_event_type(added.event_type());
      event.set_payload(added.payload());
      event.set_content_type(added.content_type());
      *event.mutable_metadata() = added.metadata();
      *event.mutable_tags() = added.tags();
      if (added.has_timestamp()) *event.mutable_timestamp() = added.timestamp();
      response->add_event_ids(added.event_id());
      Store(std::move(event));
    }
    response->set_last_version(info.version() + request.events_size());
    response->set_last_position(Head());
    *response->mutable_created_at() = events_.back().created_at();
    return grpc::Status::OK;
  }

  // History, `caught_up`, then what is stored, until the client or this server goes.
  grpc::Status Follow(grpc::ServerContext* context, std::int64_t position,
                      grpc::ServerWriter<v1::SubscribeResponse>* writer) {
    bool caught_up = false;
    while (!context->IsCancelled()) {
      v1::SubscribeResponse response;
      {
        MutexLock lock(&mutex_);
        if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "going away"};
        if (break_after_ == 0) {
          break_after_ = -1;
          return break_status_;
        }
        if (position < Head()) {
          *response.mutable_events()->add_events() = events_[static_cast<std::size_t>(position)];
          response.mutable_events()->set_position(++position);
          response.mutable_events()->set_epoch(kEpoch);
          if (break_after_ > 0) --break_after_;
        } else if (!std::exchange(caught_up, true)) {
          response.mutable_caught_up()->set_position(position);
          response.mutable_caught_up()->set_epoch(kEpoch);
        } else {
          // A client that goes tells no one here; look again soon.
          changed_.WaitUntil(&mutex_,
                             std::chrono::steady_clock::now() + std::chrono::milliseconds(20));
          continue;
        }
      }
      writer->Write(response);
    }
    return grpc::Status::CANCELLED;
  }

  std::string address_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<v1::Event> events_ ABSL_GUARDED_BY(mutex_);
  std::deque<grpc::Status> failures_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::TransactRequest> transactions_ ABSL_GUARDED_BY(mutex_);
  v1::Snapshot snapshot_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::AppendEventsRequest> appends_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::SubscribeRequest> subscriptions_ ABSL_GUARDED_BY(mutex_);
  v1::ReadStreamRequest last_read_ ABSL_GUARDED_BY(mutex_);
  v1::ReadAllRequest last_read_all_ ABSL_GUARDED_BY(mutex_);
  int break_after_ ABSL_GUARDED_BY(mutex_) = -1;
  grpc::Status break_status_ ABSL_GUARDED_BY(mutex_);
  bool serving_ ABSL_GUARDED_BY(mutex_) = true;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace eventstore::cli

#endif  // EVENTSTORE_TESTS_UNIT_CLIENT_FAKE_SERVER_H_
