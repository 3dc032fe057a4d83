#include "server/core/filter.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "server/core/errors.h"

namespace eventstore {
namespace {

constexpr char kTenant[] = "0189f7a5-6b1c-7def-8000-00ff10a9bcde";

std::shared_ptr<const EventFilter> Make(const v1::Filter& filter) {
  auto made = EventFilter::Make(filter, "filter", Limits());
  CAPTURE(made.status().ToString());
  REQUIRE(made.ok());
  return *made;
}

v1::ErrorInfo Refused(const v1::Filter& filter, const Limits& limits = Limits()) {
  const auto made = EventFilter::Make(filter, "filter", limits);
  REQUIRE_FALSE(made.ok());
  CHECK(made.status().code() == absl::StatusCode::kInvalidArgument);
  const auto details = DetailsOf(made.status());
  REQUIRE_FALSE(details.empty());
  return details[0];
}

v1::Event OrderPlaced() {
  v1::Event event;
  event.mutable_stream()->set_aggregate_type("Order");
  event.mutable_stream()->set_aggregate_id("order-42");
  event.mutable_stream()->set_tenant_id(kTenant);
  event.set_event_type("OrderPlaced");
  event.add_tags("blue");
  event.add_tags("green");
  return event;
}

TEST_CASE("AnEmptyFilterMatchesEverything") {
  const auto filter = Make({});
  CHECK(filter->matches_everything());
  CHECK_FALSE(filter->has_regex());
  CHECK(filter->Matches(OrderPlaced()));
  CHECK(filter->Matches(v1::Event()));
}

TEST_CASE("ValuesOfOneFieldAreAlternatives") {
  v1::Filter filter;
  filter.add_event_types("OrderShipped");
  CHECK_FALSE(Make(filter)->Matches(OrderPlaced()));
  filter.add_event_types("OrderPlaced");
  CHECK(Make(filter)->Matches(OrderPlaced()));
  CHECK_FALSE(Make(filter)->matches_everything());

  filter.Clear();
  filter.add_aggregate_types("order");  // byte by byte
  CHECK_FALSE(Make(filter)->Matches(OrderPlaced()));
  filter.add_aggregate_types("Order");
  CHECK(Make(filter)->Matches(OrderPlaced()));

  filter.Clear();
  filter.add_event_type_prefixes("Invoice");
  CHECK_FALSE(Make(filter)->Matches(OrderPlaced()));
  filter.add_event_type_prefixes("Order");
  CHECK(Make(filter)->Matches(OrderPlaced()));

  filter.Clear();
  filter.add_aggregate_id_prefixes("order-42x");
  CHECK_FALSE(Make(filter)->Matches(OrderPlaced()));
  filter.add_aggregate_id_prefixes("order-42");
  CHECK(Make(filter)->Matches(OrderPlaced()));
}

TEST_CASE("AllTagsMustBePresent") {
  v1::Filter filter;
  filter.add_tags("green");
  CHECK(Make(filter)->Matches(OrderPlaced()));
  filter.add_tags("blue");
  CHECK(Make(filter)->Matches(OrderPlaced()));
  filter.add_tags("red");
  CHECK_FALSE(Make(filter)->Matches(OrderPlaced()));
}

TEST_CASE("DifferentFieldsMustAllHold") {
  v1::Filter filter;
  filter.add_aggregate_types("Order");
  filter.add_event_types("OrderPlaced");
  filter.add_event_type_prefixes("Order");
  filter.add_aggregate_id_prefixes("order-");
  filter.add_tags("blue");
  filter.set_tenant_id(kTenant);
  filter.set_event_type_regex("^Order.*ed$");
  CHECK(Make(filter)->Matches(OrderPlaced()));

  const int broken = GENERATE(0, 1, 2, 3, 4, 5, 6);
  v1::Event event = OrderPlaced();
  switch (broken) {
    case 0:
      event.mutable_stream()->set_aggregate_type("Invoice");
      break;
    case 1:
      event.set_event_type("OrderChanged");
      break;
    case 2:
      filter.set_event_type_prefixes(0, "OrderPlacedX");
      break;
    case 3:
      event.mutable_stream()->set_aggregate_id("x-order-42");
      break;
    case 4:
      event.clear_tags();
      break;
    case 5:
      event.mutable_stream()->clear_tenant_id();
      break;
    default:
      filter.set_event_type_regex("^Placed");
      break;
  }
  CAPTURE(broken);
  CHECK_FALSE(Make(filter)->Matches(event));
}

TEST_CASE("ARegularExpressionMatchesAnywhereUnlessAnchored") {
  v1::Filter filter;
  filter.set_event_type_regex("Pl.ced");
  CHECK(Make(filter)->has_regex());
  CHECK(Make(filter)->MatchesRegex("OrderPlacedTwice"));
  CHECK_FALSE(Make(filter)->MatchesRegex("OrderShipped"));
  filter.set_event_type_regex("^Pl.ced$");
  CHECK_FALSE(Make(filter)->MatchesRegex("OrderPlacedTwice"));
  CHECK(Make(filter)->MatchesRegex("Placed"));
  CHECK(Make({})->MatchesRegex("anything"));
}

TEST_CASE("ATenantIsComparedWhateverItsCase") {
  v1::Filter filter;
  filter.set_tenant_id("0189F7A5-6B1C-7DEF-8000-00FF10A9BCDE");
  CHECK(Make(filter)->Matches(OrderPlaced()));
  CHECK(Make(filter)->proto().tenant_id() == kTenant);
}

TEST_CASE("ValuesThatAreGivenTwiceAreKeptOnce") {
  v1::Filter filter;
  for (const char* tag : {"b", "a", "b"}) filter.add_tags(tag);
  const auto made = Make(filter);
  REQUIRE(made->proto().tags_size() == 2);
  CHECK(made->proto().tags(0) == "a");
}

TEST_CASE("ABadFilterIsRefusedWithThePathOfTheField") {
  v1::Filter filter;
  std::string field;
  SECTION("empty value") {
    filter.add_event_types("A");
    filter.add_event_types("");
    field = "filter.event_types[1]";
  }
  SECTION("empty prefix") {
    filter.add_event_type_prefixes("");
    field = "filter.event_type_prefixes[0]";
  }
  SECTION("NUL") {
    filter.add_aggregate_types(std::string("a\0b", 3));
    field = "filter.aggregate_types[0]";
  }
  SECTION("invalid UTF-8") {
    filter.add_aggregate_id_prefixes("\xff");
    field = "filter.aggregate_id_prefixes[0]";
  }
  SECTION("empty tag") {
    filter.add_tags("");
    field = "filter.tags[0]";
  }
  SECTION("tenant") {
    filter.set_tenant_id("acme");
    field = "filter.tenant_id";
  }
  SECTION("nil tenant") {
    filter.set_tenant_id("00000000-0000-0000-0000-000000000000");
    field = "filter.tenant_id";
  }
  SECTION("NUL in the expression") {
    filter.set_event_type_regex(std::string("a\0", 2));
    field = "filter.event_type_regex";
  }
  const v1::ErrorInfo detail = Refused(filter);
  CHECK(detail.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(detail.field() == field);
  CHECK_FALSE(detail.message().empty());
}

TEST_CASE("AFilterObeysItsLimits") {
  Limits limits;
  limits.filter_values_max = 3;
  limits.name_bytes_max = 10;
  limits.tag_bytes_max = 5;
  limits.filter_regex_bytes_max = 8;
  v1::Filter filter;
  std::string field;
  std::string limit_name;
  std::int64_t limit = 0;
  SECTION("values") {
    for (int i = 0; i < 4; ++i) filter.add_tags(std::to_string(i));
    field = "filter.tags", limit_name = "filter_values_max", limit = 3;
  }
  SECTION("bytes of a name") {
    filter.add_event_type_prefixes(std::string(11, 'x'));
    field = "filter.event_type_prefixes[0]", limit_name = "name_bytes_max", limit = 10;
  }
  SECTION("bytes of a tag") {
    filter.add_tags(std::string(6, 'x'));
    field = "filter.tags[0]", limit_name = "tag_bytes_max", limit = 5;
  }
  SECTION("bytes of the expression") {
    filter.set_event_type_regex(std::string(9, 'x'));
    field = "filter.event_type_regex", limit_name = "filter_regex_bytes_max", limit = 8;
  }
  const v1::ErrorInfo detail = Refused(filter, limits);
  CHECK(detail.reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(detail.field() == field);
  CHECK(detail.limit_name() == limit_name);
  CHECK(detail.limit() == limit);
  CHECK(detail.value() == limit + 1);
}

TEST_CASE("AFilterAtItsLimitsIsTaken") {
  v1::Filter filter;
  for (int i = 0; i < 100; ++i) filter.add_event_types(std::string(250, 'x') + std::to_string(i));
  filter.add_tags(std::string(128, 't'));
  filter.set_event_type_regex(std::string(1024, 'x'));
  CHECK(Make(filter)->proto().event_types_size() == 100);
}

TEST_CASE("AnExpressionThatDoesNotCompileIsRefusedWithTheReason") {
  v1::Filter filter;
  filter.set_event_type_regex("Order(");
  v1::ErrorInfo detail = Refused(filter);
  CHECK(detail.field() == "filter.event_type_regex");
  CHECK(detail.message().find("missing )") != std::string::npos);

  // Backtracking features are not in RE2.
  filter.set_event_type_regex("(a)\\1");
  CHECK(Refused(filter).reason() == v1::ERROR_REASON_INVALID_REQUEST);

  // A short text that would need much memory.
  filter.set_event_type_regex("((((\\pL{100}){10}){10}){10})");
  CHECK(Refused(filter).reason() == v1::ERROR_REASON_INVALID_REQUEST);
}

TEST_CASE("TheFieldPathMayBeEmpty") {
  v1::Filter filter;
  filter.add_tags("");
  const auto made = EventFilter::Make(filter, "", Limits());
  REQUIRE_FALSE(made.ok());
  CHECK(DetailsOf(made.status())[0].field() == "tags[0]");
}

}  // namespace
}  // namespace eventstore
