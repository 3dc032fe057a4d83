#include "server/engine/outbox.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/engine/run_on.h"

namespace eventstore::engine {
namespace {

using Kind = Workers::Kind;

std::vector<tables::OutboxRetryRules> RulesOf(const OutboxOptions& options) {
  std::vector<tables::OutboxRetryRules> rules;
  for (const OutboxSink& sink : options.sinks) {
    rules.push_back(
        {sink.options.name, sink.attempts_max, sink.backoff_min_ms, sink.backoff_max_ms});
  }
  return rules;
}

std::vector<tables::OutboxSinkType> TypesOf(const OutboxOptions& options) {
  std::vector<tables::OutboxSinkType> types;
  for (const OutboxSink& sink : options.sinks) {
    types.push_back({sink.options.name, sink.options.type});
  }
  return types;
}

}  // namespace

TableOutbox::TableOutbox(const OutboxOptions& options, Workers* workers)
    : options_(options), workers_(workers), rules_(RulesOf(options)), types_(TypesOf(options)) {}

void TableOutbox::OnChanged(std::function<void()> wake) {
  MutexLock lock(&mutex_);
  wake_ = std::move(wake);
}

const OutboxSink* TableOutbox::Find(std::string_view sink) const {
  const auto found =
      std::find_if(options_.sinks.begin(), options_.sinks.end(),
                   [sink](const OutboxSink& known) { return known.options.name == sink; });
  return found == options_.sinks.end() ? nullptr : &*found;
}

absl::Status TableOutbox::Check(std::string_view sink) const {
  if (sink.empty() || Find(sink) != nullptr) return absl::OkStatus();
  std::string name = absl::StrCat(absl::string_view(sink.data(), sink.size()), "; configured are:");
  if (options_.sinks.empty()) name += " none";
  for (const OutboxSink& known : options_.sinks) absl::StrAppend(&name, " ", known.options.name);
  return NotFound("outbox sink", name);
}

template <typename T>
Done<T> TableOutbox::Waking(Done<T> done) {
  return [this, done = std::move(done)](absl::StatusOr<T> answer) {
    std::function<void()> wake;
    {
      MutexLock lock(&mutex_);
      wake = wake_;
    }
    if (wake && answer.ok()) wake();
    done(std::move(answer));
  };
}

void TableOutbox::ClaimOutbox(v1::ClaimOutboxRequest request, Deadline deadline,
                              Done<v1::ClaimOutboxResponse> done) {
  if (absl::Status status = Check(request.sink()); !status.ok()) return done(std::move(status));
  const bool pass_failed = Find(request.sink())->continue_after_failed;
  workers_->Run<v1::ClaimOutboxResponse>(
      Kind::kWrite, deadline,
      [request = std::move(request), pass_failed](pg::Connection& connection, Deadline until) {
        return tables::ClaimOutbox(connection, request, pass_failed, until);
      },
      std::move(done));
}

void TableOutbox::CompleteOutbox(v1::CompleteOutboxRequest request, Deadline deadline,
                                 Done<v1::CompleteOutboxResponse> done) {
  RunOn(workers_, Kind::kWrite, std::move(request), deadline, Waking(std::move(done)),
        tables::CompleteOutbox);
}

void TableOutbox::FailOutbox(v1::FailOutboxRequest request, Deadline deadline,
                             Done<v1::FailOutboxResponse> done) {
  workers_->Run<v1::FailOutboxResponse>(
      Kind::kWrite, deadline,
      [this, request = std::move(request)](pg::Connection& connection, Deadline until) {
        return tables::FailOutbox(connection, request, rules_, until);
      },
      Waking(std::move(done)));
}

void TableOutbox::ListOutbox(v1::ListOutboxRequest request, Deadline deadline,
                             Done<v1::ListOutboxResponse> done) {
  absl::Status status = Check(request.filter().sink());
  if (!status.ok()) return done(std::move(status));
  RunOn(workers_, Kind::kRead, std::move(request), deadline, std::move(done), tables::ListOutbox);
}

void TableOutbox::RetryOutbox(v1::RetryOutboxRequest request, Deadline deadline,
                              Done<v1::RetryOutboxResponse> done) {
  absl::Status status = Check(request.filter().sink());
  if (!status.ok()) return done(std::move(status));
  RunOn(workers_, Kind::kWrite, std::move(request), deadline, Waking(std::move(done)),
        tables::RetryOutbox);
}

void TableOutbox::GetOutboxStats(v1::GetOutboxStatsRequest request, Deadline deadline,
                                 Done<v1::GetOutboxStatsResponse> done) {
  if (absl::Status status = Check(request.sink()); !status.ok()) return done(std::move(status));
  workers_->Run<v1::GetOutboxStatsResponse>(
      Kind::kRead, deadline,
      [this, request = std::move(request)](pg::Connection& connection, Deadline until) {
        return tables::ReadOutboxStats(connection, request, types_, until);
      },
      std::move(done));
}

void TableOutbox::PauseOutbox(v1::PauseOutboxRequest request, Deadline deadline,
                              Done<v1::PauseOutboxResponse> done) {
  if (absl::Status status = Check(request.sink()); !status.ok()) return done(std::move(status));
  if (Find(request.sink())->options.type == "worker") {
    return done(InvalidRequest("sink", absl::StrCat("sink: \"", request.sink(),
                                                    "\" is of type worker and has no relay; stop "
                                                    "its workers instead")));
  }
  RunOn(workers_, Kind::kWrite, std::move(request), deadline, Waking(std::move(done)),
        tables::PauseOutbox);
}

void TableOutbox::PurgeOutbox(v1::PurgeOutboxRequest request, Deadline deadline,
                              Done<v1::PurgeOutboxResponse> done) {
  if (absl::Status status = Check(request.sink()); !status.ok()) return done(std::move(status));
  RunOn(workers_, Kind::kWrite, std::move(request), deadline, std::move(done), tables::PurgeOutbox);
}

}  // namespace eventstore::engine
