// A writer that keeps many requests in flight on AppendEventsStream calls, which it often breaks.
#ifndef EVENTSTORE_TESTS_FAULTS_CLIENT_STREAM_WRITER_H_
#define EVENTSTORE_TESTS_FAULTS_CLIENT_STREAM_WRITER_H_

#include <map>
#include <set>
#include <string>

#include "tests/faults/client/appender.h"
#include "tests/faults/client/options.h"
#include "tests/faults/client/stop_signal.h"
#include "tests/faults/dice.h"

namespace eventstore::faults {

// Used by one thread.
class StreamWriter {
 public:
  StreamWriter(const ClientOptions& options, const std::string& name, std::uint64_t seed,
               const StopSignal& stop, AppendLog* log);

  // Until SIGTERM, and then until what it repeats for ever is settled.
  void Run();

 private:
  // One call: first what the one before left open, then new requests.
  void Session();
  // Whether the call still lives afterwards.
  bool Send(testing::Call* call, Tracked* tracked);
  bool ReceiveOne(testing::Call* call);
  void Settle(std::int64_t number, Verdict verdict);

  const Clients clients_;
  const StopSignal& stop_;
  AppendLog* const log_;
  Dice dice_;
  RequestMaker maker_;
  int daemon_ = 0;
  std::map<std::int64_t, Tracked> open_;  // without a definite answer, by number
  std::set<std::int64_t> in_flight_;      // of those: sent on this call
};

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_CLIENT_STREAM_WRITER_H_
