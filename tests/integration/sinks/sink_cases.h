// What the tests of all sinks have in common: events, making a sink, and what must hold of answers.
#ifndef EVENTSTORE_TESTS_INTEGRATION_SINKS_SINK_CASES_H_
#define EVENTSTORE_TESTS_INTEGRATION_SINKS_SINK_CASES_H_

#include <catch2/catch.hpp>
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "server/sinks/cloud_event.h"
#include "server/sinks/registry.h"
#include "server/sinks/sink.h"
#include "tests/support/broker_process.h"

namespace eventstore::testing {

using sinks::Delivery;
using sinks::Outcome;

// How late a Publish may return after its deadline on a busy machine, and how long an interruption
// may take; the sinks' own share of it is some 20 ms.
inline constexpr std::chrono::milliseconds kTolerance{600};

inline Deadline Within(std::chrono::milliseconds duration) {
  return std::chrono::steady_clock::now() + duration;
}

// An event of "Order"/`aggregate_id` with the type "Placed"; `number` makes its id and positions.
inline v1::Event MakeEvent(int number, const std::string& aggregate_id,
                           const std::string& payload = "{}",
                           const std::string& content_type = "application/json") {
  v1::Event event;
  const std::string digits = std::to_string(number);
  event.set_event_id("0192a3b4-0000-7000-8000-" + std::string(12 - digits.size(), '0') + digits);
  event.set_global_position(1000 + number);
  event.set_version(number);
  event.mutable_stream()->set_aggregate_type("Order");
  event.mutable_stream()->set_aggregate_id(aggregate_id);
  event.set_event_type("Placed");
  event.set_payload(payload);
  event.set_content_type(content_type);
  event.set_schema_version(1);
  event.mutable_timestamp()->set_seconds(1'700'000'000);
  event.mutable_created_at()->set_seconds(1'700'000'001);
  return event;
}

// Events to publish, each with its stream's key.
class Batch {
 public:
  void Add(v1::Event event, std::int64_t stream_key) {
    events_.push_back(std::make_unique<v1::Event>(std::move(event)));
    messages_.push_back({events_.back().get(), stream_key});
  }
  [[nodiscard]] const v1::Event& event(std::size_t i) const { return *events_[i]; }
  [[nodiscard]] std::size_t size() const { return events_.size(); }
  [[nodiscard]] std::vector<Delivery> PublishTo(sinks::Sink& sink, Deadline deadline) const {
    return sink.Publish(messages_, deadline);
  }

 private:
  std::vector<std::unique_ptr<v1::Event>> events_;
  std::vector<sinks::Message> messages_;
};

// One of every kind: JSON with unicode, all byte values, nothing, 1 MiB, erased; a stream each.
inline Batch SampleBatch() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  Batch batch;
  v1::Event full =
      MakeEvent(1, "42 \"ä\"%/✓", R"({"name": "Ünïcode ✓ \" \\", "n": [1, 2.5, null]})");
  full.mutable_stream()->set_tenant_id("11111111-2222-3333-4444-555555555555");
  full.set_correlation_id("corr 1");
  full.set_causation_id("cause");
  full.set_actor_id("Zoë");
  batch.Add(std::move(full), 1);
  batch.Add(MakeEvent(2, "bytes", bytes, "application/octet-stream"), 2);
  batch.Add(MakeEvent(3, "empty", "", "text/plain"), 3);
  batch.Add(MakeEvent(4, "large", std::string(1 << 20, 'x'), "text/plain"), 4);
  v1::Event erased = MakeEvent(5, "erased", "", "application/x-erased");
  erased.set_erased(true);
  batch.Add(std::move(erased), 5);
  return batch;
}

// `streams` streams of `length` events each, one after the other by turns.
inline Batch ManyStreams(int streams, int length) {
  Batch batch;
  for (int version = 1; version <= length; ++version) {
    for (int stream = 1; stream <= streams; ++stream) {
      v1::Event event = MakeEvent((stream - 1) * length + version, "s" + std::to_string(stream));
      event.set_version(version);
      batch.Add(std::move(event), stream);
    }
  }
  return batch;
}

inline std::unique_ptr<sinks::Sink> MakeSink(const std::string& type,
                                             const std::map<std::string, std::string>& settings) {
  auto sink = sinks::MakeSink({"test", type, settings});
  if (!sink.ok()) throw std::runtime_error(std::string(sink.status().message()));
  return *std::move(sink);
}

inline std::size_t Count(const std::vector<Delivery>& deliveries, Outcome outcome) {
  std::size_t count = 0;
  for (const Delivery& delivery : deliveries) count += delivery.outcome == outcome ? 1 : 0;
  return count;
}

// The errors of all that were not published, for people.
inline std::string ErrorsOf(const std::vector<Delivery>& deliveries) {
  std::string text;
  for (const Delivery& delivery : deliveries) text += delivery.error + "\n";
  return text;
}

inline void RequireAllPublished(const std::vector<Delivery>& deliveries) {
  INFO(ErrorsOf(deliveries));
  REQUIRE(Count(deliveries, Outcome::kPublished) == deliveries.size());
  for (const Delivery& delivery : deliveries) {
    CHECK(delivery.error.empty());
    CHECK(delivery.acknowledged_at.time_since_epoch().count() > 0);
  }
}

// The broker is away: the first message says so with a reason on one line, the rest were not
// published.
inline void RequireAway(const std::vector<Delivery>& deliveries) {
  INFO(ErrorsOf(deliveries));
  REQUIRE(!deliveries.empty());
  CHECK(deliveries.front().outcome == Outcome::kUnavailable);
  CHECK_FALSE(deliveries.front().error.empty());
  CHECK(deliveries.front().error.find('\n') == std::string::npos);
  CHECK(Count(deliveries, Outcome::kPublished) == 0);
  CHECK(Count(deliveries, Outcome::kRefused) == 0);
}

// Publishes until the broker takes it, as the relay does.
inline void RequireRecovers(sinks::Sink& sink, const Batch& batch) {
  const Deadline end = Within(std::chrono::seconds(30));
  std::vector<Delivery> deliveries;
  do {
    deliveries = batch.PublishTo(sink, Within(std::chrono::seconds(5)));
  } while (Count(deliveries, Outcome::kPublished) != deliveries.size() &&
           std::chrono::steady_clock::now() < end);
  RequireAllPublished(deliveries);
}

// What a binary-mode message must say of its event; `prefix` of the protocol, `encode` its rule.
template <typename Encode>
void RequireBinary(const Received& received, const v1::Event& event, const std::string& prefix,
                   Encode encode) {
  CHECK(received.content_type == event.content_type());
  CHECK(received.body == event.payload());
  const auto attributes = sinks::AttributesOf(event, "/eventstore");
  CHECK(attributes.size() >= 12);
  for (const sinks::Attribute& attribute : attributes) {
    INFO(attribute.name);
    const auto found = received.headers.find(prefix + attribute.name);
    REQUIRE(found != received.headers.end());
    CHECK(found->second == encode(attribute.value));
  }
}

inline std::string AsIs(const std::string& value) { return value; }

// What a structured-mode message must be.
inline void RequireStructured(const Received& received, const v1::Event& event) {
  CHECK(received.body == sinks::StructuredJson(event, "/eventstore"));
}

// Every event of a batch arrived, those of a stream in order.
inline void RequireInOrder(const std::vector<Received>& received, const Batch& batch,
                           const std::string& prefix) {
  REQUIRE(received.size() == batch.size());
  std::map<std::string, int> versions;
  for (const Received& one : received) {
    const std::string& stream = one.headers.at(prefix + "aggregateid");
    CHECK(one.headers.at(prefix + "streamversion") == std::to_string(++versions[stream]));
  }
}

// Interrupts a Publish that cannot end by itself; returns how long it ran on after that.
inline std::chrono::milliseconds InterruptDuring(sinks::Sink& sink, const Batch& batch) {
  auto publish = std::async(
      std::launch::async, [&] { return batch.PublishTo(sink, Within(std::chrono::seconds(30))); });
  CHECK(publish.wait_for(std::chrono::milliseconds(150)) == std::future_status::timeout);
  const auto interrupted = std::chrono::steady_clock::now();
  sink.Interrupt();
  RequireAway(publish.get());
  const auto took = std::chrono::steady_clock::now() - interrupted;
  // And every later one.
  RequireAway(batch.PublishTo(sink, Within(std::chrono::seconds(30))));
  return std::chrono::duration_cast<std::chrono::milliseconds>(took);
}

// Publishes with a deadline and requires that it is kept.
inline std::vector<Delivery> PublishInTime(sinks::Sink& sink, const Batch& batch,
                                           std::chrono::milliseconds time) {
  const Deadline deadline = Within(time);
  auto deliveries = batch.PublishTo(sink, deadline);
  CHECK(std::chrono::steady_clock::now() <= deadline + kTolerance);
  return deliveries;
}

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_INTEGRATION_SINKS_SINK_CASES_H_
