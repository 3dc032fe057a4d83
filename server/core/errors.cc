#include "server/core/errors.h"

#include <absl/strings/cord.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "google/rpc/status.pb.h"

#include "server/core/json_check.h"

namespace eventstore {
namespace {

// The payload of our errors: a serialized google.rpc.Status, ready for the trailer.
constexpr char kDetailsUrl[] = "type.googleapis.com/google.rpc.Status";

// Most bytes of each text in an error. The status' message travels besides the details, percent
// encoded, and both must fit into gRPC's 8 KiB of trailers; and one detail must fit by itself.
constexpr std::size_t kMessageBytesMax = 512;
constexpr std::size_t kFieldBytesMax = 256;
constexpr std::size_t kNameBytesMax = 255;
constexpr std::size_t kIdBytesMax = 64;

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

// Makes a text fit to be sent: valid UTF-8, at most `bytes_max` bytes. Returns whether it was cut.
bool Tidy(std::string* text, std::size_t bytes_max) {
  if (!IsCleanUtf8(*text)) {
    std::replace_if(
        text->begin(), text->end(),
        [](char c) { return c == '\0' || static_cast<unsigned char>(c) >= 0x80; }, '?');
  }
  if (text->size() <= bytes_max) return false;
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>((*text)[end]) & 0xc0) == 0x80) --end;
  text->resize(end);
  return true;
}

// Tidies every text of a detail. Returns whether any was cut.
bool TidyDetail(v1::ErrorInfo* detail) {
  bool cut = Tidy(detail->mutable_message(), kMessageBytesMax);
  cut |= Tidy(detail->mutable_field(), kFieldBytesMax);
  cut |= Tidy(detail->mutable_event_id(), kIdBytesMax);
  cut |= Tidy(detail->mutable_limit_name(), kIdBytesMax);
  if (detail->has_stream()) {
    v1::StreamId* stream = detail->mutable_stream();
    cut |= Tidy(stream->mutable_aggregate_type(), kNameBytesMax);
    cut |= Tidy(stream->mutable_aggregate_id(), kNameBytesMax);
    cut |= Tidy(stream->mutable_tenant_id(), kIdBytesMax);
  }
  return cut;
}

void Pack(const std::vector<v1::ErrorInfo>& details, std::size_t count,
          google::rpc::Status* status) {
  status->clear_details();
  for (std::size_t i = 0; i < count; ++i) status->add_details()->PackFrom(details[i]);
}

v1::ErrorInfo Detail(v1::ErrorReason reason, std::string message) {
  v1::ErrorInfo detail;
  detail.set_reason(reason);
  detail.set_message(std::move(message));
  return detail;
}

void SetField(std::string_view field, v1::ErrorInfo* detail) {
  detail->set_field(field.data(), field.size());
}

std::string NameOf(const v1::StreamId& stream) {
  std::string name = absl::StrCat("stream ", stream.aggregate_type(), "/", stream.aggregate_id());
  if (!stream.tenant_id().empty()) absl::StrAppend(&name, " of tenant ", stream.tenant_id());
  return name;
}

}  // namespace

