#include "server/engine/dead_letters.h"

#include <utility>

#include "server/tables/dead_letters_admin.h"

namespace eventstore::engine {
namespace {

using Kind = Workers::Kind;

// Runs one of the table's functions with a connection.
template <typename Request, typename Response>
void RunOn(Workers* workers, Kind kind, Request request, Deadline deadline, Done<Response> done,
           absl::StatusOr<Response> (*run)(pg::Connection&, const Request&, Deadline)) {
  workers->Run<Response>(
      kind, deadline,
      [request = std::move(request), run](pg::Connection& connection, Deadline until) {
        return run(connection, request, until);
      },
      std::move(done));
}

}  // namespace

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
