#include "tests/faults/replica.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include "server/process/embedded_cluster.h"
#include "server/telemetry/logging.h"
#include "tests/support/daemon_events.h"

namespace eventstore::faults {
namespace {

using testing::Eventually;
using testing::In;
using testing::kPatience;

constexpr std::chrono::seconds kStopTime{10};

void Require(const absl::Status& status, const std::string& what) {
  if (status.ok()) return;
  throw std::runtime_error(what + ": " + std::string(telemetry::MessageOf(status)));
}

void Require(bool happened, const std::string& what) {
  if (!happened) throw std::runtime_error(what);
}

}  // namespace

Replica::Replica(const process::EmbeddedPostgres& primary)
    : primary_socket_dir_(primary.socket_dir()) {
  auto account = process::FindAccount("postgres");
  Require(account.status(), "no account");
  account_ = *std::move(account);
  auto programs = process::FindServerPrograms("", 0, In(kPatience));
  Require(programs.status(), "no server");
  bin_dir_ = programs->bin_dir;
  folder_ = "/tmp/eventstore-replica-XXXXXX";  // a socket's path must be short
  Require(mkdtemp(folder_.data()) != nullptr, "mkdtemp failed");
  chmod(folder_.c_str(), 0755);
  data_dir_ = folder_ + "/data";
  socket_dir_ = folder_ + "/socket";
  conninfo_ = "host=" + socket_dir_ + " port=5432 user=postgres dbname=postgres";
  Require(process::MakePrivateFolder(data_dir_, account_), data_dir_);
  Require(process::MakePrivateFolder(socket_dir_, account_), socket_dir_);
  Copy(primary);
  Launch();
}

Replica::~Replica() {
  if (pid_ > 0) {
    kill(pid_, SIGQUIT);
    if (!process::WaitForEnd(pid_, In(kStopTime))) kill(pid_, SIGKILL);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void Replica::Copy(const process::EmbeddedPostgres& primary) {
  const auto copied = process::RunToEnd(
      account_,
      {bin_dir_ + "/pg_basebackup", "--host=" + primary.socket_dir(), "--port=5432",
       "--username=postgres", "--pgdata=" + data_dir_, "--write-recovery-conf",
       "--wal-method=stream", "--checkpoint=fast", "--no-sync"},
      data_dir_, In(kPatience));
  Require(copied.status(), "pg_basebackup");
}

void Replica::Launch() {
  process::ChildCommand command;
  command.argv = {bin_dir_ + "/postgres", "-D", data_dir_};
  for (const std::string setting :
       {"listen_addresses=", "port=5432", "fsync=off", "hot_standby=on", "max_connections=200",
        "shared_buffers=64MB", "timezone=UTC", "logging_collector=off"}) {
    command.argv.insert(command.argv.end(), {"-c", setting});
  }
  command.argv.insert(command.argv.end(), {"-c", "unix_socket_directories=" + socket_dir_});
  command.working_dir = data_dir_;
  command.output_fd =
      open((folder_ + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const auto pid = process::Spawn(account_, command);
  close(command.output_fd);
  Require(pid.status(), "the replica");
  pid_ = *pid;
  Require(Eventually([&] { return PQping(conninfo_.c_str()) == PQPING_OK; }, kPatience),
          "the replica does not come up; see " + folder_ + "/log");
}

std::string Replica::EitherHost(const std::string& primary_dsn) const {
  // Of a keyword that stands twice libpq takes the last.
  return primary_dsn + " host=" + primary_socket_dir_ + "," + socket_dir_ +
         " port=5432,5432 target_session_attrs=read-write";
}

std::string Replica::Here(const std::string& primary_dsn) const {
  return primary_dsn + " host=" + socket_dir_;
}

void Replica::CatchUp(const std::string& primary_dsn) {
  const std::int64_t written =
      testing::QueryNumber(primary_dsn, "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint");
  Require(Eventually(
              [&] {
                return testing::QueryNumber(
                           conninfo_,
                           "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint") >= written;
              },
              kPatience),
          "the replica does not catch up");
}

void Replica::CutOff() {
  testing::RunSql(conninfo_, "ALTER SYSTEM SET primary_conninfo = ''");
  testing::RunSql(conninfo_, "SELECT pg_reload_conf()");
  Require(Eventually(
              [&] {
                return testing::QueryNumber(conninfo_,
                                            "SELECT count(*) FROM pg_stat_wal_receiver") == 0;
              },
              kPatience),
          "the replica goes on receiving");
}

void Replica::Promote() {
  Require(testing::QueryNumber(conninfo_, "SELECT pg_promote(true, 60)::int::bigint") == 1,
          "the replica was not promoted");
}

}  // namespace eventstore::faults
