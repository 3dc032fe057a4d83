// SnapshotService of a running daemon, and ReadStream from a snapshot.
#include <atomic>
#include <catch2/catch.hpp>
#include <optional>
#include <thread>

#include "eventstore/v1/snapshot_service.pb.h"

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;
using Versions = std::vector<std::int64_t>;

namespace {

Client& Shared() { return SharedDaemon().client(); }

template <typename Request, typename Response>
CallStatus Ask(const std::string& method, const Request& request, Response* response) {
  return Shared().Unary("/eventstore.v1.SnapshotService/" + method, request, response);
}

v1::SaveSnapshotRequest SnapshotOf(const v1::StreamId& stream, std::int64_t version,
                                   int schema = 1) {
  v1::SaveSnapshotRequest request;
  *request.mutable_stream() = stream;
  request.set_version(version);
  request.set_schema_version(schema);
  request.set_state("{\"version\": " + std::to_string(version) + "}");
  return request;
}

v1::SaveSnapshotResponse MustSave(const v1::SaveSnapshotRequest& request) {
  v1::SaveSnapshotResponse response;
  const CallStatus status = Ask("SaveSnapshot", request, &response);
  INFO(status.Text());
  REQUIRE(status.ok());
  return response;
}

struct SnapshotRead {
  CallStatus status;
  v1::StreamInfo info;
  std::optional<v1::Snapshot> snapshot;
  std::vector<v1::Event> events;
  int messages = 0;
};

SnapshotRead ReadFromSnapshot(const v1::StreamId& stream, int schema = 0) {
  v1::ReadStreamRequest request;
  *request.mutable_stream() = stream;
  request.set_from_snapshot(true);
  request.set_snapshot_schema_version(schema);
  const auto call = Shared().Stream("ReadStream", request);
  SnapshotRead read;
  while (const auto message = ReadMessage<v1::ReadStreamResponse>(*call)) {
    if (read.messages++ == 0) {
      read.info = message->info();
      if (message->has_snapshot()) read.snapshot = message->snapshot();
    } else {
      CHECK_FALSE(message->has_info());
      CHECK_FALSE(message->has_snapshot());
    }
    read.events.insert(read.events.end(), message->events().events().begin(),
                       message->events().events().end());
  }
  read.status = call->Finish();
  return read;
}

}  // namespace

TEST_CASE("ASnapshotIsSavedFetchedListedAndDeleted") {
  const auto stream = NewStream(UniqueName("Snapshotted"));
  MustAppend(Shared(), stream, NewEvents(4));
  const auto saved = MustSave(SnapshotOf(stream, 3));
  CHECK(saved.saved());
  CHECK(saved.newest_version() == 3);
  CHECK_FALSE(MustSave(SnapshotOf(stream, 2)).saved());

  v1::GetSnapshotRequest get;
  *get.mutable_stream() = stream;
  v1::GetSnapshotResponse gotten;
  REQUIRE(Ask("GetSnapshot", get, &gotten).ok());
  CHECK(gotten.snapshot().version() == 3);
  CHECK(gotten.snapshot().state() == "{\"version\": 3}");

  v1::ListSnapshotsRequest list;
  list.set_aggregate_type(stream.aggregate_type());
  v1::ListSnapshotsResponse listed;
  REQUIRE(Ask("ListSnapshots", list, &listed).ok());
  REQUIRE(listed.snapshots_size() == 1);
  CHECK(listed.snapshots(0).version() == 3);
  CHECK(listed.next_page_token().empty());

  v1::DeleteSnapshotsRequest remove;
  remove.set_aggregate_type(stream.aggregate_type());
  remove.set_schema_version_below(2);
  v1::DeleteSnapshotsResponse removed;
  REQUIRE(Ask("DeleteSnapshots", remove, &removed).ok());
  CHECK(removed.deleted() == 1);
  CHECK(Ask("GetSnapshot", get, &gotten).reason() == v1::ERROR_REASON_NOT_FOUND);
}

