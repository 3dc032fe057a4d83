#include "server/rpc/read_all.h"

#include <utility>

#include "server/core/filter.h"
#include "server/core/validation.h"
#include "server/rpc/event_batches.h"
#include "server/rpc/time_window.h"
#include "server/rpc/wire.h"

namespace eventstore::rpc {

ReadAllCall::ReadAllCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
                         const Method* method)
    : StreamCall(
          environment, context, method,
          {environment->options.read_ahead_bytes_max, environment->options.stall_timeout_ms}) {}

absl::Status ReadAllCall::Prepare(const grpc::ByteBuffer& buffer) {
  v1::ReadAllRequest request;
  if (absl::Status status = ParseMessage(buffer, &request); !status.ok()) return status;
  if (absl::Status status = ValidateReadAll(environment().limits, &request); !status.ok()) {
    return status;
  }
  if (absl::Status status = Choose(request.filter()); !status.ok()) return status;
  query_.backwards = request.direction() == v1::DIRECTION_BACKWARDS;
  query_.after_position = request.after_position();
  query_.epoch = request.epoch();
  query_.limit = request.limit();
  SetTimeWindow(request, &query_);
  return absl::OkStatus();
}

absl::Status ReadAllCall::Choose(const v1::Filter& filter) {
  auto made = EventFilter::Make(filter, "filter", environment().limits);
  if (!made.ok()) return made.status();
  if (!(*made)->matches_everything()) query_.filter = *std::move(made);
  auto found = environment().find_backend(filter.tenant_id());
  if (!found.ok()) return found.status();
  backend_ = *std::move(found);
  return absl::OkStatus();
}

void ReadAllCall::Fetch(Backend* backend) {
  backend->ReadAllPage(query_, caller().deadline(), PageDone());
}

engine::Done<engine::AllPage> ReadAllCall::PageDone() {
  return [self = Self<ReadAllCall>()](absl::StatusOr<engine::AllPage> page) {
    if (page.ok()) {
      self->OnPage(*std::move(page));
    } else {
      self->End(page.status());
    }
  };
}

grpc::ByteBuffer ReadAllCall::Serialize(v1::EventBatch batch, std::int64_t head_position) const {
  v1::ReadAllResponse response;
  *response.mutable_events() = std::move(batch);
  response.set_head_position(head_position);
  return SerializeMessage(response);
}

bool ReadAllCall::MadeProgress(const engine::AllPage& page) const {
  if (!query_.backwards) return page.position > query_.after_position;
  return page.position > 0 && (query_.after_position == 0 || page.position < query_.after_position);
}

void ReadAllCall::OnPage(engine::AllPage page) {
  const auto count = static_cast<std::int64_t>(page.events.size());
  // A limit of 0 means none, so the read must end before it gets there.
  const bool last = page.at_end || (query_.limit > 0 && count >= query_.limit);
  if (!last && !MadeProgress(page)) {
    End(absl::InternalError("a page of ReadAll did not get on, but was not the last"));
    return;
  }
  if (is_first_) {
    is_first_ = false;
    head_position_ = page.head.position;
    query_.end_position = page.head.position;
  }
  if (query_.limit > 0) query_.limit -= count;
  query_.after_position = page.position;
  query_.window_positions = page.window_positions;
  query_.epoch = page.head.epoch;  // a rewind in the middle of a read is noticed

  std::vector<v1::EventBatch> batches =
      SplitEvents(std::move(page.events), page.head.epoch, environment().options.batch_bytes_max);
  silent_pages_ = batches.empty() ? silent_pages_ + 1 : 0;
  if (batches.empty() && (last || silent_pages_ >= environment().options.silent_pages_max)) {
    silent_pages_ = 0;
    batches.emplace_back().set_epoch(page.head.epoch);
  }
  if (!batches.empty()) batches.back().set_position(page.position);
  std::vector<Message> messages;
  for (v1::EventBatch& batch : batches) {
    const std::int64_t position = batch.position();
    messages.push_back({Serialize(std::move(batch), head_position_), position, page.head.epoch});
  }
  Deliver(std::move(messages), last);
}

}  // namespace eventstore::rpc
