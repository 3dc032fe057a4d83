#include "server/tables/streams_table.h"

#include <absl/strings/escaping.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <string>
#include <utility>

#include "server/core/errors.h"
#include "server/core/validation.h"
#include "server/tables/stream_info.h"

namespace eventstore::tables {
namespace {

// LATERAL with LIMIT leaves the planner nothing but a look-up in the unique index per name,
// whatever the statistics say.
constexpr pg::Statement kLookUpStreams{
    "streams_look_up",
    "SELECT coalesce(s.stream_key, nextval('streams_stream_key_seq')),"
    " coalesce(s.version, 0), coalesce(s.tombstoned, false), coalesce(s.deleted, false)"
    " FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY"
    " AS n(tenant_id, aggregate_type, aggregate_id, i)"
    " LEFT JOIN LATERAL (SELECT stream_key, version, tombstoned,"
    " deleted_at IS NOT NULL AS deleted FROM streams"
    " WHERE streams.tenant_id = n.tenant_id AND streams.aggregate_type = n.aggregate_type"
    " AND streams.aggregate_id = n.aggregate_id LIMIT 1) s ON true ORDER BY n.i"};

constexpr pg::Statement kInsertStreams{
    "streams_insert",
    "INSERT INTO streams (stream_key, tenant_id, aggregate_type, aggregate_id, version,"
    " first_position, last_position, created_at, updated_at)"
    " SELECT stream_key, tenant_id, aggregate_type, aggregate_id, version, first_position,"
    " last_position, $8, $8 FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[],"
    " $5::bigint[], $6::bigint[], $7::bigint[]) AS n(stream_key, tenant_id, aggregate_type,"
    " aggregate_id, version, first_position, last_position)"};

// See log_table.cc for why a wrong count becomes a cast that fails.
constexpr pg::Statement kUpdateStreams{
    "streams_update",
    "WITH moved AS (UPDATE streams SET version = n.new_version, last_position = n.last_position,"
    " updated_at = $5, deleted_at = NULL FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], "
    "$4::bigint[])"
    " AS n(stream_key, old_version, new_version, last_position)"
    " WHERE streams.stream_key = n.stream_key AND streams.version = n.old_version RETURNING 1)"
    " SELECT CASE WHEN count(*) = $6 THEN 0 ELSE"
    " ('lane guard: ' || count(*) || ' streams were at their version')::int END FROM moved"};

constexpr pg::Statement kReadStreamInfo{
    "streams_read_info",
    "SELECT " EVENTSTORE_STREAM_INFO_COLUMNS
    " FROM streams s WHERE tenant_id = $1 AND aggregate_type = $2 AND aggregate_id = $3"};

// How many index entries one page of ListStreams looks at: a filter that matches little must not
// turn a page into a walk over every stream.
constexpr std::int64_t kListScanRowsMax = 20'000;

// The place after which a page starts: the three parts of the unique index.
struct PageToken {
  std::string tenant;
  std::string aggregate_type;
  std::string aggregate_id;
};

std::string EncodePageToken(const PageToken& token) {
  const std::string raw = absl::StrCat(token.tenant, "\n", token.aggregate_type.size(), "\n",
                                       token.aggregate_type, token.aggregate_id);
  std::string encoded;
  absl::WebSafeBase64Escape(raw, &encoded);
  return encoded;
}

bool DecodePageToken(std::string_view encoded, PageToken* token) {
  std::string raw;
  if (!absl::WebSafeBase64Unescape({encoded.data(), encoded.size()}, &raw)) return false;
  const std::size_t first = raw.find('\n');
  const std::size_t second = first == std::string::npos ? first : raw.find('\n', first + 1);
  std::uint32_t type_size = 0;
  if (second == std::string::npos ||
      !absl::SimpleAtoi(raw.substr(first + 1, second - first - 1), &type_size) ||
      type_size > raw.size() - second - 1) {
    return false;
  }
  token->tenant = raw.substr(0, first);
  token->aggregate_type = raw.substr(second + 1, type_size);
  token->aggregate_id = raw.substr(second + 1 + type_size);
  return ParseUuid(token->tenant).has_value() &&
         token->aggregate_type.find('\0') == std::string::npos &&
         token->aggregate_id.find('\0') == std::string::npos;
}

std::string BuildListSql(const v1::ListStreamsRequest& request, const PageToken* after,
                         std::int64_t limit, std::int64_t scan_rows, pg::Params* params) {
  std::string inner = "SELECT * FROM streams WHERE true";
  if (!request.tenant_id().empty()) {
    params->Uuid(TenantOf(request.tenant_id()));
    absl::StrAppend(&inner, " AND tenant_id = $", params->size());
    // With the tenant fixed, the type narrows the index range as well.
    if (!request.aggregate_type().empty()) {
      params->Text(request.aggregate_type());
      absl::StrAppend(&inner, " AND aggregate_type = $", params->size());
    }
  }
  if (after != nullptr) {
    params->Uuid(TenantOf(after->tenant)).Text(after->aggregate_type).Text(after->aggregate_id);
    const int last = params->size();
    absl::StrAppend(&inner, " AND (tenant_id, aggregate_type, aggregate_id) > ($", last - 2, ", $",
                    last - 1, ", $", last, ")");
  }
  params->Int64(scan_rows);
  absl::StrAppend(&inner, " ORDER BY tenant_id, aggregate_type, aggregate_id LIMIT $",
                  params->size());
  std::string matches = "true";
  if (!request.aggregate_type().empty()) {
    params->Text(request.aggregate_type());
    absl::StrAppend(&matches, " AND s.aggregate_type = $", params->size());
  }
  if (!request.aggregate_id_prefix().empty()) {
    params->Text(request.aggregate_id_prefix());
    absl::StrAppend(&matches, " AND starts_with(s.aggregate_id, $", params->size(), ")");
  }
  params->Int64(limit);
  // The newest row looked at always comes back (with its rank), so that the next page can go on.
  return absl::StrCat(
      "WITH looked AS MATERIALIZED (", inner,
      "), hits AS MATERIALIZED (SELECT s.* FROM looked s WHERE ", matches,
      " ORDER BY tenant_id, aggregate_type, aggregate_id LIMIT $", params->size(),
      ") SELECT " EVENTSTORE_STREAM_INFO_COLUMNS
      ", tenant_id, aggregate_type, aggregate_id, 0 AS part FROM hits s UNION ALL "
      "(SELECT " EVENTSTORE_STREAM_INFO_COLUMNS
      ", tenant_id, aggregate_type, aggregate_id, (SELECT count(*)::int FROM looked) AS part FROM"
      " looked s ORDER BY tenant_id DESC, aggregate_type DESC, aggregate_id DESC LIMIT 1)"
      " ORDER BY part, tenant_id, aggregate_type, aggregate_id");
}

}  // namespace

Uuid TenantOf(std::string_view tenant_id) { return ParseUuid(tenant_id).value_or(kNilUuid); }

void AddLookUpStreams(pg::Pipeline* pipeline, const std::vector<StreamName>& names) {
  pg::ArrayWriter tenants(pg::kUuid);
  pg::ArrayWriter types(pg::kText);
  pg::ArrayWriter ids(pg::kText);
  for (const StreamName& name : names) {
    tenants.Uuid(name.tenant);
    types.Text(name.aggregate_type);
    ids.Text(name.aggregate_id);
  }
  pg::Params params;
  params.Array(&tenants).Array(&types).Array(&ids);
  pipeline->Add(kLookUpStreams, std::move(params));
}

std::vector<StreamRow> ParseLookUpStreams(const pg::Result& result) {
  std::vector<StreamRow> rows(static_cast<std::size_t>(result.rows()));
  for (int row = 0; row < result.rows(); ++row) {
    rows[static_cast<std::size_t>(row)] = {result.Int64(row, 0), result.Int64(row, 1),
                                           result.Bool(row, 2), result.Bool(row, 3)};
  }
  return rows;
}

void AddWriteStreams(pg::Pipeline* pipeline, const std::vector<StreamChange>& changes,
                     std::int64_t created_at_micros) {
  pg::ArrayWriter new_keys(pg::kInt8), new_tenants(pg::kUuid), new_types(pg::kText),
      new_ids(pg::kText), new_versions(pg::kInt8), new_firsts(pg::kInt8), new_lasts(pg::kInt8);
  pg::ArrayWriter keys(pg::kInt8), olds(pg::kInt8), versions(pg::kInt8), lasts(pg::kInt8);
  for (const StreamChange& change : changes) {
    if (change.old_version == 0) {
      new_keys.Int64(change.stream_key);
      new_tenants.Uuid(change.name.tenant);
      new_types.Text(change.name.aggregate_type);
      new_ids.Text(change.name.aggregate_id);
      new_versions.Int64(change.new_version);
      new_firsts.Int64(change.first_position);
      new_lasts.Int64(change.last_position);
    } else {
      keys.Int64(change.stream_key);
      olds.Int64(change.old_version);
      versions.Int64(change.new_version);
      lasts.Int64(change.last_position);
    }
  }
  if (new_keys.size() > 0) {
    pg::Params params;
    for (pg::ArrayWriter* array :
         {&new_keys, &new_tenants, &new_types, &new_ids, &new_versions, &new_firsts, &new_lasts}) {
      params.Array(array);
    }
    params.Timestamp(created_at_micros);
    pipeline->Add(kInsertStreams, std::move(params));
  }
  if (keys.size() > 0) {
    const std::int64_t count = keys.size();
    pg::Params params;
    params.Array(&keys).Array(&olds).Array(&versions).Array(&lasts);
    params.Timestamp(created_at_micros).Int64(count);
    pipeline->Add(kUpdateStreams, std::move(params));
  }
}

absl::StatusOr<v1::StreamInfo> ReadStreamInfo(pg::Connection& connection,
                                              const v1::StreamId& stream, Deadline deadline) {
  auto result = connection.Query(kReadStreamInfo,
                                 pg::Params()
                                     .Uuid(TenantOf(stream.tenant_id()))
                                     .Text(stream.aggregate_type())
                                     .Text(stream.aggregate_id()),
                                 deadline);
  if (!result.ok()) return result.status();
  v1::StreamInfo info;
  *info.mutable_stream() = stream;
  if (result->rows() > 0) ParseStreamInfo(*result, 0, 0, &info);
  return info;
}

absl::StatusOr<v1::ListStreamsResponse> ListStreams(pg::Connection& connection,
                                                    const v1::ListStreamsRequest& request,
                                                    Deadline deadline) {
  PageToken after;
  if (!request.page_token().empty() && !DecodePageToken(request.page_token(), &after)) {
    return InvalidRequest("page_token",
                          "is not a token that this server gave; start with an empty one");
  }
  const std::int64_t limit = request.page_size();
  pg::Params params;
  // Where the index range is all that is asked for, every row looked at is a hit.
  const bool exact_range = request.aggregate_id_prefix().empty() &&
                           (request.aggregate_type().empty() || !request.tenant_id().empty());
  const std::int64_t scan_rows = exact_range ? limit : kListScanRowsMax;
  const std::string sql = BuildListSql(request, request.page_token().empty() ? nullptr : &after,
                                       limit, scan_rows, &params);
  auto result = connection.QueryOnce(sql, params, deadline);
  if (!result.ok()) return result.status();
  v1::ListStreamsResponse response;
  const int hits = std::max(0, result->rows() - 1);  // the last row is the scan's own
  for (int row = 0; row < hits; ++row) {
    v1::StreamInfo* info = response.add_streams();
    v1::StreamId* id = info->mutable_stream();
    const Uuid tenant = result->Uuid(row, kStreamInfoColumns);
    if (tenant != kNilUuid) id->set_tenant_id(FormatUuid(tenant));
    id->set_aggregate_type(std::string(result->Text(row, kStreamInfoColumns + 1)));
    id->set_aggregate_id(std::string(result->Text(row, kStreamInfoColumns + 2)));
    ParseStreamInfo(*result, row, 0, info);
  }
  if (result->rows() == 0) return response;
  const bool full = hits == limit;
  const bool scan_cut = result->Int32(result->rows() - 1, kStreamInfoColumns + 3) >= scan_rows;
  if (full || scan_cut) {
    const int row = full ? hits - 1 : result->rows() - 1;
    response.set_next_page_token(
        EncodePageToken({FormatUuid(result->Uuid(row, kStreamInfoColumns)),
                         std::string(result->Text(row, kStreamInfoColumns + 1)),
                         std::string(result->Text(row, kStreamInfoColumns + 2))}));
  }
  return response;
}

}  // namespace eventstore::tables
