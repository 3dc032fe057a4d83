#include "server/engine/projections.h"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/core/errors.h"
#include "server/tables/checkpoint_lag.h"
#include "server/tables/checkpoints_table.h"
#include "server/tables/page_tokens.h"

namespace eventstore::engine {
namespace {

using Kind = Workers::Kind;

constexpr char kListToken = 'c';

std::chrono::microseconds ToMicros(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) +
         std::chrono::microseconds(duration.nanos() / 1000);
}

absl::StatusOr<v1::GetCheckpointResponse> Get(pg::Connection& connection,
                                              const v1::GetCheckpointRequest& request,
                                              Deadline deadline) {
  auto checkpoint = tables::ReadCheckpoint(connection, request.projection_name(), deadline);
  if (!checkpoint.ok()) return checkpoint.status();
  if (!checkpoint->has_value()) return NotFound("checkpoint", request.projection_name());
  auto lags = tables::MeasureLag(connection, {**std::move(checkpoint)},
                                 ToMicros(request.stale_after()), {}, deadline);
  if (!lags.ok()) return lags.status();
  v1::GetCheckpointResponse response;
  *response.mutable_status() = std::move(lags->statuses[0]);
  return response;
}

absl::StatusOr<v1::ListCheckpointsResponse> List(pg::Connection& connection,
                                                 const v1::ListCheckpointsRequest& request,
                                                 Deadline deadline) {
  std::string after;
  if (!request.page_token().empty()) {
    auto key = tables::DecodeKeyToken(kListToken, request.page_token());
    if (!key.has_value()) {
      return InvalidRequest("page_token",
                            "page_token: is not one that this server gave; start with an empty "
                            "one");
    }
    after = *std::move(key);
  }
  auto page = tables::ReadCheckpoints(connection, after, request.page_size(), deadline);
  if (!page.ok()) return page.status();
  v1::ListCheckpointsResponse response;
  if (static_cast<std::int64_t>(page->size()) >= request.page_size()) {
    response.set_next_page_token(
        tables::EncodeKeyToken(kListToken, page->back().projection_name()));
  }
  auto lags = tables::MeasureLag(connection, *std::move(page), ToMicros(request.stale_after()), {},
                                 deadline);
  if (!lags.ok()) return lags.status();
  response.set_head_position(lags->head.position);
  response.set_epoch(lags->head.epoch);
  for (v1::CheckpointStatus& status : lags->statuses) {
    if (request.only_stale() && !status.is_stale()) continue;
    *response.add_checkpoints() = std::move(status);
  }
  return response;
}

}  // namespace

void TableProjections::SaveCheckpoint(v1::SaveCheckpointRequest request, Deadline deadline,
                                      Done<v1::SaveCheckpointResponse> done) {
  workers_->Run<v1::SaveCheckpointResponse>(
      Kind::kWrite, deadline,
      [request = std::move(request)](pg::Connection& connection, Deadline until) {
        return tables::SaveCheckpoint(connection, request, until);
      },
      std::move(done));
}

void TableProjections::GetCheckpoint(v1::GetCheckpointRequest request, Deadline deadline,
                                     Done<v1::GetCheckpointResponse> done) {
  workers_->Run<v1::GetCheckpointResponse>(
      Kind::kRead, deadline,
      [request = std::move(request)](pg::Connection& connection, Deadline until) {
        return Get(connection, request, until);
      },
      std::move(done));
}

void TableProjections::ListCheckpoints(v1::ListCheckpointsRequest request, Deadline deadline,
                                       Done<v1::ListCheckpointsResponse> done) {
  workers_->Run<v1::ListCheckpointsResponse>(
      Kind::kRead, deadline,
      [request = std::move(request)](pg::Connection& connection, Deadline until) {
        return List(connection, request, until);
      },
      std::move(done));
}

void TableProjections::ResetCheckpoint(v1::ResetCheckpointRequest request, Deadline deadline,
                                       Done<v1::ResetCheckpointResponse> done) {
  workers_->Run<v1::ResetCheckpointResponse>(
      Kind::kWrite, deadline,
      [request = std::move(request)](pg::Connection& connection, Deadline until)
          -> absl::StatusOr<v1::ResetCheckpointResponse> {
        auto checkpoint = tables::ResetCheckpoint(connection, request, until);
        if (!checkpoint.ok()) return checkpoint.status();
        v1::ResetCheckpointResponse response;
        *response.mutable_checkpoint() = *std::move(checkpoint);
        return response;
      },
      std::move(done));
}

void TableProjections::DeleteCheckpoint(v1::DeleteCheckpointRequest request, Deadline deadline,
                                        Done<v1::DeleteCheckpointResponse> done) {
  workers_->Run<v1::DeleteCheckpointResponse>(
      Kind::kWrite, deadline,
      [request = std::move(request)](pg::Connection& connection, Deadline until)
          -> absl::StatusOr<v1::DeleteCheckpointResponse> {
        auto deleted = tables::DeleteCheckpoint(connection, request.projection_name(), until);
        if (!deleted.ok()) return deleted.status();
        v1::DeleteCheckpointResponse response;
        response.set_deleted(*deleted);
        return response;
      },
      std::move(done));
}

}  // namespace eventstore::engine
