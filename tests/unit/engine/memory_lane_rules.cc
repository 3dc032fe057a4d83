// What the tables take, and what the lane must never ask of them.
#include <absl/container/flat_hash_set.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "tests/unit/engine/memory_lane_database.h"

namespace eventstore::engine {
namespace {

// How far the estimate of the clock may be off on a machine that is busy with other things.
constexpr std::int64_t kToleranceMicros = 20'000'000;

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

std::int64_t AuthorOf(const v1::NewEvent& event) {
  return std::strtoll(event.payload().c_str(), nullptr, 10);
}

}  // namespace

absl::Status MemoryLaneDatabase::Check(const BatchWrite& write, bool locked) {
  const tables::Head& head = tables_->head();
  if (write.expected.position != head.position || write.expected.epoch != head.epoch ||
      write.expected.revision != head.revision) {
    ++seen["guard of the head"];
    if (locked) Complain("the lane wrote for another head than the one that it locked");
    return Refuse("22P02", "invalid input syntax: \"lane guard: 0 rows of log_head moved\"");
  }
  CheckTime(write.created_at_micros);
  const absl::Status streams = CheckStreams(write);
  return streams.ok() ? CheckEvents(write, locked) : streams;
}

// By the clock as it is now, or as it was when the lane was told last; but it never goes back.
void MemoryLaneDatabase::CheckTime(std::int64_t created_at_micros) {
  const std::int64_t last = tables_->head().created_at_micros;
  const std::int64_t clock = ClockMicros();
  const std::int64_t told = clock - clock_skew_micros_ + skew_told_micros_;
  if (created_at_micros >= last && created_at_micros >= std::min(clock, told) - kToleranceMicros &&
      created_at_micros <= std::max({last, clock + kToleranceMicros, told + kToleranceMicros})) {
    return;
  }
  Complain(absl::StrCat("created_at is ", created_at_micros, ", the last one was ", last,
                        ", the clock shows ", clock, " and showed ", told));
}

// The head is what the lane believed it to be, so what it believed of streams must be right.
absl::Status MemoryLaneDatabase::CheckStreams(const BatchWrite& write) {
  for (const tables::StreamChange& change : write.streams) {
    const std::string name = NameText(change.name);
    const StoredStream* stream = tables_->FindStream(name);
    const std::string* owner = tables_->FindKey(change.stream_key);
    if (change.old_version == 0) {
      if (stream == nullptr && owner == nullptr) continue;
      Complain("the lane took an existing stream or key for a new one");
      return Refuse("23505", "duplicate key value", "uq_streams_name");
    }
    const StoredStream* keyed = owner == nullptr ? nullptr : tables_->FindStream(*owner);
    if (keyed == nullptr || keyed->version() != change.old_version) {
      Complain("the lane believed a stream to be at another version");
      return Refuse("22P02", "invalid input syntax: \"lane guard: 0 streams were at\"");
    }
    if (*owner != name) Complain("the lane wrote to another stream's key");
    if (keyed->tombstoned_by != 0) Complain("the lane wrote to a deleted stream");
  }
  return absl::OkStatus();
}

absl::Status MemoryLaneDatabase::CheckEvents(const BatchWrite& write, bool locked) {
  std::map<std::int64_t, std::int64_t> versions;
  for (const tables::StreamChange& change : write.streams) {
    versions[change.stream_key] = change.old_version;
  }
  std::int64_t position = write.expected.position;
  absl::flat_hash_set<Uuid> ids;
  for (const tables::NewEventRow& row : *write.rows) {
    if (row.global_position != ++position) Complain("positions are not dense");
    if (row.version != ++versions[row.stream_key]) Complain("versions are not dense");
    if (!ids.insert(row.event_id).second) Complain("an id comes twice in one batch");
  }
  if (position != write.last_position) Complain("the head is not the last event's position");
  if (write.rows->empty()) Complain("nothing was to be written");
  for (const tables::StreamChange& change : write.streams) {
    if (versions[change.stream_key] != change.new_version ||
        versions.size() != write.streams.size()) {
      Complain("the streams' rows do not say what the events say");
    }
  }
  for (const tables::NewEventRow& row : *write.rows) {
    if (!absl::StrContains(row.event->payload(), Absl(kPoison))) continue;
    ++seen["poison"];
    return Refuse("22P05", "unsupported Unicode escape sequence");
  }
  for (const tables::NewEventRow& row : *write.rows) {
    if (tables_->FindEvent(row.event_id) == nullptr) continue;
    ++seen["stored id"];
    if (locked) Complain("the lane wrote a stored id that it could have seen");
    return Refuse("23505", "duplicate key value", "event_ids_pkey");
  }
  return absl::OkStatus();
}

void MemoryLaneDatabase::Apply(const BatchWrite& write) {
  tables_->Begin(write.number);
  last_write_ = tables_->commits().back();
  last_write_moment_ = moment_;
  for (const tables::NewEventRow& row : *write.rows) {
    v1::NewEvent content;
    content.set_event_type(row.event->event_type());
    *content.mutable_tags() = row.event->tags();
    tables_->Add({row.global_position, row.stream_key, row.version, row.event_id,
                  write.created_at_micros, *row.stream,
                  NameText({row.tenant, row.stream->aggregate_type(), row.stream->aggregate_id()}),
                  AuthorOf(*row.event), std::move(content)});
  }
}

}  // namespace eventstore::engine
