#include "server/pg/migrator_rules.h"

#include <openssl/evp.h>
#include <spdlog/fmt/fmt.h>

#include <map>
#include <utility>

#include "server/pg/errors.h"

namespace eventstore::pg {

std::string ChecksumOf(std::string_view sql) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(sql.data(), sql.size(), digest, &size, EVP_sha256(), nullptr) != 1) return "";
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

absl::Status CheckServerVersion(int server_version) {
  if (server_version >= kServerVersionMin) return absl::OkStatus();
  return MakeStatus(
      absl::StatusCode::kFailedPrecondition,
      fmt::format("the server is PostgreSQL {}; version {} or newer is needed: upgrade the server",
                  server_version / 10'000, kServerVersionMin / 10'000),
      {});
}

absl::Status CheckMigrationOrder(const std::vector<Migration>& migrations) {
  for (std::size_t i = 0; i < migrations.size(); ++i) {
    const int before = i == 0 ? 0 : migrations[i - 1].version;
    if (migrations[i].version > before) continue;
    return MakeStatus(absl::StatusCode::kInternal,
                      fmt::format("migration {} ({}) comes after {}: versions must ascend from 1",
                                  migrations[i].version, migrations[i].name, before),
                      {});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<MigrationState>> CompareMigrations(
    const std::vector<Migration>& migrations, const std::vector<AppliedMigration>& applied) {
  std::map<int, const AppliedMigration*> recorded;
  for (const AppliedMigration& entry : applied) recorded[entry.version] = &entry;
  std::vector<MigrationState> states;
  for (const Migration& migration : migrations) {
    MigrationState state{.version = migration.version, .name = std::string(migration.name)};
    if (const auto found = recorded.find(migration.version); found != recorded.end()) {
      state.applied = true;
      state.applied_at = found->second->applied_at;
      if (found->second->checksum != ChecksumOf(migration.sql)) {
        return MakeStatus(
            absl::StatusCode::kFailedPrecondition,
            fmt::format("migration {} ({}) was edited after it was applied on {}: its text differs "
                        "from what this database has; restore the original file and put the change "
                        "into a new migration",
                        migration.version, migration.name, state.applied_at),
            {});
      }
      recorded.erase(found);
    }
    states.push_back(std::move(state));
  }
  if (recorded.empty()) return states;
  const AppliedMigration& newest = *recorded.rbegin()->second;
  return MakeStatus(
      absl::StatusCode::kFailedPrecondition,
      fmt::format("the database is newer than this program: it has migration {} ({}), which this "
                  "program does not know; run the program's newer version, or restore a backup "
                  "from before the upgrade",
                  newest.version, newest.name),
      {});
}

}  // namespace eventstore::pg