TEST_CASE("ASnapshotThatItsStreamCannotHaveIsRefused") {
  const auto stream = NewStream();
  v1::SaveSnapshotResponse response;
  CHECK(Ask("SaveSnapshot", SnapshotOf(stream, 1), &response).reason() ==
        v1::ERROR_REASON_NOT_FOUND);
  MustAppend(Shared(), stream, NewEvents(1));
  const CallStatus beyond = Ask("SaveSnapshot", SnapshotOf(stream, 2), &response);
  CHECK(beyond.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(beyond.info().field() == "version");
  auto large = SnapshotOf(stream, 1);
  large.set_state(std::string((1 << 20) + 1, 'x'));
  large.set_content_type("text/plain");
  const CallStatus too_large = Ask("SaveSnapshot", large, &response);
  CHECK(too_large.reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(too_large.info().limit_name() == "event_bytes_max");
}

TEST_CASE("ReadStreamFromASnapshotGivesItAndTheTailInOneCall") {
  const auto stream = NewStream();
  MustAppend(Shared(), stream, NewEvents(6));
  SnapshotRead read = ReadFromSnapshot(stream);
  REQUIRE(read.status.ok());
  CHECK_FALSE(read.snapshot.has_value());
  CHECK(VersionsOf(read.events) == Versions{1, 2, 3, 4, 5, 6});
  MustSave(SnapshotOf(stream, 4, 2));
  read = ReadFromSnapshot(stream);
  REQUIRE(read.status.ok());
  CHECK(read.messages == 1);
  CHECK(read.info.version() == 6);
  REQUIRE(read.snapshot.has_value());
  CHECK(read.snapshot->version() == 4);
  CHECK(read.snapshot->state() == "{\"version\": 4}");
  CHECK(VersionsOf(read.events) == Versions{5, 6});
  // A snapshot of another schema is none.
  read = ReadFromSnapshot(stream, 1);
  CHECK_FALSE(read.snapshot.has_value());
  CHECK(VersionsOf(read.events) == Versions{1, 2, 3, 4, 5, 6});
  CHECK(ReadFromSnapshot(NewStream()).status.ok());
}

TEST_CASE("ALargeStateAndALongTailArriveWithinTheMessagesOfAClient") {
  const auto stream = NewStream();
  const std::string wide = "{\"x\": \"" + std::string(5000, 'x') + "\"}";
  std::vector<v1::NewEvent> events;
  for (int i = 0; i < 500; ++i) events.push_back(NewEvent("OrderPlaced", wide));
  MustAppend(Shared(), stream, events);
  auto save = SnapshotOf(stream, 1);
  save.set_content_type("application/octet-stream");
  save.set_state(std::string(1 << 20, '\xff'));
  MustSave(save);
  const SnapshotRead read = ReadFromSnapshot(stream);
  INFO(read.status.Text());
  REQUIRE(read.status.ok());
  REQUIRE(read.snapshot.has_value());
  CHECK(read.snapshot->state() == save.state());
  REQUIRE(read.events.size() == 499);
  CHECK(read.events.front().version() == 2);
  CHECK(read.events.back().version() == 500);
}

TEST_CASE("SnapshotAndTailFitWhileAppendsGoOn") {
  const auto stream = NewStream();
  MustAppend(Shared(), stream, NewEvents(1));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    Client client(SharedDaemon().port());
    while (!stop) {
      const auto appended = MustAppend(client, stream, NewEvents(2));
      v1::SaveSnapshotResponse response;
      (void)client.Unary("/eventstore.v1.SnapshotService/SaveSnapshot",
                         SnapshotOf(stream, appended.last_version()), &response);
    }
  });
  for (int i = 0; i < 100; ++i) {
    const SnapshotRead read = ReadFromSnapshot(stream);
    CHECK(read.status.ok());
    std::int64_t next = read.snapshot.has_value() ? read.snapshot->version() + 1 : 1;
    for (const v1::Event& event : read.events) CHECK(event.version() == next++);
    CHECK(next - 1 == read.info.version());
  }
  stop = true;
  writer.join();
}

TEST_CASE("WhatDoesNotGoWithASnapshotIsRefusedByName") {
  v1::ReadStreamRequest good;
  *good.mutable_stream() = NewStream();
  good.set_from_snapshot(true);
  const auto field_of = [&good](const std::function<void(v1::ReadStreamRequest*)>& change) {
    v1::ReadStreamRequest request = good;
    change(&request);
    const CallStatus status = Shared().Stream("ReadStream", request)->Finish();
    CHECK(status.reason() == v1::ERROR_REASON_INVALID_REQUEST);
    return status.info().field();
  };
  CHECK(field_of([](auto* r) { r->set_direction(v1::DIRECTION_BACKWARDS); }) == "direction");
  CHECK(field_of([](auto* r) { r->set_from_version(2); }) == "from_version");
  CHECK(field_of([](auto* r) { r->mutable_from_timestamp()->set_seconds(1); }) == "from_timestamp");
  CHECK(field_of([](auto* r) { r->mutable_to_timestamp()->set_seconds(1); }) == "to_timestamp");
  CHECK(field_of([](auto* r) {
          r->set_from_snapshot(false);
          r->set_snapshot_schema_version(1);
        }) == "snapshot_schema_version");
}
