// The checker sees what it is for: each test breaks one thing in a right history and expects it to
// be named.
#include <catch2/catch.hpp>
#include <utility>

#include "tests/faults/checker/right_run.h"

using namespace eventstore::faults;

TEST_CASE("ARightHistoryHasNoFindings") {
  const Run run;
  CHECK(Lines(run.Check()) == "");
  const Tally tally = Count(run.history, run.state);
  CHECK(tally.requests == 6);
  CHECK(tally.acknowledged == 3);
  CHECK(tally.conflicts == 1);
  CHECK(tally.unknown_there == 1);
  CHECK(tally.unknown_gone == 1);
  CHECK(tally.sessions == 5);
  CHECK(tally.seen == 7 + 1 + 6);
}

TEST_CASE("AnAcknowledgedEventThatIsNotThereIsLost") {
  Run run;
  run.state.all.pop_back();
  run.state.head = 6;
  CHECK_SAYS(run, "lost");
}

TEST_CASE("AnAcknowledgedEventElsewhereIsMisplaced") {
  Run run;
  SECTION("at another position") { ++run.request(2).attempts[0].appended->first_position; }
  SECTION("with another version") { ++run.request(2).attempts[0].appended->first_version; }
  SECTION("in another stream") { run.request(2).stream = {"User", "2"}; }
  const auto findings = run.Check();
  INFO(Lines(findings));
  CHECK((Says(findings, "misplaced") || Says(findings, "answer")));
}

TEST_CASE("AnEventThatIsThereTwiceIsFound") {
  Run run;
  StoredEvent again = run.state.all[0];
  again.position = ++run.state.head;
  again.version = 7;
  run.state.all.push_back(again);
  CHECK_SAYS(run, "duplicate");
}

TEST_CASE("AGapInPositionsIsFound") {
  Run run;
  SECTION("in the middle") { run.state.all.erase(run.state.all.begin() + 3); }
  SECTION("before the head") { ++run.state.head; }
  CHECK_SAYS(run, "gap");
}

TEST_CASE("AGapInVersionsIsFound") {
  Run run;
  ++run.state.all[6].version;
  CHECK_SAYS(run, "versions");
}

TEST_CASE("ATimeThatGoesBackIsFound") {
  Run run;
  run.state.all[3].created_at_us = 1;
  CHECK_SAYS(run, "time");
}

TEST_CASE("OtherContentThanWhatWasAskedForIsFound") {
  Run run;
  SECTION("payload") { run.state.all[2].payload = "{\"n\":7}"; }
  SECTION("type") { run.state.all[2].type = "Other"; }
  SECTION("of an unknown request") { run.state.all[4].payload = "{}"; }
  SECTION("time") { ++run.state.all[2].created_at_us; }
  CHECK_SAYS(run, "content");
}

TEST_CASE("AnEventThatNobodyAskedForIsFound") {
  Run run;
  run.state.all[6].id = "other";
  CHECK_SAYS(run, "invented");
}

TEST_CASE("ReadsThatContradictEachOtherAreFound") {
  Run run;
  SECTION("a stream lacks an event") { run.state.streams[kOrder].pop_back(); }
  SECTION("a stream has another event") { run.state.streams[kUser][0].payload = "{}"; }
  SECTION("an id is not found") { run.state.by_ids["e2-0"] = std::nullopt; }
  SECTION("an id is found that is not there") { run.state.by_ids["e9-0"] = run.state.all[0]; }
  CHECK_SAYS(run, "reads differ");
}

TEST_CASE("AHalfWrittenRequestIsFound") {
  Run run;
  SECTION("an event is missing") {
    run.state.all.pop_back();
    run.state.all.pop_back();
    run.state.head = 5;
  }
  SECTION("something stands between") { std::swap(run.state.all[2].id, run.state.all[4].id); }
  SECTION("its order is another") { std::swap(run.state.all[3].id, run.state.all[4].id); }
  CHECK_SAYS(run, "half-written");
}

TEST_CASE("ARefusedRequestThatLeftSomethingIsFound") {
  Run run;
  SECTION("a conflict of an exact version, although an earlier attempt is unknown") {
    Attempt conflict = run.request(5).attempts[0];
    conflict.actual = 7;
    run.request(3).attempts.push_back(conflict);
  }
  SECTION("a malformed one") {
    run.request(3).attempts[0].answered_at_us = 350;
    run.request(3).attempts[0].code = "INVALID_ARGUMENT";
    run.request(3).bad = true;
  }
  SECTION("a full queue, and nothing else") {
    run.request(3).attempts[0].answered_at_us = 350;
    run.request(3).attempts[0].code = "RESOURCE_EXHAUSTED";
  }
  CHECK_SAYS(run, "refused but there");
}

