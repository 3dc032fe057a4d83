// A store's dead letter queue.
#ifndef EVENTSTORE_SERVER_ENGINE_DEAD_LETTERS_H_
#define EVENTSTORE_SERVER_ENGINE_DEAD_LETTERS_H_

#include "eventstore/v1/dead_letter_service.pb.h"

#include "server/core/mutex.h"
#include "server/engine/workers.h"

namespace eventstore::engine {

// What DeadLetterService does, on validated requests; see dead_letter_service.proto for what each
// call promises. An interface, so that tests can put another one behind the service. Thread-safe;
// no call blocks.
class DeadLetters {
 public:
  virtual ~DeadLetters() = default;
  virtual void AddDeadLetter(v1::AddDeadLetterRequest request, Deadline deadline,
                             Done<v1::AddDeadLetterResponse> done) = 0;
  virtual void ListDeadLetters(v1::ListDeadLettersRequest request, Deadline deadline,
                               Done<v1::ListDeadLettersResponse> done) = 0;
  virtual void GetDeadLetter(v1::GetDeadLetterRequest request, Deadline deadline,
                             Done<v1::GetDeadLetterResponse> done) = 0;
  virtual void RetryDeadLetters(v1::RetryDeadLettersRequest request, Deadline deadline,
                                Done<v1::RetryDeadLettersResponse> done) = 0;
  virtual void ResolveDeadLetters(v1::ResolveDeadLettersRequest request, Deadline deadline,
                                  Done<v1::ResolveDeadLettersResponse> done) = 0;
  virtual void GetDeadLetterStats(v1::GetDeadLetterStatsRequest request, Deadline deadline,
                                  Done<v1::GetDeadLetterStatsResponse> done) = 0;
  virtual void PurgeDeadLetters(v1::PurgeDeadLettersRequest request, Deadline deadline,
                                Done<v1::PurgeDeadLettersResponse> done) = 0;
};

// On the tables, by the store's workers.
class TableDeadLetters final : public DeadLetters {
 public:
  // `workers` must outlive this object, which needs no stop of its own.
  explicit TableDeadLetters(Workers* workers) : workers_(workers) {}

  void AddDeadLetter(v1::AddDeadLetterRequest request, Deadline deadline,
                     Done<v1::AddDeadLetterResponse> done) override;
  void ListDeadLetters(v1::ListDeadLettersRequest request, Deadline deadline,
                       Done<v1::ListDeadLettersResponse> done) override;
  void GetDeadLetter(v1::GetDeadLetterRequest request, Deadline deadline,
                     Done<v1::GetDeadLetterResponse> done) override;
  void RetryDeadLetters(v1::RetryDeadLettersRequest request, Deadline deadline,
                        Done<v1::RetryDeadLettersResponse> done) override;
  void ResolveDeadLetters(v1::ResolveDeadLettersRequest request, Deadline deadline,
                          Done<v1::ResolveDeadLettersResponse> done) override;
  void GetDeadLetterStats(v1::GetDeadLetterStatsRequest request, Deadline deadline,
                          Done<v1::GetDeadLetterStatsResponse> done) override;
  void PurgeDeadLetters(v1::PurgeDeadLettersRequest request, Deadline deadline,
                        Done<v1::PurgeDeadLettersResponse> done) override;

 private:
  Workers* const workers_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_DEAD_LETTERS_H_
