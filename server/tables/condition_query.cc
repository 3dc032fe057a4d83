#include "server/tables/condition_query.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/tables/event_row.h"
#include "server/tables/streams_table.h"

namespace eventstore::tables {
namespace {

// Of a tag or type with fewer events than this (after the position asked for) every one may be
// looked at; it is also the most index entries that are counted to find out.
#define EVENTSTORE_RARE "1000"

// One row an alternative: $1 the position, $2 and $3 its tags and types as array literals, $4 its
// tenant. The head is of the same snapshot as everything else; without alternatives it is all. The
// arrays come by way of sub-selects, which hide how long they are: a plan for these very parameters
// would look cheaper than the one for all and be made again and again, for more than it costs to
// run.
#define EVENTSTORE_PROBES                                                            \
  " FROM log_head h LEFT JOIN LATERAL (SELECT (u.i - 1)::int4 AS i, u.after,"        \
  " u.tags::text[] AS tags, u.types::text[] AS types, u.tenant FROM"                 \
  " unnest((SELECT $1::bigint[]), (SELECT $2::text[]), (SELECT $3::text[]), (SELECT" \
  " $4::uuid[])) WITH ORDINALITY AS u(after, tags, types, tenant, i) OFFSET 0) n ON true"
#define EVENTSTORE_PROBE_COLUMNS \
  "SELECT h.last_position, h.epoch, h.revision, h.first_position, n.i, "

#define EVENTSTORE_TAG_COUNT(tag)                                      \
  "(SELECT count(*) FROM (SELECT FROM event_tags c WHERE c.tag = " tag \
  " AND c.global_position > n.after LIMIT " EVENTSTORE_RARE ") counted)"

// The tag to look by: of several the rarest, as far as that can be told cheaply.
#define EVENTSTORE_DRIVER                                                                    \
  "(CASE WHEN cardinality(n.tags) < 2 THEN n.tags[1] ELSE (SELECT o.tag FROM unnest(n.tags)" \
  " AS o(tag) ORDER BY " EVENTSTORE_TAG_COUNT("o.tag") ", o.tag LIMIT 1) END)"

// Each look-up is LATERAL with LIMIT, which leaves the planner nothing but the primary key.
#define EVENTSTORE_HAS_TAGS(position)                                                           \
  "(SELECT count(*) FROM unnest(n.tags) AS o(tag) CROSS JOIN LATERAL (SELECT FROM event_tags x" \
  " WHERE x.tag = o.tag AND x.global_position = " position                                      \
  " LIMIT 1) found) = cardinality(n.tags)"

#define EVENTSTORE_BY_TAGS(more)                                                           \
  "(SELECT t.global_position FROM event_tags t WHERE t.tag = d.tag"                        \
  " AND t.global_position > n.after AND (cardinality(n.tags) = 1 OR " EVENTSTORE_HAS_TAGS( \
      "t.global_position") ")" more " ORDER BY t.global_position LIMIT 1)"

// The rows are compared as the index has them. An equality on the first column would let the
// planner take the order by position for granted and walk the primary key instead. The plain bound
// on the position is for choosing partitions.
#define EVENTSTORE_OF_TYPE                                                                       \
  "(e.event_type, e.global_position) > (y.event_type, n.after) AND e.event_type <= y.event_type" \
  " AND e.global_position > n.after"

#define EVENTSTORE_TYPE_COUNT                                                             \
  "(SELECT sum(c.count) FROM unnest(n.types) AS y(event_type) CROSS JOIN LATERAL (SELECT" \
  " count(*) FROM (SELECT FROM events e WHERE " EVENTSTORE_OF_TYPE                        \
  " ORDER BY e.event_type, e.global_position LIMIT " EVENTSTORE_RARE ") counted) c)"

#define EVENTSTORE_BY_TYPES                                                                 \
  "(SELECT min(p.global_position) FROM unnest(n.types) AS y(event_type) CROSS JOIN LATERAL" \
  " (SELECT e.global_position FROM events e WHERE " EVENTSTORE_OF_TYPE                      \
  " AND (n.tenant IS NULL OR e.tenant_id = n.tenant)"                                       \
  " AND (cardinality(n.tags) = 0 OR " EVENTSTORE_HAS_TAGS(                                  \
      "e.global_position") ") ORDER BY e.event_type, e.global_position LIMIT 1) p)"

#define EVENTSTORE_BY_TENANT                                                       \
  "(SELECT e.global_position FROM events e WHERE (e.tenant_id, e.global_position)" \
  " > (n.tenant, n.after) AND e.tenant_id <= n.tenant AND e.tenant_id IS NOT NULL" \
  " AND e.global_position > n.after ORDER BY e.tenant_id, e.global_position LIMIT 1)"

// A tag's row says the event's type, unless it was written by an older release. Then a few types
// are sought in the index of types, which has the position too; what else is to be known of an
// event is in its row alone.
#define EVENTSTORE_IS_OF                                                                          \
  " AND CASE WHEN t.event_type <> ALL (n.types) AND cardinality(n.types) > 0 THEN false"          \
  " WHEN n.tenant IS NULL AND (t.event_type IS NOT NULL OR cardinality(n.types) = 0) THEN true"   \
  " WHEN n.tenant IS NULL AND cardinality(n.types) <= 4 THEN"                                     \
  " EXISTS (SELECT FROM unnest(n.types) AS y(event_type) CROSS JOIN LATERAL (SELECT FROM events"  \
  " e WHERE e.event_type = y.event_type AND e.global_position = t.global_position LIMIT 1) found" \
  " OFFSET 0) ELSE EXISTS (SELECT FROM events e WHERE e.global_position = t.global_position"      \
  " AND (cardinality(n.types) = 0 OR e.event_type = ANY (n.types))"                               \
  " AND (n.tenant IS NULL OR e.tenant_id = n.tenant) OFFSET 0) END"

// With a tag, of any tenant: the rows of its tags say all, and most tags have few. What is not
// known after so many of them is left undecided. The statement stays small, for it is a plan's size
// that such a look-up costs.
#define EVENTSTORE_FEW "100"
constexpr pg::Statement kFindTagged{
    "conditions_find_tagged", EVENTSTORE_PROBE_COLUMNS
    "s.match, (cardinality(n.types) > 0 AND s.is_unknown) OR (s.match IS NULL"
    " AND s.looked >= " EVENTSTORE_FEW ")" EVENTSTORE_PROBES
    " LEFT JOIN LATERAL (SELECT count(*) AS looked,"
    " coalesce(bool_or(t.event_type IS NULL), false) AS is_unknown,"
    " min(t.global_position) FILTER (WHERE (cardinality(n.types) = 0"
    " OR t.event_type = ANY (n.types)) AND (cardinality(n.tags) = 1 OR " EVENTSTORE_HAS_TAGS(
        "t.global_position") ")) AS match FROM (SELECT global_position, event_type FROM event_tags"
                             " WHERE tag = n.tags[1] AND global_position > n.after"
                             " ORDER BY global_position LIMIT CASE WHEN cardinality(n.tags) = 1"
                             " AND cardinality(n.types) = 0 THEN 1 ELSE " EVENTSTORE_FEW
                             " END) t) s ON true"};

// Everything else.
constexpr pg::Statement kFindAny{
    "conditions_find_any", EVENTSTORE_PROBE_COLUMNS
    "CASE WHEN cardinality(n.types) > 0 AND (cardinality(n.tags) = 0"
    " OR (" EVENTSTORE_TAG_COUNT(
        "d.tag") " = " EVENTSTORE_RARE " AND " EVENTSTORE_TYPE_COUNT " < " EVENTSTORE_RARE
                 ")) THEN " EVENTSTORE_BY_TYPES
                 " WHEN cardinality(n.tags) > 0 THEN " EVENTSTORE_BY_TAGS(
                     EVENTSTORE_IS_OF) " ELSE " EVENTSTORE_BY_TENANT " END" EVENTSTORE_PROBES
                                       " LEFT JOIN LATERAL (SELECT " EVENTSTORE_DRIVER
                                       " AS tag OFFSET 0) d ON true"};

// A pipeline without BEGIN is one transaction, so that the setting ends with it.
constexpr pg::Statement kLimitTime{"conditions_limit_time",
                                   "SELECT set_config('statement_timeout', $1::text, true)"};

// What is forbidden by a condition without a query, or with an empty alternative.
bool ForbidsAny(const v1::AppendCondition& condition) {
  const auto is_empty = [](const v1::QueryItem& item) {
    return item.event_types().empty() && item.tags().empty();
  };
  return condition.query().empty() ||
         std::any_of(condition.query().begin(), condition.query().end(), is_empty);
}

void AddFind(pg::Pipeline* pipeline, const pg::Statement& statement,
             const std::vector<ConditionSearch::Item>& items) {
  pg::ArrayWriter afters(pg::kInt8), tags(pg::kText), types(pg::kText), tenants(pg::kUuid);
  for (const ConditionSearch::Item& item : items) {
    afters.Int64(item.after_position);
    tags.Text(TagsLiteral(item.query->tags()));
    types.Text(TagsLiteral(item.query->event_types()));
    item.tenant.empty() ? tenants.Null() : tenants.Uuid(TenantOf(item.tenant));
  }
  pg::Params params;
  params.Array(&afters).Array(&tags).Array(&types).Array(&tenants);
  pipeline->Add(statement, std::move(params));
}

}  // namespace

void AddLimitTime(pg::Pipeline* pipeline, std::chrono::milliseconds time) {
  pipeline->Add(kLimitTime, pg::Params().Text(std::to_string(time.count())));
}

// What forbids every event of every tenant is decided by the head alone: positions are dense.
ConditionSearch::ConditionSearch(const std::vector<ConditionProbe>& probes) : probes_(probes) {
  static const v1::QueryItem any;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    const v1::AppendCondition& condition = *probes[i].condition;
    const std::string& tenant = condition.tenant_id();
    const std::int64_t after = probes[i].after_position;
    if (ForbidsAny(condition)) {
      if (!tenant.empty()) others_.push_back({i, &any, tenant, after});
      continue;
    }
    for (const v1::QueryItem& item : condition.query()) {
      const bool tagged = tenant.empty() && !item.tags().empty();
      (tagged ? tagged_ : others_).push_back({i, &item, tenant, after});
    }
  }
  matches_.positions.assign(probes.size(), 0);
}

