#include "tests/unit/engine/lane_world.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "server/telemetry/metrics.h"

namespace eventstore::engine {
namespace {

// So long the database may be away before every append of a batch has expired.
constexpr int kPausesMax = 40;
constexpr int kNeverGivenUp = 1'000'000;
// From how far back appends come again.
constexpr std::size_t kRepeatedMax = 60;
constexpr int kTypes = 3;
constexpr int kTags = 4;

// A repeat has the payloads of its own number, so that what it writes is known from what the first
// one wrote.
void Resign(std::int64_t serial, ValidatedAppend* append) {
  for (v1::NewEvent& event : *append->request.mutable_events()) {
    const std::string rest = event.payload().substr(event.payload().find(' '));
    event.set_payload(absl::StrCat(serial, rest));
  }
}

const telemetry::LaneMetrics& Metrics() {
  static telemetry::Metrics metrics("test");
  static const telemetry::LaneMetrics lane = metrics.Lane("default");
  return lane;
}

}  // namespace

// --- the host ---

void MemoryLaneHost::Begin(std::unordered_map<const PendingWrite*, Request*> batch,
                           int pauses_until_given_up, bool more) {
  batch_ = std::move(batch);
  more_ = more;
  pauses_ = 0;
  pauses_until_given_up_ = pauses_until_given_up;
}

void MemoryLaneHost::Expire(Request* request) const {
  if (request->expired) return;
  request->expired = true;
  request->expired_at = database_->moment();
}

absl::Status MemoryLaneHost::ExpiryOf(const PendingWrite& append, Deadline /*now*/) const {
  Request* request = batch_.at(&append);
  if (pauses_ > kPausesMax) Expire(request);
  return request->expired ? absl::CancelledError("expired") : absl::OkStatus();
}

void MemoryLaneHost::Pause(std::chrono::milliseconds /*duration*/) {
  dawdled_ = dawdled_ || given_up();
  ++pauses_;
  // In the order of their numbers, so that a seed gives the same run everywhere.
  std::vector<Request*> requests;
  for (const auto& [append, request] : batch_) requests.push_back(request);
  std::sort(requests.begin(), requests.end(),
            [](const Request* a, const Request* b) { return a->serial < b->serial; });
  for (Request* request : requests) {
    if ((*random_)() % 50 == 0) Expire(request);
  }
}

// --- the world ---

LaneWorld::LaneWorld(const Shape& shape, std::uint64_t seed) : shape_(shape), random_(seed) {
  options_.writer.cache_streams_max = shape.cache_streams_max;
  options_.writer.foreign_events_max = shape.foreign_events_max;
  options_.writer.condition_positions_max = shape.condition_positions_max;
  options_.writer.max_wait_ms = std::chrono::milliseconds(0);  // no patience: real time is no part
  options_.writer.slow_commit_ms = std::chrono::hours(1);
  for (int i = 0; i < shape.streams; ++i) {
    Stream stream;
    // Some names differ in nothing but the tenant.
    if (i % 4 == 3) stream.tenant = *ParseUuid("01890a5d-ac96-774b-bcce-b302099a8057");
    stream.id.set_aggregate_type("T");
    stream.id.set_aggregate_id(absl::StrCat("s", i % 4 == 3 ? i - 1 : i));
    if (stream.tenant != kNilUuid) stream.id.set_tenant_id(FormatUuid(stream.tenant));
    stream.name = NameText({stream.tenant, stream.id.aggregate_type(), stream.id.aggregate_id()});
    streams_.push_back(std::move(stream));
  }
  database_ = std::make_unique<MemoryLaneDatabase>(&tables_, &random_, [this] { Neighbour(); });
  model_ = std::make_unique<LaneModel>(&tables_, database_.get());
  model_->condition_positions_max = shape.condition_positions_max;
  host_ = std::make_unique<MemoryLaneHost>(&random_, database_.get());
  host_->Begin({}, kNeverGivenUp, /*more=*/false);
  callbacks_.committed = [this](const CommittedBatch& batch) {
    model_->Committed(batch);
    const std::int64_t first = batch.events.front().global_position();
    if (ring_.epoch() != batch.epoch || ring_.end_position() + 1 != first) {
      ring_.Reset(batch.epoch, first - 1);
    }
    ring_.Append(EventBlock::Make(batch.events));
  };
  callbacks_.rewound = [this](std::int64_t epoch, std::int64_t head) {
    model_->Rewound(epoch, head);
    ring_.Reset(epoch, head);
  };
  callbacks_.recent = [this](std::int64_t epoch, std::int64_t after) {
    RecentBlocks recent;
    if (ring_.epoch() != epoch) return recent;
    recent.end_position = ring_.end_position();
    recent.after_position = std::max(after, ring_.end_position() - ring_.events());
    if (recent.after_position < recent.end_position) {
      recent.blocks = ring_.After(recent.after_position, SIZE_MAX);
    }
    return recent;
  };
  callbacks_.partitions_low = [this] { ++database_->seen["partitions low"]; };
  lane_ = std::make_unique<Lane>(options_, Metrics(), callbacks_, database_.get(), host_.get());
}

LaneWorld::~LaneWorld() = default;

Uuid LaneWorld::NewId() {
  Uuid id{};
  ++ids_made_;
  std::memcpy(id.data(), &ids_made_, sizeof(ids_made_));
  id[15] = 1;
  return id;
}

std::vector<Uuid> LaneWorld::NewIds() {
  std::vector<Uuid> ids(static_cast<std::size_t>(1 + Below(4)));
  for (Uuid& id : ids) id = NewId();
  return ids;
}

v1::ExpectedVersion LaneWorld::RandomExpected(int stream) {
  v1::ExpectedVersion expected;
  const StoredStream* stored = tables_.FindStream(streams_[static_cast<std::size_t>(stream)].name);
  const std::int64_t version = stored == nullptr ? 0 : stored->version();
  switch (Below(8)) {
    case 0:
    case 1:
    case 2:
      (void)expected.mutable_any();
      break;
    case 3:
      (void)expected.mutable_no_stream();
      break;
    case 4:
      (void)expected.mutable_stream_exists();
      break;
    case 5:
      expected.set_exact(std::max<std::int64_t>(1, version + Below(5) - 1));
      break;
    default:  // right, if nothing comes between
      version == 0 ? (void)expected.mutable_no_stream() : expected.set_exact(version);
  }
  return expected;
}

void LaneWorld::FillEvents(std::int64_t serial, const std::vector<Uuid>& ids,
                           ValidatedAppend* append) {
  for (const Uuid& id : ids) {
    v1::NewEvent* event = append->request.add_events();
    event->set_event_id(FormatUuid(id));
    event->set_event_type(absl::StrCat("type", Below(kTypes)));
    for (int tag = 0; tag < kTags; ++tag) {
      if (Below(3) == 0) event->add_tags(absl::StrCat("tag", tag));
    }
    event->set_payload(absl::StrCat(serial, " "));
    append->event_bytes.push_back(static_cast<std::int32_t>(event->payload().size()));
    append->total_bytes += append->event_bytes.back();
  }
  append->event_ids = ids;
}

v1::AppendCondition LaneWorld::RandomCondition() {
  v1::AppendCondition condition;
  const std::int64_t head = tables_.head().position;
  // Mostly from the head on, as one who has just read; or from somewhere before.
  condition.set_after_position(Below(4) == 0 ? std::max<std::int64_t>(0, head - Below(20)) : head);
  for (int items = Below(20) == 0 ? 0 : 1 + Below(2); items > 0; --items) {
    v1::QueryItem* item = condition.add_query();
    if (Below(2) == 0) item->add_event_types(absl::StrCat("type", Below(kTypes)));
    for (int tag = 0; tag < kTags; ++tag) {
      if (Below(3) == 0) item->add_tags(absl::StrCat("tag", tag));
    }
  }
  return condition;
}

void LaneWorld::Evaluate(Request* request) {
  Evaluation& evaluation = request->transaction->evaluation;
  evaluation.position = tables_.head().position;
  evaluation.epoch = tables_.head().epoch;
  evaluation.matches.clear();
  for (const v1::AppendCondition& condition : request->transaction->request.conditions) {
    evaluation.matches.push_back(tables_.FindMatch(condition, condition.after_position()));
  }
  request->undos_at_evaluation = database_->undos();
}

void LaneWorld::MakeTransaction(Request* request, std::vector<v1::AppendCondition> conditions) {
  request->transaction = std::make_shared<Transaction>();
  ValidatedTransaction& transaction = request->transaction->request;
  transaction.appends.push_back(request->append);
  transaction.conditions = std::move(conditions);
  request->streams.push_back(request->stream);
  Evaluate(request);
}

void LaneWorld::MakeRandomTransaction(Request* request) {
  MakeTransaction(request, {});
  ValidatedTransaction& transaction = request->transaction->request;
  // A repeat of an earlier transaction has all of its appends again.
  for (int more = Below(3); more > 0; --more) {
    const int stream = Below(shape_.streams);
    const Stream& target = streams_[static_cast<std::size_t>(stream)];
    ValidatedAppend& append = transaction.appends.emplace_back();
    append.tenant = target.tenant;
    *append.request.mutable_stream() = target.id;
    *append.request.mutable_expected_version() = RandomExpected(stream);
    FillEvents(request->serial, NewIds(), &append);
    request->streams.push_back(target.name);
  }
  for (int checks = Below(3); checks > 0; --checks) {
    const int stream = Below(shape_.streams);
    const Stream& target = streams_[static_cast<std::size_t>(stream)];
    ValidatedTransaction::Check& check = transaction.checks.emplace_back();
    check.tenant = target.tenant;
    *check.check.mutable_stream() = target.id;
    *check.check.mutable_expected_version() = RandomExpected(stream);
    request->check_streams.push_back(target.name);
  }
  for (int conditions = Below(3); conditions > 0; --conditions) {
    transaction.conditions.push_back(RandomCondition());
  }
  Evaluate(request);
  // Others commit before the lane has it.
  if (database_->weather.neighbour > 0 && Below(4) == 0) {
    database_->NeighbourSignsOn();
    Neighbour();
  }
}

std::shared_ptr<PendingWrite> LaneWorld::Pending(Request* request) {
  if (request->transaction == nullptr) {
    return std::make_shared<PendingWrite>(
        request->append, Deadline::max(),
        [this, request](absl::StatusOr<v1::AppendEventsResponse> answer) {
          model_->Answered(request, answer);
        });
  }
  return std::make_shared<PendingWrite>(
      std::make_shared<Transaction>(*request->transaction), Deadline::max(),
      [this, request](absl::StatusOr<v1::TransactResponse> answer) {
        model_->Answered(request, answer);
      },
      [this, request] { model_->SentBack(request); });
}

Request* LaneWorld::Make(int stream, v1::ExpectedVersion expected, std::vector<Uuid> ids) {
  const Stream& target = streams_[static_cast<std::size_t>(stream)];
  auto& request = requests_.emplace_back(std::make_unique<Request>());
  request->serial = static_cast<std::int64_t>(requests_.size());
  request->stream = target.name;
  ValidatedAppend& append = request->append;
  append.tenant = target.tenant;
  *append.request.mutable_stream() = target.id;
  *append.request.mutable_expected_version() = std::move(expected);
  FillEvents(request->serial, ids, &append);
  return request.get();
}

std::vector<Uuid> LaneWorld::OldIds(int* stream) {
  const int way = Below(8);
  if (way < 4 || tables_.log().empty()) {  // as an append had them, stored or not
    const std::size_t back = 1 + random_() % std::min(requests_.size(), kRepeatedMax);
    const Request& earlier = *requests_[requests_.size() - back];
    const auto found = std::find_if(streams_.begin(), streams_.end(),
                                    [&](const Stream& s) { return s.name == earlier.stream; });
    *stream = static_cast<int>(found - streams_.begin());
    return earlier.append.event_ids;
  }
  // A run of a stream's events, over whatever appends wrote them.
  const std::vector<StoredEvent>& log = tables_.log();
  const StoredEvent& start = log[random_() % log.size()];
  const auto found = std::find_if(streams_.begin(), streams_.end(),
                                  [&](const Stream& s) { return s.name == start.stream_name; });
  *stream = static_cast<int>(found - streams_.begin());
  const std::vector<std::int64_t>& positions = tables_.FindStream(start.stream_name)->positions;
  std::vector<Uuid> ids;
  const auto count = static_cast<std::size_t>(1 + Below(4));
  for (auto i = static_cast<std::size_t>(start.version - 1);
       i < positions.size() && ids.size() < count; ++i) {
    ids.push_back(log[static_cast<std::size_t>(positions[i] - 1)].id);
  }
  return ids;
}

Request* LaneWorld::MakeRandom() {
  int stream = Below(shape_.streams);
  std::vector<Uuid> ids = NewIds();
  const bool odd = Below(1000) < shape_.odd;
  const int way = odd ? Below(20) : 20;
  if (way < 17 && !requests_.empty()) {
    ids = OldIds(&stream);
    if (way == 11) ids.push_back(NewId());
    if (way == 12) ids.insert(ids.begin(), NewId());
    if (way == 13) std::reverse(ids.begin(), ids.end());
    if (way == 14 && ids.size() > 2) ids.erase(ids.begin() + 1);
    if (way == 15) ids.resize(static_cast<std::size_t>(1 + Below(static_cast<int>(ids.size()))));
    if (way == 16) stream = Below(shape_.streams);
  }
  Request* request = Make(stream, RandomExpected(stream), std::move(ids));
  if (way == 17) {
    request->poisoned = Below(request->append.request.events_size());
    request->append.request.mutable_events(request->poisoned)->mutable_payload()->append(kPoison);
  }
  request->expired_before = request->expired = way >= 18 && way < 20;
  const std::size_t back = 1 + random_() % std::min(requests_.size(), kRepeatedMax);
  const Request& earlier = *requests_[requests_.size() - back];
  if (odd && Below(4) == 0 && earlier.transaction != nullptr) {  // a whole transaction again
    request->transaction = std::make_shared<Transaction>(*earlier.transaction);
    request->streams = earlier.streams;
    request->check_streams = earlier.check_streams;
    request->append = earlier.append;
    request->stream = earlier.stream;
    request->poisoned = earlier.poisoned;
    for (ValidatedAppend& append : request->transaction->request.appends)
      Resign(request->serial, &append);
    Evaluate(request);
  } else if (Below(1000) < shape_.transactions) {
    MakeRandomTransaction(request);
  }
  return request;
}

void LaneWorld::NeighbourAppends(int stream, const std::vector<Uuid>& ids) {
  const Stream& target = streams_[static_cast<std::size_t>(stream)];
  for (const Uuid& id : ids) {
    if (tables_.FindEvent(id) != nullptr) return;
  }
  const StoredStream* stored = tables_.FindStream(target.name);
  if (stored != nullptr && stored->tombstoned_by != 0) return;
  const std::int64_t key = stored == nullptr ? tables_.NewKey() : stored->key;
  std::int64_t version = stored == nullptr ? 0 : stored->version();
  tables_.Begin(/*batch=*/0);
  const std::int64_t now = std::max(tables_.head().created_at_micros, database_->ClockMicros());
  for (const Uuid& id : ids) {
    tables_.Add({tables_.head().position + 1,
                 key,
                 ++version,
                 id,
                 now,
                 target.id,
                 target.name,
                 kNeighbour,
                 {}});
  }
}

void LaneWorld::Neighbour() {
  if (Below(6) == 0) {
    const Stream& target = streams_[static_cast<std::size_t>(Below(shape_.streams))];
    const StoredStream* stored = tables_.FindStream(target.name);
    // Most streams live on, or there would be nothing left to do.
    if (stored == nullptr || stored->tombstoned_by != 0) return;
    if (Below(4) != 0) {
      if (stored->DeletedAt(stored->version(), std::numeric_limits<std::int64_t>::max())) return;
      ++database_->seen["deleted softly"];
      tables_.Begin(/*batch=*/0);
      return tables_.Delete(target.name);
    }
    tables_.Begin(/*batch=*/0);
    tables_.Tombstone(target.name, /*anything=*/Below(4) == 0);
    return;
  }
  if (batch_.empty() || Below(3) != 0) {
    const int stream = Below(shape_.streams);
    return NeighbourAppends(stream, NewIds());
  }
  // A client of the lane's repeats its append at another daemon, or gives its ids to another one.
  const Request& request = *batch_[random_() % batch_.size()];
  const auto found = std::find_if(streams_.begin(), streams_.end(),
                                  [&](const Stream& s) { return s.name == request.stream; });
  const auto stream = static_cast<int>(found - streams_.begin());
  std::vector<Uuid> ids = request.append.event_ids;
  if (Below(3) == 0) ids.resize(1 + random_() % ids.size());
  NeighbourAppends(Below(4) == 0 ? Below(shape_.streams) : stream, ids);
}

void LaneWorld::RunBatch(bool more) {
  std::vector<Request*> batch;
  const int appends = 1 + Below(shape_.appends_max);
  for (int i = 0; i < appends; ++i) batch.push_back(MakeRandom());
  const bool gives_up = Below(database_->weather.in_doubt > 0 ? 30 : 200) == 0;
  Run(batch, gives_up ? Below(6) : kNeverGivenUp, more);
}

void LaneWorld::RunBatch(const std::vector<Wanted>& wanted, bool more) {
  std::vector<Request*> batch;
  for (const Wanted& append : wanted) {
    batch.push_back(Make(append.stream, append.expected, append.ids));
    if (!append.conditions.empty()) MakeTransaction(batch.back(), append.conditions);
  }
  if (after_evaluation) after_evaluation();
  Run(batch, kNeverGivenUp, more);
}

void LaneWorld::RunEnd() {
  model_->Begin({});
  lane_->AnswerCommitted();
  model_->End(/*given_up=*/false, /*more=*/false);
}

void LaneWorld::Run(const std::vector<Request*>& batch, int pauses_until_given_up, bool more) {
  if (database_->keep_calls) {
    for (const Request* request : batch) {
      std::string ids;
      for (const Uuid& id : request->append.event_ids) {
        absl::StrAppend(&ids, " ", FormatUuid(id).substr(0, 8));
      }
      database_->calls.push_back(absl::StrCat(
          "append ", request->serial, " to ", request->append.request.stream().ShortDebugString(),
          " ", request->append.request.expected_version().ShortDebugString(), ids,
          request->expired_before ? " expired" : "", request->poisoned >= 0 ? " poisoned" : ""));
    }
  }
  batch_ = batch;
  Lane::Batch appends;
  std::unordered_map<const PendingWrite*, Request*> by_append;
  for (Request* request : batch) {
    appends.push_back(Pending(request));
    by_append[appends.back().get()] = request;
  }
  host_->Begin(std::move(by_append), pauses_until_given_up, more);
  model_->Begin(batch);
  lane_->Process(std::move(appends));
  model_->End(host_->given_up(), more);
  if (database_->usable() && !host_->connected()) {
    database_->complaints.emplace_back("the lane is connected and says that it is not");
  }
  if (host_->dawdled()) database_->complaints.emplace_back("the lane waited, and was to give up");
  batch_.clear();
}

void LaneWorld::RunIdle() {
  if (database_->keep_calls) database_->calls.emplace_back("idle");
  host_->Begin({}, kNeverGivenUp, /*more=*/false);
  lane_->Idle();
}

std::string LaneWorld::Complaint() const {
  if (database_->complaints.empty()) return "";
  std::string text = database_->complaints.front();
  const auto& calls = database_->calls;
  constexpr std::ptrdiff_t kCallsShown = 80;
  const auto first = calls.end() - std::min<std::ptrdiff_t>(kCallsShown, std::ssize(calls));
  for (auto call = first; call != calls.end(); ++call) absl::StrAppend(&text, "\n", *call);
  return text;
}

}  // namespace eventstore::engine
