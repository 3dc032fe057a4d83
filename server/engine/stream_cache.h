// The lane's memory of stream versions.
#ifndef EVENTSTORE_SERVER_ENGINE_STREAM_CACHE_H_
#define EVENTSTORE_SERVER_ENGINE_STREAM_CACHE_H_

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <list>
#include <string>
#include <string_view>

#include "server/tables/streams_table.h"

namespace eventstore::engine {

// stream -> (key, version), least recently used out first. What it says holds for exactly one
// (epoch, revision, head) of the store, which the lane compares under the head lock before each
// use. Used by the lane's thread only.
class StreamCache {
 public:
  explicit StreamCache(std::int64_t streams_max) : streams_max_(streams_max) {}

  // Null if the stream is not remembered. Valid until the next change.
  [[nodiscard]] const tables::StreamRow* Find(const tables::StreamName& name);
  // Remembers an existing stream, at this version from now on.
  void Put(const tables::StreamName& name, const tables::StreamRow& row);
  // Somebody else moved the stream to this version; nothing happens if it is not remembered.
  void SetVersion(std::int64_t stream_key, std::int64_t version);
  void Forget(std::int64_t stream_key);
  void Clear();

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(by_name_.size()); }

 private:
  struct Entry {
    std::string name;
    tables::StreamRow row;
  };
  using Entries = std::list<Entry>;

  // The three parts as one text; the types and ids hold no NUL.
  void MakeName(const tables::StreamName& name);

  const std::int64_t streams_max_;
  Entries entries_;                                                   // most recently used first
  absl::flat_hash_map<std::string_view, Entries::iterator> by_name_;  // views into the entries
  absl::flat_hash_map<std::int64_t, Entries::iterator> by_key_;
  std::string name_;  // scratch
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_STREAM_CACHE_H_
