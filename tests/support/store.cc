#include "tests/support/store.h"

#include <cstdlib>
#include <random>
#include <sstream>

#include "schema/migrations.h"

#include "server/core/errors.h"
#include "server/pg/migrator.h"
#include "server/telemetry/logging.h"

namespace eventstore::testing {
namespace {

constexpr std::chrono::milliseconds kHousekeeping{200};

[[noreturn]] void Fail(const std::string& what, const absl::Status& status) {
  throw std::runtime_error(what + ": " + std::string(telemetry::MessageOf(status)));
}

}  // namespace

std::string CreateStoreDatabase(process::EmbeddedPostgres& server) {
  std::string conninfo = CreateDatabase(server);
  const auto connection = Connect(conninfo);
  auto applied =
      pg::Migrator(connection.get(), "public", schema::Migrations()).Apply(In(kPatience));
  if (!applied.ok()) Fail("cannot migrate", applied.status());
  return conninfo;
}

engine::StoreOptions SmallOptions(const std::string& conninfo) {
  engine::StoreOptions options;
  options.connection.conninfo = conninfo;
  options.connection.schema = "public";
  options.partitions.size_events = 100'000;
  options.reader.page_events_max = 100;
  options.daemon.heartbeat_ms = kHousekeeping;
  return options;
}

TestStore::TestStore(engine::StoreOptions options, bool housekeeper) {
  auto store = engine::Store::Open(std::move(options), &metrics_, In(kPatience));
  if (!store.ok()) Fail("cannot open the store", store.status());
  store_ = std::move(*store);
  if (housekeeper) {
    store_->OnMaintenanceWanted([this] {
      MutexLock lock(&mutex_);
      wanted_ = true;
      changed_.NotifyAll();
    });
    thread_ = std::thread([this] { KeepHouse(); });
  }
  if (!Eventually([this] { return store_->available(); })) {
    throw std::runtime_error("the store did not become available");
  }
}

TestStore::~TestStore() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
  store_->OnMaintenanceWanted(nullptr);
  store_->Drain(In(std::chrono::seconds(5)));
}

void TestStore::KeepHouse() {
  while (true) {
    {
      MutexLock lock(&mutex_);
      const Deadline next = In(kHousekeeping);
      while (!stopped_ && !wanted_ && changed_.WaitUntil(&mutex_, next)) {
      }
      if (stopped_) return;
      wanted_ = false;
    }
    (void)store_->Maintain(In(std::chrono::seconds(5)), /*partitions=*/true);
  }
}

double TestStore::Metric(const std::string& name) const {
  std::istringstream text(metrics_.Text());
  double sum = 0;
  for (std::string line; std::getline(text, line);) {
    const bool named = line.compare(0, name.size(), name) == 0 &&
                       (line[name.size()] == '{' || line[name.size()] == ' ');
    if (named) sum += std::stod(line.substr(line.rfind(' ') + 1));
  }
  return sum;
}

void Run(pg::Connection& connection, const std::string& script) {
  const absl::Status status = connection.RunScript(script, In(kPatience));
  if (!status.ok()) Fail(script, status);
}

pg::Result Select(pg::Connection& connection, const std::string& sql) {
  auto result = connection.QueryOnce(sql, pg::Params(), In(kPatience));
  if (!result.ok()) Fail(sql, result.status());
  return *std::move(result);
}

std::int64_t SelectInt(pg::Connection& connection, const std::string& sql) {
  const pg::Result result = Select(connection, sql);
  if (result.rows() != 1) throw std::runtime_error(sql + ": not one row");
  return result.Int64(0, 0);
}

HeadLock::HeadLock(const std::string& conninfo)
    : holder_(Connect(conninfo, "public")), observer_(Connect(conninfo, "public")) {
  Run(*holder_, "BEGIN; SELECT FROM log_head FOR UPDATE");
}

void HeadLock::Release() { Run(*holder_, "COMMIT"); }

