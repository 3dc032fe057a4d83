// What clients saw, as their records tell it, and what the store holds in the end. Plain data: the
// checker is a pure function of it, and unit tests make it by hand.
#ifndef EVENTSTORE_TESTS_FAULTS_CHECKER_HISTORY_H_
#define EVENTSTORE_TESTS_FAULTS_CHECKER_HISTORY_H_

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace eventstore::faults {

struct StreamName {
  std::string type;
  std::string id;
  auto operator<=>(const StreamName&) const = default;
  [[nodiscard]] std::string Text() const { return type + "/" + id; }
};

// An event as a reader sees it. Payloads have no whitespace: JSON is equal as a value only.
struct StoredEvent {
  std::int64_t position = 0;
  StreamName stream;
  std::int64_t version = 0;
  std::string id;
  std::string type;
  std::string payload;
  std::int64_t created_at_us = 0;
  bool operator==(const StoredEvent&) const = default;
};

// The event type with which a run ends: every subscriber waits for those that it matches.
inline constexpr char kClosedType[] = "Closed";

// --- writers ---

enum class Expectation { kAny, kNoStream, kStreamExists, kExact };

struct WantedEvent {
  std::string id;
  std::string type;
  std::string payload;
};

struct Appended {
  std::int64_t first_version = 0;
  std::int64_t last_version = 0;
  std::int64_t first_position = 0;
  std::int64_t last_position = 0;
  std::int64_t created_at_us = 0;
  bool deduplicated = false;
  std::vector<std::string> ids;
};

// One time that a request was sent. Times are of the machine's monotonic clock, which all processes
// share: `sent_at_us` is taken before the bytes leave, `answered_at_us` after the answer came.
struct Attempt {
  std::int64_t sent_at_us = 0;
  int daemon = 0;
  std::int64_t answered_at_us = 0;  // 0: no answer was recorded
  std::optional<Appended> appended;
  std::string code;    // of an error, such as "UNAVAILABLE"
  std::string reason;  // such as "ERROR_REASON_VERSION_CONFLICT"; "-": none
  std::int64_t actual = 0;
};

struct Request {
  StreamName stream;
  Expectation expects = Expectation::kAny;
  std::int64_t exact = 0;
  // Made to be refused: malformed, or with ids that are stored already.
  bool bad = false;
  // Repeated until there is a definite answer.
  bool forever = false;
  std::vector<WantedEvent> events;
  std::vector<Attempt> attempts;
};

struct WriterHistory {
  std::string name;
  std::map<std::int64_t, Request> requests;
  bool finished = false;  // it ended by itself; otherwise it was killed
};

// --- subscribers ---

struct SubscriberStep {
  enum class Kind {
    kSession,  // subscribed after `position` of `epoch` at `daemon`
    kEvent,    // `position`, `stream`, `version`, `text`: its id
    kMark,     // `text`: confirmed, batch, checkpoint, caught_up or fell_behind, at `position`
    kEnd,      // the call ended; `text`: how
  };
  Kind kind = Kind::kSession;
  std::int64_t position = 0;
  std::int64_t epoch = 0;
  int daemon = 0;
  StreamName stream;
  std::int64_t version = 0;
  std::string text;
};

struct SubscriberHistory {
  std::string name;
  // What it follows: one of these, or everything.
  std::string type;
  std::optional<StreamName> stream;
  std::vector<SubscriberStep> steps;
  bool finished = false;
};

// --- readers ---

struct ReadRecord {
  enum class Kind { kHead, kStream, kAll };
  Kind kind = Kind::kHead;
  std::int64_t sent_at_us = 0;
  int daemon = 0;
  std::int64_t head = 0;  // kHead, kAll
  std::int64_t epoch = 0;
  // kStream: the version, kAll: the position, after which it began.
  std::int64_t after = 0;
  StreamName stream;         // kStream
  std::int64_t version = 0;  // kStream: as its info says
  // Versions or positions with the ids that were there.
  std::vector<std::pair<std::int64_t, std::string>> seen;
};

struct ReaderHistory {
  std::string name;
  std::vector<ReadRecord> reads;
};

struct History {
  std::vector<WriterHistory> writers;
  std::vector<SubscriberHistory> subscribers;
  std::vector<ReaderHistory> readers;
};

// --- the store when all is over ---

struct FinalState {
  std::int64_t head = 0;                                     // GetHead
  std::int64_t epoch = 0;                                    // of every position in the run
  std::vector<StoredEvent> all;                              // ReadAll
  std::map<StreamName, std::vector<StoredEvent>> streams;    // ReadStream of some or all
  std::map<std::string, std::optional<StoredEvent>> by_ids;  // GetEvent of some; nothing: NOT_FOUND
};

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_CHECKER_HISTORY_H_
