// What the contract says of ReadAll and of Filter, for reading and for subscribing.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;

namespace {

// A store of its own with known events, by name:
//   a1 Order/o-1 OrderPlaced     tags red, big   tenant -
//   a2 Order/o-1 OrderPaid       tags red        tenant -
//   b1 Order/p-1 OrderPlaced     tags big        tenant T
//   c1 Cart/o-2  CartOpened                      tenant T
//   c2 Cart/o-2  CartClosed      tags red, big   tenant T
//   d1 cart/O-1  orderplaced                     tenant -
class Fixture {
 public:
  Fixture() : daemon_(Daemon::Start()), tenant_(NewUuid()) {
    Put("Order", "o-1", "", {{"a1", "OrderPlaced", {"red", "big"}}, {"a2", "OrderPaid", {"red"}}});
    Put("Order", "p-1", tenant_, {{"b1", "OrderPlaced", {"big"}}});
    Put("Cart", "o-2", tenant_, {{"c1", "CartOpened", {}}, {"c2", "CartClosed", {"red", "big"}}});
    Put("cart", "O-1", "", {{"d1", "orderplaced", {}}});
  }

  Client& client() { return daemon_->client(); }
  const std::string& tenant() const { return tenant_; }

  // The names of the events that a filter lets through, in order, joined by spaces. Reading
  // forwards, backwards, by a subscription of history, and by a live one, must agree.
  std::string Read(const v1::Filter& filter) {
    v1::ReadAllRequest request;
    *request.mutable_filter() = filter;
    const AllRead forwards = ReadAll(client(), request);
    INFO(forwards.status.Text());
    REQUIRE(forwards.status.ok());
    CHECK(forwards.position == 6);
    request.set_direction(v1::DIRECTION_BACKWARDS);
    AllRead backwards = ReadAll(client(), request);
    std::reverse(backwards.events.begin(), backwards.events.end());
    CHECK(Names(backwards.events) == Names(forwards.events));
    v1::SubscribeRequest subscribe;
    *subscribe.mutable_filter() = filter;
    Subscriber subscriber(client(), subscribe);
    CHECK(subscriber.ReadUntil(v1::SubscribeResponse::kCaughtUp));
    CHECK(Names(subscriber.NextEvents(0)) == Names(forwards.events));
    CHECK(subscriber.violation().empty());
    return Names(forwards.events);
  }

  std::string Names(const std::vector<v1::Event>& events) const {
    std::string names;
    for (const v1::Event& event : events) {
      names += (names.empty() ? "" : " ") + names_.at(event.event_id());
    }
    return names;
  }

 private:
  struct Named {
    std::string name;
    std::string type;
    std::vector<std::string> tags;
  };

  void Put(const std::string& type, const std::string& id, const std::string& tenant,
           const std::vector<Named>& named) {
    v1::StreamId stream;
    stream.set_aggregate_type(type);
    stream.set_aggregate_id(id);
    stream.set_tenant_id(tenant);
    std::vector<v1::NewEvent> events;
    for (const Named& one : named) {
      events.push_back(NewEvent(one.type));
      for (const std::string& tag : one.tags) events.back().add_tags(tag);
      names_[events.back().event_id()] = one.name;
    }
    MustAppend(client(), stream, events);
  }

  std::unique_ptr<Daemon> daemon_;
  std::string tenant_;
  std::map<std::string, std::string> names_;
};

Fixture& Store() {
  SharedPostgres();
  static Fixture fixture;
  return fixture;
}

}  // namespace

TEST_CASE("AnEmptyFilterMatchesEverything") { CHECK(Store().Read({}) == "a1 a2 b1 c1 c2 d1"); }

TEST_CASE("AFilterByAggregateTypes") {
  v1::Filter filter;
  filter.add_aggregate_types("Order");
  CHECK(Store().Read(filter) == "a1 a2 b1");
  filter.add_aggregate_types("cart");
  CHECK(Store().Read(filter) == "a1 a2 b1 d1");
}

TEST_CASE("AFilterByEventTypes") {
  v1::Filter filter;
  filter.add_event_types("OrderPlaced");
  CHECK(Store().Read(filter) == "a1 b1");
  filter.add_event_types("CartClosed");
  CHECK(Store().Read(filter) == "a1 b1 c2");
}

TEST_CASE("AFilterByEventTypePrefixes") {
  v1::Filter filter;
  filter.add_event_type_prefixes("Order");
  CHECK(Store().Read(filter) == "a1 a2 b1");
  filter.add_event_type_prefixes("CartO");
  CHECK(Store().Read(filter) == "a1 a2 b1 c1");
}

TEST_CASE("AFilterPrefixIsNoPattern") {
  v1::Filter filter;
  filter.add_event_type_prefixes("Order%");
  filter.add_event_type_prefixes("Orde_");
  filter.add_aggregate_id_prefixes("o_");
  CHECK(Store().Read(filter).empty());
}

TEST_CASE("AFilterByAggregateIdPrefixes") {
  v1::Filter filter;
  filter.add_aggregate_id_prefixes("o-");
  CHECK(Store().Read(filter) == "a1 a2 c1 c2");
  filter.add_aggregate_id_prefixes("p");
  CHECK(Store().Read(filter) == "a1 a2 b1 c1 c2");
}

TEST_CASE("AFilterByTagsWantsAllOfThem") {
  v1::Filter filter;
  filter.add_tags("red");
  CHECK(Store().Read(filter) == "a1 a2 c2");
  filter.add_tags("big");
  CHECK(Store().Read(filter) == "a1 c2");
  filter.add_tags("none");
  CHECK(Store().Read(filter).empty());
}

