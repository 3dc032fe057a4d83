#include "server/core/transaction.h"

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

#include "server/core/errors.h"
#include "server/core/problems.h"
#include "server/core/projection_validation.h"
#include "server/core/snapshot_validation.h"

namespace eventstore {
namespace {

using Place = Problems::Place;
using Values = google::protobuf::RepeatedPtrField<std::string>;

std::string At(std::string_view list, int index) {
  return absl::StrCat(absl::string_view(list.data(), list.size()), "[", index, "]");
}

// Problems of the parts and of the whole, as one error.
class TransactionProblems {
 public:
  explicit TransactionProblems(const Limits& limits) : limits_(limits) {}

  // What is wrong with a part that is a request of its own; its fields get the path to the part.
  void AddPart(const std::string& path, const absl::Status& status) {
    if (status.ok()) return;
    std::vector<v1::ErrorInfo> details = DetailsOf(status);
    total_ += std::max(details[0].total(), static_cast<std::int32_t>(details.size()));
    for (v1::ErrorInfo& detail : details) {
      if (details_.size() == Problems::kDetailsMax) return;
      detail.clear_total();
      detail.clear_truncated();
      if (absl::StartsWith(detail.message(), detail.field())) {
        detail.set_message(absl::StrCat(path, ".", detail.message()));
      }
      detail.set_field(absl::StrCat(path, detail.field().empty() ? "" : ".", detail.field()));
      details_.push_back(std::move(detail));
    }
  }
  void AddOwn(Problems problems) {
    if (problems.empty()) return;
    std::vector<v1::ErrorInfo> details = DetailsOf(std::move(problems).ToStatus());
    total_ += std::max(details[0].total(), static_cast<std::int32_t>(details.size()));
    for (v1::ErrorInfo& detail : details) {
      if (details_.size() < Problems::kDetailsMax) details_.push_back(std::move(detail));
    }
  }
  [[nodiscard]] absl::Status ToStatus() && {
    if (details_.empty()) return absl::OkStatus();
    details_[0].set_total(total_);
    return MakeError(std::move(details_));
  }
  [[nodiscard]] const Limits& limits() const { return limits_; }

