#include "server/core/append_condition.h"

#include <algorithm>

namespace eventstore {
namespace {

using Values = google::protobuf::RepeatedPtrField<std::string>;

bool MatchesItem(const v1::QueryItem& item, const EventTraits& event) {
  const Values& types = item.event_types();
  const auto is_type = [&event](const std::string& type) { return type == event.event_type; };
  if (!types.empty() && std::none_of(types.begin(), types.end(), is_type)) return false;
  return std::includes(event.tags->begin(), event.tags->end(), item.tags().begin(),
                       item.tags().end());
}

}  // namespace

bool Matches(const v1::AppendCondition& condition, const EventTraits& event) {
  if (!condition.tenant_id().empty() && condition.tenant_id() != event.tenant_id) return false;
  const auto& query = condition.query();
  return query.empty() || std::any_of(query.begin(), query.end(), [&event](const auto& item) {
           return MatchesItem(item, event);
         });
}

}  // namespace eventstore
