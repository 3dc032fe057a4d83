// The effects of the outbox' keys. Sinks and routes come from a file: no variable sets them.
#include <filesystem>
#include <fstream>

#include "tests/integration/daemon/config_effect.h"

namespace eventstore::testing {
namespace {

// A file with a sink that nobody listens for, one without a relay, and a route to each.
class OutboxFile {
 public:
  OutboxFile()
      : path_(std::filesystem::temp_directory_path() / (UniqueName("outbox") + ".yaml")),
        port_(FreePort()) {
    std::ofstream(path_)
        << "outbox:\n  sinks:\n    hook:\n      type: webhook\n      url: "
        << "http://127.0.0.1:" << port_ << "/\n      publish_timeout_ms: 500\n"
        << "    hand:\n      type: worker\n  routes: [{sink: hook}, {sink: hand}]\n";
  }
  ~OutboxFile() { std::filesystem::remove(path_); }
  OutboxFile(const OutboxFile&) = delete;
  OutboxFile& operator=(const OutboxFile&) = delete;

  [[nodiscard]] std::unique_ptr<Daemon> Start(Settings changed) const {
    changed.emplace("outbox.enabled", "true");
    return Daemon::Start({.settings = std::move(changed), .arguments = {"--config", path_}});
  }

 private:
  const std::string path_;
  const int port_;
};

std::int64_t Ask(const Daemon& daemon, const std::string& what) {
  return QueryNumber(daemon.dsn(), "SELECT count(*) FROM eventstore." + what);
}

void AddEntry(const Daemon& daemon, const std::string& status = "pending") {
  QueryNumber(daemon.dsn(),
              "INSERT INTO eventstore.event_outbox (event_id, event_type, aggregate_id, "
              "aggregate_type, event_data, sink, status, published_at) VALUES (gen_random_uuid(), "
              "'A', 'a', 'a', '{}', 'hand', '" +
                  status + "', now() - interval '1 minute') RETURNING 1::bigint");
}

void SeeEnabled(const Settings& changed) {
  const OutboxFile file;
  const auto on = file.Start(changed);
  CHECK(Eventually([&] { return Ask(*on, "outbox_sinks WHERE daemon IS NOT NULL") == 1; }));
  const auto off = file.Start({{"outbox.enabled", "false"}});
  MustAppend(off->client(), NewStream(), NewEvents(1));
  CHECK(Ask(*off, "outbox_sinks") == 0);
  CHECK(Ask(*off, "event_outbox") == 0);
}

void SeeLease(const Settings& changed) {
  const OutboxFile file;
  const auto daemon = file.Start(changed);
  CHECK(Eventually([&] {
    return Ask(*daemon,
               "outbox_sinks WHERE lease_until BETWEEN updated_at + interval '4321 ms' -"
               " interval '100 ms' AND updated_at + interval '4321 ms'") == 1;
  }));
}

void SeeSweep(const Settings& changed) {
  const OutboxFile file;
  const auto daemon = file.Start(changed);
  const std::string pending = R"(eventstore_outbox_pending{sink="hand",store="default"})";
  const auto start = steady_clock::now();
  for (int i = 1; i <= 4; ++i) {  // by default that takes three times 5 seconds at the least
    AddEntry(*daemon);
    REQUIRE(Eventually([&] { return Value(*daemon, pending) == i; }));
  }
  CHECK(steady_clock::now() - start < seconds(12));
}

void SeeRetention(const Settings& changed) {
  const OutboxFile file;
  const auto daemon = file.Start(changed);
  AddEntry(*daemon, "published");
  CHECK(Eventually([&] { return Ask(*daemon, "event_outbox") == 0; }));
}

}  // namespace

std::vector<Row> OutboxRows() {
  return {
      {"the outbox", {{"outbox.enabled", "true"}}, SeeEnabled},
      {"a relay's lease", {{"outbox.lease_ms", "4321"}}, SeeLease},
      {"sweeps", {{"outbox.sweep_interval_ms", "100"}}, SeeSweep},
      {"retention", {{"outbox.retention_seconds", "1"}}, SeeRetention},
  };
}

}  // namespace eventstore::testing
