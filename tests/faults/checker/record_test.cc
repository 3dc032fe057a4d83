// Records come back from their files as they were written.
#include "tests/faults/checker/record.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/faults/checker/right_run.h"

using namespace eventstore::faults;

TEST_CASE("ARecordReadsBackAsItWasWrittenAndLosesOnlyATornLine") {
  const Run run;
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("eventstore-record-" + std::to_string(NowMicros()));
  std::filesystem::create_directory(folder);
  const auto path = [&](const char* name) { return (folder / name).string(); };
  const Recorder writer(path("writer"));
  for (const auto& [number, request] : run.history.writers[0].requests) {
    writer.Write(RequestLine(number, request));
    for (std::size_t i = 0; i < request.attempts.size(); ++i) {
      writer.Write(SendLine(number, i, request.attempts[i]));
      if (request.attempts[i].answered_at_us > 0) {
        writer.Write(AnswerLine(number, i, request.attempts[i]));
      }
    }
  }
  writer.Write(DoneLine());
  const char* names[] = {"everything", "type", "stream"};
  for (std::size_t i = 0; i < 3; ++i) {
    const Recorder recorder(path(names[i]));
    recorder.Write(FollowLine(run.history.subscribers[i]));
    for (const SubscriberStep& step : run.history.subscribers[i].steps) {
      recorder.Write(StepLine(step));
    }
  }
  const Recorder reader(path("reader"));
  for (const ReadRecord& read : run.history.readers[0].reads) reader.Write(ReadLines(read));
  std::ofstream(path("everything"), std::ios::app) << "event 8 Order 1";
  const Recorder again(path("everything"));  // cuts the torn line off

  Run copy;
  copy.history = History();
  copy.history.writers.push_back(ReadWriter(path("writer")));
  for (const char* name : names) copy.history.subscribers.push_back(ReadSubscriber(path(name)));
  copy.history.readers.push_back(ReadReader(path("reader")));
  std::filesystem::remove_all(folder);
  CHECK(Lines(copy.Check()) == "");
  CHECK(copy.history.writers[0].finished);
  CHECK(copy.everything().steps.size() == run.history.subscribers[0].steps.size());
  CHECK(TextOf(Count(copy.history, copy.state)) == TextOf(Count(run.history, run.state)));
}
