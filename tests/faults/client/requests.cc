#include "tests/faults/client/requests.h"

#include <stdexcept>

#include "server/core/ids.h"
#include "tests/faults/checker/record.h"

namespace eventstore::faults {
namespace {

// Few, so that their writers meet.
constexpr int kContestedStreams = 4;
constexpr int kSharedStreams = 3;
// Own streams that are gone on with; older ones rest.
constexpr std::size_t kOwnStreams = 60;
constexpr std::int64_t kEventsMax = 5;
constexpr int kSomeAttempts = 3;
constexpr int kLargePercent = 5;
constexpr std::size_t kLargeBytes = 6'000;

const std::vector<std::string> kEventTypes = {"Made", "Changed", "Paid"};

void AddEvent(const std::string& type, const std::string& payload, bool json, Wish* wish) {
  v1::NewEvent* event = wish->request.add_events();
  event->set_event_id(FormatUuid(MakeUuidV7()));
  event->set_event_type(type);
  event->set_payload(payload);
  if (!json) event->set_content_type("text/plain");
  wish->record.events.push_back({event->event_id(), type, Word(payload)});
}

void SetExpectation(Expectation expects, std::int64_t exact, Wish* wish) {
  wish->record.expects = expects;
  wish->record.exact = exact;
  v1::ExpectedVersion* expected = wish->request.mutable_expected_version();
  switch (expects) {
    case Expectation::kAny:
      expected->mutable_any();
      break;
    case Expectation::kNoStream:
      expected->mutable_no_stream();
      break;
    case Expectation::kStreamExists:
      expected->mutable_stream_exists();
      break;
    case Expectation::kExact:
      expected->set_exact(exact);
      break;
  }
}

void SetStream(const StreamName& stream, Wish* wish) {
  wish->record.stream = stream;
  wish->request.mutable_stream()->set_aggregate_type(stream.type);
  wish->request.mutable_stream()->set_aggregate_id(stream.id);
}

}  // namespace

Wish RequestMaker::Next() {
  Wish wish;
  const std::int64_t persistence = dice_.Between(1, 100);
  wish.record.forever = persistence <= 60;
  if (persistence > 80) wish.attempts_max = kSomeAttempts;
  const std::int64_t kind = dice_.Between(1, 100);
  if (kind <= 40) {
    Contested(&wish);
  } else if (kind <= 75) {
    Own(&wish);
  } else if (kind <= 90) {
    const std::int64_t number = dice_.Between(0, kSharedStreams - 1);
    Expect({"Shared", "shared-" + std::to_string(number)}, Expectation::kAny, &wish);
    AddEvents(dice_.Between(1, kEventsMax), &wish);
  } else {
    Bad(&wish);
  }
  return wish;
}

void RequestMaker::Expect(const StreamName& stream, Expectation expects, Wish* wish) {
  SetStream(stream, wish);
  const std::int64_t version = versions_[stream];
  // What is not there cannot be expected by its version.
  if (expects == Expectation::kExact && version == 0) expects = Expectation::kNoStream;
  SetExpectation(expects, expects == Expectation::kExact ? version : 0, wish);
}

void RequestMaker::AddEvents(std::int64_t count, Wish* wish) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string number = std::to_string(next_event_++);
    const bool json = dice_.Percent(70);
    // A few are large, so that slow subscribers fall off the daemons' memory.
    const std::string more(dice_.Percent(kLargePercent) ? kLargeBytes : 0, 'x');
    const std::string payload = json ? "{\"n\":" + number + ",\"w\":\"" + name_ + more + "\"}"
                                     : name_ + "-" + number + more;
    AddEvent(dice_.Of(kEventTypes), payload, json, wish);
  }
}

void RequestMaker::Contested(Wish* wish) {
  const std::int64_t number = dice_.Between(0, kContestedStreams - 1);
  Expect({"Hot", "hot-" + std::to_string(number)}, Expectation::kExact, wish);
  AddEvents(dice_.Between(1, kEventsMax), wish);
}

void RequestMaker::Own(Wish* wish) {
  if (own_.empty() || dice_.Percent(30)) {
    own_.push_back({"Own", name_ + "-" + std::to_string(next_stream_++)});
    if (own_.size() > kOwnStreams) own_.erase(own_.begin());
    Expect(own_.back(), Expectation::kNoStream, wish);
  } else {
    // An earlier request may have been given up, so that the stream may be longer than is known.
    static const std::vector<Expectation> kExpectations = {
        Expectation::kAny, Expectation::kExact, Expectation::kExact, Expectation::kStreamExists};
    Expect(dice_.Of(own_), dice_.Of(kExpectations), wish);
  }
  AddEvents(dice_.Between(1, kEventsMax), wish);
}

// Each is refused for another reason; the first by a conflict that any such stream would have.
void RequestMaker::Bad(Wish* wish) {
  Expect({"Own", name_ + "-missing-" + std::to_string(next_stream_++)}, Expectation::kStreamExists,
         wish);
  const std::int64_t kind = dice_.Between(1, stored_id_.empty() ? 4 : 5);
  if (kind == 1) {
    AddEvents(2, wish);
    return;
  }
  wish->record.bad = true;
  SetExpectation(Expectation::kAny, 0, wish);
  if (kind == 2) return;  // no events
  AddEvents(3, wish);
  v1::NewEvent* last = wish->request.mutable_events(2);
  if (kind == 3) {
    last->clear_content_type();
    last->set_payload("{\"open\":");
  } else {
    // The same id twice, or one that is stored elsewhere. The others must not be stored either.
    last->set_event_id(kind == 4 ? wish->request.events(0).event_id() : stored_id_);
    wish->record.events[2].id = last->event_id();
  }
}

Wish MakeClosing(const StreamName& stream) {
  Wish wish;
  wish.record.forever = true;
  SetStream(stream, &wish);
  SetExpectation(Expectation::kAny, 0, &wish);
  AddEvent(kClosedType, "{}", /*json=*/true, &wish);
  return wish;
}

StreamName ParseStream(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) throw std::runtime_error("no stream: " + text);
  return {text.substr(0, slash), text.substr(slash + 1)};
}

}  // namespace eventstore::faults
