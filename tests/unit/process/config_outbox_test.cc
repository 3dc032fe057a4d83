// Sinks and routes: maps and lists, which the table of keys does not have.
#include "server/process/config_outbox.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <sstream>
#include <string>

#include "server/process/config.h"
#include "server/process/config_sink_keys.h"
#include "tests/unit/process/config_support.h"

namespace eventstore::process {
namespace {

using Catch::Matchers::Contains;

constexpr const char* kText = R"(outbox:
  enabled: true
  sinks:
    orders:
      type: webhook
      url: http://127.0.0.1:9000/events
      secret: "s3cret"
      headers: "Authorization: Bearer t0ken"
      attempts_max: 3
      on_failed: continue
      publish_timeout_ms: 2000
    by-hand:
      type: worker
      backoff_min_ms: 7
  routes:
    - sink: orders
      aggregate_types: [Order, Invoice]
      tags: vip
    - sink: by-hand
      event_types: ["Order:\"Placed\""]
      tenant_id: 3F2504E0-4F89-11D3-9A0C-0305E82C3301
)";

const engine::OutboxSink& SinkOf(const Config& config, const std::string& name) {
  const auto& sinks = config.store.outbox.sinks;
  const auto found = std::find_if(sinks.begin(), sinks.end(), [&](const engine::OutboxSink& sink) {
    return sink.options.name == name;
  });
  REQUIRE(found != sinks.end());
  return *found;
}

// What is wrong with a file, without the file's name.
std::string ProblemOf(const std::string& text) {
  const TemporaryFile file(text);
  std::string problem = LoadError({file.path(), {}, {}});
  for (std::size_t at = problem.find(file.path()); at != std::string::npos;
       at = problem.find(file.path())) {
    problem.replace(at, file.path().size(), "file");
  }
  return problem;
}

std::string Sink(const std::string& lines) { return "outbox:\n  sinks:\n    s:\n" + lines; }

}  // namespace

