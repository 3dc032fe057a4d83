#include "server/engine/outbox_routes.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/core/problems.h"

namespace eventstore::engine {
namespace {

// What the column holds.
constexpr std::int64_t kSinkNameBytesMax = 255;

std::string NamesOf(const std::vector<OutboxSink>& sinks) {
  if (sinks.empty()) return "none";
  return absl::StrJoin(sinks, ", ", [](std::string* out, const OutboxSink& sink) {
    out->append(sink.options.name);
  });
}

absl::Status CheckSinkNames(const std::vector<OutboxSink>& sinks) {
  Problems problems;
  for (std::size_t i = 0; i < sinks.size(); ++i) {
    const std::string& name = sinks[i].options.name;
    const Problems::Place place{absl::StrCat("outbox.sinks[", i, "].name")};
    if (!problems.CheckName(place, name, "sink_name_bytes_max", kSinkNameBytesMax)) continue;
    const auto same = [&name](const OutboxSink& other) { return other.options.name == name; };
    if (std::any_of(sinks.begin(), sinks.begin() + static_cast<std::ptrdiff_t>(i), same)) {
      problems.Invalid(place, absl::StrCat("\"", name, "\" is another sink's name already"));
    }
  }
  return std::move(problems).ToStatus();
}

v1::Filter FilterOf(const OutboxRoute& route) {
  v1::Filter filter;
  filter.mutable_aggregate_types()->Assign(route.aggregate_types.begin(),
                                           route.aggregate_types.end());
  filter.mutable_event_types()->Assign(route.event_types.begin(), route.event_types.end());
  filter.mutable_tags()->Assign(route.tags.begin(), route.tags.end());
  filter.set_tenant_id(route.tenant_id);
  return filter;
}

}  // namespace

absl::StatusOr<OutboxRoutes> OutboxRoutes::Make(const OutboxOptions& options,
                                                const Limits& limits) {
  if (absl::Status status = CheckSinkNames(options.sinks); !status.ok()) return status;
  std::vector<RoutedSink> sinks;
  for (const OutboxSink& sink : options.sinks) sinks.push_back({sink.options.name, {}});
  for (std::size_t i = 0; i < options.routes.size(); ++i) {
    const OutboxRoute& route = options.routes[i];
    const std::string path = absl::StrCat("outbox.routes[", i, "]");
    const auto sink = std::find_if(sinks.begin(), sinks.end(), [&route](const RoutedSink& known) {
      return known.name == route.sink;
    });
    if (sink == sinks.end()) {
      const std::string field = path + ".sink";
      return InvalidRequest(
          field, absl::StrCat(field, ": \"", route.sink,
                              "\" is not one of outbox.sinks: ", NamesOf(options.sinks)));
    }
    auto filter = EventFilter::Make(FilterOf(route), path, limits);
    if (!filter.ok()) return filter.status();
    sink->filters.push_back(*std::move(filter));
  }
  OutboxRoutes routes;
  if (!options.enabled) return routes;
  for (RoutedSink& sink : sinks) {
    if (!sink.filters.empty()) routes.sinks_.push_back(std::move(sink));
  }
  return routes;
}

std::vector<const std::string*> OutboxRoutes::SinksOf(const v1::StreamId& stream,
                                                      const v1::NewEvent& event) const {
  std::vector<const std::string*> matching;
  for (const RoutedSink& sink : sinks_) {
    const auto matches = [&](const auto& filter) { return filter->Matches(stream, event); };
    if (std::any_of(sink.filters.begin(), sink.filters.end(), matches)) {
      matching.push_back(&sink.name);
    }
  }
  return matching;
}

}  // namespace eventstore::engine
