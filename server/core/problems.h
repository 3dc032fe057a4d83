// Collects what is wrong with a request, so that one error can name all of it.
#ifndef EVENTSTORE_SERVER_CORE_PROBLEMS_H_
#define EVENTSTORE_SERVER_CORE_PROBLEMS_H_

#include <absl/status/status.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "eventstore/v1/errors.pb.h"
#include "google/protobuf/timestamp.pb.h"

#include "server/core/limits.h"

namespace eventstore {

// Problems of one request, in the order in which they were found. All of them are INVALID_ARGUMENT.
// One thread.
class Problems {
 public:
  // Where a problem lies: the path of a field, and the event that it belongs to (< 0: none).
  struct Place {
    std::string field;
    int index = -1;
  };

  // Of more problems than this only the number is kept; the error would have no room for them.
  static constexpr std::size_t kDetailsMax = 32;

  // INVALID_EVENT where `place` has an index, INVALID_REQUEST otherwise.
  void Invalid(const Place& place, std::string message);
  // INVALID_REQUEST although an event is to blame: the events contradict each other.
  void InvalidRequest(const Place& place, std::string message);
  // TOO_LARGE.
  void TooLarge(const Place& place, std::string_view limit_name, std::int64_t limit,
                std::int64_t value);

  // Common checks, each of which adds at most one problem and returns whether there was none.
  // A text is well-formed UTF-8 without U+0000.
  bool CheckText(const Place& place, std::string_view text);
  // As CheckText, and of at most `bytes_max` bytes.
  bool CheckText(const Place& place, std::string_view text, std::string_view limit_name,
                 std::int64_t bytes_max);
  // As the latter, and not empty.
  bool CheckName(const Place& place, std::string_view text, std::string_view limit_name,
                 std::int64_t bytes_max);
  // 0 or more, and at most `max`; `zero` says what 0 means.
  bool CheckNumber(const Place& place, std::int64_t value, std::string_view zero,
                   std::int64_t max = INT64_MAX);
  // A canonical UUID other than the nil one; written in lower case afterwards. `what` says which
  // id.
  bool CheckUuid(const Place& place, std::string_view what, std::string* text);
  // A time that protobuf allows; cut to microseconds afterwards.
  bool CheckTime(const Place& place, google::protobuf::Timestamp* timestamp);
  // A stream's name, all of it; `field` is the path to `stream`. Adds a problem per part.
  void CheckStreamId(std::string_view field, const Limits& limits, v1::StreamId* stream);
  // The same for a request's required field `stream`.
  template <typename Request>
  void CheckStreamOf(Request* request, const Limits& limits) {
    if (request->has_stream()) {
      CheckStreamId("stream", limits, request->mutable_stream());
    } else {
      Invalid({"stream"}, "is missing; name the stream by aggregate_type and aggregate_id");
    }
  }

  [[nodiscard]] bool empty() const { return total_ == 0; }
  // OK if there are none.
  [[nodiscard]] absl::Status ToStatus() &&;

 private:
  void Add(v1::ErrorReason reason, const Place& place, std::string message);

  std::vector<v1::ErrorInfo> details_;
  std::int32_t total_ = 0;
};

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_PROBLEMS_H_
