// Names at the broker that are made of an event, such as "{aggregate_type}.{event_type}".
#ifndef EVENTSTORE_SERVER_SINKS_TEMPLATE_H_
#define EVENTSTORE_SERVER_SINKS_TEMPLATE_H_

#include <absl/status/statusor.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "eventstore/v1/types.pb.h"

namespace eventstore::sinks {

// A text with placeholders: {aggregate_type}, {aggregate_id}, {tenant_id} ("none" for a stream
// without a tenant) and {event_type}. Any thread.
class Template {
 public:
  // What a value becomes where the broker does not take all of its characters.
  using Escape = std::function<std::string(std::string_view value)>;

  // INVALID_ARGUMENT for an empty text, an unknown placeholder or a brace without its other one.
  [[nodiscard]] static absl::StatusOr<Template> Parse(std::string_view text);

  // Whether all events of a stream get the same name.
  [[nodiscard]] bool IsOfStream() const;
  // The name for an event; each value, but none of the text around it, goes through `escape`.
  [[nodiscard]] std::string Expand(const v1::Event& event, const Escape& escape) const;
  [[nodiscard]] std::string Expand(const v1::Event& event) const;

 private:
  enum class Field { kNone, kAggregateType, kAggregateId, kTenantId, kEventType };
  struct Part {
    std::string text;  // before the field
    Field field = Field::kNone;
  };

  static Field FieldOf(std::string_view name);
  static const std::string& ValueOf(const v1::Event& event, Field field);

  std::vector<Part> parts_;
};

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_TEMPLATE_H_
