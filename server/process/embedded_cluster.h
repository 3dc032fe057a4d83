// The files of the embedded server: where they are, who owns them, which server fits them.
#ifndef EVENTSTORE_SERVER_PROCESS_EMBEDDED_CLUSTER_H_
#define EVENTSTORE_SERVER_PROCESS_EMBEDDED_CLUSTER_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <string>
#include <utility>
#include <vector>

#include "server/core/mutex.h"
#include "server/process/embedded_child.h"

namespace eventstore::process {

// Keeps a folder to one daemon by a locked file in it. The kernel drops the lock with the process,
// however that ended. Not thread-safe.
class FolderLock {
 public:
  FolderLock() = default;
  // FAILED_PRECONDITION with the other daemon's pid if there is one.
  [[nodiscard]] static absl::StatusOr<FolderLock> Acquire(const std::string& folder);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

 private:
  int fd_ = -1;
};

// An installed server.
struct ServerPrograms {
  std::string bin_dir;
  int major_version = 0;
};

// The server to run: of `bin_dir`, or if that is empty of /usr/lib/postgresql/*/bin and PATH. With
// `wanted_version` (of a cluster that exists; 0: any) that very version, otherwise the newest from
// 14 on. None is FAILED_PRECONDITION with what to install.
[[nodiscard]] absl::StatusOr<ServerPrograms> FindServerPrograms(const std::string& bin_dir,
                                                                int wanted_version,
                                                                Deadline deadline);

// A cluster that is ready to be started.
struct Cluster {
  std::string dir;
  // The folder around it, if it is ours to put more into: the data folder, or its stand-in below
  // /var/lib. Otherwise empty.
  std::string home;
  ServerPrograms programs;
  // Held on the folder around it where that is not the data folder.
  FolderLock home_lock;
};

// Creates the data folder if it is missing and returns its absolute path without links.
[[nodiscard]] absl::StatusOr<std::string> PrepareDataDir(const std::string& data_dir,
                                                         const Account& account);

// Finds the cluster of a data folder whose lock the caller holds, or makes it by initdb: under
// another name that is moved at the end, so that an interrupted one is tried again. `sync`: whether
// initdb waits for the disk.
[[nodiscard]] absl::StatusOr<Cluster> OpenCluster(const std::string& data_dir,
                                                  const std::string& bin_dir,
                                                  const Account& account, bool sync,
                                                  Deadline deadline);

// Makes `path` a folder of mode 700 that belongs to the account.
[[nodiscard]] absl::Status MakePrivateFolder(const std::string& path, const Account& account);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_EMBEDDED_CLUSTER_H_
