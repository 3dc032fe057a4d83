// What became of each request: all or nothing, where it was said to be, once, and in time.
#include <algorithm>
#include <map>
#include <string>
#include <unordered_set>
#include <utility>

#include "tests/faults/checker/store_index.h"

namespace eventstore::faults {
namespace {

constexpr char kConflict[] = "ERROR_REASON_VERSION_CONFLICT";
constexpr char kDuplicateId[] = "ERROR_REASON_DUPLICATE_EVENT_ID";

class RequestChecker {
 public:
  RequestChecker(const History& history, const StoreIndex& index, Findings* findings)
      : history_(history), index_(index), findings_(findings) {
    for (const WriterHistory& writer : history.writers) {
      for (const auto& [number, request] : writer.requests) {
        if (request.bad) continue;
        for (const WantedEvent& event : request.events) good_ids_.insert(event.id);
      }
    }
  }

  void Run() {
    for (const WriterHistory& writer : history_.writers) {
      for (const auto& [number, request] : writer.requests) {
        who_ = writer.name + " request " + std::to_string(number) + " to " + request.stream.Text();
        for (const Attempt& attempt : request.attempts) CheckAnswer(request, attempt);
        if (request.bad) {
          CheckBad(request);
        } else {
          CheckGood(request, writer.finished);
        }
      }
    }
    for (const auto& [place, winners] : winners_) {
      if (winners.size() < 2) continue;
      findings_->Add("two winners", winners[0] + " and " + winners[1] + " both expected version " +
                                        std::to_string(place.second));
    }
  }

 private:
  static bool IsRefusal(const Attempt& attempt) {
    return attempt.code == "INVALID_ARGUMENT" ||
           (attempt.code == "ALREADY_EXISTS" && attempt.reason == kDuplicateId);
  }
  static bool IsConflict(const Attempt& attempt) {
    return attempt.code == "ABORTED" && attempt.reason == kConflict;
  }
  static bool IsUnknown(const Attempt& attempt) {
    return !attempt.appended.has_value() && !IsRefusal(attempt) && !IsConflict(attempt) &&
           attempt.code != "RESOURCE_EXHAUSTED";
  }
  // A stream's version only grows, so that a conflict of these is for ever.
  static bool IsForEver(const Request& request, const Attempt& attempt) {
    if (IsRefusal(attempt)) return true;
    if (!IsConflict(attempt)) return false;
    return request.expects == Expectation::kNoStream ||
           (request.expects == Expectation::kExact && attempt.actual > request.exact);
  }

  void CheckAnswer(const Request& request, const Attempt& attempt) {
    if (attempt.appended.has_value() || attempt.answered_at_us == 0) return;
    if (IsConflict(attempt)) return CheckConflict(request, attempt);
    const bool expected_of_all =
        attempt.code == "CANCELLED" || attempt.code == "DEADLINE_EXCEEDED" ||
        attempt.code == "UNAVAILABLE" || attempt.code == "RESOURCE_EXHAUSTED";
    if (expected_of_all || (request.bad && IsRefusal(attempt))) return;
    findings_->Add("unexpected error", who_ + ": " + attempt.code + " " + attempt.reason);
  }

  void CheckConflict(const Request& request, const Attempt& attempt) {
    const std::string what =
        who_ + " was told a conflict with version " + std::to_string(attempt.actual);
    const auto versions = index_.versions.find(request.stream);
    const bool was_there = attempt.actual == 0 || (versions != index_.versions.end() &&
                                                   versions->second.count(attempt.actual) > 0);
    if (!was_there) findings_->Add("conflict", what + ", which the stream never had");
    const bool holds =
        (request.expects == Expectation::kExact && attempt.actual == request.exact) ||
        (request.expects == Expectation::kNoStream && attempt.actual == 0) ||
        (request.expects == Expectation::kStreamExists && attempt.actual > 0) ||
        request.expects == Expectation::kAny;
    if (holds) findings_->Add("conflict", what + ", which is what it expected");
    const auto known = index_.stream_versions.find(request.stream);
    if (known == index_.stream_versions.end()) return;
    const std::int64_t acknowledged = known->second.Before(attempt.sent_at_us);
    if (attempt.actual < acknowledged) {
      findings_->Add("stale",
                     what + " after version " + std::to_string(acknowledged) + " was acknowledged");
    }
  }

  void CheckBad(const Request& request) {
    for (const Attempt& attempt : request.attempts) {
      if (attempt.appended.has_value()) {
        findings_->Add("bad request", who_ + " was to be refused and was acknowledged");
      }
    }
    for (const WantedEvent& event : request.events) {
      if (good_ids_.count(event.id) == 0 && index_.Find(event.id) != nullptr) {
        findings_->Add("refused but there", who_ + " left " + event.id);
      }
    }
  }

  void CheckGood(const Request& request, bool finished) {
    const Attempt* acknowledged = nullptr;
    bool unknown_before = false;
    bool unknown = false;
    bool for_ever = false;
    bool settled = false;
    for (const Attempt& attempt : request.attempts) {
      if (attempt.appended.has_value()) {
        CheckAcknowledged(request, attempt, acknowledged, unknown_before);
        acknowledged = &attempt;
      } else if (acknowledged != nullptr && !IsUnknown(attempt) &&
                 attempt.code != "RESOURCE_EXHAUSTED") {
        findings_->Add("replay refused", who_ + ": " + attempt.code + " " + attempt.reason);
      }
      unknown = unknown || IsUnknown(attempt);
      unknown_before = unknown_before || IsUnknown(attempt);
      for_ever = for_ever || IsForEver(request, attempt);
      settled =
          settled || attempt.appended.has_value() || IsConflict(attempt) || IsRefusal(attempt);
    }
    const bool there = CheckWhole(request);
    if (acknowledged == nullptr && there && (for_ever || !unknown)) {
      findings_->Add("refused but there", who_ + " left " + request.events.front().id);
    }
    if (!settled && request.forever && finished) findings_->Add("never settled", who_);
    if (there) CheckPlace(request);
    if (acknowledged != nullptr) NoteWinner(request);
  }