absl::StatusCode CodeOf(v1::ErrorReason reason) {
  switch (reason) {
    case v1::ERROR_REASON_VERSION_CONFLICT:
    case v1::ERROR_REASON_CONDITION_FAILED:
    case v1::ERROR_REASON_SLOW_CONSUMER:
      return absl::StatusCode::kAborted;
    case v1::ERROR_REASON_DUPLICATE_EVENT_ID:
    case v1::ERROR_REASON_ALREADY_EXISTS:
      return absl::StatusCode::kAlreadyExists;
    case v1::ERROR_REASON_STREAM_DELETED:
      return absl::StatusCode::kFailedPrecondition;
    case v1::ERROR_REASON_INVALID_EVENT:
    case v1::ERROR_REASON_INVALID_REQUEST:
    case v1::ERROR_REASON_TOO_LARGE:
      return absl::StatusCode::kInvalidArgument;
    case v1::ERROR_REASON_OVERLOADED:
      return absl::StatusCode::kResourceExhausted;
    case v1::ERROR_REASON_STORE_UNAVAILABLE:
      return absl::StatusCode::kUnavailable;
    case v1::ERROR_REASON_POSITION_AHEAD:
    case v1::ERROR_REASON_ARCHIVED:
      return absl::StatusCode::kOutOfRange;
    case v1::ERROR_REASON_NOT_FOUND:
      return absl::StatusCode::kNotFound;
    case v1::ERROR_REASON_UNAUTHENTICATED:
      return absl::StatusCode::kUnauthenticated;
    case v1::ERROR_REASON_PERMISSION_DENIED:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::Status MakeError(v1::ErrorInfo detail) {
  std::vector<v1::ErrorInfo> details;
  details.push_back(std::move(detail));
  return MakeError(std::move(details));
}

absl::Status MakeError(std::vector<v1::ErrorInfo> details) {
  // The caller may know of more problems than it kept.
  const std::int32_t total =
      std::max(static_cast<std::int32_t>(details.size()), details[0].total());
  bool truncated = total > static_cast<std::int32_t>(details.size());
  for (v1::ErrorInfo& detail : details) truncated |= TidyDetail(&detail);
  const auto mark = [&details, total] {
    details[0].set_total(total);
    details[0].set_truncated(true);
  };
  details[0].clear_total();
  if (truncated) mark();

  const absl::StatusCode code = CodeOf(details[0].reason());
  google::rpc::Status status;
  status.set_code(static_cast<int>(code));
  status.set_message(details[0].message());
  std::size_t count = details.size();
  Pack(details, count, &status);
  while (status.ByteSizeLong() > kErrorDetailsBytesMax && count > 1) {
    mark();
    Pack(details, --count, &status);
  }
  absl::Status error(code, details[0].message());
  error.SetPayload(kDetailsUrl, absl::Cord(status.SerializeAsString()));
  return error;
}

std::vector<v1::ErrorInfo> DetailsOf(const absl::Status& status) {
  std::vector<v1::ErrorInfo> details;
  const absl::optional<absl::Cord> payload = status.GetPayload(kDetailsUrl);
  google::rpc::Status packed;
  if (!payload.has_value() || !packed.ParseFromString(std::string(*payload))) return details;
  for (const google::protobuf::Any& any : packed.details()) {
    v1::ErrorInfo detail;
    if (any.UnpackTo(&detail)) details.push_back(std::move(detail));
  }
  return details;
}

absl::Status Separate(const absl::Status& status) {
  absl::Status copy(status.code(), status.message());
  status.ForEachPayload([&copy](absl::string_view url, const absl::Cord& payload) {
    copy.SetPayload(url, absl::Cord(std::string(payload)));
  });
  return copy;
}

absl::Status InvalidRequest(std::string_view field, std::string_view message) {
  v1::ErrorInfo detail = Detail(v1::ERROR_REASON_INVALID_REQUEST, std::string(message));
  SetField(field, &detail);
  return MakeError(std::move(detail));
}

absl::Status InvalidEvent(int index, std::string_view field, std::string_view message) {
  v1::ErrorInfo detail = Detail(v1::ERROR_REASON_INVALID_EVENT, std::string(message));
  SetField(field, &detail);
  detail.set_index(index);
  return MakeError(std::move(detail));
}

absl::Status TooLarge(std::string_view field, std::string_view limit_name, std::int64_t limit,
                      std::int64_t value, int index) {
  v1::ErrorInfo detail =
      Detail(v1::ERROR_REASON_TOO_LARGE,
             absl::StrCat(Absl(field.empty() ? "the request" : field), " is too large: ", value,
                          ", but ", Absl(limit_name), " is ", limit));
  SetField(field, &detail);
  detail.set_limit_name(limit_name.data(), limit_name.size());
  detail.set_limit(limit);
  detail.set_value(value);
  if (index >= 0) detail.set_index(index);
  return MakeError(std::move(detail));
}

absl::Status Overloaded(std::string_view limit_name, std::int64_t limit,
                        std::chrono::milliseconds retry_delay, std::string_view message) {
  v1::ErrorInfo detail = Detail(v1::ERROR_REASON_OVERLOADED, std::string(message));
  detail.set_limit_name(limit_name.data(), limit_name.size());
  detail.set_limit(limit);
  detail.mutable_retry_delay()->set_seconds(retry_delay.count() / 1000);
  detail.mutable_retry_delay()->set_nanos(static_cast<std::int32_t>(retry_delay.count() % 1000) *
                                          1'000'000);
  return MakeError(std::move(detail));
}

absl::Status StoreUnavailable(std::string_view message) {
  return MakeError(Detail(v1::ERROR_REASON_STORE_UNAVAILABLE, std::string(message)));
}

absl::Status VersionConflict(const v1::StreamId& stream, const v1::ExpectedVersion& expected,
                             std::int64_t actual) {
  std::string message = actual > 0 ? absl::StrCat(NameOf(stream), " is at version ", actual)
                                   : absl::StrCat(NameOf(stream), " has no events");
  switch (expected.kind_case()) {
    case v1::ExpectedVersion::kNoStream:
      absl::StrAppend(&message, ", but was expected to have none");
      break;
    case v1::ExpectedVersion::kStreamExists:
      absl::StrAppend(&message, ", but was expected to have some");
      break;
    case v1::ExpectedVersion::kExact:
      absl::StrAppend(&message, actual > 0 ? ", not at the expected " : ", not the expected ",
                      expected.exact());
      break;
    default:
      break;
  }
  absl::StrAppend(&message, "; reload it and decide again");
  v1::ErrorInfo detail = Detail(v1::ERROR_REASON_VERSION_CONFLICT, std::move(message));
  *detail.mutable_stream() = stream;
  *detail.mutable_expected() = expected;
  detail.set_actual(actual);
  return MakeError(std::move(detail));
}

absl::Status ConditionFailed(int index, std::int64_t position, std::int64_t epoch) {
  const std::string field = absl::StrCat("conditions[", index, "]");
  v1::ErrorInfo detail = Detail(v1::ERROR_REASON_CONDITION_FAILED,
                                absl::StrCat(field, ": the event at position ", position,
                                             " matches it; read what came after your position and "
                                             "decide again"));
  SetField(field, &detail);
  detail.set_index(index);
  detail.set_position(position);
  detail.set_epoch(epoch);
  return MakeError(std::move(detail));
}

absl::Status DuplicateEventId(std::string_view event_id, const v1::StreamId* stream,
                              std::int64_t position, int index, std::string_view message) {
  v1::ErrorInfo detail = Detail(v1::ERROR_REASON_DUPLICATE_EVENT_ID, std::string(message));
  detail.set_event_id(event_id.data(), event_id.size());
  if (stream != nullptr) *detail.mutable_stream() = *stream;
  detail.set_position(position);
  if (index >= 0) detail.set_index(index);
  return MakeError(std::move(detail));
}

absl::Status StreamDeleted(const v1::StreamId& stream) {
  v1::ErrorInfo detail =
      Detail(v1::ERROR_REASON_STREAM_DELETED,
             absl::StrCat(NameOf(stream), " was deleted for good; it takes no events any more"));
  *detail.mutable_stream() = stream;
  return MakeError(std::move(detail));
}

absl::Status PositionAhead(std::int64_t asked, std::int64_t asked_epoch, std::int64_t rewind_to,
                           std::int64_t epoch, std::int64_t head) {
  std::string message =
      asked_epoch > 0 ? absl::StrCat("position ", asked, " of epoch ", asked_epoch,
                                     " lies beyond that epoch's end; ")
                      : absl::StrCat("position ", asked, " lies beyond the end of the store; ");
  absl::StrAppend(&message, "the store was rewound and is now in epoch ", epoch, " at position ",
                  head, ": rewind the reader to position ", rewind_to);
  v1::ErrorInfo detail = Detail(v1::ERROR_REASON_POSITION_AHEAD, std::move(message));
  detail.set_value(asked);
  detail.set_position(rewind_to);
  detail.set_epoch(epoch);
  detail.set_limit(head);
  return MakeError(std::move(detail));
}

absl::Status CheckpointMoved(std::string_view projection, std::int64_t expected,
                             std::int64_t actual, std::int64_t epoch) {
  v1::ErrorInfo detail =
      Detail(v1::ERROR_REASON_CONDITION_FAILED,
             absl::StrCat("the checkpoint of ", Absl(projection), " is at position ", actual,
                          ", not at the expected ", expected,
                          "; another process may be running this projection"));
  SetField("expected_position", &detail);
  detail.set_position(actual);
  detail.set_epoch(epoch);
  detail.set_value(expected);
  return MakeError(std::move(detail));
}

absl::Status CheckpointNotNewer(std::string_view projection, std::int64_t asked,
                                std::int64_t actual, std::int64_t epoch) {
  v1::ErrorInfo detail =
      Detail(v1::ERROR_REASON_CONDITION_FAILED,
             absl::StrCat("the checkpoint of ", Absl(projection), " is at position ", actual,
                          " already, not before ", asked,
                          ": the work was done, so go on after it; or set allow_rewind"));
  SetField("position", &detail);
  detail.set_position(actual);
  detail.set_epoch(epoch);
  detail.set_value(asked);
  return MakeError(std::move(detail));
}

absl::Status Archived(std::int64_t first_position, std::string_view message) {
  v1::ErrorInfo detail = Detail(v1::ERROR_REASON_ARCHIVED, std::string(message));
  detail.set_position(first_position);
  return MakeError(std::move(detail));
}

absl::Status SlowConsumer(std::int64_t position, std::int64_t epoch,
                          std::chrono::milliseconds limit) {
  v1::ErrorInfo detail =
      Detail(v1::ERROR_REASON_SLOW_CONSUMER,
             absl::StrCat("the client read nothing for ", limit.count(),
                          " ms; subscribe again after position ", position, " of epoch ", epoch));
  detail.set_position(position);
  detail.set_epoch(epoch);
  return MakeError(std::move(detail));
}

absl::Status NotFound(std::string_view kind, std::string_view name) {
  v1::ErrorInfo detail =
      Detail(v1::ERROR_REASON_NOT_FOUND, absl::StrCat("there is no ", Absl(kind), " ", Absl(name)));
  SetField(kind, &detail);
  return MakeError(std::move(detail));
}

}  // namespace eventstore
