#include "tests/support/daemon_groups.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace eventstore::testing {

std::string GroupMethod(const std::string& name) {
  return "/eventstore.v1.ConsumerGroupService/" + name;
}

void SetMillis(std::int64_t millis, google::protobuf::Duration* duration) {
  duration->set_seconds(millis / 1'000);
  duration->set_nanos(static_cast<std::int32_t>(millis % 1'000 * 1'000'000));
}

v1::ConsumerGroupSettings QuickGroup() {
  v1::ConsumerGroupSettings settings;
  settings.set_lanes(4);
  settings.set_max_attempts(2);
  SetMillis(20, settings.mutable_backoff_min());
  SetMillis(50, settings.mutable_backoff_max());
  SetMillis(2'000, settings.mutable_lease_duration());
  return settings;
}

std::vector<v1::StreamId> AppendStreams(Client& client, int streams, int events) {
  std::vector<v1::StreamId> names;
  for (int s = 0; s < streams; ++s) names.push_back(NewStream());
  for (int e = 0; e < events; ++e) {
    for (const v1::StreamId& stream : names) MustAppend(client, stream, NewEvents(1));
  }
  return names;
}

namespace {

template <typename Request, typename Response>
Response AskDeadLetters(Client& client, const std::string& method, const Request& request,
                        Response response) {
  const CallStatus status =
      client.Unary("/eventstore.v1.DeadLetterService/" + method, request, &response);
  if (!status.ok()) throw std::runtime_error(method + ": " + status.Text());
  return response;
}

}  // namespace

std::vector<v1::DeadLetter> DeadLettersOf(Client& client, const std::string& group,
                                          v1::DeadLetterStatus status) {
  v1::ListDeadLettersRequest request;
  request.mutable_filter()->set_projection_name(group);
  request.mutable_filter()->set_status(status);
  std::vector<v1::DeadLetter> letters;
  do {
    const auto page =
        AskDeadLetters(client, "ListDeadLetters", request, v1::ListDeadLettersResponse());
    letters.insert(letters.end(), page.dead_letters().begin(), page.dead_letters().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  std::sort(letters.begin(), letters.end(),
            [](const auto& a, const auto& b) { return a.global_position() < b.global_position(); });
  return letters;
}

std::size_t FailedDeadLetters(Client& client, const std::string& group) {
  return DeadLettersOf(client, group, v1::DEAD_LETTER_STATUS_FAILED).size();
}

std::int64_t RetryDeadLetters(Client& client, const std::string& group) {
  v1::RetryDeadLettersRequest request;
  request.mutable_selection()->set_all_of_projection(group);
  return AskDeadLetters(client, "RetryDeadLetters", request, v1::RetryDeadLettersResponse())
      .retried();
}

std::int64_t ResolveDeadLetters(Client& client, const std::string& group,
                                const std::vector<std::int64_t>& ids) {
  v1::ResolveDeadLettersRequest request;
  request.set_resolved_by("a test");
  if (ids.empty()) request.mutable_selection()->set_all_of_projection(group);
  for (const std::int64_t id : ids) request.mutable_selection()->mutable_ids()->add_ids(id);
  return AskDeadLetters(client, "ResolveDeadLetters", request, v1::ResolveDeadLettersResponse())
      .resolved();
}

v1::ConsumerGroup CreateGroup(Client& client, const std::string& name,
                              const v1::ConsumerGroupSettings& settings) {
  v1::CreateConsumerGroupRequest request;
  request.set_name(name);
  *request.mutable_settings() = settings;
  v1::CreateConsumerGroupResponse response;
  const CallStatus status = client.Unary(GroupMethod("CreateConsumerGroup"), request, &response);
  if (!status.ok()) throw std::runtime_error("cannot create a group: " + status.Text());
  return response.group();
}

CallStatus TryGetGroup(Client& client, const std::string& name, v1::ConsumerGroup* group) {
  v1::GetConsumerGroupRequest request;
  request.set_name(name);
  v1::GetConsumerGroupResponse response;
  CallStatus status = client.Unary(GroupMethod("GetConsumerGroup"), request, &response);
  *group = response.group();
  return status;
}

v1::ConsumerGroup GetGroup(Client& client, const std::string& name) {
  v1::ConsumerGroup group;
  const CallStatus status = TryGetGroup(client, name, &group);
  if (!status.ok()) throw std::runtime_error("cannot read a group: " + status.Text());
  return group;
}

bool WaitForLagZero(Client& client, const std::string& name, std::chrono::milliseconds timeout) {
  return Eventually(
      [&] {
        const v1::ConsumerGroup group = GetGroup(client, name);
        return group.lag_positions() == 0 && group.in_flight() == 0 && group.retrying() == 0;
      },
      timeout);
}

Consumer::Consumer(Client& client, const std::string& group, std::int64_t max_in_flight,
                   const std::string& member_name)
    : call_(client.Start(GroupMethod("Consume"), std::chrono::minutes(10))) {
  v1::ConsumeRequest request;
  request.mutable_join()->set_group(group);
  request.mutable_join()->set_max_in_flight(max_in_flight);
  request.mutable_join()->set_member_name(member_name);
  Send(request);
}

std::optional<v1::ConsumeResponse> Consumer::Next(std::chrono::milliseconds timeout) {
  auto message = ReadMessage<v1::ConsumeResponse>(*call_, timeout);
  if (!message.has_value()) return message;
  if (message->has_joined()) joined_ = message->joined();
  for (const std::int32_t lane : message->lanes().revoked()) lanes_.erase(lane);
  for (const std::int32_t lane : message->lanes().assigned()) lanes_.insert(lane);
  events_.insert(events_.end(), message->events().events().begin(),
                 message->events().events().end());
  return message;
}

std::vector<v1::DeliveredEvent> Consumer::NextEvents(std::size_t count,
                                                     std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (events_.size() < count) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !Next(left).has_value()) break;
  }
  return std::exchange(events_, {});
}

bool Consumer::WaitForLanes(std::size_t count, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (lanes_.size() != count) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !Next(left).has_value()) return false;
  }
  return true;
}

bool Consumer::Send(const v1::ConsumeRequest& request) {
  return call_->Write(request.SerializeAsString());
}

bool Consumer::Ack(const std::vector<v1::DeliveredEvent>& events) {
  if (events.empty()) return true;
  v1::ConsumeRequest request;
  for (const v1::DeliveredEvent& event : events) {
    request.mutable_ack()->add_delivery_ids(event.delivery_id());
  }
  return Send(request);
}

bool Consumer::Nack(const v1::DeliveredEvent& event, v1::NackAction action,
                    const std::string& reason, std::optional<std::int64_t> delay_ms) {
  v1::ConsumeRequest request;
  request.mutable_nack()->add_delivery_ids(event.delivery_id());
  request.mutable_nack()->set_action(action);
  request.mutable_nack()->set_reason(reason);
  if (delay_ms.has_value()) SetMillis(*delay_ms, request.mutable_nack()->mutable_delay());
  return Send(request);
}

CallStatus Consumer::Leave() {
  call_->WritesDone();
  return call_->Finish();
}

}  // namespace eventstore::testing
