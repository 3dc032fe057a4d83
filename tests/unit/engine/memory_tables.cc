#include "tests/unit/engine/memory_tables.h"

#include <algorithm>

namespace eventstore::engine {

std::string NameText(const tables::StreamName& name) {
  std::string text(reinterpret_cast<const char*>(name.tenant.data()), name.tenant.size());
  text.append(name.aggregate_type).append(1, '\0').append(name.aggregate_id);
  return text;
}

void MemoryTables::Begin(std::int64_t batch) {
  commits_.push_back({next_commit_++, batch, head_, last_batch_, {}, {}});
  if (batch != 0) last_batch_ = batch;
}

void MemoryTables::Add(StoredEvent event) {
  StoredStream& stream = streams_[event.stream_name];
  if (stream.positions.empty()) {
    stream.key = event.stream_key;
    keys_[event.stream_key] = event.stream_name;
  }
  stream.positions.push_back(event.position);
  ids_[event.id] = event.position;
  head_.position = event.position;
  head_.created_at_micros = event.created_at_micros;
  log_.push_back(std::move(event));
}

void MemoryTables::Tombstone(const std::string& stream_name, bool anything) {
  StoredStream& stream = streams_.at(stream_name);
  stream.tombstoned_by = commits_.back().number;
  commits_.back().tombstoned = stream_name;
  changes_.emplace_back(++head_.revision, anything ? 0 : stream.key);
}

void MemoryTables::Delete(const std::string& stream_name) {
  StoredStream& stream = streams_.at(stream_name);
  stream.deletions.push_back({commits_.back().number, stream.version()});
  commits_.back().deleted = stream_name;
  changes_.emplace_back(++head_.revision, stream.key);
}

void MemoryTables::Undo() {
  const Commit commit = std::move(commits_.back());
  commits_.pop_back();
  while (static_cast<std::int64_t>(log_.size()) > commit.head_before.position) {
    const StoredEvent& event = log_.back();
    const auto stream = streams_.find(event.stream_name);
    stream->second.positions.pop_back();
    if (stream->second.positions.empty()) {
      keys_.erase(stream->second.key);
      streams_.erase(stream);
    }
    ids_.erase(event.id);
    log_.pop_back();
  }
  if (!commit.tombstoned.empty()) {
    streams_.at(commit.tombstoned).tombstoned_by = 0;
    changes_.pop_back();
  }
  if (!commit.deleted.empty()) {
    streams_.at(commit.deleted).deletions.pop_back();
    changes_.pop_back();
  }
  head_ = commit.head_before;
  last_batch_ = commit.last_batch_before;
}

void MemoryTables::RaiseEpoch() {
  ++head_.epoch;
  commits_.clear();
}

void MemoryTables::ForgetKeys() {
  next_key_ = 1;
  for (const auto& [key, name] : keys_) next_key_ = std::max(next_key_, key + 1);
}

const StoredEvent* MemoryTables::FindEvent(const Uuid& id) const {
  const auto found = ids_.find(id);
  return found == ids_.end() ? nullptr : &log_[static_cast<std::size_t>(found->second - 1)];
}

const StoredStream* MemoryTables::FindStream(const std::string& stream_name) const {
  const auto found = streams_.find(stream_name);
  return found == streams_.end() ? nullptr : &found->second;
}

std::int64_t MemoryTables::FindMatch(const v1::AppendCondition& condition,
                                     std::int64_t after_position,
                                     std::int64_t last_position) const {
  const auto matches = [&condition](const StoredEvent& event) {
    if (condition.query().empty()) return true;
    for (const v1::QueryItem& item : condition.query()) {
      const auto& types = item.event_types();
      const auto& tags = event.content.tags();
      bool all =
          types.empty() || std::count(types.begin(), types.end(), event.content.event_type()) > 0;
      for (const std::string& tag : item.tags()) {
        all = all && std::count(tags.begin(), tags.end(), tag) > 0;
      }
      if (all) return true;
    }
    return false;
  };
  for (auto i = static_cast<std::size_t>(after_position); i < log_.size(); ++i) {
    if (log_[i].position > last_position) break;
    if (matches(log_[i])) return log_[i].position;
  }
  return 0;
}

const std::string* MemoryTables::FindKey(std::int64_t key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? nullptr : &found->second;
}

std::vector<std::int64_t> MemoryTables::ChangedAfter(std::int64_t revision) const {
  std::vector<std::int64_t> keys;
  for (const auto& [changed_in, key] : changes_) {
    if (changed_in > revision) keys.push_back(key);
  }
  return keys;
}

}  // namespace eventstore::engine
