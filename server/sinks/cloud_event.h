// Events as CloudEvents 1.0 (https://github.com/cloudevents/spec). Any thread.
#ifndef EVENTSTORE_SERVER_SINKS_CLOUD_EVENT_H_
#define EVENTSTORE_SERVER_SINKS_CLOUD_EVENT_H_

#include <string>
#include <string_view>
#include <vector>

#include "eventstore/v1/types.pb.h"

namespace eventstore::sinks {

// The content type of an event in structured mode.
inline constexpr std::string_view kStructuredContentType =
    "application/cloudevents+json; charset=UTF-8";

// An attribute in its canonical text form. Positions and versions have 64 bits, a CloudEvents
// integer 32: they are strings in JSON too.
struct Attribute {
  enum class Kind { kString, kInteger, kBoolean };
  std::string name;
  std::string value;
  Kind kind = Kind::kString;
};

// All attributes that an event has, `specversion` first, without `datacontenttype`. What is empty
// in the event is left out, and so is `erased` unless it was.
[[nodiscard]] std::vector<Attribute> AttributesOf(const v1::Event& event, std::string_view source);

// The attribute `datacontenttype`: the event's content type; "application/octet-stream" where that
// has characters that no media type has, such as line breaks.
[[nodiscard]] std::string DataContentType(const v1::Event& event);

// aggregate_type/aggregate_id. '/' and '%' in the type are written as %2F and %25, so that the
// first slash is what stands between the two.
[[nodiscard]] std::string SubjectOf(const v1::StreamId& stream);

// A header's value by the HTTP binding (3.1.3.2): white space, '"', '%' and everything but
// printable ASCII is percent-encoded, byte by byte of its UTF-8.
[[nodiscard]] std::string PercentEncoded(std::string_view value);

// The whole event as one JSON document: `data` for a JSON payload, `data_base64` for any other,
// neither for an empty one.
[[nodiscard]] std::string StructuredJson(const v1::Event& event, std::string_view source);

// An event as a sink sends it: structured, with everything in the body, or binary.
class CloudEvent {
 public:
  // `event` must outlive it.
  CloudEvent(const v1::Event& event, std::string_view source, bool structured);

  [[nodiscard]] const std::string& content_type() const { return content_type_; }
  // None in structured mode.
  [[nodiscard]] const std::vector<Attribute>& attributes() const { return attributes_; }
  [[nodiscard]] std::string_view body() const { return json_.empty() ? payload_ : json_; }

 private:
  std::string content_type_;
  std::vector<Attribute> attributes_;
  std::string json_;
  std::string_view payload_;
};

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_CLOUD_EVENT_H_
