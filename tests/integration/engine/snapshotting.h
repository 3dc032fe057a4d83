// What the tests of snapshots do with a store.
#ifndef EVENTSTORE_TESTS_INTEGRATION_ENGINE_SNAPSHOTTING_H_
#define EVENTSTORE_TESTS_INTEGRATION_ENGINE_SNAPSHOTTING_H_

#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/store.h"

namespace eventstore::engine {

using namespace eventstore::testing;

struct Snapshotting {
  explicit Snapshotting(const std::function<void(StoreOptions*)>& change = nullptr)
      : conninfo(CreateStoreDatabase()), sql(Connect(conninfo, "public")) {
    StoreOptions options = SmallOptions(conninfo);
    if (change) change(&options);
    store = std::make_unique<TestStore>(options);
  }

  Store& engine() { return **store; }
  void Fill(const v1::StreamId& stream, int events) {
    const Answer answer = Append(engine(), Request(stream, Any(), NewIds(events)));
    INFO(answer.status());
    REQUIRE(answer.ok());
  }
  v1::SaveSnapshotRequest Of(const v1::StreamId& stream, std::int64_t version, int keep = 1,
                             int schema = 1) {
    v1::SaveSnapshotRequest request;
    *request.mutable_stream() = stream;
    request.set_version(version);
    request.set_schema_version(schema);
    request.set_keep_versions(keep);
    request.set_content_type("application/json");
    request.set_state("{\"version\": " + std::to_string(version) + "}");
    return request;
  }
  absl::StatusOr<v1::SaveSnapshotResponse> Save(const v1::SaveSnapshotRequest& request) {
    return AwaitDone<v1::SaveSnapshotResponse>([&](auto done) {
      engine().snapshots().SaveSnapshot(request, std::chrono::steady_clock::now() + kPatience,
                                        std::move(done));
    });
  }
  v1::SaveSnapshotResponse MustSave(const v1::SaveSnapshotRequest& request) {
    auto response = Save(request);
    INFO(response.status());
    REQUIRE(response.ok());
    return *response;
  }
  absl::StatusOr<v1::GetSnapshotResponse> Get(const v1::StreamId& stream,
                                              std::int64_t max_version = 0, int schema = 0) {
    v1::GetSnapshotRequest request;
    *request.mutable_stream() = stream;
    request.set_max_version(max_version);
    request.set_schema_version(schema);
    return AwaitDone<v1::GetSnapshotResponse>([&](auto done) {
      engine().snapshots().GetSnapshot(request, std::chrono::steady_clock::now() + kPatience,
                                       std::move(done));
    });
  }
  // The version of the snapshot that fits; 0 for none.
  std::int64_t VersionOf(const v1::StreamId& stream, std::int64_t max_version = 0, int schema = 0) {
    auto response = Get(stream, max_version, schema);
    if (response.ok()) return response->snapshot().version();
    CHECK(ReasonOf(response.status()) == v1::ERROR_REASON_NOT_FOUND);
    return 0;
  }
  std::int64_t Delete(const v1::DeleteSnapshotsRequest& request) {
    auto response = AwaitDone<v1::DeleteSnapshotsResponse>([&](auto done) {
      engine().snapshots().DeleteSnapshots(request, std::chrono::steady_clock::now() + kPatience,
                                           std::move(done));
    });
    INFO(response.status());
    REQUIRE(response.ok());
    return response->deleted();
  }
  // "TYPE/ID@VERSION" of every snapshot, with pages of `page_size`.
  std::vector<std::string> List(v1::ListSnapshotsRequest request, int page_size) {
    std::vector<std::string> names;
    request.set_page_size(page_size);
    do {
      auto page = AwaitDone<v1::ListSnapshotsResponse>([&](auto done) {
        engine().snapshots().ListSnapshots(request, std::chrono::steady_clock::now() + kPatience,
                                           std::move(done));
      });
      INFO(page.status());
      REQUIRE(page.ok());
      CHECK(page->snapshots_size() <= page_size);
      for (const v1::Snapshot& one : page->snapshots()) {
        CHECK(one.state().empty());
        names.push_back(one.stream().tenant_id().substr(0, 4) + one.stream().aggregate_type() +
                        "/" + one.stream().aggregate_id() + "@" + std::to_string(one.version()));
      }
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return names;
  }
  std::int64_t Rows() { return SelectInt(*sql, "SELECT count(*) FROM snapshots"); }
  absl::StatusOr<StreamPage> ReadFrom(const v1::StreamId& stream, int schema = 0,
                                      std::int64_t to_version = 0) {
    StreamPageQuery query;
    query.stream = stream;
    query.from_snapshot = true;
    query.snapshot_schema_version = schema;
    query.to_version = to_version;
    return ReadPage(engine(), query);
  }

  std::string conninfo;
  std::unique_ptr<pg::Connection> sql;
  std::unique_ptr<TestStore> store;
};

inline std::vector<std::int64_t> VersionsOf(const std::vector<v1::Event>& events) {
  std::vector<std::int64_t> versions;
  for (const v1::Event& event : events) versions.push_back(event.version());
  return versions;
}

using Versions = std::vector<std::int64_t>;

}  // namespace eventstore::engine

#endif  // EVENTSTORE_TESTS_INTEGRATION_ENGINE_SNAPSHOTTING_H_
