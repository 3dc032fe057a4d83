// The store by itself: dense positions, consecutive versions, one truth in every kind of read.
#include <map>
#include <set>
#include <string>
#include <unordered_set>

#include "tests/faults/checker/store_index.h"

namespace eventstore::faults {
namespace {

std::string TextOf(const StoredEvent& event) {
  return event.stream.Text() + " version " + std::to_string(event.version) + " at position " +
         std::to_string(event.position) + " (" + event.id + ")";
}

void CheckLog(const FinalState& state, Findings* findings) {
  std::unordered_set<std::string> ids;
  std::map<StreamName, std::int64_t> versions;
  std::int64_t position = 0;
  std::int64_t created_at_us = 0;
  for (const StoredEvent& event : state.all) {
    if (event.position != ++position) {
      findings->Add("gap",
                    "instead of position " + std::to_string(position) + " comes " + TextOf(event));
      position = event.position;
    }
    if (!ids.insert(event.id).second) findings->Add("duplicate", TextOf(event) + " is there twice");
    std::int64_t& version = versions[event.stream];
    if (event.version != ++version) {
      findings->Add("versions",
                    "instead of version " + std::to_string(version) + " comes " + TextOf(event));
      version = event.version;
    }
    if (event.created_at_us < created_at_us) {
      findings->Add("time", TextOf(event) + " was created before the position before it");
    }
    created_at_us = event.created_at_us;
  }
  if (position != state.head) {
    findings->Add("gap", "the head is " + std::to_string(state.head) + ", the last event is at " +
                             std::to_string(position));
  }
}

void CheckOtherReads(const FinalState& state, const StoreIndex& index, Findings* findings) {
  for (const auto& [stream, events] : state.streams) {
    const auto found = index.by_stream.find(stream);
    const std::size_t count = found == index.by_stream.end() ? 0 : found->second.size();
    if (events.size() != count) {
      findings->Add("reads differ", stream.Text() + " has " + std::to_string(events.size()) +
                                        " events in ReadStream and " + std::to_string(count) +
                                        " in ReadAll");
      continue;
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (events[i] == *found->second[i]) continue;
      findings->Add("reads differ", "ReadStream has " + TextOf(events[i]) + ", ReadAll has " +
                                        TextOf(*found->second[i]));
    }
  }
  for (const auto& [id, event] : state.by_ids) {
    const StoredEvent* found = index.Find(id);
    if (event.has_value() != (found != nullptr) || (found != nullptr && *event != *found)) {
      findings->Add("reads differ", "GetEvent(" + id + ") gives " +
                                        (event ? TextOf(*event) : "nothing") + ", ReadAll has " +
                                        (found != nullptr ? TextOf(*found) : "nothing"));
    }
  }
}

}  // namespace

void CheckStore(const History& history, const FinalState& state, const StoreIndex& index,
                Findings* findings) {
  CheckLog(state, findings);
  CheckOtherReads(state, index, findings);
  std::unordered_set<std::string> wanted;
  for (const WriterHistory& writer : history.writers) {
    for (const auto& [number, request] : writer.requests) {
      if (request.bad) continue;
      for (const WantedEvent& event : request.events) wanted.insert(event.id);
    }
  }
  for (const StoredEvent& event : state.all) {
    if (wanted.count(event.id) == 0) findings->Add("invented", TextOf(event) + " nobody asked for");
  }
}

}  // namespace eventstore::faults
