#include "server/process/embedded_cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>
#include <system_error>

namespace eventstore::process {
namespace {

namespace fs = std::filesystem;

constexpr int kMajorVersionMin = 14;
constexpr int kMajorVersionTested = 15;  // What Debian 12 has.
constexpr char kLockName[] = "eventstored.lock";
constexpr char kClusterName[] = "postgres";
// What initdb works on until it is done.
constexpr char kUnfinishedName[] = "postgres.new";
// Where clusters go whose data folder the unprivileged account cannot reach.
constexpr char kHomePrefix[] = "/var/lib/eventstored-";
// Most stand-in folders of one data folder: each time it is deleted one is left behind.
constexpr int kHomesMax = 100;

std::string ErrnoText(int error) { return std::generic_category().message(error); }

absl::Status DataDirError(const std::string& path, std::string_view what, int error) {
  return absl::FailedPreconditionError(
      fmt::format("cannot {} {}: {}; the data folder must be writable for the daemon: choose "
                  "another one by --data-dir",
                  what, path, ErrnoText(error)));
}

bool Exists(const std::string& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

// Lets the account pass through a folder that is closed to everybody but root: by its group alone,
// so that nobody else gains anything. A folder that others may enter already stays as it is.
absl::Status LetPass(const std::string& path, const Account& account) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return DataDirError(path, "look at", errno);
  if (!account.change || info.st_uid != 0 || (info.st_mode & 077) != 0) return absl::OkStatus();
  if (chown(path.c_str(), static_cast<uid_t>(-1), account.gid) != 0 ||
      chmod(path.c_str(), (info.st_mode & 07777) | S_IXGRP) != 0) {
    return DataDirError(path, "change the group of", errno);
  }
  return absl::OkStatus();
}

// The major version that a cluster was made by; 0 if `dir` is no cluster.
int VersionOfCluster(const std::string& dir) {
  int version = 0;
  std::ifstream(dir + "/PG_VERSION") >> version;
  return version;
}

// A name for the data folder's stand-in that stays the same from start to start (FNV-1a).
std::string HashOf(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return fmt::format("{:016x}", hash);
}

bool HasPrograms(const std::string& bin_dir) {
  return access((bin_dir + "/postgres").c_str(), X_OK) == 0 &&
         access((bin_dir + "/initdb").c_str(), X_OK) == 0;
}

std::vector<std::string> CandidateFolders(const std::string& bin_dir) {
  if (!bin_dir.empty()) return {bin_dir};
  std::set<std::string> folders;
  std::error_code error;
  const fs::directory_iterator end;
  for (fs::directory_iterator it("/usr/lib/postgresql", error); !error && it != end;
       it.increment(error)) {
    folders.insert(it->path() / "bin");
  }
  std::vector<std::string> candidates(folders.begin(), folders.end());
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const std::size_t colon = rest.find(':');
    const std::string folder(rest.substr(0, colon));
    if (!folder.empty() && folder[0] == '/') candidates.push_back(folder);
    rest = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
  }
  return candidates;
}

// Parses "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"; 0 if it is something else.
int ParseMajorVersion(std::string_view text) {
  constexpr std::string_view kMark = "(PostgreSQL) ";
  const std::size_t mark = text.find(kMark);
  if (mark == std::string_view::npos) return 0;
  text.remove_prefix(mark + kMark.size());
  int version = 0;
  std::from_chars(text.data(), text.data() + text.size(), version);
  return version;
}

// Whether the account can work in `dir` with the server's programs. PERMISSION_DENIED: it cannot
// enter the folder.
absl::Status TryAccount(const ServerPrograms& programs, const std::string& dir,
                        const Account& account, Deadline deadline) {
  return RunToEnd(account, {programs.bin_dir + "/postgres", "--version"}, dir, deadline).status();
}

// Makes a new folder below /var/lib for a data folder that the account cannot reach, and the link
// to it. The link comes before initdb, so that an interrupted start finds the folder again.
absl::StatusOr<std::string> MakeHomeElsewhere(const std::string& data_dir, const Account& account) {
  for (int attempt = 1; attempt <= kHomesMax; ++attempt) {
    std::string home = kHomePrefix + HashOf(data_dir);
    if (attempt > 1) home += fmt::format("-{}", attempt);
    if (mkdir(home.c_str(), 0700) != 0) {
      if (errno != EEXIST) return DataDirError(home, "create", errno);
      spdlog::warn(
          "{} holds the events of an earlier data folder at {}; delete it if they are no "
          "longer needed",
          home, data_dir);
      continue;
    }
    if (absl::Status passed = LetPass(home, account); !passed.ok()) return passed;
    const std::string unfinished = home + "/" + kUnfinishedName;
    if (absl::Status made = MakePrivateFolder(unfinished, account); !made.ok()) return made;
    const std::string link = data_dir + "/" + kClusterName;
    if (symlink((home + "/" + kClusterName).c_str(), link.c_str()) != 0) {
      return DataDirError(link, "make the link", errno);
    }
    spdlog::info("the account {} cannot enter {}: the embedded PostgreSQL is kept in {}",
                 account.name, data_dir, home);
    return home;
  }
  return absl::FailedPreconditionError(
      fmt::format("{} stand-in folders {}{}* exist already: delete those that are not needed",
                  kHomesMax, kHomePrefix, HashOf(data_dir)));
}

// The folder that is or shall become the cluster.
absl::StatusOr<std::string> FindClusterDir(const std::string& data_dir,
                                           const ServerPrograms& programs, const Account& account,
                                           Deadline deadline) {
  const std::string path = data_dir + "/" + kClusterName;
  std::error_code error;
  if (fs::is_symlink(fs::symlink_status(path, error))) {
    const fs::path target = fs::read_symlink(path, error);
    const fs::path dir = fs::weakly_canonical(data_dir / target, error);
    if (!Exists(dir) && !Exists(dir.parent_path() / kUnfinishedName)) {
      return absl::FailedPreconditionError(
          fmt::format("{} leads to {}, which is missing: restore it, or remove the link to begin "
                      "an empty store",
                      path, target.string()));
    }
    return dir.string();
  }
  if (Exists(path)) return path;
  const std::string unfinished = data_dir + "/" + kUnfinishedName;
  if (absl::Status made = MakePrivateFolder(unfinished, account); !made.ok()) return made;
  absl::Status tried = TryAccount(programs, unfinished, account, deadline);
  if (tried.ok()) return path;
  fs::remove_all(unfinished, error);
  if (!absl::IsPermissionDenied(tried)) return tried;
  absl::StatusOr<std::string> home = MakeHomeElsewhere(data_dir, account);
  if (!home.ok()) return home.status();
  return *home + "/" + kClusterName;
}

// Checks that a cluster's folder is one and can be used by the account.
absl::Status CheckExisting(const std::string& dir, const ServerPrograms& programs,
                           const Account& account, Deadline deadline) {
  struct stat info = {};
  if (stat(dir.c_str(), &info) != 0) return DataDirError(dir, "look at", errno);
  if (info.st_uid != account.uid) {
    return absl::FailedPreconditionError(fmt::format(
        "{} belongs to uid {}, but PostgreSQL would run as {} (uid {}): start the daemon as the "
        "user that made it, or chown -R it",
        dir, info.st_uid, account.name, account.uid));
  }
  if (VersionOfCluster(dir) == 0) {
    return absl::FailedPreconditionError(fmt::format(
        "{} is not a PostgreSQL cluster (it has no PG_VERSION): move it away, or choose "
        "another folder by --data-dir",
        dir));
  }
  absl::Status tried = TryAccount(programs, dir, account, deadline);
  if (absl::IsPermissionDenied(tried)) {
    return absl::FailedPreconditionError(
        fmt::format("the account {} cannot enter {}: a folder above it is closed to it; open that "
                    "(chmod o+x) or move the data folder",
                    account.name, dir));
  }
  return tried;
}

// Removes what an interrupted initdb left, but not the folder itself: it marks the cluster's place.
void Empty(const std::string& folder) {
  std::error_code error;
  std::vector<fs::path> entries;
  const fs::directory_iterator end;
  for (fs::directory_iterator it(folder, error); !error && it != end; it.increment(error)) {
    entries.push_back(it->path());
  }
  for (const fs::path& entry : entries) fs::remove_all(entry, error);
}

absl::Status InitCluster(const std::string& home, const ServerPrograms& programs,
                         const Account& account, bool sync, Deadline deadline) {
  const std::string unfinished = home + "/" + kUnfinishedName;
  if (absl::Status made = MakePrivateFolder(unfinished, account); !made.ok()) return made;
  Empty(unfinished);
  spdlog::info("making the embedded PostgreSQL {} cluster in {}", programs.major_version, home);
  std::vector<std::string> argv = {programs.bin_dir + "/initdb",
                                   "-D",
                                   unfinished,
                                   "--username=postgres",
                                   "--auth=trust",
                                   "--encoding=UTF8",
                                   "--locale=C",
                                   "--data-checksums"};
  if (!sync) argv.push_back("--no-sync");
  absl::StatusOr<std::string> output = RunToEnd(account, argv, unfinished, deadline);
  if (!output.ok()) return output.status();
  std::error_code error;
  fs::rename(unfinished, home + "/" + kClusterName, error);
  if (error) return DataDirError(home, "move the new cluster in", error.value());
  // The new name must be on the disk before the first event is.
  const int fd = open(home.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    fsync(fd);
    close(fd);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FolderLock> FolderLock::Acquire(const std::string& folder) {
  const std::string path = folder + "/" + kLockName;
  FolderLock lock;
  lock.fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock.fd_ < 0) return DataDirError(path, "open", errno);
  if (flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return DataDirError(path, "lock", errno);
    std::array<char, 32> text{};
    int pid = 0;
    const ssize_t size = pread(lock.fd_, text.data(), text.size(), 0);
    if (size > 0) std::from_chars(text.data(), text.data() + size, pid);
    return absl::FailedPreconditionError(fmt::format(
        "another eventstored (pid {}) uses the data folder {}: stop it, or give this one another "
        "folder by --data-dir",
        pid == 0 ? "unknown" : fmt::format("{}", pid), folder));
  }
  const std::string text = fmt::format("{}\n", getpid());
  if (ftruncate(lock.fd_, 0) != 0 || pwrite(lock.fd_, text.data(), text.size(), 0) < 0) {
    return DataDirError(path, "write", errno);
  }
  return lock;
}

FolderLock::~FolderLock() {
  // The file stays: removing it would let a third daemon lock a new one while a second holds this.
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<ServerPrograms> FindServerPrograms(const std::string& bin_dir, int wanted_version,
                                                  Deadline deadline) {
  Account ourselves;
  ourselves.name = "ourselves";
  ServerPrograms best;
  std::string found;
  for (const std::string& folder : CandidateFolders(bin_dir)) {
    if (!HasPrograms(folder)) continue;
    absl::StatusOr<std::string> text =
        RunToEnd(ourselves, {folder + "/postgres", "--version"}, "/", deadline);
    const int version = text.ok() ? ParseMajorVersion(*text) : 0;
    found += fmt::format("{}{} in {}", found.empty() ? "" : ", ", version, folder);
    if (version < kMajorVersionMin || (wanted_version != 0 && version != wanted_version)) continue;
    if (version > best.major_version) best = {folder, version};
  }
  if (best.major_version != 0) return best;
  const std::string remedy = fmt::format(
      "(apt-get install postgresql-{}, or name its folder by embedded.bin_dir), or give the daemon "
      "a "
      "database by --database",
      wanted_version == 0 ? kMajorVersionTested : wanted_version);
  if (found.empty()) {
    return absl::FailedPreconditionError(
        fmt::format("no PostgreSQL server (postgres, initdb) is in {}: install one {}",
                    bin_dir.empty() ? "/usr/lib/postgresql/*/bin or PATH" : bin_dir, remedy));
  }
  if (wanted_version != 0) {
    return absl::FailedPreconditionError(
        fmt::format("the data folder holds a cluster of PostgreSQL {}, but what is installed is "
                    "version {}: install the server {} {}",
                    wanted_version, found, wanted_version, remedy));
  }
  return absl::FailedPreconditionError(
      fmt::format("the embedded PostgreSQL needs version {} or newer, but what is installed is "
                  "version {}: install a newer server {}",
                  kMajorVersionMin, found, remedy));
}

absl::StatusOr<std::string> PrepareDataDir(const std::string& data_dir, const Account& account) {
  if (data_dir.empty()) return absl::InvalidArgumentError("data_dir is empty");
  std::error_code error;
  const fs::path path = fs::absolute(data_dir, error).lexically_normal();
  const fs::path folder = path.has_filename() ? path : path.parent_path();
  fs::create_directories(folder.parent_path(), error);
  if (error) return DataDirError(folder.parent_path(), "create", error.value());
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return DataDirError(folder, "create", errno);
  }
  const fs::path canonical = fs::canonical(folder, error);
  if (error) return DataDirError(folder, "open", error.value());
  if (!fs::is_directory(canonical, error)) return DataDirError(canonical, "open", ENOTDIR);
  if (access(canonical.c_str(), W_OK | X_OK) != 0) return DataDirError(canonical, "write", errno);
  if (absl::Status passed = LetPass(canonical, account); !passed.ok()) return passed;
  return canonical.string();
}

absl::StatusOr<Cluster> OpenCluster(const std::string& data_dir, const std::string& bin_dir,
                                    const Account& account, bool sync, Deadline deadline) {
  Cluster cluster;
  const int wanted_version = VersionOfCluster(data_dir + "/" + kClusterName);
  absl::StatusOr<ServerPrograms> programs = FindServerPrograms(bin_dir, wanted_version, deadline);
  if (!programs.ok()) return programs.status();
  cluster.programs = *std::move(programs);

  absl::StatusOr<std::string> dir = FindClusterDir(data_dir, cluster.programs, account, deadline);
  if (!dir.ok()) return dir.status();
  cluster.dir = *std::move(dir);
  const std::string home = fs::path(cluster.dir).parent_path();
  if (home != data_dir) {  // A copied data folder's link may lead to the same one.
    absl::StatusOr<FolderLock> lock = FolderLock::Acquire(home);
    if (!lock.ok()) return lock.status();
    cluster.home_lock = *std::move(lock);
  }
  // An operator may have moved the cluster to another disk and linked it: what stands beside it
  // there is not ours.
  if (home == data_dir || home.rfind(kHomePrefix, 0) == 0) cluster.home = home;
  absl::Status ready = Exists(cluster.dir)
                           ? CheckExisting(cluster.dir, cluster.programs, account, deadline)
                           : InitCluster(home, cluster.programs, account, sync, deadline);
  if (!ready.ok()) return ready;
  return cluster;
}

absl::Status MakePrivateFolder(const std::string& path, const Account& account) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return DataDirError(path, "create", errno);
  if (chmod(path.c_str(), 0700) != 0 ||
      (account.change && chown(path.c_str(), account.uid, account.gid) != 0)) {
    return DataDirError(path, "change the owner of", errno);
  }
  return absl::OkStatus();
}

}  // namespace eventstore::process
