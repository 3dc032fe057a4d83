#include <spdlog/spdlog.h>

#include <string>
#include <utility>

#include "server/pg/connection.h"

namespace eventstore::pg {
namespace {

constexpr int kBinaryResults = 1;

bool SendOne(PGconn* connection, const char* name, const char* sql, const Params& params,
             Params::Raw* raw) {
  params.Fill(raw);
  if (name == nullptr) {
    return PQsendQueryParams(connection, sql, params.size(), params.oids(), raw->values.data(),
                             raw->lengths.data(), raw->formats.data(), kBinaryResults) == 1;
  }
  return PQsendQueryPrepared(connection, name, params.size(), raw->values.data(),
                             raw->lengths.data(), raw->formats.data(), kBinaryResults) == 1;
}

}  // namespace

void Pipeline::Add(const Statement& statement, Params params) {
  steps_.push_back({statement, std::move(params)});
}

Pipeline::Outcome Pipeline::Run(Deadline deadline) {
  std::vector<Call> calls;
  calls.reserve(steps_.size());
  for (const Step& step : steps_) {
    calls.push_back({step.statement.name, step.statement.sql, &step.params});
  }
  return RunCalls(connection_, calls, deadline);
}

Pipeline::Outcome Pipeline::RunCalls(Connection* connection, std::span<const Call> calls,
                                     Deadline deadline) {
  Outcome outcome;
  outcome.status = connection->Begin(deadline);
  if (!outcome.status.ok()) return outcome;
  std::vector<const char*> answers;
  answers.reserve(calls.size() * 2);
  outcome.status = Send(connection, calls, &answers);
  if (outcome.status.ok()) {
    if (connection->on_sent_) {
      (void)PQflush(connection->connection_.get());  // a failure is met again by Receive
      connection->on_sent_();
    }
    outcome.results.reserve(calls.size());
    outcome.status = Receive(connection, answers, deadline, &outcome.results);
  }
  connection->used_at_ = std::chrono::steady_clock::now();
  outcome.notices = std::move(connection->notices_);
  connection->notices_.clear();
  return outcome;
}

// Queues everything, and one Sync. `answers` gets an entry for each answer to come: the statement's
// name if it answers a Prepare, otherwise null.
absl::Status Pipeline::Send(Connection* connection, std::span<const Call> calls,
                            std::vector<const char*>* answers) {
  PGconn* const raw_connection = connection->connection_.get();
  const bool echo = connection->options_.echo;
  bool queued = PQenterPipelineMode(raw_connection) == 1;
  Params::Raw raw;
  for (const Call& call : calls) {
    if (!queued) break;
    if (echo) spdlog::debug("SQL {}: {}", call.name == nullptr ? "once" : call.name, call.sql);
    // Remembered as prepared at once, so that a second use in this pipeline does not prepare it
    // again; forgotten if the answer says otherwise.
    if (call.name != nullptr && connection->prepared_.insert(call.name).second) {
      queued = PQsendPrepare(raw_connection, call.name, call.sql, call.params->size(),
                             call.params->oids()) == 1;
      if (!queued) break;
      answers->push_back(call.name);
    }
    queued = SendOne(raw_connection, call.name, call.sql, *call.params, &raw);
    if (queued) answers->push_back(nullptr);
  }
  if (queued && PQpipelineSync(raw_connection) == 1) return absl::OkStatus();
  // libpq sends on its own when its buffer fills, so only the first refusal is surely unsent.
  return connection->Lost(PQerrorMessage(raw_connection), "",
                          answers->empty() ? pg::Outcome::kNotSent : pg::Outcome::kInDoubt);
}

absl::Status Pipeline::Receive(Connection* connection, const std::vector<const char*>& answers,
                               Deadline deadline, std::vector<Result>* results) {
  absl::Status first_error;
  std::size_t answer = 0;
  bool statement_ended = false;
  for (;;) {
    absl::Status awaited = connection->AwaitResult(deadline);
    if (!awaited.ok()) return first_error.ok() ? awaited : WithConnectionLost(first_error);
    PGresult* const raw = PQgetResult(connection->connection_.get());
    if (raw == nullptr) {  // Separates one statement's results from the next one's.
      if (std::exchange(statement_ended, true)) {
        absl::Status lost = connection->Lost(PQerrorMessage(connection->connection_.get()), "",
                                             pg::Outcome::kInDoubt);
        return first_error.ok() ? lost : WithConnectionLost(first_error);
      }
      continue;
    }
    statement_ended = false;
    Result result(raw);
    const ExecStatusType status = PQresultStatus(raw);
    if (status == PGRES_PIPELINE_SYNC) break;
    const char* const prepares = answer < answers.size() ? answers[answer] : nullptr;
    ++answer;
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY) {
      if (prepares == nullptr) results->push_back(std::move(result));
      continue;
    }
    if (prepares != nullptr) connection->prepared_.erase(prepares);
    if (status == PGRES_PIPELINE_ABORTED) continue;
    absl::Status failed = connection->Failed(raw);
    if (first_error.ok()) first_error = std::move(failed);
    if (!connection->usable()) return WithConnectionLost(first_error);
  }
  if (PQexitPipelineMode(connection->connection_.get()) != 1) connection->Close();
  return first_error;
}

}  // namespace eventstore::pg
