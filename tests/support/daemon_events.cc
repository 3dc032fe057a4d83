#include "tests/support/daemon_events.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "server/core/ids.h"
#include "server/telemetry/logging.h"

namespace eventstore::testing {
namespace {

void Require(const absl::Status& status, const std::string& what) {
  if (status.ok()) return;
  throw std::runtime_error(what + ": " + std::string(telemetry::MessageOf(status)));
}

}  // namespace

std::string NewUuid() { return FormatUuid(MakeUuidV7()); }

std::string UniqueName(const std::string& prefix) { return prefix + "-" + NewUuid(); }

v1::StreamId NewStream(const std::string& type) {
  v1::StreamId stream;
  stream.set_aggregate_type(type);
  stream.set_aggregate_id(NewUuid());
  return stream;
}

v1::ExpectedVersion Any() {
  v1::ExpectedVersion expected;
  expected.mutable_any();
  return expected;
}

v1::ExpectedVersion NoStream() {
  v1::ExpectedVersion expected;
  expected.mutable_no_stream();
  return expected;
}

v1::ExpectedVersion StreamExists() {
  v1::ExpectedVersion expected;
  expected.mutable_stream_exists();
  return expected;
}

v1::ExpectedVersion Exact(std::int64_t version) {
  v1::ExpectedVersion expected;
  expected.set_exact(version);
  return expected;
}

v1::NewEvent NewEvent(const std::string& type, const std::string& json) {
  v1::NewEvent event;
  event.set_event_id(NewUuid());
  event.set_event_type(type);
  event.set_payload(json);
  return event;
}

std::vector<v1::NewEvent> NewEvents(int count, const std::string& type) {
  std::vector<v1::NewEvent> events;
  for (int i = 0; i < count; ++i) {
    events.push_back(NewEvent(type, "{\"number\": " + std::to_string(i) + "}"));
  }
  return events;
}

v1::AppendEventsRequest AppendRequest(const v1::StreamId& stream,
                                      const v1::ExpectedVersion& expected,
                                      const std::vector<v1::NewEvent>& events) {
  v1::AppendEventsRequest request;
  *request.mutable_stream() = stream;
  *request.mutable_expected_version() = expected;
  for (const v1::NewEvent& event : events) *request.add_events() = event;
  return request;
}

CallStatus Append(Client& client, const v1::AppendEventsRequest& request,
                  v1::AppendEventsResponse* response, std::chrono::milliseconds timeout) {
  return client.Unary("AppendEvents", request, response, timeout);
}

v1::AppendEventsResponse MustAppend(Client& client, const v1::StreamId& stream,
                                    const std::vector<v1::NewEvent>& events) {
  v1::AppendEventsResponse response;
  const CallStatus status = Append(client, AppendRequest(stream, Any(), events), &response);
  if (!status.ok()) throw std::runtime_error("an append failed: " + status.Text());
  return response;
}

StreamRead ReadStream(Client& client, const v1::ReadStreamRequest& request) {
  StreamRead read;
  const auto call = client.Stream("ReadStream", request);
  bool first = true;
  while (auto message = ReadMessage<v1::ReadStreamResponse>(*call)) {
    if (message->has_info()) read.info = message->info();
    if (first) read.info_first = message->has_info();
    first = false;
    for (auto& event : *message->mutable_events()->mutable_events()) {
      read.events.push_back(std::move(event));
    }
  }
  read.status = call->Finish();
  return read;
}

StreamRead ReadStream(Client& client, const v1::StreamId& stream) {
  v1::ReadStreamRequest request;
  *request.mutable_stream() = stream;
  return ReadStream(client, request);
}

std::vector<std::int64_t> VersionsOf(const std::vector<v1::Event>& events) {
  std::vector<std::int64_t> versions;
  for (const v1::Event& event : events) versions.push_back(event.version());
  return versions;
}

std::vector<std::int64_t> PositionsOf(const std::vector<v1::Event>& events) {
  std::vector<std::int64_t> positions;
  for (const v1::Event& event : events) positions.push_back(event.global_position());
  return positions;
}

std::vector<std::string> IdsOf(const std::vector<v1::Event>& events) {
  std::vector<std::string> ids;
  for (const v1::Event& event : events) ids.push_back(event.event_id());
  return ids;
}

AllRead ReadAll(Client& client, const v1::ReadAllRequest& request) {
  AllRead read;
  const auto call = client.Stream("ReadAll", request);
  while (auto message = ReadMessage<v1::ReadAllResponse>(*call)) {
    read.head = message->head_position();
    read.position = message->events().position();
    read.epoch = message->events().epoch();
    for (auto& event : *message->mutable_events()->mutable_events()) {
      read.events.push_back(std::move(event));
    }
  }
  read.status = call->Finish();
  return read;
}

v1::GetHeadResponse GetHead(Client& client) {
  v1::GetHeadResponse head;
  const CallStatus status = client.Unary("GetHead", v1::GetHeadRequest(), &head);
  if (!status.ok()) throw std::runtime_error("GetHead failed: " + status.Text());
  return head;
}

v1::StreamInfo GetInfo(Client& client, const v1::StreamId& stream) {
  v1::GetStreamInfoRequest request;
  *request.mutable_stream() = stream;
  v1::GetStreamInfoResponse response;
  const CallStatus status = client.Unary("GetStreamInfo", request, &response);
  if (!status.ok()) throw std::runtime_error("GetStreamInfo failed: " + status.Text());
  return response.info();
}

Subscriber::Subscriber(Client& client, const v1::SubscribeRequest& request,
                       std::chrono::milliseconds timeout)
    : call_(client.Stream("Subscribe", request, timeout)) {}

std::optional<v1::SubscribeResponse> Subscriber::Next(std::chrono::milliseconds timeout) {
  auto message = ReadMessage<v1::SubscribeResponse>(*call_, timeout);
  if (message.has_value()) Note(*message);
  return message;
}

std::vector<v1::Event> Subscriber::NextEvents(std::size_t count,
                                              std::chrono::milliseconds timeout) {
  const Deadline deadline = In(timeout);
  while (events_.size() < count && std::chrono::steady_clock::now() < deadline) {
    if (!Next(timeout).has_value()) break;
  }
  return std::exchange(events_, {});
}

bool Subscriber::ReadUntil(v1::SubscribeResponse::MessageCase kind,
                           std::chrono::milliseconds timeout) {
  const Deadline deadline = In(timeout);
  while (std::chrono::steady_clock::now() < deadline) {
    const auto message = Next(timeout);
    if (!message.has_value()) return false;
    if (message->message_case() == kind) return true;
  }
  return false;
}

void Subscriber::NotePosition(std::int64_t position) {
  if (position < position_) {
    violation_ +=
        "position " + std::to_string(position) + " after " + std::to_string(position_) + "; ";
  }
  position_ = position;
}

void Subscriber::Note(const v1::SubscribeResponse& message) {
  if (message.has_confirmed() == is_confirmed_) violation_ += "confirmed is not first, or twice; ";
  is_confirmed_ = true;
  switch (message.message_case()) {
    case v1::SubscribeResponse::kConfirmed:
      confirmed_ = message.confirmed();
      event_position_ = confirmed_.start_position();
      NotePosition(confirmed_.position());
      break;
    case v1::SubscribeResponse::kEvents:
      if (message.events().events().empty()) violation_ += "an empty batch; ";
      for (const v1::Event& event : message.events().events()) {
        if (event.global_position() <= std::max(event_position_, position_)) {
          violation_ += "event " + std::to_string(event.global_position()) + " after position " +
                        std::to_string(position_) + "; ";
        }
        event_position_ = event.global_position();
        events_.push_back(event);
      }
      if (message.events().position() < event_position_) violation_ += "a batch ends too early; ";
      NotePosition(message.events().position());
      break;
    case v1::SubscribeResponse::kCheckpoint:
      NotePosition(message.checkpoint().position());
      break;
    case v1::SubscribeResponse::kCaughtUp:
      if (++caught_up_ > fell_behind_ + 1) violation_ += "caught_up twice; ";
      NotePosition(message.caught_up().position());
      break;
    case v1::SubscribeResponse::kFellBehind:
      if (++fell_behind_ > caught_up_) violation_ += "fell_behind before caught_up; ";
      NotePosition(message.fell_behind().position());
      break;
    case v1::SubscribeResponse::MESSAGE_NOT_SET:
      violation_ += "an empty message; ";
      break;
  }
}

std::int64_t QueryNumber(const std::string& dsn, const std::string& sql) {
  const auto connection = Connect(dsn, "eventstore");
  auto result = connection->QueryOnce(sql, pg::Params(), In(kPatience));
  Require(result.status(), sql);
  return result->Int64(0, 0);
}

void RunSql(const std::string& dsn, const std::string& sql) {
  Require(Connect(dsn, "eventstore")->RunScript(sql, In(kPatience)), sql);
}

bool WaitForBlockedSessions(const std::string& dsn, std::int64_t count) {
  return Eventually(
      [&] {
        return QueryNumber(dsn,
                           "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                           " AND datname = current_database()") >= count;
      },
      kPatience);
}

LockedHead::LockedHead(const std::string& dsn)
    : LockedHead(dsn, "SELECT FROM log_head FOR UPDATE") {}

LockedHead::LockedHead(const std::string& dsn, const std::string& lock_sql)
    : connection_(Connect(dsn, "eventstore")) {
  Require(connection_->RunScript("BEGIN; " + lock_sql, In(kPatience)), lock_sql);
}

}  // namespace eventstore::testing
