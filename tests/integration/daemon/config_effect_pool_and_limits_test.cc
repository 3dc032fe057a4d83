// The effects of keys: the pool of connections, and limits on requests.
#include <filesystem>

#include "eventstore/v1/dead_letter_service.pb.h"

#include "tests/integration/daemon/config_effect.h"

namespace eventstore::testing {
namespace {

void SeePoolBounds(const Settings& changed) {
  auto daemon = StartWith(changed, kQuiet);
  LockedHead nobody_reads(daemon->dsn(), LockedHead::kAgainstReaders);
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 4; ++i) calls.push_back(BeginHead(*daemon));
  CHECK(Eventually([&] { return Value(*daemon, "eventstore_pool_checked_out") == 3; }));
  CHECK(Value(*daemon, "eventstore_pool_size") == 1);
  CHECK(Value(*daemon, "eventstore_pool_overflow") == 2);
  const CallStatus status = BeginHead(*daemon)->Finish();
  INFO(status.Text());
  CHECK(status.info().limit_name() == "pool.pool_timeout");
}

void SeePoolRecycle(const Settings& changed) {
  auto daemon = StartWith(changed, kQuiet);
  CHECK(Eventually([&] {
    GetHead(daemon->client());
    return Value(*daemon, "eventstore_pool_recycled_total") >= 2;
  }));
}

void SeePrePingOff(const Settings& changed) {
  for (const bool ping : {true, false}) {
    auto daemon = StartWith(ping ? Settings{} : changed, kQuiet);
    GetHead(daemon->client());
    // Every session but the lane's and the listener's: those of the pool are idle after a read.
    RunSql(daemon->dsn(),
           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
           " AND datname = current_database() AND application_name LIKE 'eventstored%'");
    CHECK(Eventually([&] {
      v1::GetHeadResponse head;
      return daemon->client().Unary("GetHead", v1::GetHeadRequest(), &head).ok();
    }));
    const auto failures = [&] { return Value(*daemon, "eventstore_pool_pre_ping_failures_total"); };
    if (ping) {  // a session that was told to end may answer once more
      CHECK(Eventually([&] {
        GetHead(daemon->client());
        return failures() >= 1;
      }));
    } else {
      CHECK(failures() == 0);
    }
  }
}

void SeeLimits(const Settings& changed) {
  auto daemon = StartWith(changed);
  Client& client = daemon->client();
  const auto limit = [&](const std::string& name) {
    return std::stoll(changed.at("limits." + name));
  };
  const auto refused = [&](const std::string& name, const CallStatus& status) {
    INFO(name << ": " << status.Text());
    CHECK(status.reason() == v1::ERROR_REASON_TOO_LARGE);
    CHECK(status.info().limit_name() == name);
    CHECK(status.info().limit() == limit(name));
  };
  const auto append = [&](const std::string& name, void (*mutate)(v1::AppendEventsRequest*)) {
    auto request = AppendRequest(NewStream(), Any(), NewEvents(1));
    mutate(&request);
    refused(name, TryAppend(*daemon, request));
  };
  MustAppend(client, NewStream(), NewEvents(3));  // What keeps to the limits is taken.
  const auto dead_letter = [&](const std::string& name, int message_bytes, int trace_bytes) {
    v1::AddDeadLetterRequest request;
    request.set_event_id("0190b2c4-0000-7000-8000-000000000001");
    request.set_projection_name("p");
    request.set_error_message(std::string(message_bytes, 'm'));
    request.set_error_stacktrace(std::string(trace_bytes, 't'));
    v1::AddDeadLetterResponse response;
    refused(name,
            client.Unary("/eventstore.v1.DeadLetterService/AddDeadLetter", request, &response));
  };
  dead_letter("error_message_bytes_max", 301, 400);
  dead_letter("error_stacktrace_bytes_max", 300, 401);
  v1::EraseEventsRequest erase;
  *erase.mutable_stream() = NewStream();
  MustAppend(client, erase.stream(), NewEvents(3));
  erase.set_reason("r");
  erase.set_erased_by("b");
  v1::EraseEventsResponse erased;
  refused("erase_events_max", client.Unary("EraseEvents", erase, &erased));
  append("event_bytes_max",
         [](auto* r) { r->mutable_events(0)->set_payload("\"" + std::string(2100, 'x') + "\""); });
  append("request_events_max", [](auto* r) {
    for (const auto& event : NewEvents(3)) *r->add_events() = event;
  });
  append("request_bytes_max",
         [](auto* r) { r->mutable_events(0)->set_payload("\"" + std::string(9000, 'x') + "\""); });
  append("name_bytes_max",
         [](auto* r) { r->mutable_events(0)->set_actor_id(std::string(41, 'a')); });
  append("tags_max", [](auto* r) {
    r->mutable_events(0)->add_tags("a");
    r->mutable_events(0)->add_tags("b");
  });
  append("tag_bytes_max", [](auto* r) { r->mutable_events(0)->add_tags("abcdef"); });
  append("metadata_entries_max", [](auto* r) {
    (*r->mutable_events(0)->mutable_metadata())["a"] = "1";
    (*r->mutable_events(0)->mutable_metadata())["b"] = "2";
  });
  append("metadata_bytes_max",
         [](auto* r) { (*r->mutable_events(0)->mutable_metadata())["a"] = std::string(60, 'm'); });
  for (const std::string json : {"[[[[]]]]", "123456789012345678901234567890"}) {
    const CallStatus status =
        TryAppend(*daemon, AppendRequest(NewStream(), Any(), {NewEvent("Json", json)}));
    INFO(json << ": " << status.Text());
    CHECK(status.code == absl::StatusCode::kInvalidArgument);
  }
  v1::ReadAllRequest read;
  read.mutable_filter()->add_tags("a");
  read.mutable_filter()->add_tags("b");
  refused("filter_values_max", client.Stream("ReadAll", read)->Finish());
  v1::ReadAllRequest pattern;
  pattern.mutable_filter()->set_event_type_regex("abcde");
  refused("filter_regex_bytes_max", client.Stream("ReadAll", pattern)->Finish());
  const auto transact = [&](const char* name,
                            const std::function<void(v1::TransactRequest*)>& set) {
    v1::TransactRequest request;
    *request.add_appends() = AppendRequest(NewStream(), Any(), NewEvents(1));
    set(&request);
    v1::TransactResponse response;
    refused(name, client.Unary("Transact", request, &response));
  };
  const auto twice = [](auto add) {
    return [add](v1::TransactRequest* request) {
      add(request);
      add(request);
    };
  };
  transact("checks_max", twice([](auto* r) { r->add_checks(); }));
  transact("conditions_max", twice([](auto* r) { r->add_conditions(); }));
  transact("snapshots_max", twice([](auto* r) { r->add_snapshots(); }));
  transact("condition_items_max", [](auto* r) {
    auto* condition = r->add_conditions();
    condition->add_query();
    condition->add_query();
  });
  v1::SubscribeRequest subscribe;
  subscribe.set_max_batch_size(6);
  CHECK(client.Stream("Subscribe", subscribe)->Finish().info().field() == "max_batch_size");
  v1::ListStreamsRequest list;
  list.set_page_size(3);
  v1::ListStreamsResponse page;
  CHECK(client.Unary("ListStreams", list, &page).info().field() == "page_size");
}

}  // namespace

