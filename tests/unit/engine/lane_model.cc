#include "tests/unit/engine/lane_model.h"

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <algorithm>
#include <limits>
#include <set>

#include "server/core/errors.h"

namespace eventstore::engine {
namespace {

using Kind = NaiveBatch::Verdict::Kind;
using Outcome = Request::Outcome;

v1::ErrorInfo DetailOf(const absl::Status& status) {
  const auto details = DetailsOf(status);
  return details.empty() ? v1::ErrorInfo() : details.front();
}

std::size_t EventsOf(const Request& request) {
  std::size_t events = 0;
  for (const ValidatedAppend& append : request.appends()) events += append.event_ids.size();
  return events;
}

std::int64_t MicrosOf(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1'000'000 + time.nanos() / 1'000;
}

}  // namespace

LaneModel::LaneModel(const MemoryTables* tables, MemoryLaneDatabase* database)
    : tables_(tables), database_(database), epoch_(tables->head().epoch) {}

void LaneModel::Expect(bool holds, std::string_view what) {
  if (holds) return;
  std::string complaint(what);
  if (judged_ != nullptr) absl::StrAppend(&complaint, " (write ", judged_->serial, ")");
  if (database_->keep_calls) database_->calls.push_back("  COMPLAINT: " + complaint);
  database_->complaints.push_back(std::move(complaint));
}

std::size_t LaneModel::StoredOf(const Request& request) const {
  std::size_t stored = 0;
  for (const ValidatedAppend& append : request.appends()) {
    for (const Uuid& id : append.event_ids) {
      const StoredEvent* event = tables_->FindEvent(id);
      stored += event != nullptr && event->author == request.serial ? 1 : 0;
    }
  }
  return stored;
}

void LaneModel::Begin(const std::vector<Request*>& batch) {
  if (requests_.empty()) database_->Watch();
  ++batch_;
  for (Request* request : batch) {
    request->batch = batch_;
    requests_.push_back(request);
    by_serial_[request->serial] = request;
  }
}

void LaneModel::Begin(Request* request, std::string_view told) {
  judged_ = request;
  if (database_->keep_calls) {
    database_->calls.push_back(absl::StrCat("  write ", request->serial, ": ",
                                            absl::string_view(told.data(), told.size())));
  }
  Expect(++request->answers == 1, "a write was answered again");
  Expect(by_serial_.contains(request->serial), "a write of an earlier batch was answered");
}

void LaneModel::Answered(Request* request, const absl::StatusOr<v1::AppendEventsResponse>& answer) {
  Begin(request,
        answer.ok() ? answer->ShortDebugString() : DetailOf(answer.status()).ShortDebugString());
  const auto reason = DetailOf(answer.status()).reason();
  const bool decided = answer.ok() || reason == v1::ERROR_REASON_VERSION_CONFLICT ||
                       reason == v1::ERROR_REASON_DUPLICATE_EVENT_ID ||
                       reason == v1::ERROR_REASON_STREAM_DELETED;
  decided ? Judge(request, answer) : JudgeFailure(request, answer.status());
  judged_ = nullptr;
}

void LaneModel::Answered(Request* request, const absl::StatusOr<v1::TransactResponse>& answer) {
  Begin(request,
        answer.ok() ? answer->ShortDebugString() : DetailOf(answer.status()).ShortDebugString());
  const auto reason = DetailOf(answer.status()).reason();
  const bool decided = answer.ok() || reason == v1::ERROR_REASON_VERSION_CONFLICT ||
                       reason == v1::ERROR_REASON_CONDITION_FAILED ||
                       reason == v1::ERROR_REASON_DUPLICATE_EVENT_ID ||
                       reason == v1::ERROR_REASON_STREAM_DELETED;
  decided ? Judge(request, answer) : JudgeFailure(request, answer.status());
  judged_ = nullptr;
}

void LaneModel::SentBack(Request* request) {
  Begin(request, "sent back");
  ++database_->seen["sent back"];
  request->outcome = Outcome::kDecided;
  const Evaluation& evaluation = request->transaction->evaluation;
  Expect(!request->transaction->request.conditions.empty(), "an evaluation of nothing was stale");
  // Another history, or too much of it: only then.
  const std::int64_t since = tables_->head().position - evaluation.position;
  Expect(database_->disturbed() || evaluation.epoch != tables_->head().epoch ||
             database_->undos() != request->undos_at_evaluation || since > condition_positions_max,
         "an evaluation was called stale that was not");
  Expect(StoredOf(*request) == 0, "a write was sent back and written");
  judged_ = nullptr;
}

void LaneModel::PrepareGroup(Request* request) {
  Expect(!request->expired_before, "a write was decided that had expired before its batch");
  if (!group_.has_value() || group_moment_ != database_->moment()) {
    group_.emplace(tables_, database_->last_write());
    group_moment_ = database_->moment();
    group_last_ = 0;
    ++groups_by_batch_[request->batch];
  }
  Expect(request->serial > group_last_, "a batch was not answered in its order");
  group_last_ = request->serial;
}

void LaneModel::Judge(Request* request, const absl::StatusOr<v1::AppendEventsResponse>& answer) {
  PrepareGroup(request);
  const NaiveBatch::Verdict verdict = group_->Decide(*request);
  request->outcome = answer.ok() && !answer->deduplicated() ? Outcome::kWritten : Outcome::kDecided;
  switch (verdict.kind) {
    case Kind::kWritten:
      if (answer.ok()) return JudgeWritten(*request, 0, *answer, verdict.first);
      return Expect(false, "an append should have been written");
    case Kind::kReplayed:
      if (answer.ok()) return JudgeReplayed(*request, 0, *answer, verdict.first);
      return Expect(false, "a replay was refused");
    default:
      if (!answer.ok()) return JudgeError(*request, answer.status(), verdict);
      return Expect(false, "an append should have been refused");
  }
}

void LaneModel::Judge(Request* request, const absl::StatusOr<v1::TransactResponse>& answer) {
  PrepareGroup(request);
  // What was evaluated on a history that the same server then lost, in the same epoch, tells
  // nothing, and nobody can know.
  const bool conditions_count = database_->undos() == request->undos_at_evaluation;
  const bool guess = !conditions_count && !request->transaction->request.conditions.empty();
  const NaiveBatch before = *group_;
  const NaiveBatch::Verdict verdict = group_->DecideTransaction(*request, conditions_count);
  request->outcome = answer.ok() && !answer->deduplicated() ? Outcome::kWritten : Outcome::kDecided;
  if (answer.ok()) {
    if (verdict.kind == Kind::kWritten || verdict.kind == Kind::kReplayed) {
      return JudgeResults(*request, *answer, verdict);
    }
    return Expect(false, "a transaction should have been refused");
  }
  if (guess && verdict.kind == Kind::kWritten) {
    group_.emplace(before);
    return;
  }
  if (verdict.kind == Kind::kWritten || verdict.kind == Kind::kReplayed) {
    return Expect(false, "a transaction was refused that should not have been");
  }
  if (!guess) JudgeViolations(*request, answer.status(), verdict);
}

void LaneModel::JudgeResults(const Request& request, const v1::TransactResponse& answer,
                             const NaiveBatch::Verdict& verdict) {
  const bool written = verdict.kind == Kind::kWritten;
  ++database_->seen[written ? "transaction written" : "transaction replayed"];
  const auto& conditions = request.transaction->request.conditions;
  if (written && !conditions.empty()) ++database_->seen["condition held"];
  Expect(answer.deduplicated() == !written, "a transaction was told to be another kind of thing");
  if (answer.results_size() != static_cast<int>(request.appends().size())) {
    return Expect(false, "a transaction has not as many results as appends");
  }
  for (std::size_t i = 0; i < request.appends().size(); ++i) {
    const v1::AppendEventsResponse& result = answer.results(static_cast<int>(i));
    written ? JudgeWritten(request, i, result, verdict.firsts[i])
            : JudgeReplayed(request, i, result, verdict.firsts[i]);
  }
}

void LaneModel::JudgeViolations(const Request& request, const absl::Status& status,
                                const NaiveBatch::Verdict& verdict) {
  Expect(StoredOf(request) == 0, "a transaction was written and refused");
  const std::vector<v1::ErrorInfo> details = DetailsOf(status);
  const auto all = [&details](v1::ErrorReason reason) {
    return std::all_of(details.begin(), details.end(),
                       [reason](const auto& detail) { return detail.reason() == reason; });
  };
  if (verdict.kind == Kind::kDuplicate) {
    ++database_->seen["transaction duplicate"];
    return Expect(all(v1::ERROR_REASON_DUPLICATE_EVENT_ID), "stored ids should have been told");
  }
  if (verdict.kind == Kind::kDeleted) {
    ++database_->seen["transaction deleted"];
    return Expect(all(v1::ERROR_REASON_STREAM_DELETED), "a deleted stream should have been told");
  }
  ++database_->seen["transaction conflict"];
  std::vector<std::string> told;
  for (const v1::ErrorInfo& detail : details) {
    const bool condition = detail.reason() == v1::ERROR_REASON_CONDITION_FAILED;
    if (condition) ++database_->seen["condition failed"];
    told.push_back(
        absl::StrCat(detail.field(), " ", condition ? detail.position() : detail.actual()));
  }
  Expect(told == verdict.violations,
         absl::StrCat("other violations were told than there are: ", absl::StrJoin(told, ", "),
                      "; not ", absl::StrJoin(verdict.violations, ", ")));
}

void LaneModel::JudgeWritten(const Request& request, std::size_t append,
                             const v1::AppendEventsResponse& answer,
                             const NaiveBatch::Place& first) {
  ++database_->seen["written"];
  const std::vector<Uuid>& ids = request.appends()[append].event_ids;
  const auto size = static_cast<std::int64_t>(ids.size());
  Expect(!request.expired || request.expired_at >= database_->last_write_moment(),
         "an append was written after it had expired");
  Expect(!answer.deduplicated(), "a first write was called a replay");
  Expect(answer.first_position() == first.position &&
             answer.last_position() == first.position + size - 1 &&
             answer.first_version() == first.version &&
             answer.last_version() == first.version + size - 1,
         "an append was written elsewhere than it should be");
  Expect(answer.event_ids_size() == size, "an answer has not every event id");
  for (std::int64_t i = 0; i < size; ++i) {
    const auto index = static_cast<std::size_t>(i);
    const std::int64_t position = answer.first_position() + i;
    if (position > tables_->head().position) return Expect(false, "a written event is not there");
    const StoredEvent& event = tables_->log()[static_cast<std::size_t>(position - 1)];
    Expect(event.author == request.serial && event.id == ids[index] &&
               event.stream_name == request.stream_of(append) &&
               event.version == first.version + i &&
               event.created_at_micros == MicrosOf(answer.created_at()) &&
               i < answer.event_ids_size() &&
               answer.event_ids(static_cast<int>(i)) == FormatUuid(ids[index]),
           "a written event is not what the answer says");
  }
  database_->Told(answer.last_position());
}

void LaneModel::JudgeReplayed(const Request& request, std::size_t append,
                              const v1::AppendEventsResponse& answer,
                              const NaiveBatch::Place& first) {
  ++database_->seen["replayed"];
  const std::vector<Uuid>& ids = request.appends()[append].event_ids;
  const StoredEvent* first_event = tables_->FindEvent(ids.front());
  const StoredEvent* last_event = tables_->FindEvent(ids.back());
  Expect(answer.deduplicated(), "a replay was called a first write");
  if (first_event == nullptr || last_event == nullptr) {
    return Expect(false, "what was replayed is not there");
  }
  Expect(first_event->author != request.serial, "an append was taken for a replay of itself");
  Expect(answer.first_position() == first.position && answer.first_version() == first.version &&
             answer.first_position() == first_event->position &&
             answer.last_position() == last_event->position &&
             answer.last_version() == last_event->version &&
             MicrosOf(answer.created_at()) == last_event->created_at_micros &&
             answer.event_ids_size() == static_cast<int>(ids.size()),
         "a replay's answer is not what was stored");
}

void LaneModel::JudgeError(const Request& request, const absl::Status& status,
                           const NaiveBatch::Verdict& verdict) {
  const v1::ErrorInfo detail = DetailOf(status);
  const v1::StreamId& stream = request.append.request.stream();
  const bool own = detail.stream().aggregate_id() == stream.aggregate_id() &&
                   detail.stream().tenant_id() == stream.tenant_id();
  Expect(StoredOf(request) == 0, "an append was written and refused");
  if (verdict.kind == Kind::kConflict) {
    ++database_->seen["conflict"];
    Expect(detail.reason() == v1::ERROR_REASON_VERSION_CONFLICT && own &&
               detail.actual() == verdict.actual &&
               detail.expected().SerializeAsString() ==
                   request.append.request.expected_version().SerializeAsString(),
           "a conflict should have been told, with this version");
  } else if (verdict.kind == Kind::kDeleted) {
    ++database_->seen["deleted"];
    Expect(detail.reason() == v1::ERROR_REASON_STREAM_DELETED && own,
           "a deleted stream should have been told");
  } else {
    ++database_->seen["duplicate"];
    const bool told = verdict.first.tenant == stream.tenant_id();
    const auto index = static_cast<std::size_t>(verdict.blamed);
    Expect(detail.reason() == v1::ERROR_REASON_DUPLICATE_EVENT_ID &&
               detail.index() == verdict.blamed &&
               detail.event_id() == FormatUuid(request.append.event_ids[index]) &&
               detail.position() == (told ? verdict.first.position : 0) &&
               detail.stream().aggregate_id() == (told ? verdict.first.aggregate_id : ""),
           "a stored id should have been told, with its place");
  }
}

void LaneModel::JudgeFailure(Request* request, const absl::Status& status) {
  const v1::ErrorInfo detail = DetailOf(status);
  const std::size_t stored = StoredOf(*request);
  if (absl::IsCancelled(status)) {
    ++database_->seen["expired"];
    request->outcome = Outcome::kExpired;
    Expect(request->expired, "an append was called expired that was not");
    Expect(stored == 0, "an append was written and called expired");
  } else if (detail.reason() == v1::ERROR_REASON_INVALID_EVENT) {
    ++database_->seen["refused"];
    request->outcome = Outcome::kRefused;
    // Alone in its batch no event of it was singled out.
    Expect(request->poisoned >= 0 &&
               (detail.field() == "events" ? detail.index() == 0
                                           : detail.index() == request->poisoned),
           "an append was refused for its data, which was good");
    Expect(stored == 0, "an append was written and refused for its data");
  } else if (detail.reason() == v1::ERROR_REASON_STORE_UNAVAILABLE) {
    ++database_->seen[stored == 0 ? "unavailable" : "unavailable, written"];
    request->outcome = Outcome::kUnavailable;
    Expect(stored == 0 || stored == EventsOf(*request), "a write was torn");
    Expect(stored == 0 || database_->in_doubt(), "an append was written, and the lane knew it");
  } else {
    ++database_->seen["internal error"];
    request->outcome = Outcome::kInternal;
    Expect(absl::IsInternal(status) && database_->disturbed(), "an answer of no known kind");
    Expect(stored == 0, "an append was written and failed");
  }
}

void LaneModel::Committed(const CommittedBatch& batch) {
  Expect(!batch.events.empty(), "a batch without events was handed on");
  Expect(group_moment_ == database_->moment(), "a batch was handed on late");
  const MemoryTables::Commit* commit = database_->last_write();
  if (commit == nullptr) return Expect(false, "a batch was handed on that is not committed");
  // Settled after a failover, it is one of the new epoch.
  Expect(batch.epoch == epoch_ && batch.epoch >= commit->head_before.epoch,
         "a batch was handed on in an epoch that nobody was told of");
  std::int64_t position = commit->head_before.position;
  Expect(position >= handed_end_, "events were handed on twice");
  handed_.resize(tables_->log().size());
  for (const v1::Event& event : batch.events) {
    if (++position > tables_->head().position) return Expect(false, "too much was handed on");
    const StoredEvent& stored = tables_->log()[static_cast<std::size_t>(position - 1)];
    Expect(event.global_position() == position && event.version() == stored.version &&
               event.event_id() == FormatUuid(stored.id) &&
               event.stream().aggregate_id() == stored.stream.aggregate_id() &&
               event.stream().tenant_id() == stored.stream.tenant_id() &&
               MicrosOf(event.created_at()) == stored.created_at_micros &&
               absl::StartsWith(event.payload(), absl::StrCat(stored.author, " ")),
           "an event was handed on that is not what was stored");
    handed_[static_cast<std::size_t>(position - 1)] = stored.author;
  }
  handed_end_ = position;
  database_->Told(position);
}

void LaneModel::Rewound(std::int64_t epoch, std::int64_t head_position) {
  ++database_->seen["told of a rewind"];
  Expect(epoch > epoch_, "an epoch was told that was known");
  Expect(epoch == tables_->head().epoch && head_position == tables_->head().position,
         "another epoch or head was told than the database has");
  epoch_ = epoch;
  handed_end_ = std::min(handed_end_, head_position);
}

// Whatever the lane wrote meanwhile was answered so, and handed on.
void LaneModel::CheckLog() {
  handed_.resize(tables_->log().size());
  for (auto i = static_cast<std::size_t>(database_->lowest_position()); i < handed_.size(); ++i) {
    const StoredEvent& event = tables_->log()[i];
    if (event.author == kNeighbour) continue;
    const auto found = by_serial_.find(event.author);
    if (found == by_serial_.end()) {
      Expect(false, "an append of an earlier batch was written");
      continue;
    }
    judged_ = found->second;
    if (judged_->answers == 0) continue;  // it waits for the next batch
    const bool unavailable = judged_->outcome == Outcome::kUnavailable;
    Expect(unavailable || judged_->outcome == Outcome::kWritten,
           "an event was written, and its append answered otherwise");
    Expect(unavailable || handed_[i] == event.author, "an event was written and not handed on");
    judged_ = nullptr;
  }
}

void LaneModel::CheckRequest(const Request& request) {
  judged_ = &request;
  const Outcome outcome = request.outcome;
  Expect(request.answers == 1, "an append was not answered");
  Expect(!request.expired_before || outcome == Outcome::kExpired,
         "an append was not dropped that had expired");
  Expect(database_->disturbed() || given_up_ || outcome == Outcome::kWritten ||
             outcome == Outcome::kDecided ||
             (outcome == Outcome::kExpired && request.expired_before) ||
             (outcome == Outcome::kRefused && request.poisoned >= 0),
         "an append failed though nothing had happened");
  judged_ = nullptr;
}

void LaneModel::End(bool given_up, bool more) {
  given_up_ = given_up_ || given_up;
  CheckLog();
  const auto waits = [this](const Request* request) {
    return request->batch == batch_ && request->answers == 0;
  };
  if (more && std::any_of(requests_.begin(), requests_.end(), waits)) {
    ++database_->seen["answered later"];
    for (const Request* request : requests_) {
      if (request->batch < batch_) CheckRequest(*request);
    }
    return;
  }
  std::set<int> poisoned;
  for (const Request* request : requests_) {
    CheckRequest(*request);
    if (request->poisoned >= 0) poisoned.insert(request->batch);
  }
  if (!database_->disturbed() && !given_up_) {
    ++database_->seen["undisturbed"];
    for (const auto& [batch, groups] : groups_by_batch_) {
      Expect(groups == 1 || poisoned.contains(batch),
             "a batch was decided in parts though nothing had happened");
    }
  }
  requests_.clear();
  by_serial_.clear();
  groups_by_batch_.clear();
  group_.reset();
  given_up_ = false;
}

}  // namespace eventstore::engine
