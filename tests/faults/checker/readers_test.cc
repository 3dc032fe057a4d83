// As checker_test.cc, about what subscribers and readers were shown.
#include <catch2/catch.hpp>
#include <utility>

#include "tests/faults/checker/right_run.h"

using namespace eventstore::faults;

TEST_CASE("ASubscriberThatMissesAnEventIsFound") {
  Run run;
  auto& steps = run.everything().steps;
  SECTION("in the middle") { steps.erase(steps.begin() + 4, steps.begin() + 6); }
  SECTION("across its reconnect") { steps.erase(steps.begin() + 12, steps.begin() + 14); }
  SECTION("at the end") { steps.resize(steps.size() - 2); }
  SECTION("with a filter") { run.history.subscribers[1].steps.resize(2); }
  SECTION("of a stream") {
    auto& of_stream = run.history.subscribers[2].steps;
    of_stream.erase(of_stream.begin() + 2, of_stream.begin() + 4);
  }
  CHECK_SAYS(run, "subscriber missed");
}

TEST_CASE("ASubscriberOutOfOrderIsFound") {
  Run run;
  auto& steps = run.everything().steps;
  SECTION("swapped") { std::swap(steps[2], steps[4]); }
  SECTION("twice") { Run::See(&run.everything(), run.state.all[6]); }
  SECTION("again after a reconnect") {
    Run::Subscribe(&run.everything(), 5);
    Run::See(&run.everything(), run.state.all[5]);
  }
  SECTION("behind a checkpoint") {
    steps.insert(steps.begin() + 2, {SubscriberStep::Kind::kMark, 3, 1, 0, {}, 0, "checkpoint"});
  }
  SECTION("caught up twice") {
    for (int i = 0; i < 2; ++i) {
      steps.push_back({SubscriberStep::Kind::kMark, 7, 1, 0, {}, 0, "caught_up"});
    }
  }
  CHECK_SAYS(run, "subscriber order");
}

TEST_CASE("ASubscriberThatSeesWhatIsNotThereIsFound") {
  Run run;
  SECTION("another id") { run.everything().steps[2].text = "other"; }
  SECTION("another version") { ++run.everything().steps[2].version; }
  SECTION("what does not match") { Run::See(&run.history.subscribers[1], run.state.all[6]); }
  CHECK_SAYS(run, "subscriber saw");
}

TEST_CASE("WhatComesAfterTheClosingEventNeedNotBeSeen") {
  Run run;
  run.state.all[5].type = run.request(3).events[2].type = kClosedType;
  run.state.streams[kOrder][4].type = kClosedType;
  run.everything().steps.resize(run.everything().steps.size() - 2);
  CHECK(Lines(run.Check()) == "");
}

TEST_CASE("AnotherEpochIsFound") {
  Run run;
  SECTION("by a subscriber") { run.everything().steps[3].epoch = 2; }
  SECTION("by a reader") { run.read(0).epoch = 2; }
  CHECK_SAYS(run, "epoch");
}

TEST_CASE("AStaleReadIsFound") {
  Run run;
  SECTION("head") { run.read(0).head = 2; }
  SECTION("stream") {
    run.read(1).version = 0;
    run.read(1).seen.clear();
  }
  SECTION("all") {
    run.read(2).head = 2;
    run.read(2).seen.clear();
  }
  CHECK_SAYS(run, "stale");
}

TEST_CASE("AReadOfWhatIsNotThereIsFound") {
  Run run;
  SECTION("a head beyond the last") { run.read(0).head = 8; }
  SECTION("another event in a stream") { run.read(1).seen[1].second = "other"; }
  SECTION("a hole in a stream") { run.read(1).seen.erase(run.read(1).seen.begin()); }
  SECTION("another event in the log") { run.read(2).seen[1].second = "other"; }
  SECTION("a hole in the log") { run.read(2).seen.erase(run.read(2).seen.begin()); }
  SECTION("too few in the log") { run.read(2).seen.pop_back(); }
  CHECK_SAYS(run, "reader saw");
}
