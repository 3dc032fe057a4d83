#include "server/tables/snapshots_table.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include <string>
#include <utility>

#include "server/core/errors.h"
#include "server/core/ids.h"
#include "server/core/validation.h"
#include "server/tables/page_tokens.h"
#include "server/tables/snapshot_row.h"
#include "server/tables/streams_table.h"

namespace eventstore::tables {
namespace {

constexpr char kListToken = 's';

#define EVENTSTORE_SNAPSHOTS_OF_STREAM \
  "tenant_id = $1 AND aggregate_type = $2 AND aggregate_id = $3"

#define EVENTSTORE_SAVED_COLUMNS                                                           \
  "tenant_id, aggregate_type, aggregate_id, version, schema_version, state, state_binary," \
  " content_type, size_bytes, created_at"
#define EVENTSTORE_REPLACE_SAVED                                                 \
  " ON CONFLICT ON CONSTRAINT uq_snapshots_version DO UPDATE SET"                \
  " schema_version = excluded.schema_version, state = excluded.state,"           \
  " state_binary = excluded.state_binary, content_type = excluded.content_type," \
  " size_bytes = excluded.size_bytes, created_at = excluded.created_at"

// Saves unless so many newer ones are there, and tells of the stream. Two savers of one version
// meet at its unique key, and the later one wins.
constexpr pg::Statement kSave{
    "snapshots_save",
    "WITH s AS MATERIALIZED (SELECT version, first_version, deleted_at IS NOT NULL AS deleted,"
    " tombstoned FROM streams WHERE " EVENTSTORE_SNAPSHOTS_OF_STREAM
    "), saved AS (INSERT INTO snapshots AS n (" EVENTSTORE_SAVED_COLUMNS
    ") SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp() FROM s"
    " WHERE NOT s.tombstoned AND NOT s.deleted AND s.version >= $4 AND s.first_version - 1 <= $4"
    " AND (SELECT count(*) FROM snapshots WHERE " EVENTSTORE_SNAPSHOTS_OF_STREAM
    " AND version > $4) < $10" EVENTSTORE_REPLACE_SAVED
    " RETURNING 1)"
    " SELECT s.version, s.first_version, s.deleted, s.tombstoned, EXISTS (SELECT FROM saved) FROM "
    "s"};

// For who has decided already, and holds the head's lock.
constexpr pg::Statement kWrite{
    "snapshots_write",
    "INSERT INTO snapshots (" EVENTSTORE_SAVED_COLUMNS
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)" EVENTSTORE_REPLACE_SAVED};

// After the save and in a transaction of its own: of several savers the last one to get here sees
// what all of them saved, so that no lock is needed to leave the newest ones, and only those.
// A deletion of the stream that overtook the save is seen as well, and nothing is left.
constexpr pg::Statement kPrune{
    "snapshots_prune",
    "WITH oldest AS MATERIALIZED (SELECT version FROM snapshots"
    " WHERE " EVENTSTORE_SNAPSHOTS_OF_STREAM
    " ORDER BY version DESC OFFSET $4::bigint - 1 LIMIT 1),"
    " gone AS MATERIALIZED (SELECT tombstoned FROM streams WHERE " EVENTSTORE_SNAPSHOTS_OF_STREAM
    " AND (tombstoned OR deleted_at IS NOT NULL)),"
    " pruned AS (DELETE FROM snapshots WHERE " EVENTSTORE_SNAPSHOTS_OF_STREAM
    " AND (version < (SELECT version FROM oldest) OR EXISTS (SELECT FROM gone)))"
    " SELECT max(version), (SELECT version FROM oldest), (SELECT tombstoned FROM gone)"
    " FROM snapshots"
    " WHERE " EVENTSTORE_SNAPSHOTS_OF_STREAM};

// The names are compared with both tables: a join of them would not use an index, for the columns
// differ in their collation.
constexpr pg::Statement kGet{
    "snapshots_get",
    "SELECT " EVENTSTORE_SNAPSHOT_STATE_COLUMNS
    " FROM (SELECT p.* FROM (SELECT * FROM streams WHERE " EVENTSTORE_SNAPSHOTS_OF_STREAM
    ") s CROSS JOIN (SELECT * FROM snapshots WHERE " EVENTSTORE_SNAPSHOTS_OF_STREAM
    ") p WHERE " EVENTSTORE_SNAPSHOT_FITS
    " AND ($4::bigint = 0 OR p.version <= $4) AND ($5::int4 = 0 OR p.schema_version = $5)"
    " ORDER BY p.version DESC LIMIT 1) n"};

constexpr pg::Statement kDeleteOfStream{
    "snapshots_delete_of_stream", "DELETE FROM snapshots WHERE " EVENTSTORE_SNAPSHOTS_OF_STREAM
                                  " AND ($4::int4 = 0 OR schema_version < $4)"};

// Rows that another one deletes right now are its own; those that it left come with the next turn.
constexpr pg::Statement kDeleteOfType{
    "snapshots_delete_of_type",
    "DELETE FROM snapshots WHERE id = ANY(ARRAY(SELECT id FROM snapshots WHERE aggregate_type = $1"
    " AND schema_version < $2 AND ($3::uuid IS NULL OR tenant_id = $3) LIMIT $4))"};

pg::Params StreamParams(const v1::StreamId& stream) {
  pg::Params params;
  params.Uuid(TenantOf(stream.tenant_id()))
      .Text(stream.aggregate_type())
      .Text(stream.aggregate_id());
  return params;
}

// $1 to $9 of what saves.
pg::Params SaveParams(const v1::SaveSnapshotRequest& request) {
  pg::Params params = StreamParams(request.stream());
  params.Int64(request.version()).Int32(request.schema_version());
  if (IsJsonContentType(request.content_type())) {
    params.Jsonb(request.state()).Null(pg::kBytea);
  } else {
    params.Null(pg::kJsonb).Bytea(request.state());
  }
  if (request.content_type() == kJsonContentType) {
    params.Null(pg::kText);
  } else {
    params.Text(request.content_type());
  }
  params.Int64(static_cast<std::int64_t>(request.state().size()));
  return params;
}

std::string NameOf(const v1::StreamId& stream) {
  return absl::StrCat(stream.aggregate_type(), "/", stream.aggregate_id());
}

// Why the stream of a save takes no snapshot of this version.
absl::Status CheckStream(const v1::SaveSnapshotRequest& request, const pg::Result& result) {
  if (result.rows() == 0) return NotFound("stream", NameOf(request.stream()));
  if (result.Bool(0, 3)) return StreamDeleted(request.stream());
  if (result.Bool(0, 2)) return NotFound("stream", NameOf(request.stream()));
  if (request.version() > result.Int64(0, 0)) {
    return InvalidRequest(
        "version", absl::StrCat("version: is ", request.version(), ", but the stream is at ",
                                result.Int64(0, 0), "; a state holds events that are there"));
  }
  if (request.version() < result.Int64(0, 1) - 1) {
    return InvalidRequest(
        "version",
        absl::StrCat(
            "version: is ", request.version(), ", but the stream is read from version ",
            result.Int64(0, 1),
            " on, so that this state could not be brought up to date; save one of version ",
            result.Int64(0, 1) - 1, " or later"));
  }
  return absl::OkStatus();
}

// Where a page of the list ends: the four parts of the unique index.
struct ListKey {
  Uuid tenant = kNilUuid;
  std::int64_t version = 0;
  std::string aggregate_type;
  std::string aggregate_id;
};

std::string EncodeListToken(const ListKey& key) {
  return EncodeKeyToken(kListToken, absl::StrCat(FormatUuid(key.tenant), "\n", key.version, "\n",
                                                 key.aggregate_type.size(), "\n",
                                                 key.aggregate_type, key.aggregate_id));
}

std::optional<ListKey> DecodeListToken(std::string_view token) {
  const std::optional<std::string> raw = DecodeKeyToken(kListToken, token);
  if (!raw.has_value()) return std::nullopt;
  std::size_t ends[3] = {};
  std::size_t from = 0;
  for (std::size_t& end : ends) {
    end = raw->find('\n', from);
    if (end == std::string::npos) return std::nullopt;
    from = end + 1;
  }
  ListKey key;
  std::uint32_t type_size = 0;
  const std::optional<Uuid> tenant = ParseUuid(raw->substr(0, ends[0]));
  if (!tenant.has_value() ||
      !absl::SimpleAtoi(raw->substr(ends[0] + 1, ends[1] - ends[0] - 1), &key.version) ||
      !absl::SimpleAtoi(raw->substr(ends[1] + 1, ends[2] - ends[1] - 1), &type_size) ||
      type_size > raw->size() - ends[2] - 1) {
    return std::nullopt;
  }
  key.tenant = *tenant;
  key.aggregate_type = raw->substr(ends[2] + 1, type_size);
  key.aggregate_id = raw->substr(ends[2] + 1 + type_size);
  return key;
}

// What is fixed narrows the index, and what is not orders it: every page is one range of an index.
std::string BuildListSql(const v1::ListSnapshotsRequest& request, const ListKey* after,
                         pg::Params* params) {
  std::string where = "true";
  std::string columns;
  std::string values;
  const auto part = [&](const char* column, bool fixed, const auto& add) {
    if (fixed) {
      add(*params, true);
      absl::StrAppend(&where, " AND ", column, " = $", params->size());
    } else if (after != nullptr) {
      add(*params, false);
      absl::StrAppend(&columns, columns.empty() ? "" : ", ", column);
      absl::StrAppend(&values, values.empty() ? "$" : ", $", params->size());
    }
  };
  part("tenant_id", !request.tenant_id().empty(), [&](pg::Params& to, bool fixed) {
    to.Uuid(fixed ? TenantOf(request.tenant_id()) : after->tenant);
  });
  part("aggregate_type", !request.aggregate_type().empty(), [&](pg::Params& to, bool fixed) {
    to.Text(fixed ? request.aggregate_type() : after->aggregate_type);
  });
  part("aggregate_id", !request.aggregate_id().empty(), [&](pg::Params& to, bool fixed) {
    to.Text(fixed ? request.aggregate_id() : after->aggregate_id);
  });
  part("version", false, [&](pg::Params& to, bool) { to.Int64(after->version); });
  if (after != nullptr) absl::StrAppend(&where, " AND (", columns, ") > (", values, ")");
  params->Int64(request.page_size());
  return absl::StrCat("SELECT tenant_id, aggregate_type, aggregate_id, " EVENTSTORE_SNAPSHOT_COLUMNS
                      " FROM snapshots WHERE ",
                      where, " ORDER BY tenant_id, aggregate_type, aggregate_id, version LIMIT $",
                      params->size());
}

}  // namespace

absl::StatusOr<v1::SaveSnapshotResponse> SaveSnapshot(pg::Connection& connection,
                                                      const v1::SaveSnapshotRequest& request,
                                                      Deadline deadline) {
  auto saved =
      connection.Query(kSave, SaveParams(request).Int64(request.keep_versions()), deadline);
  if (!saved.ok()) return saved.status();
  if (absl::Status fits = CheckStream(request, *saved); !fits.ok()) return fits;
  auto pruned = connection.Query(
      kPrune, StreamParams(request.stream()).Int64(request.keep_versions()), deadline);
  if (!pruned.ok()) return pruned.status();
  if (!pruned->IsNull(0, 2)) {
    return pruned->Bool(0, 2) ? StreamDeleted(request.stream())
                              : NotFound("stream", NameOf(request.stream()));
  }
  v1::SaveSnapshotResponse response;
  // Saved, but newer ones may have come between the two statements.
  const bool kept = pruned->IsNull(0, 1) || request.version() >= pruned->Int64(0, 1);
  response.set_saved(saved->Bool(0, 4) && kept);
  // Whoever deleted them all since then leaves none.
  response.set_newest_version(pruned->IsNull(0, 0) ? 0 : pruned->Int64(0, 0));
  return response;
}

void AddWriteSnapshot(pg::Pipeline* pipeline, const v1::SaveSnapshotRequest& request,
                      std::int64_t created_at_micros) {
  pg::Params written = SaveParams(request);
  written.Timestamp(created_at_micros);
  pipeline->Add(kWrite, std::move(written));
  pg::Params pruned = StreamParams(request.stream());
  pruned.Int64(request.keep_versions());
  pipeline->Add(kPrune, std::move(pruned));
}

absl::StatusOr<v1::GetSnapshotResponse> GetSnapshot(pg::Connection& connection,
                                                    const v1::GetSnapshotRequest& request,
                                                    Deadline deadline) {
  auto result = connection.Query(
      kGet,
      StreamParams(request.stream()).Int64(request.max_version()).Int32(request.schema_version()),
      deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return NotFound("snapshot", NameOf(request.stream()));
  v1::GetSnapshotResponse response;
  *response.mutable_snapshot()->mutable_stream() = request.stream();
  ParseSnapshot(*result, 0, 0, /*with_state=*/true, response.mutable_snapshot());
  return response;
}

absl::StatusOr<v1::ListSnapshotsResponse> ListSnapshots(pg::Connection& connection,
                                                        const v1::ListSnapshotsRequest& request,
                                                        Deadline deadline) {
  std::optional<ListKey> after;
  if (!request.page_token().empty()) {
    after = DecodeListToken(request.page_token());
    if (!after.has_value()) {
      return InvalidRequest("page_token",
                            "page_token: is not one that this server gave; start with an empty "
                            "one");
    }
  }
  pg::Params params;
  const std::string sql = BuildListSql(request, after.has_value() ? &*after : nullptr, &params);
  auto result = connection.QueryOnce(sql, params, deadline);
  if (!result.ok()) return result.status();
  v1::ListSnapshotsResponse response;
  for (int row = 0; row < result->rows(); ++row) {
    v1::Snapshot* snapshot = response.add_snapshots();
    v1::StreamId* stream = snapshot->mutable_stream();
    const Uuid tenant = result->Uuid(row, 0);
    if (tenant != kNilUuid) stream->set_tenant_id(FormatUuid(tenant));
    stream->set_aggregate_type(std::string(result->Text(row, 1)));
    stream->set_aggregate_id(std::string(result->Text(row, 2)));
    ParseSnapshot(*result, row, 3, /*with_state=*/false, snapshot);
  }
  if (result->rows() == request.page_size()) {
    const v1::Snapshot& last = response.snapshots(response.snapshots_size() - 1);
    response.set_next_page_token(
        EncodeListToken({TenantOf(last.stream().tenant_id()), last.version(),
                         last.stream().aggregate_type(), last.stream().aggregate_id()}));
  }
  return response;
}

absl::StatusOr<v1::DeleteSnapshotsResponse> DeleteSnapshots(
    pg::Connection& connection, const v1::DeleteSnapshotsRequest& request, Deadline deadline) {
  v1::DeleteSnapshotsResponse response;
  if (request.has_stream()) {
    auto result = connection.Query(
        kDeleteOfStream, StreamParams(request.stream()).Int32(request.schema_version_below()),
        deadline);
    if (!result.ok()) return result.status();
    response.set_deleted(result->affected());
    return response;
  }
  pg::Params params;
  params.Text(request.aggregate_type()).Int32(request.schema_version_below());
  if (request.tenant_id().empty()) {
    params.Null(pg::kUuid);
  } else {
    params.Uuid(TenantOf(request.tenant_id()));
  }
  params.Int64(kSnapshotDeleteRowsMax);
  while (true) {
    auto result = connection.Query(kDeleteOfType, params, deadline);
    if (!result.ok()) return result.status();
    if (result->affected() == 0) return response;
    response.set_deleted(response.deleted() + result->affected());
  }
}

}  // namespace eventstore::tables
