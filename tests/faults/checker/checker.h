// Judges a run: whether what clients saw and what the store holds keep the guarantees.
#ifndef EVENTSTORE_TESTS_FAULTS_CHECKER_CHECKER_H_
#define EVENTSTORE_TESTS_FAULTS_CHECKER_CHECKER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/faults/checker/history.h"

namespace eventstore::faults {

// Everything that is wrong, each beginning with the rule that it breaks, such as "lost: ...". Empty
// if the run was right. Of each rule only the first few are told, and how many there are.
//
// About answers: CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE and no answer at all say nothing; such a
// request must be there with all of its events or with none. A version conflict of `exact` or
// `no_stream` and an INVALID_ARGUMENT are for ever: nothing of that request may be there.
std::vector<std::string> Check(const History& history, const FinalState& state);

// How much a run tried, for people and for telling an empty run from a right one.
struct Tally {
  std::int64_t requests = 0;
  std::int64_t attempts = 0;
  std::int64_t acknowledged = 0;   // requests
  std::int64_t deduplicated = 0;   // answers
  std::int64_t conflicts = 0;      // answers
  std::int64_t refused = 0;        // answers to bad requests
  std::int64_t unknown_there = 0;  // requests without a definite answer that are stored
  std::int64_t unknown_gone = 0;   // ... and that are not
  std::int64_t sessions = 0;       // of subscribers
  std::int64_t seen = 0;           // events, by subscribers
  std::int64_t fell_behind = 0;    // times
  std::int64_t reads = 0;
};
Tally Count(const History& history, const FinalState& state);
std::string TextOf(const Tally& tally);

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_CHECKER_CHECKER_H_
