#include "tests/support/postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "server/telemetry/logging.h"

namespace eventstore::testing {
namespace {

constexpr std::chrono::seconds kConnectTimeout{30};
constexpr std::chrono::milliseconds kPollInterval{5};

// The data folders of this program's servers, removed at exit.
class DataFolders {
 public:
  ~DataFolders() {
    for (const std::string& folder : folders_) {
      std::error_code ignored;
      std::filesystem::remove_all(folder, ignored);
    }
  }

  std::string Make() {
    std::string folder = std::filesystem::temp_directory_path() / "eventstore-test-XXXXXX";
    if (mkdtemp(folder.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    chmod(folder.c_str(), 0755);  // The server may run as another account.
    folders_.push_back(folder);
    return folder;
  }

 private:
  std::vector<std::string> folders_;
};

DataFolders& Folders() {
  static DataFolders folders;
  return folders;
}

// `conninfo` with another database: of a keyword that stands twice libpq takes the last.
std::string WithDatabase(const std::string& conninfo, const std::string& database) {
  return conninfo + " dbname=" + database;
}

template <typename T>
T Require(absl::StatusOr<T> value, const std::string& what) {
  if (!value.ok()) {
    throw std::runtime_error(what + ": " + std::string(telemetry::MessageOf(value.status())));
  }
  return *std::move(value);
}

}  // namespace

process::EmbeddedPostgres& SharedPostgres() {
  Folders();  // Made before the server, so that it goes after it.
  static const std::unique_ptr<process::EmbeddedPostgres> server = StartPostgres();
  return *server;
}

std::unique_ptr<process::EmbeddedPostgres> StartPostgres() {
  process::EmbeddedPostgresOptions options;
  options.data_dir = Folders().Make();
  options.settings = {{"fsync", "off"}, {"max_connections", "200"}};
  return Require(process::EmbeddedPostgres::Start(options), "cannot start PostgreSQL");
}

std::string CreateDatabase(process::EmbeddedPostgres& server) {
  static std::atomic<int> next{1};
  const std::string name = "test_" + std::to_string(next++);
  const absl::Status created =
      Connect(server.conninfo())->RunScript("CREATE DATABASE " + name, In(kConnectTimeout));
  if (!created.ok()) throw std::runtime_error(std::string(telemetry::MessageOf(created)));
  return WithDatabase(server.conninfo(), name);
}

std::unique_ptr<pg::Connection> Connect(const std::string& conninfo, const std::string& schema) {
  pg::ConnectionOptions options;
  options.conninfo = conninfo;
  options.schema = schema;
  options.connect_timeout = kConnectTimeout;
  return Require(pg::Connection::Open(options, In(kConnectTimeout)), "cannot connect");
}

Deadline In(std::chrono::milliseconds duration) {
  return std::chrono::steady_clock::now() + duration;
}

bool Eventually(const std::function<bool()>& condition, std::chrono::milliseconds timeout) {
  const Deadline deadline = In(timeout);
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kPollInterval);
  }
  return true;
}

}  // namespace eventstore::testing