TEST_CASE("AFilterByTenant") {
  v1::Filter filter;
  filter.set_tenant_id(Store().tenant());
  CHECK(Store().Read(filter) == "b1 c1 c2");
  filter.set_tenant_id(NewUuid());
  CHECK(Store().Read(filter).empty());
}

TEST_CASE("AFilterByRegularExpression") {
  v1::Filter filter;
  filter.set_event_type_regex("^Cart|Paid$");
  CHECK(Store().Read(filter) == "a2 c1 c2");
  filter.set_event_type_regex("(?i)placed");
  CHECK(Store().Read(filter) == "a1 b1 d1");
}

TEST_CASE("DifferentFieldsOfAFilterMustAllHold") {
  v1::Filter filter;
  filter.add_aggregate_types("Order");
  filter.add_aggregate_types("Cart");
  filter.add_event_type_prefixes("Order");
  filter.add_event_type_prefixes("CartC");
  filter.add_aggregate_id_prefixes("o-");
  filter.add_aggregate_id_prefixes("p-");
  CHECK(Store().Read(filter) == "a1 a2 b1 c2");
  filter.add_tags("big");
  CHECK(Store().Read(filter) == "a1 b1 c2");
  filter.set_tenant_id(Store().tenant());
  CHECK(Store().Read(filter) == "b1 c2");
  filter.set_event_type_regex("Placed");
  CHECK(Store().Read(filter) == "b1");
  filter.add_event_types("OrderPaid");
  CHECK(Store().Read(filter).empty());
}

TEST_CASE("ReadAllStartsAfterAPositionAndKeepsToItsLimit") {
  v1::ReadAllRequest request;
  request.set_after_position(2);
  CHECK(Store().Names(ReadAll(Store().client(), request).events) == "b1 c1 c2 d1");
  request.set_limit(2);
  const AllRead limited = ReadAll(Store().client(), request);
  CHECK(Store().Names(limited.events) == "b1 c1");
  CHECK(limited.position == 4);
  CHECK(limited.head == 6);
  CHECK(limited.epoch == 1);
  request.set_after_position(6);
  const AllRead at_end = ReadAll(Store().client(), request);
  CHECK(at_end.status.ok());
  CHECK(at_end.events.empty());
  request.set_after_position(0);
  request.mutable_filter()->add_tags("red");
  const AllRead filtered = ReadAll(Store().client(), request);
  CHECK(Store().Names(filtered.events) == "a1 a2");
  CHECK(filtered.position == 2);
}

TEST_CASE("ReadAllBackwardsStartsBeforeAPosition") {
  v1::ReadAllRequest request;
  request.set_direction(v1::DIRECTION_BACKWARDS);
  request.set_limit(2);
  CHECK(Store().Names(ReadAll(Store().client(), request).events) == "d1 c2");
  request.set_after_position(3);
  const AllRead all = ReadAll(Store().client(), request);
  CHECK(Store().Names(all.events) == "a2 a1");
  request.set_after_position(1);
  CHECK(ReadAll(Store().client(), request).events.empty());
  request.set_after_position(7);  // Before it lies the whole store.
  CHECK(Store().Names(ReadAll(Store().client(), request).events) == "d1 c2");
}

TEST_CASE("AFilteredReadOfALongLogIsCompleteOverManyWindows") {
  auto daemon = Daemon::Start(
      {.settings = {{"reader.window_positions", "100"}, {"reader.page_events_max", "7"}}});
  const auto rare = NewStream("Rare");
  std::vector<std::string> ids;
  for (int i = 0; i < 30; ++i) {
    MustAppend(daemon->client(), NewStream(), NewEvents(50 + i));
    const auto events = NewEvents(1 + i % 4, i % 2 == 0 ? "Even" : "Odd");
    MustAppend(daemon->client(), rare, events);
    for (const auto& event : events) ids.push_back(event.event_id());
  }
  v1::ReadAllRequest request;
  request.mutable_filter()->add_aggregate_types("Rare");
  const AllRead forwards = ReadAll(daemon->client(), request);
  CHECK(forwards.status.ok());
  CHECK(IdsOf(forwards.events) == ids);
  CHECK(forwards.position == forwards.head);
  request.mutable_filter()->set_event_type_regex("^(Even|Odd)$");
  CHECK(IdsOf(ReadAll(daemon->client(), request).events) == ids);
  request.set_limit(20);
  CHECK(IdsOf(ReadAll(daemon->client(), request).events) ==
        std::vector<std::string>(ids.begin(), ids.begin() + 20));
  request.set_limit(0);
  request.set_direction(v1::DIRECTION_BACKWARDS);
  std::reverse(ids.begin(), ids.end());
  CHECK(IdsOf(ReadAll(daemon->client(), request).events) == ids);
  // Without a filter nothing is left out either.
  std::vector<std::int64_t> expected(static_cast<std::size_t>(forwards.head));
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<std::int64_t>(i) + 1;
  CHECK(PositionsOf(ReadAll(daemon->client(), {}).events) == expected);
}

TEST_CASE("AnEmptyStoreReadsAsNothing") {
  auto daemon = Daemon::Start();
  for (const auto direction : {v1::DIRECTION_FORWARDS, v1::DIRECTION_BACKWARDS}) {
    v1::ReadAllRequest request;
    request.set_direction(direction);
    const AllRead read = ReadAll(daemon->client(), request);
    INFO(read.status.Text());
    CHECK(read.status.ok());
    CHECK(read.events.empty());
    CHECK(read.head == 0);
  }
}
