// In-process stores for tests: what a daemon has, without gRPC.
#ifndef EVENTSTORE_TESTS_SUPPORT_STORE_H_
#define EVENTSTORE_TESTS_SUPPORT_STORE_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/core/errors.h"
#include "server/engine/store.h"
#include "tests/support/postgres.h"

namespace eventstore::testing {

// The longest that a test waits for anything that must happen.
inline constexpr std::chrono::seconds kPatience{60};

// A database with an up-to-date, empty store in it; its connection string.
std::string CreateStoreDatabase(process::EmbeddedPostgres& server = SharedPostgres());

// Small limits and short waits.
engine::StoreOptions SmallOptions(const std::string& conninfo);

// A store with its metrics and, unless switched off, a housekeeper that calls Maintain as a daemon
// does: often, and when it is wanted.
class TestStore {
 public:
  explicit TestStore(engine::StoreOptions options, bool housekeeper = true);
  ~TestStore();
  TestStore(const TestStore&) = delete;
  TestStore& operator=(const TestStore&) = delete;

  engine::Store& operator*() const { return *store_; }
  engine::Store* operator->() const { return store_.get(); }
  // The sum of a metric's values over its labels.
  [[nodiscard]] double Metric(const std::string& name) const;

 private:
  void KeepHouse();

  telemetry::Metrics metrics_{"test"};
  std::unique_ptr<engine::Store> store_;
  Mutex mutex_;
  CondVar changed_;
  bool wanted_ ABSL_GUARDED_BY(mutex_) = true;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Runs a script without parameters, or one statement, or throws.
void Run(pg::Connection& connection, const std::string& script);
pg::Result Select(pg::Connection& connection, const std::string& sql);
std::int64_t SelectInt(pg::Connection& connection, const std::string& sql);

// Another client's session that holds the head lock until it is released, so that the lane waits.
class HeadLock {
 public:
  explicit HeadLock(const std::string& conninfo);
  void Release();
  // Waits until some session of the store waits for the lock.
  [[nodiscard]] bool AwaitWaiter();

 private:
  std::unique_ptr<pg::Connection> holder_;
  std::unique_ptr<pg::Connection> observer_;
};

// What to expect of a stream.
v1::ExpectedVersion Any();
v1::ExpectedVersion NoStream();
v1::ExpectedVersion StreamExists();
v1::ExpectedVersion Exact(std::int64_t version);

std::string NewId();
std::vector<std::string> NewIds(int count);
v1::StreamId Stream(const std::string& id, const std::string& type = "Order",
                    const std::string& tenant = "");
// An append of one event of the type "Happened" for each id.
v1::AppendEventsRequest Request(const v1::StreamId& stream, const v1::ExpectedVersion& expected,
                                const std::vector<std::string>& ids);

// Applies the rules that need no database; throws where one is broken.
ValidatedAppend Validated(v1::AppendEventsRequest request);

using Answer = absl::StatusOr<v1::AppendEventsResponse>;
// Submits, and waits for the answer later.
std::future<Answer> Submit(engine::Store& store, ValidatedAppend append,
                           Deadline deadline = Deadline::max(),
                           std::shared_ptr<engine::PendingWrite>* pending = nullptr);
std::future<Answer> Submit(engine::Store& store, v1::AppendEventsRequest request);
// Throws where no answer comes.
Answer Await(std::future<Answer>& answer);
Answer Append(engine::Store& store, const v1::AppendEventsRequest& request);
Answer Append(engine::Store& store, const v1::StreamId& stream, const v1::ExpectedVersion& expected,
              const std::vector<std::string>& ids);

// The first detail of an error, or an empty one.
v1::ErrorInfo DetailOf(const absl::Status& status);
v1::ErrorReason ReasonOf(const absl::Status& status);

// Calls `start` with a callback, and waits for what that is given.
template <typename T>
absl::StatusOr<T> AwaitDone(const std::function<void(engine::Done<T>)>& start) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<T>>>();
  auto future = promise->get_future();
  start([promise](absl::StatusOr<T> result) { promise->set_value(std::move(result)); });
  if (future.wait_for(kPatience) != std::future_status::ready) {
    throw std::runtime_error("no answer came");
  }
  return future.get();
}
absl::StatusOr<engine::AllPage> ReadPage(engine::Store& store, engine::AllPageQuery query);
absl::StatusOr<engine::StreamPage> ReadPage(engine::Store& store, engine::StreamPageQuery query);
// Every event, page by page; throws on errors.
std::vector<v1::Event> ReadAll(engine::Store& store, engine::AllPageQuery query = {});
std::vector<v1::Event> ReadStream(engine::Store& store, const v1::StreamId& stream,
                                  bool backwards = false);

// Positions of events, for comparing.
std::vector<std::int64_t> Positions(const std::vector<v1::Event>& events);

// The seed of randomized tests: EVENTSTORE_TEST_SEED, or another one each time. Print it.
std::uint64_t TestSeed();

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_STORE_H_
