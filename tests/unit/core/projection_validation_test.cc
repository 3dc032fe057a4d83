#include "server/core/projection_validation.h"

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <vector>

#include "server/core/errors.h"

namespace eventstore {
namespace {

// The fields that an error names, in order.
std::vector<std::string> FieldsOf(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const v1::ErrorInfo& detail : DetailsOf(status)) fields.push_back(detail.field());
  return fields;
}
using Fields = std::vector<std::string>;

TEST_CASE("A save names all that is wrong with it") {
  v1::SaveCheckpointRequest request;
  request.set_position(-1);
  request.set_epoch(-2);
  request.set_last_event_id("x");
  request.set_last_event_type(std::string(256, 't'));
  request.set_events_processed(-1);
  request.set_expected_position(-1);
  request.set_tenant_id("nobody");
  CHECK(FieldsOf(Validate(Limits(), &request)) ==
        Fields{"projection_name", "position", "epoch", "last_event_id", "last_event_type",
               "events_processed", "expected_position", "tenant_id"});
}

TEST_CASE("A save's filter is checked and normalized") {
  v1::SaveCheckpointRequest request;
  request.set_projection_name("p");
  request.mutable_filter()->add_event_types("B");
  request.mutable_filter()->add_event_types("A");
  request.mutable_filter()->add_event_types("B");
  REQUIRE(Validate(Limits(), &request).ok());
  CHECK(request.filter().event_types_size() == 2);
  CHECK(request.filter().event_types(0) == "A");
  request.mutable_filter()->set_event_type_regex("(");
  CHECK(FieldsOf(Validate(Limits(), &request)) == Fields{"filter.event_type_regex"});
}

TEST_CASE("Lists get their defaults and refuse what is out of range") {
  v1::ListCheckpointsRequest list;
  REQUIRE(Validate(Limits(), &list).ok());
  CHECK(list.page_size() == 100);
  CHECK(list.stale_after().seconds() == 300);
  list.set_page_size(1001);
  list.mutable_stale_after()->set_seconds(0);
  list.set_page_token(std::string(1025, 'x'));
  CHECK(FieldsOf(Validate(Limits(), &list)) == Fields{"page_size", "page_token", "stale_after"});
  v1::ListCheckpointsRequest huge;
  huge.mutable_stale_after()->set_seconds(std::numeric_limits<std::int64_t>::max());
  CHECK(FieldsOf(Validate(Limits(), &huge)) == Fields{"stale_after"});
}

TEST_CASE("A dead letter needs an event, a projection and a reason, within the limits") {
  v1::AddDeadLetterRequest request;
  CHECK(FieldsOf(Validate(Limits(), &request)) ==
        Fields{"event_id", "projection_name", "error_message"});
  request.set_event_id("0190B2C4-0000-7000-8000-0000000000EE");
  request.set_projection_name("p");
  request.set_error_message(std::string(16385, 'm'));
  request.set_error_stacktrace(std::string(65537, 's'));
  const auto status = Validate(Limits(), &request);
  CHECK(FieldsOf(status) == Fields{"error_message", "error_stacktrace"});
  CHECK(DetailsOf(status)[0].reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(DetailsOf(status)[1].limit_name() == "error_stacktrace_bytes_max");
  request.mutable_error_message()->resize(16384);
  request.mutable_error_stacktrace()->resize(65536);
  REQUIRE(Validate(Limits(), &request).ok());
  CHECK(request.event_id() == "0190b2c4-0000-7000-8000-0000000000ee");
}

TEST_CASE("A selection that names nothing is refused, never taken as all") {
  v1::RetryDeadLettersRequest retry;
  CHECK(FieldsOf(Validate(Limits(), &retry)) == Fields{"selection"});
  retry.mutable_selection()->mutable_ids();
  CHECK(FieldsOf(Validate(Limits(), &retry)) == Fields{"selection.ids"});
  retry.mutable_selection()->set_all_of_projection("");
  CHECK(FieldsOf(Validate(Limits(), &retry)) == Fields{"selection.all_of_projection"});
  retry.mutable_selection()->mutable_filter();
  CHECK(Validate(Limits(), &retry).ok());
}

TEST_CASE("Selected ids are sorted, each once, and at most a thousand") {
  v1::ResolveDeadLettersRequest resolve;
  resolve.set_resolved_by("ada");
  for (const int id : {3, 1, 3, 2}) resolve.mutable_selection()->mutable_ids()->add_ids(id);
  REQUIRE(Validate(Limits(), &resolve).ok());
  CHECK(resolve.selection().ids().ids_size() == 3);
  CHECK(resolve.selection().ids().ids(0) == 1);
  for (int i = 0; i < 998; ++i) resolve.mutable_selection()->mutable_ids()->add_ids(i + 1);
  CHECK(FieldsOf(Validate(Limits(), &resolve)) == Fields{"selection.ids"});
  v1::ResolveDeadLettersRequest zero;
  zero.mutable_selection()->mutable_ids()->add_ids(0);
  CHECK(FieldsOf(Validate(Limits(), &zero)) == Fields{"selection.ids", "resolved_by"});
}

TEST_CASE("A dead letter filter names its own fields") {
  v1::ListDeadLettersRequest list;
  v1::DeadLetterFilter* filter = list.mutable_filter();
  filter->set_status(static_cast<v1::DeadLetterStatus>(9));
  filter->add_event_types("");
  filter->mutable_from_timestamp()->set_seconds(5);
  filter->mutable_to_timestamp()->set_seconds(5);
  CHECK(FieldsOf(Validate(Limits(), &list)) ==
        Fields{"filter.status", "filter.event_types[0]", "filter.to_timestamp"});
}

TEST_CASE("A purge needs a time, and one entry is named by one thing") {
  v1::PurgeDeadLettersRequest purge;
  CHECK(FieldsOf(Validate(Limits(), &purge)) == Fields{"resolved_before"});
  v1::GetDeadLetterRequest get;
  CHECK(FieldsOf(Validate(Limits(), &get)) == Fields{"entry"});
  get.set_id(-1);
  CHECK(FieldsOf(Validate(Limits(), &get)) == Fields{"id"});
  get.mutable_key();
  CHECK(FieldsOf(Validate(Limits(), &get)) == Fields{"key.event_id", "key.projection_name"});
}

}  // namespace
}  // namespace eventstore