bool HeadLock::AwaitWaiter() {
  return Eventually([this] {
    return SelectInt(*observer_,
                     "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                     " AND wait_event_type = 'Lock'") > 0;
  });
}

v1::ExpectedVersion Any() {
  v1::ExpectedVersion expected;
  (void)expected.mutable_any();
  return expected;
}

v1::ExpectedVersion NoStream() {
  v1::ExpectedVersion expected;
  (void)expected.mutable_no_stream();
  return expected;
}

v1::ExpectedVersion StreamExists() {
  v1::ExpectedVersion expected;
  (void)expected.mutable_stream_exists();
  return expected;
}

v1::ExpectedVersion Exact(std::int64_t version) {
  v1::ExpectedVersion expected;
  expected.set_exact(version);
  return expected;
}

std::string NewId() { return FormatUuid(MakeUuidV7()); }

std::vector<std::string> NewIds(int count) {
  std::vector<std::string> ids;
  for (int i = 0; i < count; ++i) ids.push_back(NewId());
  return ids;
}

v1::StreamId Stream(const std::string& id, const std::string& type, const std::string& tenant) {
  v1::StreamId stream;
  stream.set_aggregate_id(id);
  stream.set_aggregate_type(type);
  stream.set_tenant_id(tenant);
  return stream;
}

v1::AppendEventsRequest Request(const v1::StreamId& stream, const v1::ExpectedVersion& expected,
                                const std::vector<std::string>& ids) {
  v1::AppendEventsRequest request;
  *request.mutable_stream() = stream;
  *request.mutable_expected_version() = expected;
  for (const std::string& id : ids) {
    v1::NewEvent* event = request.add_events();
    event->set_event_id(id);
    event->set_event_type("Happened");
    event->set_payload("{\"id\": \"" + id + "\"}");
  }
  return request;
}

ValidatedAppend Validated(v1::AppendEventsRequest request) {
  auto append = ValidateAppend(std::move(request), Limits());
  if (!append.ok()) Fail("not a valid append", append.status());
  return *std::move(append);
}

std::future<Answer> Submit(engine::Store& store, ValidatedAppend append, Deadline deadline,
                           std::shared_ptr<engine::PendingWrite>* pending) {
  auto promise = std::make_shared<std::promise<Answer>>();
  auto future = promise->get_future();
  auto submitted = store.writer().Submit(std::move(append), deadline, [promise](Answer answer) {
    promise->set_value(std::move(answer));  // throws if it is called twice
  });
  if (pending != nullptr) *pending = std::move(submitted);
  return future;
}

std::future<Answer> Submit(engine::Store& store, v1::AppendEventsRequest request) {
  return Submit(store, Validated(std::move(request)));
}

Answer Await(std::future<Answer>& answer) {
  if (answer.wait_for(kPatience) != std::future_status::ready) {
    throw std::runtime_error("an append was not answered");
  }
  return answer.get();
}

Answer Append(engine::Store& store, const v1::AppendEventsRequest& request) {
  auto answer = Submit(store, request);
  return Await(answer);
}

Answer Append(engine::Store& store, const v1::StreamId& stream, const v1::ExpectedVersion& expected,
              const std::vector<std::string>& ids) {
  return Append(store, Request(stream, expected, ids));
}

v1::ErrorInfo DetailOf(const absl::Status& status) {
  const std::vector<v1::ErrorInfo> details = DetailsOf(status);
  return details.empty() ? v1::ErrorInfo() : details.front();
}

v1::ErrorReason ReasonOf(const absl::Status& status) { return DetailOf(status).reason(); }

absl::StatusOr<engine::AllPage> ReadPage(engine::Store& store, engine::AllPageQuery query) {
  return AwaitDone<engine::AllPage>([&](engine::Done<engine::AllPage> done) {
    store.reader().ReadAllPage(std::move(query), In(kPatience), std::move(done));
  });
}

absl::StatusOr<engine::StreamPage> ReadPage(engine::Store& store, engine::StreamPageQuery query) {
  return AwaitDone<engine::StreamPage>([&](engine::Done<engine::StreamPage> done) {
    store.reader().ReadStreamPage(std::move(query), In(kPatience), std::move(done));
  });
}

std::vector<v1::Event> ReadAll(engine::Store& store, engine::AllPageQuery query) {
  std::vector<v1::Event> events;
  while (true) {
    auto page = ReadPage(store, query);
    if (!page.ok()) Fail("cannot read", page.status());
    events.insert(events.end(), page->events.begin(), page->events.end());
    if (page->at_end) return events;
    if (query.end_position == 0) query.end_position = page->head.position;
    query.after_position = page->position;
    if (query.limit > 0) query.limit -= static_cast<std::int64_t>(page->events.size());
  }
}

std::vector<v1::Event> ReadStream(engine::Store& store, const v1::StreamId& stream,
                                  bool backwards) {
  engine::StreamPageQuery query;
  query.stream = stream;
  query.backwards = backwards;
  std::vector<v1::Event> events;
  while (true) {
    auto page = ReadPage(store, query);
    if (!page.ok()) Fail("cannot read the stream", page.status());
    events.insert(events.end(), page->events.begin(), page->events.end());
    if (page->next_version == 0) return events;
    query.from_version = page->next_version;
    if (query.end_position == 0) query.end_position = page->head.position;
  }
}

std::vector<std::int64_t> Positions(const std::vector<v1::Event>& events) {
  std::vector<std::int64_t> positions;
  for (const v1::Event& event : events) positions.push_back(event.global_position());
  return positions;
}

std::uint64_t TestSeed() {
  const char* given = std::getenv("EVENTSTORE_TEST_SEED");
  if (given != nullptr) return std::strtoull(given, nullptr, 10);
  return std::random_device()();
}

}  // namespace eventstore::testing
