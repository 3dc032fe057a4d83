// A store's projection checkpoints.
#ifndef EVENTSTORE_SERVER_ENGINE_PROJECTIONS_H_
#define EVENTSTORE_SERVER_ENGINE_PROJECTIONS_H_

#include "eventstore/v1/projection_service.pb.h"

#include "server/core/mutex.h"
#include "server/engine/workers.h"

namespace eventstore::engine {

// What ProjectionService does, on validated requests; see projection_service.proto for what each
// call promises. An interface, so that tests can put another one behind the service. Thread-safe;
// no call blocks.
class Projections {
 public:
  virtual ~Projections() = default;
  virtual void SaveCheckpoint(v1::SaveCheckpointRequest request, Deadline deadline,
                              Done<v1::SaveCheckpointResponse> done) = 0;
  virtual void GetCheckpoint(v1::GetCheckpointRequest request, Deadline deadline,
                             Done<v1::GetCheckpointResponse> done) = 0;
  virtual void ListCheckpoints(v1::ListCheckpointsRequest request, Deadline deadline,
                               Done<v1::ListCheckpointsResponse> done) = 0;
  virtual void ResetCheckpoint(v1::ResetCheckpointRequest request, Deadline deadline,
                               Done<v1::ResetCheckpointResponse> done) = 0;
  virtual void DeleteCheckpoint(v1::DeleteCheckpointRequest request, Deadline deadline,
                                Done<v1::DeleteCheckpointResponse> done) = 0;
};

// On the tables, by the store's workers.
class TableProjections final : public Projections {
 public:
  // `workers` must outlive this object, which needs no stop of its own.
  explicit TableProjections(Workers* workers) : workers_(workers) {}

  void SaveCheckpoint(v1::SaveCheckpointRequest request, Deadline deadline,
                      Done<v1::SaveCheckpointResponse> done) override;
  void GetCheckpoint(v1::GetCheckpointRequest request, Deadline deadline,
                     Done<v1::GetCheckpointResponse> done) override;
  void ListCheckpoints(v1::ListCheckpointsRequest request, Deadline deadline,
                       Done<v1::ListCheckpointsResponse> done) override;
  void ResetCheckpoint(v1::ResetCheckpointRequest request, Deadline deadline,
                       Done<v1::ResetCheckpointResponse> done) override;
  void DeleteCheckpoint(v1::DeleteCheckpointRequest request, Deadline deadline,
                        Done<v1::DeleteCheckpointResponse> done) override;

 private:
  Workers* const workers_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_PROJECTIONS_H_
