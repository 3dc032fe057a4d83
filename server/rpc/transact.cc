#include "server/rpc/transact.h"

#include <absl/strings/str_cat.h>

#include <map>
#include <string>
#include <utility>

#include "server/core/errors.h"
#include "server/core/transaction.h"

namespace eventstore::rpc {
namespace {

// The tenants that a transaction names, each with the field that did so first. A condition or a
// checkpoint without a tenant is about whatever store the rest is in.
std::map<std::string, std::string> TenantsOf(const ValidatedTransaction& transaction) {
  std::map<std::string, std::string> tenants;
  const auto add = [&tenants](const std::string& tenant, const char* list, std::size_t i) {
    tenants.emplace(tenant, absl::StrCat(list, "[", i, "]"));
  };
  for (std::size_t i = 0; i < transaction.appends.size(); ++i) {
    add(transaction.appends[i].request.stream().tenant_id(), "appends", i);
  }
  for (std::size_t i = 0; i < transaction.checks.size(); ++i) {
    add(transaction.checks[i].check.stream().tenant_id(), "checks", i);
  }
  for (std::size_t i = 0; i < transaction.snapshots.size(); ++i) {
    add(transaction.snapshots[i].request.stream().tenant_id(), "snapshots", i);
  }
  for (std::size_t i = 0; i < transaction.conditions.size(); ++i) {
    const std::string& tenant = transaction.conditions[i].tenant_id();
    if (!tenant.empty()) add(tenant, "conditions", i);
  }
  if (transaction.checkpoint.has_value()) {
    const std::string& tenant = transaction.checkpoint->tenant_id();
    if (!tenant.empty() || tenants.empty()) tenants.emplace(tenant, "checkpoint");
  }
  return tenants;
}

}  // namespace

absl::Status HandleTransact(v1::TransactRequest request, TransactCall* call) {
  auto transaction = ValidateTransaction(std::move(request), call->limits());
  if (!transaction.ok()) return transaction.status();
  Backend* backend = nullptr;
  std::string store_id;
  for (const auto& [tenant, field] : TenantsOf(*transaction)) {
    auto found = call->FindBackendOf(tenant);
    if (!found.ok()) return found.status();
    backend = *found;
    if (store_id.empty()) store_id = backend->store_id();
    if (backend->store_id() != store_id) {
      return InvalidRequest(field, absl::StrCat(field,
                                                ": is in another store than the rest; a "
                                                "transaction lies in one store"));
    }
  }
  call->SetOnCancel(backend->Transact(
      *std::move(transaction), call->deadline(),
      [call](absl::StatusOr<v1::TransactResponse> answer) { call->Answer(std::move(answer)); }));
  return absl::OkStatus();
}

}  // namespace eventstore::rpc
