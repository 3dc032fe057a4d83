#include "server/rpc/subscribe.h"

#include <span>
#include <utility>

#include "server/core/filter.h"
#include "server/core/validation.h"
#include "server/rpc/event_batches.h"
#include "server/rpc/wire.h"

namespace eventstore::rpc {
namespace {

absl::StatusOr<engine::SubscriptionQuery> ToQuery(v1::SubscribeRequest request,
                                                  const Limits& limits) {
  using Query = engine::SubscriptionQuery;
  Query query;
  switch (request.start_case()) {
    case v1::SubscribeRequest::kEnd:
      query.start = Query::FromEnd{};
      break;
    case v1::SubscribeRequest::kAfterPosition:
      query.start = Query::AfterPosition{request.after_position(), request.epoch()};
      break;
    case v1::SubscribeRequest::kFromTimestamp: {
      Query::FromTime from;
      if (ToUnixMicros(request.from_timestamp(), &from.created_at_micros)) query.start = from;
      break;
    }
    case v1::SubscribeRequest::kCheckpoint:
      query.start = Query::FromCheckpoint{request.checkpoint()};
      break;
    default:
      query.start = Query::FromBeginning{};
      break;
  }
  if (request.has_filter()) {
    auto filter = EventFilter::Make(request.filter(), "filter", limits);
    if (!filter.ok()) return filter.status();
    if (!(*filter)->matches_everything()) query.filter = *std::move(filter);
  }
  if (request.has_stream()) query.stream = std::move(*request.mutable_stream());
  query.batch_events_max = request.max_batch_size();
  query.checkpoint_interval = request.checkpoint_interval();
  return query;
}

template <typename Part>
void SetProgress(const engine::SubscriptionMessage& message, Part* part) {
  part->set_position(message.position);
  part->set_epoch(message.epoch);
}

}  // namespace

SubscribeCall::SubscribeCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
                             const Method* method)
    : StreamCall(environment, context, method, Flow{}) {}

absl::Status SubscribeCall::Prepare(const grpc::ByteBuffer& buffer) {
  v1::SubscribeRequest request;
  if (absl::Status status = ParseMessage(buffer, &request); !status.ok()) return status;
  const Limits& limits = environment().limits;
  if (absl::Status status = ValidateSubscribe(limits, &request); !status.ok()) return status;
  const std::string tenant_id =
      request.has_stream() ? request.stream().tenant_id() : request.filter().tenant_id();
  auto query = ToQuery(std::move(request), limits);
  if (!query.ok()) return query.status();
  auto found = environment().find_backend(tenant_id);
  if (!found.ok()) return found.status();
  backend_ = *std::move(found);
  store_id_ = backend_->store_id();
  // Weak, for the subscription belongs to this call. It is over already when it tells of its end,
  // so it must not be closed from in there.
  auto feed =
      backend_->Subscribe(*std::move(query), [weak = weak_from_this()](absl::Status status) {
        if (const auto self = weak.lock(); self != nullptr) {
          std::static_pointer_cast<SubscribeCall>(self)->End(std::move(status));
        }
      });
  if (!feed.ok()) return feed.status();
  feed_ = *std::move(feed);
  return absl::OkStatus();
}

void SubscribeCall::Fetch(Backend* /*backend*/) {
  feed_->RequestNext(
      [self = Self<SubscribeCall>()](absl::StatusOr<engine::SubscriptionMessage> message) {
        if (message.ok()) {
          self->OnMessage(*message);
        } else {
          self->End(message.status());
        }
      });
}

void SubscribeCall::OnStopped() {
  if (feed_ != nullptr) feed_->Close();
}

void SubscribeCall::OnMessage(const engine::SubscriptionMessage& message) {
  using Kind = engine::SubscriptionMessage::Kind;
  v1::SubscribeResponse response;
  switch (message.kind) {
    case Kind::kEvents:
      Deliver(EventMessages(message), /*last=*/false);
      return;
    case Kind::kConfirmed: {
      v1::SubscriptionConfirmed* confirmed = response.mutable_confirmed();
      confirmed->set_subscription_id(feed_->id());
      confirmed->set_store_id(store_id_);
      confirmed->set_start_position(message.position);
      SetProgress(message, confirmed);
      break;
    }
    case Kind::kCheckpoint:
      SetProgress(message, response.mutable_checkpoint());
      break;
    case Kind::kCaughtUp:
      SetProgress(message, response.mutable_caught_up());
      break;
    case Kind::kFellBehind:
      SetProgress(message, response.mutable_fell_behind());
      break;
  }
  std::vector<Message> messages;
  messages.push_back({SerializeMessage(response), message.position, message.epoch});
  Deliver(std::move(messages), /*last=*/false);
}

std::vector<StreamCall::Message> SubscribeCall::EventMessages(
    const engine::SubscriptionMessage& message) const {
  const auto parts = SplitRuns(message.runs, environment().options.batch_bytes_max);
  std::vector<Message> messages;
  for (const auto& part : parts) {
    // Only the last part may tell of what was passed over after its events.
    const engine::EventRun& end = part.back();
    const bool last = &part == &parts.back();
    const std::int64_t position =
        last ? message.position : end.block->header(end.end - 1).global_position();
    messages.push_back(
        {SerializeSubscribedEvents(part, position, message.epoch), position, message.epoch});
  }
  return messages;
}

}  // namespace eventstore::rpc
