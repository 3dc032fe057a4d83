#include "server/engine/batch_decider.h"

#include "server/core/errors.h"

namespace eventstore::engine {

bool VersionHolds(const v1::ExpectedVersion& expected, const tables::StreamRow& row) {
  switch (expected.kind_case()) {
    case v1::ExpectedVersion::kAny:
      return true;
    case v1::ExpectedVersion::kNoStream:
      return row.readable_version() == 0;
    case v1::ExpectedVersion::kStreamExists:
      return row.readable_version() > 0;
    case v1::ExpectedVersion::kExact:
      return row.readable_version() == expected.exact();
    case v1::ExpectedVersion::KIND_NOT_SET:
      break;  // refused by validation
  }
  return false;
}

int BatchDecider::AddStream(const tables::StreamName& name, const tables::StreamRow& row) {
  slots_.push_back({name, row, row.version, 0, 0});
  return static_cast<int>(slots_.size()) - 1;
}

void BatchDecider::AddKnownEvent(const Uuid& id, const tables::KnownEvent& known) {
  known_.emplace(
      id, Stored{known.global_position, known.stream_key, known.version, known.created_at_micros});
  streams_.emplace(known.stream_key, known.stream);
}

absl::StatusOr<v1::AppendEventsResponse> BatchDecider::Decide(const ValidatedAppend& append,
                                                              int slot) {
  Slot& stream = slots_[static_cast<std::size_t>(slot)];
  auto response = CheckReplay(append, stream);
  if (!response.ok() || response->deduplicated()) return response;
  if (stream.row.tombstoned) return StreamDeleted(append.request.stream());
  absl::Status version = CheckVersion(append, stream);
  if (!version.ok()) return version;
  Write(append, &stream, &*response);
  return response;
}

absl::StatusOr<v1::AppendEventsResponse> BatchDecider::CheckReplay(const ValidatedAppend& append,
                                                                   const Slot& slot) const {
  v1::AppendEventsResponse response;
  std::size_t found = 0;
  std::size_t first_found = 0;
  bool in_order = true;
  Stored first;
  Stored last;
  for (std::size_t i = 0; i < append.event_ids.size(); ++i) {
    const auto known = known_.find(append.event_ids[i]);
    if (known == known_.end()) continue;
    if (found == 0) {
      first = known->second;
      first_found = i;
    } else if (known->second.version != last.version + 1) {
      in_order = false;
    }
    in_order = in_order && known->second.stream_key == slot.row.stream_key;
    last = known->second;
    ++found;
  }
  if (found == 0) return response;
  if (found < append.event_ids.size() || !in_order) {
    // Where an event of another tenant is must not be told.
    const v1::StreamId stream = StreamOf(first.stream_key);
    const bool may_see = stream.tenant_id() == append.request.stream().tenant_id();
    return DuplicateEventId(
        FormatUuid(append.event_ids[first_found]), may_see ? &stream : nullptr,
        may_see ? first.global_position : 0, static_cast<int>(first_found),
        found < append.event_ids.size()
            ? "some of the request's events are stored already and others are not; a retry must "
              "repeat a request as it was, and new events need new ids"
            : "the request's events are stored already, but not in this stream and this order; new "
              "events need new ids");
  }
  response.set_deduplicated(true);
  response.set_first_version(first.version);
  response.set_last_version(last.version);
  response.set_first_position(first.global_position);
  response.set_last_position(last.global_position);
  FromUnixMicros(last.created_at_micros, response.mutable_created_at());
  for (const v1::NewEvent& event : append.request.events()) {
    response.add_event_ids(event.event_id());
  }
  return response;
}

v1::StreamId BatchDecider::StreamOf(std::int64_t stream_key) const {
  const auto stored = streams_.find(stream_key);
  if (stored != streams_.end()) return stored->second;
  v1::StreamId stream;  // else the event is of this batch
  for (const Slot& slot : slots_) {
    if (slot.row.stream_key != stream_key) continue;
    if (slot.name.tenant != kNilUuid) stream.set_tenant_id(FormatUuid(slot.name.tenant));
    stream.set_aggregate_type(std::string(slot.name.aggregate_type));
    stream.set_aggregate_id(std::string(slot.name.aggregate_id));
  }
  return stream;
}

absl::Status BatchDecider::CheckVersion(const ValidatedAppend& append, const Slot& slot) const {
  const v1::ExpectedVersion& expected = append.request.expected_version();
  if (VersionHolds(expected, slot.row)) return absl::OkStatus();
  return VersionConflict(append.request.stream(), expected, slot.row.readable_version());
}

void BatchDecider::Write(const ValidatedAppend& append, Slot* slot,
                         v1::AppendEventsResponse* response) {
  response->set_first_version(slot->row.version + 1);
  response->set_first_position(position_ + 1);
  for (std::size_t i = 0; i < append.event_ids.size(); ++i) {
    const v1::NewEvent& event = append.request.events(static_cast<int>(i));
    tables::NewEventRow row;
    row.global_position = ++position_;
    row.stream_key = slot->row.stream_key;
    row.version = ++slot->row.version;
    row.event_id = append.event_ids[i];
    row.tenant = append.tenant;
    row.stream = &append.request.stream();
    row.event = &event;
    row.size_bytes = append.event_bytes[i];
    known_.emplace(row.event_id,
                   Stored{row.global_position, row.stream_key, row.version, created_at_micros_});
    rows_.push_back(row);
    response->add_event_ids(event.event_id());
  }
  slot->row.deleted = false;
  if (slot->first_position == 0) slot->first_position = response->first_position();
  slot->last_position = position_;
  response->set_last_version(slot->row.version);
  response->set_last_position(position_);
  FromUnixMicros(created_at_micros_, response->mutable_created_at());
}

std::vector<tables::StreamChange> BatchDecider::StreamChanges() const {
  std::vector<tables::StreamChange> changes;
  for (const Slot& slot : slots_) {
    if (slot.row.version == slot.committed_version) continue;
    changes.push_back({slot.name, slot.row.stream_key, slot.committed_version, slot.row.version,
                       slot.first_position, slot.last_position});
  }
  return changes;
}

}  // namespace eventstore::engine
