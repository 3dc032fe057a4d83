#include "server/rpc/read_stream.h"

#include <utility>

#include "server/core/validation.h"
#include "server/rpc/event_batches.h"
#include "server/rpc/time_window.h"
#include "server/rpc/wire.h"

namespace eventstore::rpc {

ReadStreamCall::ReadStreamCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
                               const Method* method)
    : StreamCall(
          environment, context, method,
          {environment->options.read_ahead_bytes_max, environment->options.stall_timeout_ms}) {}

absl::Status ReadStreamCall::Prepare(const grpc::ByteBuffer& buffer) {
  v1::ReadStreamRequest request;
  if (absl::Status status = ParseMessage(buffer, &request); !status.ok()) return status;
  if (absl::Status status = ValidateReadStream(environment().limits, &request); !status.ok()) {
    return status;
  }
  auto found = environment().find_backend(request.stream().tenant_id());
  if (!found.ok()) return found.status();
  backend_ = *std::move(found);
  query_.backwards = request.direction() == v1::DIRECTION_BACKWARDS;
  query_.from_version = request.from_version();
  query_.to_version = request.to_version();
  query_.limit = request.limit();
  query_.from_snapshot = request.from_snapshot();
  query_.snapshot_schema_version = request.snapshot_schema_version();
  SetTimeWindow(request, &query_);
  query_.stream = std::move(*request.mutable_stream());
  return absl::OkStatus();
}

void ReadStreamCall::Fetch(Backend* backend) {
  backend->ReadStreamPage(query_, caller().deadline(),
                          [self = Self<ReadStreamCall>()](absl::StatusOr<engine::StreamPage> page) {
                            if (page.ok()) {
                              self->OnPage(*std::move(page));
                            } else {
                              self->End(page.status());
                            }
                          });
}

void ReadStreamCall::OnPage(engine::StreamPage page) {
  const auto count = static_cast<std::int64_t>(page.events.size());
  // A limit of 0 means none, so the read must end before it gets there.
  const bool last = page.next_version == 0 || (query_.limit > 0 && count >= query_.limit);
  if (query_.limit > 0) query_.limit -= count;
  query_.from_version = page.next_version;
  query_.from_snapshot = false;
  // An empty store's head is 0, which would mean "no bound"; but then there is no next page.
  if (is_first_) query_.end_position = page.head.position;

  std::vector<v1::EventBatch> batches =
      SplitEvents(std::move(page.events), page.head.epoch, environment().options.batch_bytes_max);
  std::vector<Message> messages;
  v1::ReadStreamResponse response;
  if (is_first_) {
    *response.mutable_info() = std::move(page.info);
    // A state and events share a message only where that stays within what a message may have.
    bool alone = batches.empty();
    if (page.snapshot.has_value()) {
      *response.mutable_snapshot() = *std::move(page.snapshot);
      alone = alone || response.ByteSizeLong() + batches[0].ByteSizeLong() >
                           static_cast<std::size_t>(environment().options.batch_bytes_max);
    }
    if (alone) {
      messages.push_back({SerializeMessage(response), 0, page.head.epoch});
      response.Clear();
    }
  }
  for (v1::EventBatch& batch : batches) {
    const std::int64_t position = batch.position();
    *response.mutable_events() = std::move(batch);
    messages.push_back({SerializeMessage(response), position, page.head.epoch});
    response.Clear();
  }
  is_first_ = false;
  Deliver(std::move(messages), last);
}

}  // namespace eventstore::rpc