void ConditionSearch::AddTo(pg::Pipeline* pipeline) {
  // Without anything to seek it is the head that is read.
  if (!tagged_.empty() || others_.empty()) AddFind(pipeline, kFindTagged, tagged_);
  if (!others_.empty()) AddFind(pipeline, kFindAny, others_);
}

void ConditionSearch::Take(std::span<const pg::Result> results) {
  if (!knows_head_) TakeHead(results.front());
  std::vector<Item> undecided;
  if (!tagged_.empty() || others_.empty()) {
    const pg::Result& result = results.front();
    for (int row = 0; row < result.rows(); ++row) {
      if (result.IsNull(row, 4)) continue;
      const Item& item = tagged_[static_cast<std::size_t>(result.Int32(row, 4))];
      if (result.Bool(row, 6)) {
        undecided.push_back(item);
      } else if (!result.IsNull(row, 5)) {
        Note(item.owner, result.Int64(row, 5));
      }
    }
    results = results.subspan(1);
  }
  if (!others_.empty()) {
    const pg::Result& result = results.front();
    for (int row = 0; row < result.rows(); ++row) {
      if (result.IsNull(row, 4) || result.IsNull(row, 5)) continue;
      Note(others_[static_cast<std::size_t>(result.Int32(row, 4))].owner, result.Int64(row, 5));
    }
  }
  tagged_.clear();
  others_ = std::move(undecided);
}

void ConditionSearch::TakeHead(const pg::Result& result) {
  knows_head_ = true;
  matches_.head.position = result.Int64(0, 0);
  matches_.head.epoch = result.Int64(0, 1);
  matches_.head.revision = result.Int64(0, 2);
  matches_.head.first_position = result.Int64(0, 3);
  for (std::size_t i = 0; i < probes_.size(); ++i) {
    const ConditionProbe& probe = probes_[i];
    if (!ForbidsAny(*probe.condition) || !probe.condition->tenant_id().empty()) continue;
    if (probe.after_position < matches_.head.position) Note(i, probe.after_position + 1);
  }
}

void ConditionSearch::Note(std::size_t probe, std::int64_t position) {
  std::int64_t& lowest = matches_.positions[probe];
  lowest = lowest == 0 ? position : std::min(lowest, position);
}

}  // namespace eventstore::tables
