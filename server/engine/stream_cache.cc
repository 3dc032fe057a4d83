#include "server/engine/stream_cache.h"

namespace eventstore::engine {

void StreamCache::MakeName(const tables::StreamName& name) {
  name_.assign(reinterpret_cast<const char*>(name.tenant.data()), name.tenant.size());
  name_.append(name.aggregate_type);
  name_.push_back('\0');
  name_.append(name.aggregate_id);
}

const tables::StreamRow* StreamCache::Find(const tables::StreamName& name) {
  MakeName(name);
  const auto found = by_name_.find(name_);
  if (found == by_name_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return &found->second->row;
}

void StreamCache::Put(const tables::StreamName& name, const tables::StreamRow& row) {
  MakeName(name);
  const auto found = by_name_.find(name_);
  if (found != by_name_.end()) {
    by_key_.erase(found->second->row.stream_key);
    found->second->row = row;
    by_key_[row.stream_key] = found->second;
    entries_.splice(entries_.begin(), entries_, found->second);
    return;
  }
  if (size() >= streams_max_) Forget(entries_.back().row.stream_key);
  entries_.push_front({name_, row});
  by_name_.emplace(entries_.front().name, entries_.begin());
  by_key_[row.stream_key] = entries_.begin();
}

void StreamCache::SetVersion(std::int64_t stream_key, std::int64_t version) {
  const auto found = by_key_.find(stream_key);
  if (found == by_key_.end()) return;
  found->second->row.version = version;
  found->second->row.deleted = false;  // it has an event again
}

void StreamCache::Forget(std::int64_t stream_key) {
  const auto found = by_key_.find(stream_key);
  if (found == by_key_.end()) return;
  const Entries::iterator entry = found->second;
  by_key_.erase(found);
  by_name_.erase(entry->name);
  entries_.erase(entry);
}

void StreamCache::Clear() {
  by_name_.clear();
  by_key_.clear();
  entries_.clear();
}

}  // namespace eventstore::engine
