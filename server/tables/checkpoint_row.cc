#include "server/tables/checkpoint_row.h"

#include <google/protobuf/util/json_util.h>

#include <utility>

#include "server/core/errors.h"
#include "server/core/ids.h"
#include "server/core/validation.h"

namespace eventstore::tables {
namespace {

void ParseFilter(std::string_view json, v1::Checkpoint* checkpoint) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  v1::Filter filter;
  const auto parsed =
      google::protobuf::util::JsonStringToMessage(std::string(json), &filter, options);
  // The daemon writes no other; what somebody else wrote there counts as no filter.
  if (parsed.ok()) *checkpoint->mutable_filter() = std::move(filter);
}

}  // namespace

v1::Checkpoint ParseCheckpoint(const pg::Result& result, int row) {
  v1::Checkpoint checkpoint;
  checkpoint.set_projection_name(std::string(result.Text(row, 0)));
  checkpoint.set_position(result.Int64(row, 1));
  checkpoint.set_epoch(result.Int64(row, 2));
  if (!result.IsNull(row, 3)) checkpoint.set_last_event_id(FormatUuid(result.Uuid(row, 3)));
  if (!result.IsNull(row, 4)) checkpoint.set_last_event_type(std::string(result.Text(row, 4)));
  if (!result.IsNull(row, 5)) {
    FromUnixMicros(result.Timestamp(row, 5), checkpoint.mutable_last_processed_at());
  }
  checkpoint.set_events_processed(result.Int64(row, 6));
  FromUnixMicros(result.Timestamp(row, 7), checkpoint.mutable_created_at());
  FromUnixMicros(result.Timestamp(row, 8), checkpoint.mutable_updated_at());
  if (!result.IsNull(row, 9)) ParseFilter(result.Jsonb(row, 9), &checkpoint);
  return checkpoint;
}

absl::Status AddFilterParam(const v1::Filter& filter, pg::Params* params) {
  if (filter.ByteSizeLong() == 0) {
    params->Null(pg::kJsonb);
    return absl::OkStatus();
  }
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(filter, &json).ok()) {
    return InvalidRequest("filter", "filter: cannot be written as JSON");
  }
  params->Jsonb(json);
  return absl::OkStatus();
}

}  // namespace eventstore::tables