  void CheckAcknowledged(const Request& request, const Attempt& attempt, const Attempt* before,
                         bool unknown_before) {
    const Appended& told = *attempt.appended;
    const auto count = static_cast<std::int64_t>(request.events.size());
    if (told.last_version - told.first_version + 1 != count ||
        told.last_position - told.first_position + 1 != count ||
        static_cast<std::int64_t>(told.ids.size()) != count) {
      findings_->Add("answer", who_ + " was told of another number of events than its own");
      return;
    }
    if (before != nullptr && !SameResult(told, *before->appended)) {
      findings_->Add("replay differs", who_ + " was told two results");
    }
    if (before != nullptr && !told.deduplicated) {
      findings_->Add("replay differs", who_ + " was written again");
    }
    if (before == nullptr && told.deduplicated && !unknown_before) {
      findings_->Add("replay differs", who_ + " was called a replay the first time");
    }
    for (std::int64_t i = 0; i < count; ++i) CheckEvent(request, told, i);
  }

  static bool SameResult(const Appended& a, const Appended& b) {
    return a.first_version == b.first_version && a.last_version == b.last_version &&
           a.first_position == b.first_position && a.last_position == b.last_position &&
           a.created_at_us == b.created_at_us && a.ids == b.ids;
  }

  void CheckEvent(const Request& request, const Appended& told, std::int64_t i) {
    const WantedEvent& wanted = request.events[static_cast<std::size_t>(i)];
    const std::string what = who_ + " event " + wanted.id + " acknowledged at " +
                             std::to_string(told.first_position + i);
    const StoredEvent* event = index_.Find(wanted.id);
    if (event == nullptr) return findings_->Add("lost", what + " is not there");
    if (event->position != told.first_position + i || event->version != told.first_version + i ||
        event->stream != request.stream || told.ids[static_cast<std::size_t>(i)] != wanted.id) {
      findings_->Add("misplaced", what + " is in " + event->stream.Text() + " with version " +
                                      std::to_string(event->version) + " at " +
                                      std::to_string(event->position));
    }
    if (event->created_at_us != told.created_at_us) {
      findings_->Add("content", what + " has another time than its answer");
    }
  }

  // Whether the request is stored. Says so if it is only in part.
  bool CheckWhole(const Request& request) {
    std::size_t found = 0;
    const StoredEvent* first = nullptr;
    for (std::size_t i = 0; i < request.events.size(); ++i) {
      const WantedEvent& wanted = request.events[i];
      const StoredEvent* event = index_.Find(wanted.id);
      if (event == nullptr) continue;
      ++found;
      if (i == 0) first = event;
      if (event->type != wanted.type || event->payload != wanted.payload) {
        findings_->Add("content", who_ + " event " + wanted.id + " is stored as " + event->type +
                                      " " + event->payload);
      }
      const auto offset = static_cast<std::int64_t>(i);
      if (event->stream != request.stream ||
          (first != nullptr && (event->position != first->position + offset ||
                                event->version != first->version + offset))) {
        findings_->Add("half-written", who_ + " event " + wanted.id +
                                           " does not follow the one before it in its stream");
      }
    }
    if (found != 0 && found != request.events.size()) {
      findings_->Add("half-written", who_ + " has " + std::to_string(found) + " of " +
                                         std::to_string(request.events.size()) + " events");
    }
    return found != 0;
  }

  // What was expected must have been so, and nobody goes before what was acknowledged before.
  void CheckPlace(const Request& request) {
    const StoredEvent* first = index_.Find(request.events.front().id);
    if (first == nullptr || request.attempts.empty()) return;
    const std::int64_t before = first->version - 1;
    const bool held = request.expects == Expectation::kAny ||
                      (request.expects == Expectation::kNoStream && before == 0) ||
                      (request.expects == Expectation::kStreamExists && before > 0) ||
                      (request.expects == Expectation::kExact && before == request.exact);
    if (!held) {
      findings_->Add("expectation", who_ + " was written after version " + std::to_string(before) +
                                        ", not after what it expected");
    }
    const std::int64_t known = index_.positions.Before(request.attempts.front().sent_at_us);
    if (first->position <= known) {
      findings_->Add("real-time order", who_ + " is at " + std::to_string(first->position) +
                                            ", but position " + std::to_string(known) +
                                            " was acknowledged before it was sent");
    }
  }

  void NoteWinner(const Request& request) {
    if (request.expects == Expectation::kExact) {
      winners_[{request.stream, request.exact}].push_back(who_);
    } else if (request.expects == Expectation::kNoStream) {
      winners_[{request.stream, 0}].push_back(who_);
    }
  }

  const History& history_;
  const StoreIndex& index_;
  Findings* const findings_;
  std::string who_;
  std::unordered_set<std::string> good_ids_;
  std::map<std::pair<StreamName, std::int64_t>, std::vector<std::string>> winners_;
};

}  // namespace

void CheckRequests(const History& history, const StoreIndex& index, Findings* findings) {
  RequestChecker(history, index, findings).Run();
}

}  // namespace eventstore::faults
