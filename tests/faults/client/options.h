// How a fault client was started.
#ifndef EVENTSTORE_TESTS_FAULTS_CLIENT_OPTIONS_H_
#define EVENTSTORE_TESTS_FAULTS_CLIENT_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace eventstore::faults {

struct ClientOptions {
  // writer, subscriber, reader or closer.
  std::string role;
  // The daemons of one store, of which a client chooses at random, or which it takes turns with.
  std::vector<int> ports;
  std::uint64_t seed = 1;
  // The record file.
  std::string record;
  // Names the streams that are the client's own.
  std::string name;
  // subscriber: a type to filter by, or a stream "type/id"; both empty: everything.
  std::string type;
  std::string stream;
  // subscriber: it ends after so many closing events.
  int until = 1;
  // closer: the streams that get a closing event.
  std::vector<std::string> close;
};

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_CLIENT_OPTIONS_H_