TEST_CASE("CancelledAndLateRequestsMayBeThereOrNot") {
  Run run;
  for (const char* code : {"CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE"}) {
    for (const int number : {3, 4}) {
      run.request(number).attempts[0].answered_at_us = number * 100 + 50;
      run.request(number).attempts[0].code = code;
      run.request(number).attempts[0].reason = "-";
    }
    CHECK(Lines(run.Check()) == "");
  }
}

TEST_CASE("TwoWinnersOfOneVersionAreFound") {
  Run run;
  run.request(6).expects = Expectation::kExact;
  run.request(6).exact = 2;
  Appended told = *run.request(6).attempts[0].appended;
  told.first_version = 3;
  told.last_version = 5;
  told.first_position = 4;
  told.last_position = 6;
  told.ids = {"e3-0", "e3-1", "e3-2"};
  told.created_at_us = 30;
  Run::Answer(run.request(3), told);
  CHECK_SAYS(run, "two winners");
  CHECK_SAYS(run, "expectation");
}

TEST_CASE("AnUnknownRequestThatWentAgainstItsExpectationIsFound") {
  Run run;
  run.request(3).exact = 1;
  CHECK_SAYS(run, "expectation");
}

TEST_CASE("AConflictThatCannotBeIsFound") {
  Run run;
  SECTION("a version inside of an append") { run.request(5).attempts[0].actual = 4; }
  SECTION("a version beyond the last") { run.request(5).attempts[0].actual = 7; }
  SECTION("the expected version") { run.request(5).attempts[0].actual = 2; }
  CHECK_SAYS(run, "conflict");
}

TEST_CASE("AConflictWithAnOldVersionIsStale") {
  Run run;
  run.request(5).exact = 7;
  run.request(5).attempts[0].actual = 2;
  run.request(5).attempts[0].sent_at_us = 700;
  CHECK_SAYS(run, "stale");
}

TEST_CASE("AReplayWithAnotherResultIsFound") {
  Run run;
  Request& request = run.request(2);
  Attempt again = request.attempts[0];
  again.appended->deduplicated = true;
  request.attempts.push_back(again);
  CHECK(Lines(run.Check()) == "");
  SECTION("another version") { ++request.attempts[1].appended->last_version; }
  SECTION("written again") { request.attempts[1].appended->deduplicated = false; }
  SECTION("the first is called a replay") { request.attempts[0].appended->deduplicated = true; }
  SECTION("another time") { ++request.attempts[1].appended->created_at_us; }
  const auto findings = run.Check();
  INFO(Lines(findings));
  CHECK((Says(findings, "replay differs") || Says(findings, "answer")));
}

TEST_CASE("AReplayThatIsRefusedIsFound") {
  Run run;
  run.request(1).attempts.push_back(run.request(5).attempts[0]);
  CHECK_SAYS(run, "replay refused");
}

TEST_CASE("ARequestThatWasNeverSettledIsFound") {
  Run run;
  run.request(4).forever = true;
  CHECK_SAYS(run, "never settled");
  run.history.writers[0].finished = false;
  CHECK(Lines(run.Check()) == "");
}

TEST_CASE("ABadRequestMustBeRefused") {
  Run run;
  run.request(2).bad = true;
  CHECK_SAYS(run, "bad request");
}

TEST_CASE("AnErrorOutsideOfTheContractIsFound") {
  Run run;
  run.request(4).attempts[0].answered_at_us = 450;
  run.request(4).attempts[0].reason = "-";
  SECTION("internal") { run.request(4).attempts[0].code = "INTERNAL"; }
  SECTION("a refusal without a cause") { run.request(4).attempts[0].code = "INVALID_ARGUMENT"; }
  SECTION("of a subscription") {
    run.request(4).attempts[0].code = "CANCELLED";
    run.everything().steps.push_back(
        {SubscriberStep::Kind::kEnd, 0, 0, 0, {}, 0, "OUT_OF_RANGE:-"});
  }
  CHECK_SAYS(run, "unexpected error");
}

TEST_CASE("WhatWasSentLaterMayNotComeBeforeWhatWasAcknowledged") {
  Run run;
  run.request(1).attempts[0].sent_at_us = 300;
  CHECK_SAYS(run, "real-time order");
}
