// A right history in memory, for tests to break.
#ifndef EVENTSTORE_TESTS_FAULTS_CHECKER_RIGHT_RUN_H_
#define EVENTSTORE_TESTS_FAULTS_CHECKER_RIGHT_RUN_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/faults/checker/checker.h"

namespace eventstore::faults {

inline constexpr char kConflict[] = "ERROR_REASON_VERSION_CONFLICT";
inline const StreamName kOrder = {"Order", "1"};
inline const StreamName kUser = {"User", "1"};

// A right run: five requests, one of them unknown and there, one unknown and gone, one conflict; a
// subscriber of everything with a reconnect, one of a type, one of a stream; a reader.
struct Run {
  History history;
  FinalState state;

  Run() {
    state.epoch = 1;
    history.writers.resize(1);
    history.writers[0].name = "writer";
    history.writers[0].finished = true;
    Store(Add(kOrder, Expectation::kNoStream, 0, 2), true);      // positions 1, 2
    Store(Add(kUser, Expectation::kAny, 0, 1), true);            // 3
    Store(Add(kOrder, Expectation::kExact, 2, 3), false);        // 4, 5, 6; unknown
    Add(kUser, Expectation::kAny, 0, 2);                         // unknown, gone
    Refuse(Add(kOrder, Expectation::kExact, 2, 1), 5);           // conflict
    Store(Add(kOrder, Expectation::kStreamExists, 0, 1), true);  // 7
    for (const StoredEvent& event : state.all) state.streams[event.stream].push_back(event);
    state.by_ids[state.all[0].id] = state.all[0];
    state.by_ids["e4-0"] = std::nullopt;
    AddSubscribers();
    AddReader();
  }

  Request& request(int number) { return history.writers[0].requests.at(number); }
  SubscriberHistory& everything() { return history.subscribers[0]; }
  ReadRecord& read(int number) {
    return history.readers[0].reads[static_cast<std::size_t>(number)];
  }

  // A request sent at number * 100 us, without an answer.
  Request& Add(const StreamName& stream, Expectation expects, std::int64_t exact, int count) {
    const auto number = static_cast<std::int64_t>(history.writers[0].requests.size()) + 1;
    Request& added = history.writers[0].requests[number];
    added.stream = stream;
    added.expects = expects;
    added.exact = exact;
    for (int i = 0; i < count; ++i) {
      added.events.push_back({"e" + std::to_string(number) + "-" + std::to_string(i), "Happened",
                              "{\"n\":" + std::to_string(i) + "}"});
    }
    added.attempts.push_back({.sent_at_us = number * 100});
    return added;
  }

  void Store(Request& request, bool acknowledge) {
    Appended told;
    const auto version = std::count_if(state.all.begin(), state.all.end(), [&](const auto& event) {
      return event.stream == request.stream;
    });
    told.first_version = version + 1;
    told.first_position = state.head + 1;
    told.created_at_us = state.head * 10;
    for (const WantedEvent& event : request.events) {
      const auto count = static_cast<std::int64_t>(told.ids.size());
      state.all.push_back({++state.head, request.stream, version + 1 + count, event.id, event.type,
                           event.payload, told.created_at_us});
      told.ids.push_back(event.id);
    }
    told.last_version = state.all.back().version;
    told.last_position = state.head;
    if (acknowledge) Answer(request, told);
  }

  static void Answer(Request& request, const Appended& told) {
    request.attempts.back().answered_at_us = request.attempts.back().sent_at_us + 50;
    request.attempts.back().appended = told;
  }

  static void Refuse(Request& request, std::int64_t actual) {
    Attempt& attempt = request.attempts.back();
    attempt.answered_at_us = attempt.sent_at_us + 50;
    attempt.code = "ABORTED";
    attempt.reason = kConflict;
    attempt.actual = actual;
  }

  static void See(SubscriberHistory* subscriber, const StoredEvent& event) {
    using Kind = SubscriberStep::Kind;
    subscriber->steps.push_back(
        {Kind::kEvent, event.position, 0, 0, event.stream, event.version, event.id});
    subscriber->steps.push_back({Kind::kMark, event.position, 1, 0, {}, 0, "batch"});
  }

  static void Subscribe(SubscriberHistory* subscriber, std::int64_t after) {
    using Kind = SubscriberStep::Kind;
    subscriber->steps.push_back({Kind::kSession, after, 1, 0, {}, 0, ""});
    subscriber->steps.push_back({Kind::kMark, after, 1, 0, {}, 0, "confirmed"});
  }

  void AddSubscribers() {
    history.subscribers.resize(3);
    everything().name = "everything";
    history.subscribers[1].name = "type";
    history.subscribers[1].type = "User";
    history.subscribers[2].name = "stream";
    history.subscribers[2].stream = kOrder;
    for (SubscriberHistory& subscriber : history.subscribers) {
      Subscribe(&subscriber, 0);
      for (const StoredEvent& event : state.all) {
        if (!subscriber.type.empty() && event.stream.type != subscriber.type) continue;
        if (subscriber.stream.has_value() && event.stream != *subscriber.stream) continue;
        See(&subscriber, event);
        if (event.position == 4) Subscribe(&subscriber, 4);
      }
    }
  }

  void AddReader() {
    history.readers.resize(1);
    history.readers[0].name = "reader";
    ReadRecord head{.sent_at_us = 260, .head = 3, .epoch = 1};
    ReadRecord stream{.kind = ReadRecord::Kind::kStream, .sent_at_us = 260, .stream = kOrder};
    stream.version = 2;
    stream.seen = {{1, "e1-0"}, {2, "e1-1"}};
    ReadRecord all{.kind = ReadRecord::Kind::kAll, .sent_at_us = 260, .head = 4, .epoch = 1};
    all.after = 2;
    all.seen = {{3, "e2-0"}, {4, "e3-0"}};
    history.readers[0].reads = {head, stream, all};
  }

  [[nodiscard]] std::vector<std::string> Check() const { return faults::Check(history, state); }
};

inline bool Says(const std::vector<std::string>& findings, const std::string& rule) {
  return std::any_of(findings.begin(), findings.end(), [&](const std::string& finding) {
    return finding.rfind(rule + ": ", 0) == 0;
  });
}

inline std::string Lines(const std::vector<std::string>& findings) {
  std::string lines;
  for (const std::string& finding : findings) lines += finding + "\n";
  return lines;
}

#define CHECK_SAYS(run, rule)            \
  do {                                   \
    const auto findings = (run).Check(); \
    INFO(Lines(findings));               \
    CHECK(Says(findings, rule));         \
  } while (false)

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_CHECKER_RIGHT_RUN_H_
