// What a store's tables hold, in memory.
#ifndef EVENTSTORE_TESTS_UNIT_ENGINE_MEMORY_TABLES_H_
#define EVENTSTORE_TESTS_UNIT_ENGINE_MEMORY_TABLES_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "eventstore/v1/transaction.pb.h"

#include "server/core/ids.h"
#include "server/tables/log_table.h"
#include "server/tables/streams_table.h"

namespace eventstore::engine {

// Who wrote an event: an append of the lane's by its number, or another daemon.
inline constexpr std::int64_t kNeighbour = 0;

struct StoredEvent {
  std::int64_t position = 0;
  std::int64_t stream_key = 0;
  std::int64_t version = 0;
  Uuid id{};
  std::int64_t created_at_micros = 0;
  v1::StreamId stream;
  std::string stream_name;  // as NameText has it
  std::int64_t author = kNeighbour;
  v1::NewEvent content;  // type and tags only
};

struct StoredStream {
  std::int64_t key = 0;
  std::vector<std::int64_t> positions;  // of its events: as many as its version
  std::int64_t tombstoned_by = 0;       // the commit that did it; 0: none
  // When it was deleted softly: the commit, and its version then.
  struct Deletion {
    std::int64_t commit = 0;
    std::int64_t version = 0;
  };
  std::vector<Deletion> deletions;

  [[nodiscard]] std::int64_t version() const { return static_cast<std::int64_t>(positions.size()); }
  // Softly, and not written to since, as of a version and before a commit.
  [[nodiscard]] bool DeletedAt(std::int64_t at_version, std::int64_t before_commit) const {
    return std::any_of(deletions.begin(), deletions.end(), [&](const Deletion& deletion) {
      return deletion.version == at_version && deletion.commit < before_commit;
    });
  }
};

// A stream's name as one text.
[[nodiscard]] std::string NameText(const tables::StreamName& name);

// The log, the streams and the ledgers, changed by commits that a lost history takes back, newest
// first. It checks nothing: that is for those who write and those who judge. Used by one thread.
class MemoryTables {
 public:
  // Every commit has a number of its own, also after others were lost.
  struct Commit {
    std::int64_t number = 0;
    std::int64_t batch = 0;  // of the lane; 0: another daemon's
    tables::Head head_before;
    std::int64_t last_batch_before = 0;
    std::string tombstoned;  // the stream, if it was that
    std::string deleted;     // the same, softly
  };

  // Starts a commit; what is done until the next one belongs to it.
  void Begin(std::int64_t batch);
  // Adds an event at the end of the log, and its stream where that is new.
  void Add(StoredEvent event);
  // Deletes a stream for good. `anything`: the note for other daemons does not say which.
  void Tombstone(const std::string& stream_name, bool anything);
  // Deletes a stream so that it can be written to again.
  void Delete(const std::string& stream_name);
  // Takes back the newest commit.
  void Undo();
  // A new epoch from here on. It lies behind all commits, so these cannot be lost without it.
  void RaiseEpoch();
  [[nodiscard]] std::int64_t NewKey() { return next_key_++; }
  // As a restored copy does: keys that no stream has are given out again.
  void ForgetKeys();

  [[nodiscard]] const tables::Head& head() const { return head_; }
  [[nodiscard]] std::int64_t last_batch() const { return last_batch_; }
  [[nodiscard]] const std::vector<StoredEvent>& log() const { return log_; }
  [[nodiscard]] const std::vector<Commit>& commits() const { return commits_; }
  // Null: there is no such one.
  [[nodiscard]] const StoredEvent* FindEvent(const Uuid& id) const;
  [[nodiscard]] const StoredStream* FindStream(const std::string& stream_name) const;
  // The lowest position after this one, and up to `last_position`, that matches; 0: none.
  [[nodiscard]] std::int64_t FindMatch(const v1::AppendCondition& condition,
                                       std::int64_t after_position,
                                       std::int64_t last_position = INT64_MAX) const;
  [[nodiscard]] const std::string* FindKey(std::int64_t key) const;
  // The streams that revisions after this one changed; 0: anything.
  [[nodiscard]] std::vector<std::int64_t> ChangedAfter(std::int64_t revision) const;

 private:
  tables::Head head_{0, /*epoch=*/1, 0, 1, 0, {}};
  std::int64_t last_batch_ = 0;
  std::int64_t next_key_ = 1;
  std::int64_t next_commit_ = 1;
  std::vector<StoredEvent> log_;
  std::vector<Commit> commits_;                           // those that can be lost
  std::unordered_map<Uuid, std::int64_t, UuidHash> ids_;  // -> position
  std::unordered_map<std::string, StoredStream> streams_;
  std::unordered_map<std::int64_t, std::string> keys_;
  std::vector<std::pair<std::int64_t, std::int64_t>> changes_;  // revision, key
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_TESTS_UNIT_ENGINE_MEMORY_TABLES_H_
