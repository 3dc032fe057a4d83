// Transactions on an in-process store, for tests.
#ifndef EVENTSTORE_TESTS_INTEGRATION_ENGINE_TRANSACTING_H_
#define EVENTSTORE_TESTS_INTEGRATION_ENGINE_TRANSACTING_H_

#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "server/core/transaction.h"
#include "server/telemetry/logging.h"
#include "tests/support/store.h"

namespace eventstore::testing {

// No condition is evaluated in memory.
inline engine::StoreOptions ConditionsOnTables(const std::string& conninfo) {
  engine::StoreOptions options = SmallOptions(conninfo);
  options.writer.condition_memory_positions_max = 0;
  return options;
}

using Transacted = absl::StatusOr<v1::TransactResponse>;

inline std::future<Transacted> StartTransact(engine::Store& store,
                                             const v1::TransactRequest& request) {
  auto transaction = ValidateTransaction(request, store.options().limits);
  if (!transaction.ok()) throw std::runtime_error(std::string(transaction.status().message()));
  auto promise = std::make_shared<std::promise<Transacted>>();
  auto future = promise->get_future();
  (void)store.transactor().Submit(
      *std::move(transaction), Deadline::max(),
      [promise](Transacted answer) { promise->set_value(std::move(answer)); });
  return future;
}

inline Transacted AwaitTransact(std::future<Transacted>& answer) {
  if (answer.wait_for(kPatience) != std::future_status::ready) {
    throw std::runtime_error("a transaction was not answered");
  }
  return answer.get();
}

inline Transacted Transact(engine::Store& store, const v1::TransactRequest& request) {
  auto answer = StartTransact(store, request);
  return AwaitTransact(answer);
}

// Fails the test with the error's text.
inline v1::TransactResponse MustTransact(engine::Store& store, const v1::TransactRequest& request) {
  const Transacted answer = Transact(store, request);
  INFO(telemetry::MessageOf(answer.status()));
  REQUIRE(answer.ok());
  return *answer;
}

// An append of one event with these tags.
inline v1::AppendEventsRequest Tagged(const std::string& stream,
                                      const std::vector<std::string>& tags,
                                      const v1::ExpectedVersion& expected = Any()) {
  v1::AppendEventsRequest append = Request(Stream(stream), expected, NewIds(1));
  for (const std::string& tag : tags) append.mutable_events(0)->add_tags(tag);
  return append;
}

inline v1::TransactRequest TransactionOf(const std::vector<v1::AppendEventsRequest>& appends) {
  v1::TransactRequest request;
  for (const auto& append : appends) *request.add_appends() = append;
  return request;
}

inline v1::AppendCondition* NoTags(const std::vector<std::string>& tags,
                                   std::int64_t after_position, v1::TransactRequest* request) {
  v1::AppendCondition* condition = request->add_conditions();
  condition->set_after_position(after_position);
  v1::QueryItem* item = condition->add_query();
  for (const std::string& tag : tags) item->add_tags(tag);
  return condition;
}

inline void ExpectStream(const v1::StreamId& stream, const v1::ExpectedVersion& expected,
                         v1::TransactRequest* request) {
  v1::StreamCheck* check = request->add_checks();
  *check->mutable_stream() = stream;
  *check->mutable_expected_version() = expected;
}

// The position of the first event that a transaction wrote.
inline std::int64_t PositionOf(const v1::TransactResponse& response) {
  return response.results(0).first_position();
}

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_INTEGRATION_ENGINE_TRANSACTING_H_
