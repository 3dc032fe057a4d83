// What becomes of writes, decided as simply as possible: what the lane is compared with.
#ifndef EVENTSTORE_TESTS_UNIT_ENGINE_NAIVE_BATCH_H_
#define EVENTSTORE_TESTS_UNIT_ENGINE_NAIVE_BATCH_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/core/validation.h"
#include "server/engine/pending_write.h"
#include "tests/unit/engine/memory_tables.h"

namespace eventstore::engine {

// A write as the test knows it, and what became of it: an append, or a transaction.
struct Request {
  enum class Outcome { kNone, kWritten, kDecided, kExpired, kRefused, kUnavailable, kInternal };

  std::int64_t serial = 0;  // from 1; the payload of each of its events begins with it
  ValidatedAppend append;   // the lane's is another copy
  std::string stream;       // as NameText has it
  // Null: an append. The lane's is another copy; `append` and `stream` are its first append's.
  std::shared_ptr<Transaction> transaction;
  std::vector<std::string> streams;  // of its appends
  std::vector<std::string> check_streams;
  std::int64_t undos_at_evaluation = 0;  // of the database
  int poisoned_append = 0;
  int poisoned = -1;  // the first event that the database refuses
  bool expired_before = false;
  bool expired = false;         // the lane is told so, if it asks
  std::int64_t expired_at = 0;  // the database's moment
  int batch = 0;
  int answers = 0;
  Outcome outcome = Outcome::kNone;

  [[nodiscard]] std::span<const ValidatedAppend> appends() const {
    if (transaction == nullptr) return {&append, 1};
    return transaction->request.appends;
  }
  [[nodiscard]] const std::string& stream_of(std::size_t index) const {
    return transaction == nullptr ? stream : streams[index];
  }
};

// Decides appends one by one on a state of the tables: that before one of the lane's commits, or
// that of now.
class NaiveBatch {
 public:
  // `before` null: now. Both must outlive this object.
  NaiveBatch(const MemoryTables* tables, const MemoryTables::Commit* before);

  struct Place {
    std::int64_t position = 0;
    std::int64_t version = 0;
    std::string stream;
    std::string tenant;
    std::string aggregate_id;
  };
  struct Verdict {
    enum class Kind { kWritten, kReplayed, kDuplicate, kDeleted, kConflict } kind;
    Place first;              // of the events written or replayed; of the event to blame
    int blamed = 0;           // index of the event whose id is stored
    std::int64_t actual = 0;  // version
    int blamed_append = 0;
    // Of a transaction: where its appends are, and every expectation that does not hold, as
    // "field actual" or "field position".
    std::vector<Place> firsts;
    std::vector<std::string> violations;
  };
  Verdict Decide(const Request& request);
  // `written`: the lane wrote it, and what the conditions say cannot be judged.
  Verdict DecideTransaction(const Request& request, bool conditions_count);

 private:
  [[nodiscard]] std::optional<Place> Find(const Uuid& id) const;
  std::int64_t& VersionOf(const std::string& stream);
  // What a writer is told: 0 for a stream that was deleted softly.
  [[nodiscard]] std::int64_t ReadableVersion(const std::string& stream);
  Place Write(const ValidatedAppend& append, const std::string& stream);
  [[nodiscard]] std::int64_t FindMatch(const v1::AppendCondition& condition) const;
  // A stream's version as of the state.
  [[nodiscard]] std::int64_t StoredVersion(const std::string& stream) const;
  [[nodiscard]] bool Tombstoned(const std::string& stream) const;
  // Softly, with nothing written since, by this batch neither.
  [[nodiscard]] bool Deleted(const std::string& stream, std::int64_t version) const;

  const MemoryTables* const tables_;
  const std::int64_t base_position_;
  const std::int64_t base_commit_;  // what this commit and later ones did does not count
  std::int64_t position_;
  std::map<Uuid, Place> written_;
  std::vector<std::pair<std::int64_t, const v1::NewEvent*>> events_;  // written, by position
  std::map<std::string, std::int64_t> versions_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_TESTS_UNIT_ENGINE_NAIVE_BATCH_H_