 private:
  const Limits& limits_;
  std::vector<v1::ErrorInfo> details_;
  std::int32_t total_ = 0;
};

Uuid TenantOf(const v1::StreamId& stream) {
  return stream.tenant_id().empty() ? kNilUuid : ParseUuid(stream.tenant_id()).value_or(kNilUuid);
}

// The checks that must come first, since they bound the work of all others.
absl::Status CheckSizes(const v1::TransactRequest& request, const Limits& limits) {
  const auto bytes = static_cast<std::int64_t>(request.ByteSizeLong());
  if (bytes > limits.request_bytes_max) {
    return TooLarge("", "request_bytes_max", limits.request_bytes_max, bytes);
  }
  std::int64_t events = 0;
  for (const auto& append : request.appends()) events += append.events_size();
  if (events > limits.request_events_max) {
    return TooLarge("appends", "request_events_max", limits.request_events_max, events);
  }
  if (request.appends_size() > limits.request_events_max) {
    return TooLarge("appends", "request_events_max", limits.request_events_max,
                    request.appends_size());
  }
  if (request.checks_size() > limits.checks_max) {
    return TooLarge("checks", "checks_max", limits.checks_max, request.checks_size());
  }
  if (request.conditions_size() > limits.conditions_max) {
    return TooLarge("conditions", "conditions_max", limits.conditions_max,
                    request.conditions_size());
  }
  if (request.snapshots_size() > limits.snapshots_max) {
    return TooLarge("snapshots", "snapshots_max", limits.snapshots_max, request.snapshots_size());
  }
  if (request.appends().empty() && !request.has_checkpoint() && request.snapshots().empty()) {
    return InvalidRequest("appends",
                          "appends: is empty, and there is neither a checkpoint nor a snapshot to "
                          "save; a transaction writes something");
  }
  return absl::OkStatus();
}

// All events carry an id, or none does; and no id comes twice.
void CheckIds(const std::vector<ValidatedAppend>& appends, Problems* problems) {
  std::unordered_map<Uuid, std::string, UuidHash> seen;
  for (std::size_t i = 0; i < appends.size(); ++i) {
    const std::string path = At("appends", static_cast<int>(i));
    if (appends[i].has_client_ids != appends[0].has_client_ids) {
      problems->Invalid({path}, absl::StrCat("has ", appends[i].has_client_ids ? "" : "no ",
                                             "event ids, unlike appends[0]; give every event an "
                                             "id, so that the request can be retried, or none"));
      return;
    }
    for (std::size_t j = 0; j < appends[i].event_ids.size(); ++j) {
      std::string place = absl::StrCat(path, ".events[", j, "].event_id");
      const auto [it, first] = seen.emplace(appends[i].event_ids[j], place);
      if (!first) {
        problems->Invalid({std::move(place)}, absl::StrCat("is the same as ", it->second,
                                                           "; every event needs an id of its own"));
      }
    }
  }
}

void ValidateAppends(v1::TransactRequest* request, ValidatedTransaction* transaction,
                     TransactionProblems* problems) {
  bool whole = true;
  transaction->appends.reserve(static_cast<std::size_t>(request->appends_size()));
  for (int i = 0; i < request->appends_size(); ++i) {
    auto append = ValidateAppend(std::move(*request->mutable_appends(i)), problems->limits());
    problems->AddPart(At("appends", i), append.status());
    whole = whole && append.ok();
    if (!append.ok()) continue;
    transaction->events += static_cast<std::int64_t>(append->event_ids.size());
    transaction->total_bytes += append->total_bytes;
    transaction->appends.push_back(*std::move(append));
  }
  if (!whole || transaction->appends.empty()) return;
  Problems own;
  CheckIds(transaction->appends, &own);
  problems->AddOwn(std::move(own));
}

void ValidateChecks(v1::TransactRequest* request, ValidatedTransaction* transaction,
                    TransactionProblems* problems) {
  Problems own;
  for (int i = 0; i < request->checks_size(); ++i) {
    v1::StreamCheck* check = request->mutable_checks(i);
    const std::string path = At("checks", i);
    if (check->has_stream()) {
      own.CheckStreamId(path + ".stream", problems->limits(), check->mutable_stream());
    } else {
      own.Invalid({path + ".stream"}, "is missing; name the stream whose version is checked");
    }
    const v1::ExpectedVersion& expected = check->expected_version();
    if (expected.kind_case() == v1::ExpectedVersion::KIND_NOT_SET) {
      own.Invalid({path + ".expected_version"},
                  "is not set; say any, no_stream, stream_exists or exact");
    } else if (expected.has_exact() && expected.exact() < 1) {
      own.Invalid({path + ".expected_version.exact"},
                  absl::StrCat("is ", expected.exact(),
                               "; it must be 1 or more; for a stream without events say "
                               "no_stream"));
    }
    const Uuid tenant = TenantOf(check->stream());
    transaction->checks.push_back({std::move(*check), tenant});
  }
  problems->AddOwn(std::move(own));
}

// One list of a query's alternative: bounded, each a proper name; sorted, each once.
void CheckValues(const std::string& path, std::string_view limit_name, std::int64_t bytes_max,
                 const Limits& limits, Values* values, Problems* problems) {
  if (values->size() > limits.filter_values_max) {
    return problems->TooLarge({path}, "filter_values_max", limits.filter_values_max,
                              values->size());
  }
  for (int i = 0; i < values->size(); ++i) {
    problems->CheckName({At(path, i)}, values->Get(i), limit_name, bytes_max);
  }
  std::sort(values->begin(), values->end());
  values->erase(std::unique(values->begin(), values->end()), values->end());
}

void ValidateConditions(v1::TransactRequest* request, ValidatedTransaction* transaction,
                        TransactionProblems* problems) {
  const Limits& limits = problems->limits();
  Problems own;
  for (int i = 0; i < request->conditions_size(); ++i) {
    v1::AppendCondition* condition = request->mutable_conditions(i);
    const std::string path = At("conditions", i);
    own.CheckNumber({path + ".after_position"}, condition->after_position(), "the beginning");
    own.CheckNumber({path + ".epoch"}, condition->epoch(), "any epoch");
    if (!condition->tenant_id().empty()) {
      own.CheckUuid({path + ".tenant_id"}, "a tenant's id", condition->mutable_tenant_id());
    }
    if (condition->query_size() > limits.condition_items_max) {
      own.TooLarge({path + ".query"}, "condition_items_max", limits.condition_items_max,
                   condition->query_size());
      continue;
    }
    for (int j = 0; j < condition->query_size(); ++j) {
      v1::QueryItem* item = condition->mutable_query(j);
      const std::string at = At(path + ".query", j);
      CheckValues(at + ".event_types", "name_bytes_max", limits.name_bytes_max, limits,
                  item->mutable_event_types(), &own);
      CheckValues(at + ".tags", "tag_bytes_max", limits.tag_bytes_max, limits, item->mutable_tags(),
                  &own);
    }
    transaction->conditions.push_back(std::move(*condition));
  }
  problems->AddOwn(std::move(own));
}

void ValidateSnapshots(v1::TransactRequest* request, ValidatedTransaction* transaction,
                       TransactionProblems* problems) {
  Problems own;
  for (int i = 0; i < request->snapshots_size(); ++i) {
    v1::SaveSnapshotRequest* snapshot = request->mutable_snapshots(i);
    CheckSnapshotToSave(At("snapshots", i) + ".", problems->limits(), snapshot, &own);
    const Uuid tenant = TenantOf(snapshot->stream());
    transaction->total_bytes += static_cast<std::int64_t>(snapshot->state().size());
    transaction->snapshots.push_back({std::move(*snapshot), tenant});
  }
  problems->AddOwn(std::move(own));
}

}  // namespace

absl::StatusOr<ValidatedTransaction> ValidateTransaction(v1::TransactRequest request,
                                                         const Limits& limits) {
  if (absl::Status sizes = CheckSizes(request, limits); !sizes.ok()) return sizes;
  ValidatedTransaction transaction;
  TransactionProblems problems(limits);
  ValidateAppends(&request, &transaction, &problems);
  ValidateChecks(&request, &transaction, &problems);
  ValidateConditions(&request, &transaction, &problems);
  if (request.has_checkpoint()) {
    problems.AddPart("checkpoint", Validate(limits, request.mutable_checkpoint()));
    transaction.checkpoint = std::move(*request.mutable_checkpoint());
  }
  ValidateSnapshots(&request, &transaction, &problems);
  if (absl::Status status = std::move(problems).ToStatus(); !status.ok()) return status;
  // Counted as the events were, with their JSON as the database prints it.
  if (transaction.total_bytes > limits.request_bytes_max) {
    return TooLarge("appends", "request_bytes_max", limits.request_bytes_max,
                    transaction.total_bytes);
  }
  return transaction;
}

}  // namespace eventstore
