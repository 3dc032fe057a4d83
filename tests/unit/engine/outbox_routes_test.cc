#include "server/engine/outbox_routes.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "server/core/errors.h"

namespace eventstore::engine {
namespace {

constexpr char kTenant[] = "0190b2c4-0000-7000-8000-0000000000aa";

OutboxOptions Options(const std::vector<std::string>& sinks) {
  OutboxOptions options;
  options.enabled = true;
  for (const std::string& name : sinks) {
    options.sinks.emplace_back().options.name = name;
    options.sinks.back().options.type = "worker";
  }
  return options;
}

v1::StreamId Stream(const std::string& type, const std::string& tenant = "") {
  v1::StreamId stream;
  stream.set_aggregate_type(type);
  stream.set_aggregate_id("1");
  stream.set_tenant_id(tenant);
  return stream;
}

v1::NewEvent Event(const std::string& type, const std::vector<std::string>& tags = {}) {
  v1::NewEvent event;
  event.set_event_type(type);
  event.mutable_tags()->Assign(tags.begin(), tags.end());
  return event;
}

std::vector<std::string> Sinks(const OutboxRoutes& routes, const v1::StreamId& stream,
                               const v1::NewEvent& event) {
  std::vector<std::string> names;
  for (const std::string* sink : routes.SinksOf(stream, event)) names.push_back(*sink);
  return names;
}

using Names = std::vector<std::string>;

TEST_CASE("An event goes to each sink of which a route matches, once", "[outbox_routes]") {
  OutboxOptions options = Options({"a", "b", "unrouted"});
  options.routes = {{.sink = "b", .aggregate_types = {"Order", "Cart"}, .event_types = {"Placed"}},
                    {.sink = "a", .tags = {"x", "y"}},
                    {.sink = "b", .tags = {"x"}},
                    {.sink = "a", .tenant_id = "0190B2C4-0000-7000-8000-0000000000AA"}};
  const auto routes = OutboxRoutes::Make(options, Limits());
  REQUIRE(routes.ok());
  CHECK(Sinks(*routes, Stream("Order"), Event("Placed")) == Names{"b"});
  CHECK(Sinks(*routes, Stream("Cart"), Event("Placed")) == Names{"b"});
  CHECK(Sinks(*routes, Stream("Order"), Event("Paid")).empty());
  CHECK(Sinks(*routes, Stream("Other"), Event("Placed")).empty());
  CHECK(Sinks(*routes, Stream("Order"), Event("Placed", {"x", "y", "z"})) == Names{"a", "b"});
  CHECK(Sinks(*routes, Stream("Other"), Event("Paid", {"x", "z"})) == Names{"b"});
  CHECK(Sinks(*routes, Stream("Other", kTenant), Event("Paid")) == Names{"a"});
}

TEST_CASE("A route without conditions takes everything", "[outbox_routes]") {
  OutboxOptions options = Options({"a"});
  options.routes = {{.sink = "a"}};
  CHECK(Sinks(*OutboxRoutes::Make(options, Limits()), Stream("X"), Event("Y")) == Names{"a"});
  options.enabled = false;
  CHECK(OutboxRoutes::Make(options, Limits())->empty());
  options.enabled = true;
  options.routes.clear();
  CHECK(OutboxRoutes::Make(options, Limits())->empty());
}

TEST_CASE("What is wrong with sinks and routes is named by its key", "[outbox_routes]") {
  const auto wrong = [](const OutboxOptions& options) {
    const auto details = DetailsOf(OutboxRoutes::Make(options, Limits()).status());
    return details.empty() ? std::string() : details[0].field();
  };
  CHECK(wrong(Options({"a", ""})) == "outbox.sinks[1].name");
  CHECK(wrong(Options({"a", "b", "a"})) == "outbox.sinks[2].name");
  CHECK(wrong(Options({std::string(255, 'a')})).empty());
  CHECK(wrong(Options({std::string(256, 'a')})) == "outbox.sinks[0].name");
  OutboxOptions options = Options({"a"});
  options.routes = {{.sink = "a"}, {.sink = "c"}};
  CHECK(wrong(options) == "outbox.routes[1].sink");
  options.routes = {{.sink = "a", .tenant_id = "me"}};
  CHECK(wrong(options) == "outbox.routes[0].tenant_id");
  options.routes = {{.sink = "a", .tags = {""}}};
  CHECK(wrong(options) == "outbox.routes[0].tags[0]");
  options.enabled = false;  // what is switched on later must be right as well
  CHECK(wrong(options) == "outbox.routes[0].tags[0]");
}

}  // namespace
}  // namespace eventstore::engine
