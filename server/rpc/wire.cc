#include "server/rpc/wire.h"

#include <absl/strings/str_cat.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <spdlog/spdlog.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/errors.h"

namespace eventstore::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

thread_local bool parsing_request = false;

void LogFromProtobuf(google::protobuf::LogLevel level, const char* /*file*/, int /*line*/,
                     const std::string& message) {
  if (parsing_request) return;
  if (level >= google::protobuf::LOGLEVEL_ERROR) {
    spdlog::error("protobuf: {}", message);
  } else {
    spdlog::warn("protobuf: {}", message);
  }
}

bool ParseUnknown(const grpc::ByteBuffer& buffer, UnknownFieldSet* fields) {
  grpc::ByteBuffer copy(buffer);  // shares the bytes; the reader wants it mutable
  if (!copy.Valid()) return false;
  grpc::ProtoBufferReader reader(&copy);
  return reader.status().ok() && fields->ParseFromZeroCopyStream(&reader);
}

// The path of the first text in a message that is not UTF-8, such as "events[2].tags[0]". The
// message is looked at without its schema's checks, so that it can be walked although it does not
// parse. Recursion is bounded by the schema, which is not recursive.
std::optional<std::string> FindBrokenText(const Descriptor& type, const UnknownFieldSet& fields) {
  std::map<int, int> seen;  // field number -> how often so far
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& value = fields.field(i);
    const FieldDescriptor* field = type.FindFieldByNumber(value.number());
    const int index = seen[value.number()]++;
    if (field == nullptr || value.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    std::string path = field->name();
    if (field->is_repeated() && !field->is_map()) absl::StrAppend(&path, "[", index, "]");
    const std::string& bytes = value.length_delimited();
    if (field->type() == FieldDescriptor::TYPE_STRING) {
      if (!google::protobuf::internal::IsStructurallyValidUTF8(bytes)) return path;
    } else if (field->type() == FieldDescriptor::TYPE_MESSAGE) {
      UnknownFieldSet inner;
      if (!inner.ParseFromString(bytes)) continue;
      const auto found = FindBrokenText(*field->message_type(), inner);
      if (found.has_value()) return field->is_map() ? path : absl::StrCat(path, ".", *found);
    }
  }
  return std::nullopt;
}

absl::Status WhyNotParsed(const grpc::ByteBuffer& buffer, const Descriptor& type) {
  UnknownFieldSet fields;
  if (ParseUnknown(buffer, &fields)) {
    if (const auto path = FindBrokenText(type, fields); path.has_value()) {
      return InvalidRequest(*path,
                            absl::StrCat(*path,
                                         " has text that is not UTF-8; encode it as UTF-8, or put "
                                         "binary data into a field of type bytes"));
    }
  }
  return InvalidRequest(
      "", absl::StrCat("the request's ", buffer.Valid() ? buffer.Length() : 0,
                       " bytes are not a protobuf message of the type ", type.full_name()));
}

// Lets gRPC send bytes of a block in place, and keeps the block until it has.
grpc::Slice ShareBytes(const engine::EventRun& run) {
  using Holder = std::shared_ptr<const engine::EventBlock>;
  const std::string_view bytes = run.block->bytes(run.begin, run.end);
  return grpc::Slice(
      const_cast<char*>(bytes.data()), bytes.size(),  // gRPC never writes into a slice
      [](void* holder) { delete static_cast<Holder*>(holder); }, new Holder(run.block));
}

// Encodes with `write` into a slice of its own.
template <typename Write>
grpc::Slice EncodeSlice(Write write) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    CodedOutputStream out(&stream);
    write(&out);
  }
  return grpc::Slice(bytes);
}

}  // namespace

void RouteProtobufLog() {
  static std::once_flag once;
  std::call_once(once, [] { google::protobuf::SetLogHandler(&LogFromProtobuf); });
}

absl::Status ParseMessage(const grpc::ByteBuffer& buffer, google::protobuf::Message* message) {
  grpc::ByteBuffer copy(buffer);
  bool parsed = false;
  if (copy.Valid()) {
    grpc::ProtoBufferReader reader(&copy);
    parsing_request = true;
    parsed = reader.status().ok() && message->ParseFromZeroCopyStream(&reader);
    parsing_request = false;
  }
  return parsed ? absl::OkStatus() : WhyNotParsed(buffer, *message->GetDescriptor());
}

std::uint64_t FindVarint(const grpc::ByteBuffer& buffer, int number) {
  grpc::ByteBuffer copy(buffer);
  if (!copy.Valid()) return 0;
  grpc::ProtoBufferReader reader(&copy);
  google::protobuf::io::CodedInputStream in(&reader);
  // Up to the first broken byte, for the rest cannot be told apart.
  while (const std::uint32_t tag = in.ReadTag()) {
    const bool wanted = WireFormatLite::GetTagFieldNumber(tag) == number &&
                        WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_VARINT;
    std::uint64_t value = 0;
    if (wanted && in.ReadVarint64(&value)) return value;
    if (wanted || !WireFormatLite::SkipField(&in, tag)) return 0;
  }
  return 0;
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::MessageLite& message) {
  const std::size_t size = message.ByteSizeLong();
  grpc::Slice slice(size);
  message.SerializeWithCachedSizesToArray(const_cast<std::uint8_t*>(slice.begin()));
  return grpc::ByteBuffer(&slice, 1);
}

grpc::ByteBuffer SerializeSubscribedEvents(std::span<const engine::EventRun> runs,
                                           std::int64_t position, std::int64_t epoch) {
  const grpc::Slice tail = EncodeSlice([&](CodedOutputStream* out) {
    // As in proto3, a field of value 0 is left out.
    if (position != 0) {
      WireFormatLite::WriteInt64(v1::EventBatch::kPositionFieldNumber, position, out);
    }
    if (epoch != 0) WireFormatLite::WriteInt64(v1::EventBatch::kEpochFieldNumber, epoch, out);
  });
  std::size_t batch_bytes = tail.size();
  for (const engine::EventRun& run : runs)
    batch_bytes += run.block->bytes(run.begin, run.end).size();

  std::vector<grpc::Slice> slices;
  slices.reserve(runs.size() + 2);
  slices.push_back(EncodeSlice([&](CodedOutputStream* out) {
    WireFormatLite::WriteTag(v1::SubscribeResponse::kEventsFieldNumber,
                             WireFormatLite::WIRETYPE_LENGTH_DELIMITED, out);
    out->WriteVarint64(batch_bytes);
  }));
  for (const engine::EventRun& run : runs) slices.push_back(ShareBytes(run));
  slices.push_back(tail);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace eventstore::rpc
