// Makes the append requests of one writing thread.
#ifndef EVENTSTORE_TESTS_FAULTS_CLIENT_REQUESTS_H_
#define EVENTSTORE_TESTS_FAULTS_CLIENT_REQUESTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "tests/faults/checker/history.h"
#include "tests/faults/dice.h"

namespace eventstore::faults {

// A request with what its record says of it.
struct Wish {
  v1::AppendEventsRequest request;
  Request record;
  // How often it may be sent; one that is repeated for ever says so in `record`.
  int attempts_max = 1;
};

// Chooses among: exact versions of streams that all writers fight for, learnt from earlier answers;
// new and known streams of its own; streams that all share without expecting anything; and requests
// that must be refused. One thread at a time.
class RequestMaker {
 public:
  // `name` must be no other thread's: it names the streams that are its own.
  RequestMaker(std::string name, std::uint64_t seed) : name_(std::move(name)), dice_(seed) {}

  Wish Next();
  // A stream's version, from an answer or a conflict.
  void Learn(const StreamName& stream, std::int64_t version) { versions_[stream] = version; }
  // A stored event's id, to be misused in a request that must be refused.
  void LearnId(const std::string& id) { stored_id_ = id; }

 private:
  void Expect(const StreamName& stream, Expectation expects, Wish* wish);
  void AddEvents(std::int64_t count, Wish* wish);
  void Contested(Wish* wish);
  void Own(Wish* wish);
  void Bad(Wish* wish);

  const std::string name_;
  Dice dice_;
  std::map<StreamName, std::int64_t> versions_;
  std::vector<StreamName> own_;
  std::int64_t next_stream_ = 1;
  std::int64_t next_event_ = 1;
  std::string stored_id_;
};

// One closing event for a stream, repeated for ever.
Wish MakeClosing(const StreamName& stream);

// "type/id".
StreamName ParseStream(const std::string& text);

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_CLIENT_REQUESTS_H_
