#include "server/core/validate_outbox.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "server/core/errors.h"

namespace eventstore {
namespace {

constexpr char kId[] = "0190B2C4-0000-7000-8000-0000000000AA";
constexpr char kIdStored[] = "0190b2c4-0000-7000-8000-0000000000aa";

// The fields that are wrong, in order.
template <typename Request>
std::vector<std::string> WrongFields(Request request) {
  std::vector<std::string> fields;
  for (const auto& detail : DetailsOf(Validate(Limits(), &request))) {
    fields.push_back(detail.field());
  }
  return fields;
}

using Fields = std::vector<std::string>;

TEST_CASE("A claim has a sink, a worker and sane bounds", "[validate_outbox]") {
  v1::ClaimOutboxRequest request;
  CHECK(WrongFields(request) == Fields{"sink", "worker"});
  request.set_sink("s");
  request.set_worker("w");
  request.set_tenant_id(kId);
  REQUIRE(Validate(Limits(), &request).ok());
  CHECK(request.limit() == 100);
  CHECK(request.lease().seconds() == 30);
  CHECK(request.tenant_id() == kIdStored);
  request.set_limit(1'000);
  request.mutable_lease()->set_seconds(3'600);
  CHECK(Validate(Limits(), &request).ok());
  request.set_limit(1'001);
  request.mutable_lease()->set_nanos(1);
  CHECK(WrongFields(request) == Fields{"limit", "lease"});
  request.set_limit(-1);
  request.mutable_lease()->set_seconds(0);
  request.mutable_lease()->set_nanos(999'999'999);
  request.set_tenant_id("me");
  request.set_worker(std::string(256, 'w'));
  CHECK(WrongFields(request) == Fields{"worker", "limit", "lease", "tenant_id"});
}

TEST_CASE("Completing and failing name a claim and 1 to 1,000 of its entries",
          "[validate_outbox]") {
  v1::CompleteOutboxRequest complete;
  CHECK(WrongFields(complete) == Fields{"claim_token", "ids"});
  complete.set_claim_token(kId);
  complete.add_ids(kId);
  REQUIRE(Validate(Limits(), &complete).ok());
  CHECK(complete.claim_token() == kIdStored);
  CHECK(complete.ids(0) == kIdStored);
  complete.add_ids("7");
  CHECK(WrongFields(complete) == Fields{"ids[1]"});
  complete.clear_ids();
  for (int i = 0; i < 1'001; ++i) complete.add_ids(kId);
  CHECK(WrongFields(complete) == Fields{"ids"});

  v1::FailOutboxRequest fail;
  CHECK(WrongFields(fail) == Fields{"claim_token", "entries"});
  fail.set_claim_token(kId);
  fail.add_entries()->set_id(kId);
  CHECK(WrongFields(fail) == Fields{"entries[0].error"});
  fail.mutable_entries(0)->set_error("no");
  fail.mutable_retry_delay();
  REQUIRE(Validate(Limits(), &fail).ok());
  CHECK(fail.entries(0).id() == kIdStored);
  fail.mutable_entries(0)->set_error(std::string((16 << 10) + 1, 'x'));
  fail.mutable_retry_delay()->set_seconds(-1);
  CHECK(WrongFields(fail) == Fields{"entries[0].error", "retry_delay"});
}

TEST_CASE("A list has a filter that can match and a page", "[validate_outbox]") {
  v1::ListOutboxRequest request;
  REQUIRE(Validate(Limits(), &request).ok());
  CHECK(request.page_size() == 100);
  request.mutable_filter()->set_status(static_cast<v1::OutboxStatus>(9));
  request.mutable_filter()->add_event_types("");
  request.mutable_filter()->mutable_stream()->set_aggregate_id("1");
  request.set_page_size(1'001);
  CHECK(WrongFields(request) == Fields{"filter.status", "filter.event_types[0]",
                                       "filter.stream.aggregate_type", "page_size"});
  request.Clear();
  for (int i = 0; i < 101; ++i) request.mutable_filter()->add_event_types("T");
  CHECK(WrongFields(request) == Fields{"filter.event_types"});
}

TEST_CASE("A retry says what, and never all by default", "[validate_outbox]") {
  v1::RetryOutboxRequest request;
  CHECK(WrongFields(request) == Fields{"selection"});
  request.mutable_filter();
  CHECK(Validate(Limits(), &request).ok());
  request.mutable_filter()->set_status(v1::OUTBOX_STATUS_PUBLISHED);
  CHECK(WrongFields(request) == Fields{"filter.status"});
  request.mutable_ids();
  CHECK(WrongFields(request) == Fields{"ids.ids"});
  request.mutable_ids()->add_ids(kId);
  request.set_after_id("x");
  CHECK(WrongFields(request) == Fields{"after_id"});
  request.clear_after_id();
  REQUIRE(Validate(Limits(), &request).ok());
  CHECK(request.ids().ids(0) == kIdStored);
}

TEST_CASE("A purge needs a time, a pause a sink", "[validate_outbox]") {
  v1::PurgeOutboxRequest purge;
  CHECK(WrongFields(purge) == Fields{"published_before"});
  purge.mutable_published_before()->set_nanos(1'999);
  REQUIRE(Validate(Limits(), &purge).ok());
  CHECK(purge.published_before().nanos() == 1'000);
  CHECK(WrongFields(v1::PauseOutboxRequest()) == Fields{"sink"});
  v1::GetOutboxStatsRequest stats;
  stats.set_sink(std::string(256, 's'));
  CHECK(WrongFields(stats) == Fields{"sink"});
}

}  // namespace
}  // namespace eventstore
