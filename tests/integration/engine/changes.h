// Truncating, deleting and erasing in tests of a store.
#ifndef EVENTSTORE_TESTS_INTEGRATION_ENGINE_CHANGES_H_
#define EVENTSTORE_TESTS_INTEGRATION_ENGINE_CHANGES_H_

#include <string>
#include <utility>
#include <vector>

#include "tests/support/store.h"

namespace eventstore::testing {

inline absl::StatusOr<v1::StreamInfo> Truncate(engine::Store& store, const v1::StreamId& stream,
                                               std::int64_t before_version) {
  v1::TruncateStreamRequest request;
  *request.mutable_stream() = stream;
  request.set_before_version(before_version);
  auto response =
      AwaitDone<v1::TruncateStreamResponse>([&](engine::Done<v1::TruncateStreamResponse> done) {
        store.lifecycle().TruncateStream(request, In(kPatience), std::move(done));
      });
  if (!response.ok()) return response.status();
  return response->info();
}

inline absl::StatusOr<v1::StreamInfo> Delete(engine::Store& store, const v1::StreamId& stream,
                                             const v1::ExpectedVersion& expected,
                                             bool permanent = false) {
  v1::DeleteStreamRequest request;
  *request.mutable_stream() = stream;
  *request.mutable_expected_version() = expected;
  request.set_permanent(permanent);
  auto response =
      AwaitDone<v1::DeleteStreamResponse>([&](engine::Done<v1::DeleteStreamResponse> done) {
        store.lifecycle().DeleteStream(request, In(kPatience), std::move(done));
      });
  if (!response.ok()) return response.status();
  return response->info();
}

inline absl::StatusOr<std::int64_t> Erase(engine::Store& store, v1::EraseEventsRequest request) {
  request.set_reason("asked to be forgotten");
  request.set_erased_by("privacy desk");
  auto response =
      AwaitDone<v1::EraseEventsResponse>([&](engine::Done<v1::EraseEventsResponse> done) {
        store.lifecycle().EraseEvents(request, In(kPatience), std::move(done));
      });
  if (!response.ok()) return response.status();
  return response->erased();
}

inline absl::StatusOr<std::int64_t> EraseVersions(engine::Store& store, const v1::StreamId& stream,
                                                  const std::vector<std::int64_t>& versions = {}) {
  v1::EraseEventsRequest request;
  *request.mutable_stream() = stream;
  request.mutable_versions()->Assign(versions.begin(), versions.end());
  return Erase(store, request);
}

inline absl::StatusOr<std::int64_t> EraseIds(engine::Store& store,
                                             const std::vector<std::string>& ids,
                                             const std::string& tenant = "") {
  v1::EraseEventsRequest request;
  request.mutable_event_ids()->Assign(ids.begin(), ids.end());
  request.set_tenant_id(tenant);
  return Erase(store, request);
}

// An append of events that have everything that can be erased; the payload names its secret.
inline v1::AppendEventsRequest Secrets(const v1::StreamId& stream,
                                       const std::vector<std::string>& ids) {
  v1::AppendEventsRequest request = Request(stream, Any(), ids);
  for (v1::NewEvent& event : *request.mutable_events()) {
    event.set_payload("{\"name\": \"secret\"}");
    event.set_actor_id("secret");
    event.set_correlation_id("secret");
    event.set_causation_id("secret");
    (*event.mutable_metadata())["secret"] = "secret";
    event.add_tags("secret");
  }
  return request;
}

inline bool HasSecret(const google::protobuf::Message& message) {
  return message.SerializeAsString().find("secret") != std::string::npos;
}

inline v1::StreamInfo Info(engine::Store& store, const v1::StreamId& stream) {
  auto info = AwaitDone<v1::StreamInfo>([&](engine::Done<v1::StreamInfo> done) {
    store.reader().GetStreamInfo(stream, In(kPatience), std::move(done));
  });
  if (!info.ok()) throw std::runtime_error("no stream info");
  return *info;
}

inline std::vector<std::int64_t> Versions(const std::vector<v1::Event>& events) {
  std::vector<std::int64_t> versions;
  for (const v1::Event& event : events) versions.push_back(event.version());
  return versions;
}

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_INTEGRATION_ENGINE_CHANGES_H_
