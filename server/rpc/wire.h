// Messages as gRPC carries them: parsed with errors that name the field, and written without
// copying events that are shared.
#ifndef EVENTSTORE_SERVER_RPC_WIRE_H_
#define EVENTSTORE_SERVER_RPC_WIRE_H_

#include <absl/status/status.h>
#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <span>

#include "server/engine/event_block.h"

namespace eventstore::rpc {

// Sends protobuf's own log lines to ours, but for those about requests that do not parse: their
// sender is told. Call before the first request is parsed; further calls do nothing.
void RouteProtobufLog();

// Reads a request. Errors: INVALID_REQUEST that names the field whose text is not UTF-8 by its path
// from the request's root, or says that the bytes are no such message. Any thread.
[[nodiscard]] absl::Status ParseMessage(const grpc::ByteBuffer& buffer,
                                        google::protobuf::Message* message);

// The first varint of field `number` in a message that may not parse as a whole; 0 if there is
// none.
[[nodiscard]] std::uint64_t FindVarint(const grpc::ByteBuffer& buffer, int number);

// Writes a message into a buffer of its exact size.
[[nodiscard]] grpc::ByteBuffer SerializeMessage(const google::protobuf::MessageLite& message);

// The message `SubscribeResponse{events: EventBatch{<the runs' events>, position, epoch}}`. Refers
// to the runs' bytes, and keeps their blocks alive, until gRPC has sent them.
[[nodiscard]] grpc::ByteBuffer SerializeSubscribedEvents(std::span<const engine::EventRun> runs,
                                                         std::int64_t position, std::int64_t epoch);

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_WIRE_H_
