// A reader's filter, ready to be applied to events in memory.
#ifndef EVENTSTORE_SERVER_CORE_FILTER_H_
#define EVENTSTORE_SERVER_CORE_FILTER_H_

#include <absl/status/statusor.h>
#include <re2/re2.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>

#include "eventstore/v1/types.pb.h"

#include "server/core/limits.h"

namespace eventstore {

// Immutable once made; any thread may use it. `tables/` pushes down what SQL can do and applies
// MatchesRegex to what comes back; live events go through Matches.
class EventFilter {
 public:
  // Checks sizes, UTF-8, the tenant id and the regular expression. `field` is the path to the
  // filter in the request. Errors: INVALID_REQUEST, TOO_LARGE.
  [[nodiscard]] static absl::StatusOr<std::shared_ptr<const EventFilter>> Make(
      const v1::Filter& filter, std::string_view field, const Limits& limits);

  // Whether an event matches all fields. Reads its types, ids, tags and tenant only.
  [[nodiscard]] bool Matches(const v1::Event& event) const;
  // The same for an event that is about to be written; its tags each once.
  [[nodiscard]] bool Matches(const v1::StreamId& stream, const v1::NewEvent& event) const;

  // Whether the event type matches the regular expression; true if there is none.
  [[nodiscard]] bool MatchesRegex(std::string_view event_type) const;

  // Whether every event matches.
  [[nodiscard]] bool matches_everything() const { return matches_everything_; }
  [[nodiscard]] bool has_regex() const { return regex_ != nullptr; }
  // The filter, with its tenant id normalized.
  [[nodiscard]] const v1::Filter& proto() const { return proto_; }

 private:
  EventFilter() = default;

  using Texts = google::protobuf::RepeatedPtrField<std::string>;
  [[nodiscard]] bool Matches(const v1::StreamId& stream, const std::string& event_type,
                             const Texts& tags) const;

  v1::Filter proto_;
  std::unordered_set<std::string> aggregate_types_;
  std::unordered_set<std::string> event_types_;
  std::unique_ptr<const RE2> regex_;
  bool matches_everything_ = true;
};

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_FILTER_H_