std::vector<Row> PoolAndLimitRows() {
  return {
      {"pool bounds",
       {{"pool.pool_size", "1"},
        {"pool.max_overflow", "2"},
        {"pool.pool_timeout", "1"},
        {"reader.threads", "6"}},
       SeePoolBounds},
      {"recycle", {{"pool.pool_recycle", "1"}}, SeePoolRecycle},
      {"pre-ping", {{"pool.pool_pre_ping", "false"}}, SeePrePingOff},
      {"limits",
       {{"limits.event_bytes_max", "2048"},
        {"limits.request_bytes_max", "8192"},
        {"limits.request_events_max", "3"},
        {"limits.name_bytes_max", "40"},
        {"limits.tags_max", "1"},
        {"limits.tag_bytes_max", "5"},
        {"limits.metadata_entries_max", "1"},
        {"limits.metadata_bytes_max", "50"},
        {"limits.json_depth_max", "3"},
        {"limits.json_number_digits_max", "20"},
        {"limits.filter_values_max", "1"},
        {"limits.filter_regex_bytes_max", "4"},
        {"limits.checks_max", "1"},
        {"limits.conditions_max", "1"},
        {"limits.condition_items_max", "1"},
        {"limits.snapshots_max", "1"},
        {"limits.error_message_bytes_max", "300"},
        {"limits.error_stacktrace_bytes_max", "400"},
        {"limits.erase_events_max", "2"},
        {"limits.batch_events_max", "5"},
        {"limits.page_size_max", "2"}},
       SeeLimits},
  };
}

}  // namespace eventstore::testing
