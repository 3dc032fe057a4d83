#include "client/cli/filter_options.h"

namespace eventstore::cli {

void FilterOptions::AddTo(CLI::App* command) {
  const auto repeated = [command](const char* name, std::vector<std::string>* values,
                                  const char* description) {
    command->add_option(name, *values, description)->take_all()->expected(1)->group("Filter");
  };
  repeated("--type", &types, "aggregate type; repeated: any of them");
  repeated("--event-type", &event_types, "event type; repeated: any of them");
  repeated("--event-type-prefix", &event_type_prefixes,
           "start of the event type; repeated: any of them");
  repeated("--id-prefix", &id_prefixes, "start of the aggregate id; repeated: any of them");
  repeated("--tag", &tags, "tag; repeated: all of them");
  command->add_option("--tenant", tenant, "tenant, a UUID")->group("Filter");
  command->add_option("--regex", regex, "RE2 expression that matches somewhere in the event type")
      ->group("Filter");
}

v1::Filter FilterOptions::ToProto() const {
  v1::Filter filter;
  filter.mutable_aggregate_types()->Assign(types.begin(), types.end());
  filter.mutable_event_types()->Assign(event_types.begin(), event_types.end());
  filter.mutable_event_type_prefixes()->Assign(event_type_prefixes.begin(),
                                               event_type_prefixes.end());
  filter.mutable_aggregate_id_prefixes()->Assign(id_prefixes.begin(), id_prefixes.end());
  filter.mutable_tags()->Assign(tags.begin(), tags.end());
  filter.set_tenant_id(tenant);
  filter.set_event_type_regex(regex);
  return filter;
}

}  // namespace eventstore::cli
