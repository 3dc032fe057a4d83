#include "server/process/config_keys.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "server/process/config_key_builders.h"

namespace eventstore::process {

std::string Key::section() const {
  const std::size_t dot = path.find('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

std::string Key::name() const {
  const std::size_t dot = path.find('.');
  return dot == std::string::npos ? path : path.substr(dot + 1);
}

std::string Key::environment_variable() const {
  std::string name = "EVENTSTORED_" + path;
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    if (c == '.') return '_';
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return name;
}

const std::vector<Key>& Keys() {
  static const std::vector<Key> keys = [] {
    std::vector<Key> all = ProcessKeys();
    std::vector<Key> of_stores = StoreKeys();
    std::move(of_stores.begin(), of_stores.end(), std::back_inserter(all));
    return all;
  }();
  return keys;
}

const Key* FindKey(std::string_view path) {
  const auto found = std::find_if(Keys().begin(), Keys().end(),
                                  [path](const Key& key) { return key.path == path; });
  return found == Keys().end() ? nullptr : &*found;
}

std::string SectionDoc(std::string_view section) {
  static constexpr std::pair<std::string_view, std::string_view> kDocs[] = {
      {"server", "The gRPC server."},
      {"log", "The log, on stderr."},
      {"database", "The PostgreSQL database (14 or newer) that holds the store."},
      {"embedded",
       "The PostgreSQL server that the daemon runs for itself when database.dsn is empty."},
      {"pool",
       "The pool of connections for reads and for everything but the write lane. The settings mean "
       "what SQLAlchemy's of the same names do."},
      {"limits",
       "What one client may send. A request beyond a limit is answered TOO_LARGE with the limit's "
       "name."},
      {"writer", "The write lane: the one thread that gathers appends and commits them."},
      {"reader", "Reading history from the tables."},
      {"query", "Queries of payloads."},
      {"hub", "Live subscriptions."},
      {"partitions", "Partitions of the events table, which are created ahead of the writes."},
      {"daemon", "How daemons that share a store know of each other."},
      {"groups", "Consumer groups. What belongs to one group is in its settings."},
      {"outbox", "The outbox: committed events on their way to brokers. See docs/outbox.md."},
  };
  for (const auto& [name, doc] : kDocs) {
    if (name == section) return std::string(doc);
  }
  return "";
}

}  // namespace eventstore::process
