#include "server/engine/dead_letters.h"

#include <utility>

#include "server/engine/run_on.h"
#include "server/tables/dead_letters_admin.h"

namespace eventstore::engine {

using Kind = Workers::Kind;

void TableDeadLetters::AddDeadLetter(v1::AddDeadLetterRequest request, Deadline deadline,
                                     Done<v1::AddDeadLetterResponse> done) {
  RunOn(workers_, Kind::kWrite, std::move(request), deadline, std::move(done),
        tables::AddDeadLetter);
}

void TableDeadLetters::ListDeadLetters(v1::ListDeadLettersRequest request, Deadline deadline,
                                       Done<v1::ListDeadLettersResponse> done) {
  RunOn(workers_, Kind::kRead, std::move(request), deadline, std::move(done),
        tables::ListDeadLetters);
}

void TableDeadLetters::GetDeadLetter(v1::GetDeadLetterRequest request, Deadline deadline,
                                     Done<v1::GetDeadLetterResponse> done) {
  RunOn(workers_, Kind::kRead, std::move(request), deadline, std::move(done),
        tables::GetDeadLetter);
}

void TableDeadLetters::RetryDeadLetters(v1::RetryDeadLettersRequest request, Deadline deadline,
                                        Done<v1::RetryDeadLettersResponse> done) {
  RunOn(workers_, Kind::kWrite, std::move(request), deadline, std::move(done),
        tables::RetryDeadLetters);
}

void TableDeadLetters::ResolveDeadLetters(v1::ResolveDeadLettersRequest request, Deadline deadline,
                                          Done<v1::ResolveDeadLettersResponse> done) {
  RunOn(workers_, Kind::kWrite, std::move(request), deadline, std::move(done),
        tables::ResolveDeadLetters);
}

void TableDeadLetters::GetDeadLetterStats(v1::GetDeadLetterStatsRequest request, Deadline deadline,
                                          Done<v1::GetDeadLetterStatsResponse> done) {
  RunOn(workers_, Kind::kRead, std::move(request), deadline, std::move(done),
        tables::ReadDeadLetterStats);
}

void TableDeadLetters::PurgeDeadLetters(v1::PurgeDeadLettersRequest request, Deadline deadline,
                                        Done<v1::PurgeDeadLettersResponse> done) {
  RunOn(workers_, Kind::kWrite, std::move(request), deadline, std::move(done),
        tables::PurgeDeadLetters);
}

}  // namespace eventstore::engine