TEST_CASE("Sinks and routes are read from the file") {
  const TemporaryFile file(kText);
  const Config config = MustLoad({file.path(), {}, {}});
  REQUIRE(config.store.outbox.enabled);
  const engine::OutboxSink& orders = SinkOf(config, "orders");
  CHECK(orders.options.type == "webhook");
  CHECK(orders.options.settings.at("secret") == "s3cret");
  CHECK(orders.options.settings.size() == 3);
  CHECK(orders.attempts_max == 3);
  CHECK(orders.continue_after_failed);
  CHECK(orders.publish_timeout_ms.count() == 2'000);
  CHECK(orders.batch_events_max == engine::OutboxSink().batch_events_max);
  CHECK(SinkOf(config, "by-hand").backoff_min_ms.count() == 7);
  REQUIRE(config.store.outbox.routes.size() == 2);
  const auto& routes = config.store.outbox.routes;
  CHECK(routes[0].sink == "orders");
  CHECK(routes[0].aggregate_types == std::vector<std::string>{"Order", "Invoice"});
  CHECK(routes[0].tags == std::vector<std::string>{"vip"});
  CHECK(routes[1].event_types == std::vector<std::string>{"Order:\"Placed\""});
  CHECK(routes[1].tenant_id == "3f2504e0-4f89-11d3-9a0c-0305e82c3301");
}

TEST_CASE("Settings of sinks can come from the environment, which wins over the file") {
  const TemporaryFile file(kText);
  const Config config = MustLoad({file.path(),
                                  {"EVENTSTORED_OUTBOX_SINKS_ORDERS_SECRET=other",
                                   "EVENTSTORED_OUTBOX_SINKS_BY_HAND_BACKOFF_MIN_MS=9"},
                                  {}});
  CHECK(SinkOf(config, "orders").options.settings.at("secret") == "other");
  CHECK(SinkOf(config, "by-hand").backoff_min_ms.count() == 9);
  CHECK_THAT(LoadError({file.path(), {"EVENTSTORED_OUTBOX_SINKS_ORDERS_SECRETS=x"}, {}}),
             Contains("EVENTSTORED_OUTBOX_SINKS_ORDERS_SECRETS: there is no such setting") &&
                 Contains("did you mean EVENTSTORED_OUTBOX_SINKS_ORDERS_SECRET?"));
  CHECK_THAT(LoadError({file.path(), {"EVENTSTORED_OUTBOX_SINKS_BY_HAND_ATTEMPTS_MAX=0"}, {}}),
             Contains("environment variable EVENTSTORED_OUTBOX_SINKS_BY_HAND_ATTEMPTS_MAX: "
                      "outbox.sinks.by-hand.attempts_max: 0 is out of range"));
  const TemporaryFile twins("outbox: {sinks: {a-b: {type: worker}, a_b: {type: worker}}}");
  CHECK_THAT(LoadError({twins.path(), {"EVENTSTORED_OUTBOX_SINKS_A_B_ATTEMPTS_MAX=1"}, {}}),
             Contains("it may mean outbox.sinks.a-b.attempts_max or outbox.sinks.a_b"));
}

TEST_CASE("What is printed has no secrets and is read back as the same sinks and routes") {
  const TemporaryFile file(kText);
  const Config config = MustLoad({file.path(), {}, {}});
  const std::string printed = PrintConfig(config);
  CHECK_THAT(printed, !Contains("s3cret") && !Contains("t0ken") && Contains("http://127.0.0.1"));
  const TemporaryFile again(printed);
  Config read = MustLoad({again.path(), {}, {}});
  CHECK(PrintConfig(read) == printed);
  CHECK(SinkOf(read, "orders").continue_after_failed);
  CHECK(read.store.outbox.routes[1].event_types == config.store.outbox.routes[1].event_types);
}

TEST_CASE("What is wrong with a sink is told with its line, its path and what would be right") {
  CHECK(ProblemOf(Sink("      attempts_max: 3\n"))
            .rfind("file:3:5: outbox.sinks.s.type: it is missing; it must be ", 0) == 0);
  CHECK_THAT(ProblemOf(Sink("      type: fax\n")),
             Contains("file:4:13: outbox.sinks.s.type: ") && Contains("worker"));
  CHECK_THAT(ProblemOf(Sink("      type: worker\n      attempts_max: many\n")),
             Contains("file:5:21: outbox.sinks.s.attempts_max: \"many\" "));
  CHECK_THAT(ProblemOf(Sink("      type: worker\n      on_failed: stop\n")),
             Contains("outbox.sinks.s.on_failed: ") && Contains("hold") && Contains("continue"));
  // What a sink without a relay would not heed is refused.
  CHECK_THAT(
      ProblemOf(Sink("      type: worker\n      batch_events_max: 3\n")),
      Contains("outbox.sinks.s.batch_events_max: a sink of the type worker has no such key"));
  CHECK_THAT(ProblemOf(Sink("      type: webhook\n      url: http://h/\n      secre: x\n")),
             Contains("file:6:14: outbox.sinks.s.secre: a sink of the type webhook has no such "
                      "key; did you mean secret?"));
  CHECK_THAT(ProblemOf(Sink("      type: webhook\n")), Contains("file:3:5: outbox.sinks.s.url: "));
  CHECK_THAT(ProblemOf(Sink("      type: webhook\n      url: ftp://h/\n")),
             Contains("file:5:12: outbox.sinks.s.url: "));
  CHECK_THAT(ProblemOf(Sink("      type: worker\n      type: worker\n")),
             Contains("outbox.sinks.s.type: it stands in the file twice"));
  CHECK_THAT(ProblemOf(Sink("      type: [worker]\n")), Contains("it must be one value"));
  CHECK_THAT(ProblemOf("outbox: {sinks: [a]}"), Contains("outbox.sinks: it must be sinks by name"));
  CHECK_THAT(ProblemOf("outbox: {sinks: {Orders: {type: worker}}}"),
             Contains("outbox.sinks.Orders: a sink's name must be "));
  CHECK_THAT(ProblemOf("outbox: {sinks: {s: 1}}"), Contains("it must be a sink's keys"));
}

TEST_CASE("What is wrong with a route is told with its line, its path and what would be right") {
  const std::string sinks = "outbox:\n  sinks: {s: {type: worker}}\n  routes:\n";
  CHECK_THAT(ProblemOf(sinks + "    - event_types: [A]\n"),
             Contains("file:4:7: outbox.routes[0].sink: it is missing"));
  CHECK_THAT(ProblemOf(sinks + "    - sink: s\n    - sink: t\n"),
             Contains("file:5:7: outbox.routes[1].sink: \"t\" is none of outbox.sinks"));
  CHECK_THAT(ProblemOf(sinks + "    - sink: s\n      event_type: [A]\n"),
             Contains("outbox.routes[0].event_type: a route has no such key; did you mean "
                      "event_types?"));
  CHECK_THAT(ProblemOf(sinks + "    - sink: s\n      tags: [\"\"]\n"),
             Contains("file:5:14: outbox.routes[0].tags: each text must have 1 to 255 bytes"));
  CHECK_THAT(ProblemOf(sinks + "    - sink: s\n      tenant_id: acme\n"),
             Contains("outbox.routes[0].tenant_id: \"acme\" is no tenant; it must be a UUID"));
  CHECK_THAT(ProblemOf(sinks + "    - sink: s\n      tags: {a: b}\n"),
             Contains("outbox.routes[0].tags: it must be a text, or a list of texts"));
  CHECK_THAT(ProblemOf(sinks + "    - s\n"), Contains("outbox.routes[0]: it must have keys"));
  CHECK_THAT(ProblemOf("outbox: {routes: s}"), Contains("outbox.routes: it must be a list"));
}

TEST_CASE("A lease must outlast what a sink may take, and each relay has a connection") {
  const std::string sink =
      Sink("      type: webhook\n      url: http://h/\n      publish_timeout_ms: 5000\n");
  CHECK_THAT(ProblemOf(sink + "  lease_ms: 6999\n"),
             Contains("outbox.lease_ms: 6999 is less than outbox.sinks.s.publish_timeout_ms (5000) "
                      "and 2000 more"));
  const TemporaryFile enough(sink + "  lease_ms: 7000\n");
  CHECK(MustLoad({enough.path(), {}, {}}).store.outbox.lease_ms.count() == 7'000);
  CHECK_THAT(ProblemOf(Sink("      type: worker\n      backoff_min_ms: 60000\n")),
             Contains("outbox.sinks.s.backoff_min_ms: 60000 is more than backoff_max_ms (30000)"));
  const TemporaryFile enabled(sink + "  enabled: true\n");
  const std::string few = "EVENTSTORED_DATABASE_CONNECTIONS_MAX=19";  // 5 + 10 + 4
  CHECK(MustLoad({"", {few}, {}}).database.connections_max == 19);
  CHECK_THAT(LoadError({enabled.path(), {few}, {}}),
             Contains("database.connections_max: 19 is less than the 20"));
}

TEST_CASE("docs/outbox.md and docs/sinks.md have every key of every type of sink") {
  std::stringstream documented;
  for (const char* const file : {"/docs/outbox.md", "/docs/sinks.md"}) {
    documented << std::ifstream(EVENTSTORE_SOURCE_DIR + std::string(file)).rdbuf();
  }
  for (const std::string& type : SinkTypeNames()) {
    INFO(type);
    CHECK(documented.str().find("`" + type + "`") != std::string::npos);
    for (const std::string& key : SinkKeyNames(type)) {
      INFO(key);
      CHECK(documented.str().find("`" + key + "`") != std::string::npos);
    }
  }
}

}  // namespace eventstore::process
