// A store with sinks that are published by workers, and what tests do with its outbox.
#ifndef EVENTSTORE_TESTS_INTEGRATION_ENGINE_OUTBOXING_H_
#define EVENTSTORE_TESTS_INTEGRATION_ENGINE_OUTBOXING_H_

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "server/telemetry/logging.h"
#include "tests/support/store.h"

namespace eventstore::testing {

// Routes everything to the sink "bus". A failed attempt waits for nothing.
inline engine::OutboxOptions Bus() {
  engine::OutboxOptions options;
  options.enabled = true;
  engine::OutboxSink& sink = options.sinks.emplace_back();
  sink.options.name = "bus";
  sink.options.type = "worker";
  sink.backoff_min_ms = std::chrono::milliseconds(0);
  options.routes = {{.sink = "bus"}};
  return options;
}

class OutboxDesk {
 public:
  explicit OutboxDesk(engine::OutboxOptions outbox = Bus(), const std::string& through = "")
      : conninfo(through.empty() ? CreateStoreDatabase() : through),
        store(OptionsOf(conninfo, std::move(outbox))),
        sql(Connect(conninfo, "public")) {}

  template <typename Response, typename Request>
  absl::StatusOr<Response> Call(void (engine::Outbox::*method)(Request, Deadline,
                                                               engine::Done<Response>),
                                Request request) {
    return AwaitDone<Response>([&](engine::Done<Response> done) {
      engine::Outbox& outbox = store->outbox();
      (outbox.*method)(std::move(request), In(kPatience), std::move(done));
    });
  }
  // Throws on errors; any thread.
  template <typename Response, typename Request>
  Response Must(void (engine::Outbox::*method)(Request, Deadline, engine::Done<Response>),
                const Request& request) {
    auto response = Call(method, request);
    if (!response.ok()) {
      throw std::runtime_error(std::string(telemetry::MessageOf(response.status())));
    }
    return *std::move(response);
  }

  // Appends so many events to a stream, one a batch.
  void Fill(const std::string& stream, int count) {
    for (int i = 0; i < count; ++i) {
      REQUIRE(Append(*store, Stream(stream), Any(), NewIds(1)).ok());
    }
  }
  v1::ClaimOutboxResponse Claim(int limit = 100, std::chrono::milliseconds lease = kPatience,
                                const std::string& sink = "bus") {
    v1::ClaimOutboxRequest request;
    request.set_sink(sink);
    request.set_worker("tester");
    request.set_limit(limit);
    request.mutable_lease()->set_seconds(lease.count() / 1000);
    request.mutable_lease()->set_nanos(static_cast<int>(lease.count() % 1000) * 1'000'000);
    return Must(&engine::Outbox::ClaimOutbox, request);
  }
  v1::CompleteOutboxResponse Complete(const std::string& token,
                                      const std::vector<std::string>& ids) {
    v1::CompleteOutboxRequest request;
    request.set_claim_token(token);
    request.mutable_ids()->Assign(ids.begin(), ids.end());
    return Must(&engine::Outbox::CompleteOutbox, request);
  }
  v1::FailOutboxResponse Fail(const std::string& token, const std::vector<std::string>& ids,
                              const std::string& error = "no topic") {
    v1::FailOutboxRequest request;
    request.set_claim_token(token);
    for (const std::string& id : ids) {
      request.add_entries()->set_id(id);
      request.mutable_entries()->rbegin()->set_error(error);
    }
    return Must(&engine::Outbox::FailOutbox, request);
  }
  v1::ListOutboxResponse List(v1::ListOutboxRequest request = {}) {
    if (request.page_size() == 0) request.set_page_size(100);
    return Must(&engine::Outbox::ListOutbox, request);
  }
  std::int64_t Count(const std::string& where = "true") {
    return SelectInt(*sql, "SELECT count(*) FROM event_outbox WHERE " + where);
  }

  const std::string conninfo;
  TestStore store;
  std::unique_ptr<pg::Connection> sql;

 private:
  static engine::StoreOptions OptionsOf(const std::string& conninfo, engine::OutboxOptions outbox) {
    engine::StoreOptions options = SmallOptions(conninfo);
    options.outbox = std::move(outbox);
    return options;
  }
};

// The ids of entries, and the positions of their events.
template <typename Response>
std::vector<std::string> IdsOf(const Response& response) {
  std::vector<std::string> ids;
  for (const v1::OutboxEntry& entry : response.entries()) ids.push_back(entry.id());
  return ids;
}
template <typename Response>
std::vector<std::int64_t> PositionsOf(const Response& response) {
  std::vector<std::int64_t> positions;
  for (const v1::OutboxEntry& entry : response.entries()) {
    positions.push_back(entry.event().global_position());
  }
  return positions;
}

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_INTEGRATION_ENGINE_OUTBOXING_H_
