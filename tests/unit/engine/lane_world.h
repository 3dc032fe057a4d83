// A write lane with everything around it in memory, and random work for it.
#ifndef EVENTSTORE_TESTS_UNIT_ENGINE_LANE_WORLD_H_
#define EVENTSTORE_TESTS_UNIT_ENGINE_LANE_WORLD_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/engine/lane.h"
#include "server/engine/ring.h"
#include "tests/unit/engine/lane_model.h"
#include "tests/unit/engine/memory_lane_database.h"
#include "tests/unit/engine/memory_tables.h"

namespace eventstore::engine {

// The writer's part: which appends have expired, and when the lane should give up. Time passes by
// pauses. Used by one thread.
class MemoryLaneHost : public LaneHost {
 public:
  // Both must outlive this object.
  MemoryLaneHost(MemoryLaneDatabase::Random* random, const MemoryLaneDatabase* database)
      : random_(random), database_(database) {}

  void Begin(std::unordered_map<const PendingWrite*, Request*> batch, int pauses_until_given_up,
             bool more);
  [[nodiscard]] bool given_up() const { return pauses_ >= pauses_until_given_up_; }
  [[nodiscard]] bool connected() const { return connected_; }
  // Whether the lane waited although it should have given up.
  [[nodiscard]] bool dawdled() const { return dawdled_; }

  absl::Status ExpiryOf(const PendingWrite& append, Deadline now) const override;
  void Pause(std::chrono::milliseconds duration) override;
  bool GivenUp() override { return given_up(); }
  bool HasWork() override { return more_; }
  void SetConnected(bool connected) override { connected_ = connected; }
  [[nodiscard]] std::int64_t partition_end() const override { return 0; }

 private:
  void Expire(Request* request) const;

  MemoryLaneDatabase::Random* const random_;
  const MemoryLaneDatabase* const database_;
  std::unordered_map<const PendingWrite*, Request*> batch_;
  int pauses_ = 0;
  int pauses_until_given_up_ = 1;
  bool more_ = false;
  bool dawdled_ = false;
  bool connected_ = false;
};

// Used by one thread.
class LaneWorld {
 public:
  struct Shape {
    int streams = 4;
    std::int64_t cache_streams_max = 100;
    std::int64_t foreign_events_max = 100;
    // Appends of a batch at most, and how many in a thousand are not plain: replays, stored ids
    // elsewhere, refused data, expired.
    int appends_max = 8;
    int odd = 400;
    // How many in a thousand are transactions, and how far they may look back.
    int transactions = 300;
    std::int64_t condition_positions_max = 1000;
  };
  LaneWorld(const Shape& shape, std::uint64_t seed);
  ~LaneWorld();

  // A random batch of the lane's. `more`: the lane is told that work waits, and another batch must
  // follow, or the end.
  void RunBatch(bool more);
  void RunEnd();
  // The lane has nothing to do.
  void RunIdle();
  // Another daemon commits.
  void Neighbour();

  // For batches that are not random.
  struct Wanted {
    int stream = 0;
    v1::ExpectedVersion expected;
    std::vector<Uuid> ids;
    // With any, it is a transaction, evaluated before the batch.
    std::vector<v1::AppendCondition> conditions;
  };
  void RunBatch(const std::vector<Wanted>& wanted, bool more = false);
  // What happens before such a batch, once its conditions were evaluated.
  std::function<void()> after_evaluation;
  // Nothing, where the tables would refuse it.
  void NeighbourAppends(int stream, const std::vector<Uuid>& ids);
  [[nodiscard]] Uuid NewId();

  MemoryLaneDatabase& database() { return *database_; }
  MemoryTables& tables() { return tables_; }
  int Below(int n) { return static_cast<int>(random_() % static_cast<std::uint64_t>(n)); }
  // What was wrong first, and what the lane did until then if `database().keep_calls`; else empty.
  [[nodiscard]] std::string Complaint() const;

 private:
  struct Stream {
    Uuid tenant = kNilUuid;
    v1::StreamId id;
    std::string name;
  };
  Request* Make(int stream, v1::ExpectedVersion expected, std::vector<Uuid> ids);
  Request* MakeRandom();
  // Makes a transaction of a request; more appends, checks and conditions as it comes.
  void MakeTransaction(Request* request, std::vector<v1::AppendCondition> conditions);
  void MakeRandomTransaction(Request* request);
  void FillEvents(std::int64_t serial, const std::vector<Uuid>& ids, ValidatedAppend* append);
  v1::AppendCondition RandomCondition();
  // What a reader's connection would find now.
  void Evaluate(Request* request);
  std::shared_ptr<PendingWrite> Pending(Request* request);
  // Ids that are stored already, as they lie in a stream or mixed up in some way.
  std::vector<Uuid> OldIds(int* stream);
  v1::ExpectedVersion RandomExpected(int stream);
  std::vector<Uuid> NewIds();
  void Run(const std::vector<Request*>& batch, int pauses_until_given_up, bool more);

  const Shape shape_;
  MemoryLaneDatabase::Random random_;
  StoreOptions options_;
  MemoryTables tables_;
  std::vector<Stream> streams_;
  std::unique_ptr<MemoryLaneDatabase> database_;
  std::unique_ptr<LaneModel> model_;
  std::unique_ptr<MemoryLaneHost> host_;
  Ring ring_{2'000};  // small, so that not everything is in it
  LaneCallbacks callbacks_;
  std::unique_ptr<Lane> lane_;
  std::vector<std::unique_ptr<Request>> requests_;
  std::vector<Request*> batch_;
  std::uint64_t ids_made_ = 0;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_TESTS_UNIT_ENGINE_LANE_WORLD_H_
