#include "server/engine/groups/delivery_wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "eventstore/v1/consumer_group_service.pb.h"

namespace eventstore::engine {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

static_assert(static_cast<int>(v1::DeliveredEvent::kEventFieldNumber) ==
              static_cast<int>(v1::EventBatch::kEventsFieldNumber));

constexpr std::uint32_t Tag(int field, WireFormatLite::WireType type) {
  return WireFormatLite::MakeTag(field, type);
}

// A tag and five numbers never take more than this.
constexpr std::size_t kNumbersBytesMax = 64;

std::uint8_t* WriteNumber(int field, std::uint64_t value, std::uint8_t* out) {
  if (value == 0) return out;
  out = CodedOutputStream::WriteVarint32ToArray(Tag(field, WireFormatLite::WIRETYPE_VARINT), out);
  return CodedOutputStream::WriteVarint64ToArray(value, out);
}

void AppendHeader(int field, std::size_t size, std::string* out) {
  std::uint8_t header[16];
  std::uint8_t* end = CodedOutputStream::WriteVarint32ToArray(
      Tag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED), header);
  end = CodedOutputStream::WriteVarint32ToArray(static_cast<std::uint32_t>(size), end);
  out->append(reinterpret_cast<const char*>(header), static_cast<std::size_t>(end - header));
}

}  // namespace

void AppendDelivery(std::string_view event, std::int64_t delivery_id, std::int32_t lane,
                    std::int32_t attempt, bool is_redelivered, std::string* out) {
  std::uint8_t numbers[kNumbersBytesMax];
  std::uint8_t* end = numbers;
  end = WriteNumber(v1::DeliveredEvent::kDeliveryIdFieldNumber,
                    static_cast<std::uint64_t>(delivery_id), end);
  end = WriteNumber(v1::DeliveredEvent::kLaneFieldNumber, static_cast<std::uint64_t>(lane), end);
  end = WriteNumber(v1::DeliveredEvent::kAttemptFieldNumber, static_cast<std::uint64_t>(attempt),
                    end);
  end = WriteNumber(v1::DeliveredEvent::kRedeliveredFieldNumber, is_redelivered ? 1 : 0, end);
  const auto size = static_cast<std::size_t>(end - numbers);
  AppendHeader(v1::DeliveredEvents::kEventsFieldNumber, event.size() + size, out);
  out->append(event);
  out->append(reinterpret_cast<const char*>(numbers), size);
}

std::string WrapDeliveries(std::string_view events) {
  std::string message;
  message.reserve(events.size() + 16);
  AppendHeader(v1::ConsumeResponse::kEventsFieldNumber, events.size(), &message);
  message.append(events);
  return message;
}

}  // namespace eventstore::engine
