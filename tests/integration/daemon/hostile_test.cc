// Requests that no honest client sends, in the middle of good ones from other clients.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <thread>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;
using Codes = absl::StatusCode;

namespace {

struct Hostile {
  std::string name;
  std::string method;
  std::string bytes;
  // A part of the field's path that the error names; empty: none is asked for.
  std::string field;
  Codes code = Codes::kInvalidArgument;
};

using Mutate = std::function<void(v1::AppendEventsRequest*)>;

// An append that is good but for what `mutate` does to it.
std::string AppendBytes(const Mutate& mutate) {
  auto request = AppendRequest(NewStream(), Any(), NewEvents(3));
  mutate(&request);
  return request.SerializeAsString();
}

// The bytes with every `from` replaced by as many bytes: for what no proto library will write.
std::string Replaced(std::string bytes, const std::string& from, const std::string& to) {
  for (std::size_t at = bytes.find(from); at != std::string::npos; at = bytes.find(from)) {
    bytes.replace(at, from.size(), to);
  }
  return bytes;
}

std::string Nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') +
         std::string(static_cast<std::size_t>(depth), ']');
}

void AddJson(std::vector<Hostile>* all) {
  const std::vector<std::string> texts = {
      "",
      "{",
      "{\"a\": }",
      "[1, 2",
      "nul",
      "{\"a\": NaN}",
      "01",
      "1.",
      "'text'",
      "{} {}",
      "\"\n\"",
      "\"\\u0000\"",
      "{\"\\u0000\": 1}",
      std::string("\"a\0b\"", 5),
      "\"\\ud800\"",
      "\"\\udc00\\ud800\"",
      "\"\xff\xfe\"",
      "\"\xc0\x80\"",
      "1e400000",
      "-1e400000",
      "[1e131071, 1e131071]",
      "1e-400000",
      "1e99999999999999999999",
      std::string(5000, '9'),
      Nested(129),
      Nested(100'000),
      std::string(300'000, '['),
      "{\"a\":" + Nested(500) + "}",
  };
  for (const std::string& text : texts) {
    all->push_back({"JSON " + text.substr(0, 30), "AppendEvents",
                    AppendBytes([&](auto* r) { r->mutable_events(1)->set_payload(text); }),
                    "events[1].payload"});
  }
}

void AddTexts(std::vector<Hostile>* all) {
  const std::string nul("a\0b", 3);
  const auto add = [&](const std::string& name, const std::string& field, const Mutate& mutate) {
    all->push_back({name, "AppendEvents", AppendBytes(mutate), field});
  };
  add("NUL in a type", "events[0].event_type",
      [&](auto* r) { r->mutable_events(0)->set_event_type(nul); });
  add("NUL in a stream's name", "stream.aggregate_id",
      [&](auto* r) { r->mutable_stream()->set_aggregate_id(nul); });
  add("NUL in an actor", "events[0].actor_id",
      [&](auto* r) { r->mutable_events(0)->set_actor_id(nul); });
  add("NUL in a tag", "events[0].tags[0]", [&](auto* r) { r->mutable_events(0)->add_tags(nul); });
  add("NUL in metadata", "events[0].metadata",
      [&](auto* r) { (*r->mutable_events(0)->mutable_metadata())["key"] = nul; });
  add("NUL in a metadata key", "events[0].metadata",
      [&](auto* r) { (*r->mutable_events(0)->mutable_metadata())[nul] = "value"; });
  add("no UUID", "events[0].event_id",
      [](auto* r) { r->mutable_events(0)->set_event_id("not-a-uuid"); });
  add("a tenant that is no UUID", "stream.tenant_id",
      [](auto* r) { r->mutable_stream()->set_tenant_id("'; DROP TABLE events; --"); });
  add("the nil tenant", "stream.tenant_id",
      [](auto* r) { r->mutable_stream()->set_tenant_id("00000000-0000-0000-0000-000000000000"); });
  const auto broken = [&](const std::string& name, const std::string& method,
                          const std::string& bytes, const std::string& field) {
    all->push_back({"no UTF-8: " + name, method, Replaced(bytes, "MARK", "M\xff\xfe\x80"), field});
  };
  broken("an event's type", "AppendEvents",
         AppendBytes([](auto* r) { r->mutable_events(2)->set_event_type("MARK"); }),
         "events[2].event_type");
  broken("a tag", "AppendEvents",
         AppendBytes([](auto* r) { r->mutable_events(0)->add_tags("MARK"); }), "events[0].tags[0]");
  broken("metadata", "AppendEvents",
         AppendBytes([](auto* r) { (*r->mutable_events(0)->mutable_metadata())["MARK"] = "x"; }),
         "events[0].metadata");
  v1::ReadStreamRequest read;
  read.mutable_stream()->set_aggregate_type("Order");
  read.mutable_stream()->set_aggregate_id("MARK");
  broken("a stream to read", "ReadStream", read.SerializeAsString(), "stream.aggregate_id");
  v1::SubscribeRequest subscribe;
  subscribe.mutable_filter()->add_event_types("MARK");
  broken("a filter", "Subscribe", subscribe.SerializeAsString(), "filter.event_types[0]");
  v1::GetEventRequest get;
  get.set_event_id("MARK");
  broken("an event's id", "GetEvent", get.SerializeAsString(), "event_id");
}

void AddOversized(std::vector<Hostile>* all) {
  const auto add = [&](const std::string& name, const std::string& field, const Mutate& mutate) {
    all->push_back({"oversized " + name, "AppendEvents", AppendBytes(mutate), field});
  };
  const std::string name(256, 'n');
  add("type", "events[0].event_type", [&](auto* r) { r->mutable_events(0)->set_event_type(name); });
  add("actor", "events[0].actor_id", [&](auto* r) { r->mutable_events(0)->set_actor_id(name); });
  add("correlation", "events[0].correlation_id",
      [&](auto* r) { r->mutable_events(0)->set_correlation_id(name); });
  add("causation", "events[0].causation_id",
      [&](auto* r) { r->mutable_events(0)->set_causation_id(name); });
  add("content type", "events[0].content_type",
      [&](auto* r) { r->mutable_events(0)->set_content_type(name); });
  add("aggregate type", "stream.aggregate_type",
      [&](auto* r) { r->mutable_stream()->set_aggregate_type(name); });
  add("aggregate id", "stream.aggregate_id",
      [&](auto* r) { r->mutable_stream()->set_aggregate_id(name); });
  add("tag", "events[0].tags[0]",
      [&](auto* r) { r->mutable_events(0)->add_tags(std::string(129, 't')); });
  add("number of tags", "events[0].tags", [](auto* r) {
    for (int i = 0; i < 33; ++i) r->mutable_events(0)->add_tags("t" + std::to_string(i));
  });
  add("number of metadata entries", "events[0].metadata", [](auto* r) {
    for (int i = 0; i < 65; ++i) (*r->mutable_events(0)->mutable_metadata())[std::to_string(i)];
  });
  add("metadata", "events[0].metadata", [](auto* r) {
    (*r->mutable_events(0)->mutable_metadata())["key"] = std::string(17'000, 'm');
  });
  add("number of events", "events", [](auto* r) {
    for (int i = 0; i < 1001; ++i) *r->add_events() = r->events(0);
  });
  add("request", "events", [](auto* r) {
    for (auto& event : *r->mutable_events())
      event.set_payload("\"" + std::string(1'500'000, 'x') + "\"");
  });
  add("payload", "events[1]", [](auto* r) {
    r->mutable_events(1)->set_payload("\"" + std::string(1'100'000, 'x') + "\"");
  });
  add("payload that expands", "events[1]", [](auto* r) {
    std::string numbers = "[1e900";
    for (int i = 0; i < 2000; ++i) numbers += ",1e900";
    r->mutable_events(1)->set_payload(numbers + "]");
  });
  all->push_back({"oversized message", "AppendEvents", AppendBytes([](auto* r) {
                    r->mutable_events(1)->set_payload(std::string(20'000'000, 'x'));
                  }),
                  "", Codes::kResourceExhausted});
}

void AddNumbers(std::vector<Hostile>* all) {
  const auto add = [&](const std::string& method, const google::protobuf::MessageLite& request,
                       const std::string& field, Codes code = Codes::kInvalidArgument) {
    all->push_back(
        {method + " with a bad " + field, method, request.SerializeAsString(), field, code});
  };
  const auto append = [&](const std::string& field, const Mutate& mutate) {
    all->push_back({"an append with a bad " + field, "AppendEvents", AppendBytes(mutate), field});
  };
  append("expected_version.exact",
         [](auto* r) { r->mutable_expected_version()->set_exact(INT64_MIN); });
  append("expected_version.exact", [](auto* r) { r->mutable_expected_version()->set_exact(0); });
  append("events[0].schema_version",
         [](auto* r) { r->mutable_events(0)->set_schema_version(INT32_MIN); });
  append("events[0].timestamp",
         [](auto* r) { r->mutable_events(0)->mutable_timestamp()->set_seconds(INT64_MAX); });
  append("events[0].timestamp",
         [](auto* r) { r->mutable_events(0)->mutable_timestamp()->set_nanos(-1); });
  v1::ReadStreamRequest read;
  *read.mutable_stream() = NewStream();
  read.set_from_version(-1);
  add("ReadStream", read, "from_version");
  read.set_from_version(0);
  read.set_limit(INT64_MIN);
  add("ReadStream", read, "limit");
  v1::ReadAllRequest all_request;
  all_request.set_after_position(INT64_MIN);
  add("ReadAll", all_request, "after_position");
  all_request.set_after_position(0);
  all_request.set_epoch(-5);
  add("ReadAll", all_request, "epoch");
  all_request.set_epoch(0);
  all_request.set_direction(static_cast<v1::Direction>(77));
  add("ReadAll", all_request, "direction");
  v1::ReadAllRequest ahead;
  ahead.set_after_position(INT64_MAX);
  all->push_back(
      {"the last position there is", "ReadAll", ahead.SerializeAsString(), "", Codes::kOutOfRange});
  v1::SubscribeRequest subscribe;
  subscribe.set_max_batch_size(1001);
  add("Subscribe", subscribe, "max_batch_size");
  subscribe.set_max_batch_size(0);
  subscribe.set_checkpoint_interval(-1);
  add("Subscribe", subscribe, "checkpoint_interval");
  v1::SubscribeRequest from;
  from.mutable_from_timestamp()->set_seconds(INT64_MIN);
  add("Subscribe", from, "from_timestamp");
  v1::SubscribeRequest pattern;
  pattern.mutable_filter()->set_event_type_regex("(((((");
  add("Subscribe", pattern, "filter.event_type_regex");
  pattern.mutable_filter()->set_event_type_regex(std::string(1025, 'x'));
  add("Subscribe", pattern, "filter.event_type_regex");
  v1::ListStreamsRequest list;
  list.set_page_size(INT32_MIN);
  add("ListStreams", list, "page_size");
  for (const std::string method :
       {"AppendEvents", "ReadStream", "ReadAll", "Subscribe", "GetHead"}) {
    all->push_back({"no message for " + method, method, "\x0a\xff\xff\xff\xff\x0f garbage", ""});
  }
}

std::vector<Hostile> MakeAll() {
  std::vector<Hostile> all;
  AddJson(&all);
  AddTexts(&all);
  AddOversized(&all);
  AddNumbers(&all);
  return all;
}

// Checks an error against what the request was bad for.
void CheckError(const Hostile& hostile, const CallStatus& status) {
  INFO(hostile.name << ": " << status.Text());
  CHECK(status.code == hostile.code);
  CHECK(status.details_bytes <= 4096);
  if (!hostile.field.empty()) CHECK(status.info().field().find(hostile.field) != std::string::npos);
}

// A client that only does what is right, until it is told to stop.
class GoodClient {
 public:
  explicit GoodClient(const std::atomic<bool>* stop)
      : thread_([this, stop] {
          Client client(SharedDaemon().port());
          const auto stream = NewStream("Good");
          while (!failed_ && !*stop) Step(client, stream);
        }) {}
  ~GoodClient() { thread_.join(); }

  [[nodiscard]] std::int64_t steps() const { return steps_; }
  // What went wrong first; read it after the others stopped.
  [[nodiscard]] std::string failure() const { return failed_ ? failure_ : ""; }

 private:
  void Step(Client& client, const v1::StreamId& stream) {
    v1::AppendEventsResponse response;
    const auto expected = steps_ == 0 ? NoStream() : Exact(2 * steps_);
    const CallStatus status =
        Append(client, AppendRequest(stream, expected, NewEvents(2)), &response);
    if (!status.ok()) return Fail(status.Text());
    v1::ReadStreamRequest read;
    *read.mutable_stream() = stream;
    read.set_from_version(response.first_version());
    const StreamRead back = ReadStream(client, read);
    if (!back.status.ok() || back.events.size() != 2) return Fail("read: " + back.status.Text());
    ++steps_;
  }

  void Fail(const std::string& what) {
    failure_ = what;
    failed_ = true;
  }

  std::atomic<std::int64_t> steps_{0};
  std::atomic<bool> failed_{false};
  std::string failure_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("HostileRequestsFailAloneInTheMiddleOfGoodOnes") {
  Daemon& daemon = SharedDaemon();
  const std::vector<Hostile> all = MakeAll();
  std::atomic<bool> stop{false};
  std::vector<std::unique_ptr<GoodClient>> good;
  for (int i = 0; i < 3; ++i) good.push_back(std::make_unique<GoodClient>(&stop));
  Client client(daemon.port());
  for (const Hostile& hostile : all) {
    std::string response;
    CheckError(hostile, client.Raw(hostile.method, hostile.bytes, &response));
  }
  Eventually([&] {
    return std::all_of(good.begin(), good.end(), [](const auto& one) {
      return one->steps() >= 10 || !one->failure().empty();
    });
  });
  stop = true;
  for (const auto& one : good) {
    CHECK(one->failure() == "");
    CHECK(one->steps() >= 10);
  }
  good.clear();
  CHECK_FALSE(daemon.child().WaitExit(std::chrono::milliseconds(0)).has_value());
  CHECK(daemon.client().Health() == "SERVING");
}

TEST_CASE("HostileAppendsFailAloneBetweenGoodOnesOfTheSameCall") {
  const auto call = SharedDaemon().client().Start("AppendEventsStream");
  const std::vector<Hostile> all = MakeAll();
  std::uint64_t number = 0;
  // Good and bad by turns; a message of the envelope: 1 = correlation_id, 2 = append.
  const auto send = [&](const std::string& append) {
    v1::AppendEventsStreamRequest envelope;
    envelope.set_correlation_id(++number);
    std::string bytes = envelope.SerializeAsString() + "\x12";
    for (std::size_t size = append.size(); true; size >>= 7) {
      bytes += static_cast<char>((size & 0x7f) | (size > 0x7f ? 0x80 : 0));
      if (size <= 0x7f) break;
    }
    REQUIRE(call->Write(bytes + append));
    const auto answer = ReadMessage<v1::AppendEventsStreamResponse>(*call);
    REQUIRE(answer.has_value());
    CHECK(answer->correlation_id() == number);
    return *answer;
  };
  for (const Hostile& hostile : all) {
    if (hostile.method != "AppendEvents" || hostile.code != Codes::kInvalidArgument) continue;
    const auto bad = send(hostile.bytes);
    CheckError(hostile, StatusOf(bad.error().code(), bad.error().message(),
                                 bad.error().SerializeAsString()));
    CHECK(send(AppendBytes([](auto*) {})).has_appended());
  }
  call->WritesDone();
  CHECK(call->Finish().ok());
  CHECK(number > 80);
}
