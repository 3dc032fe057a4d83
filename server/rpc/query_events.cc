#include "server/rpc/query_events.h"

#include <memory>
#include <utility>

#include "server/core/filter.h"
#include "server/core/payload_conditions.h"
#include "server/rpc/time_window.h"
#include "server/rpc/wire.h"

namespace eventstore::rpc {

absl::Status QueryEventsCall::Prepare(const grpc::ByteBuffer& buffer) {
  v1::QueryEventsRequest request;
  if (absl::Status status = ParseMessage(buffer, &request); !status.ok()) return status;
  auto conditions = ValidateQueryEvents(environment().limits, &request);
  if (!conditions.ok()) return conditions.status();
  if (absl::Status status = Choose(request.filter()); !status.ok()) return status;
  query_.payload = std::make_shared<const PayloadConditions>(*std::move(conditions));
  query_.after_position = request.after_position();
  query_.epoch = request.epoch();
  query_.limit = request.limit();
  SetTimeWindow(request, &query_);
  return absl::OkStatus();
}

void QueryEventsCall::Fetch(Backend* backend) {
  backend->QueryPage(query_, caller().deadline(), PageDone());
}

grpc::ByteBuffer QueryEventsCall::Serialize(v1::EventBatch batch,
                                            std::int64_t head_position) const {
  v1::QueryEventsResponse response;
  *response.mutable_events() = std::move(batch);
  response.set_head_position(head_position);
  return SerializeMessage(response);
}

}  // namespace eventstore::rpc
