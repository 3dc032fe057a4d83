// outbox: events on their way to brokers.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "eventstore/v1/outbox_service.grpc.pb.h"

#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/json.h"
#include "client/cli/listing.h"
#include "client/cli/outbox_output.h"
#include "client/cli/parse.h"
#include "client/cli/retry.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

using Stub = v1::OutboxService::Stub;

std::unique_ptr<Stub> Outbox(Session* session) {
  return v1::OutboxService::NewStub(session->channel());
}

// The options of a filter, and what they are given for.
struct FilterOptions {
  v1::OutboxFilter filter;
  std::string status;
  std::string stream;
  std::string tenant;

  void AddTo(CLI::App* command, const std::vector<std::string>& statuses) {
    command->add_option("--sink", *filter.mutable_sink(), "only of this sink");
    command->add_option("--status", status, "only of this status")
        ->check(CLI::IsMember(statuses).description(""))
        ->type_name(fmt::format("{}", fmt::join(statuses, "|")));
    command->add_option_function<std::vector<std::string>>(
        "--event-type",
        [this](const std::vector<std::string>& types) {
          filter.mutable_event_types()->Assign(types.begin(), types.end());
        },
        "only of this event type; may be repeated");
    command->add_option("--stream", stream, "only of this stream, TYPE/ID");
    command->add_option("--tenant", tenant, "tenant (a UUID) of the stream and the store");
  }
  [[nodiscard]] absl::StatusOr<v1::OutboxFilter> ToProto() const {
    v1::OutboxFilter made = filter;
    if (status == "pending") made.set_status(v1::OUTBOX_STATUS_PENDING);
    if (status == "claimed") made.set_status(v1::OUTBOX_STATUS_CLAIMED);
    if (status == "published") made.set_status(v1::OUTBOX_STATUS_PUBLISHED);
    if (status == "failed") made.set_status(v1::OUTBOX_STATUS_FAILED);
    if (stream.empty()) return made;
    auto parsed = ParseStream(stream, tenant);
    if (!parsed.ok()) return parsed.status();
    *made.mutable_stream() = *std::move(parsed);
    return made;
  }
};

struct ListOptions {
  FilterOptions filter;
  std::int64_t limit = 0;
};

struct RetryOptions {
  FilterOptions filter;
  std::vector<std::string> ids;
  bool all = false;
};

struct FailOptions {
  v1::FailOutboxRequest request;
  std::vector<std::string> ids;
  std::string error;
};

void SetSeconds(double seconds, google::protobuf::Duration* duration) {
  const auto whole = static_cast<std::int64_t>(std::floor(seconds));
  duration->set_seconds(whole);
  duration->set_nanos(
      static_cast<std::int32_t>((seconds - static_cast<double>(whole)) * 1'000'000'000));
}

// Figures by name, for people or programs.
int PrintCounts(const std::vector<std::pair<std::string_view, std::int64_t>>& counts,
                Session* session) {
  JsonLine line;
  std::string text;
  for (const auto& [name, count] : counts) {
    line.Number(name, count);
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name);
  }
  session->Print(session->json() ? line.Finish() : text + "\n");
  return kExitOk;
}

int RunList(const ListOptions& options, Session* session) {
  const auto filter = options.filter.ToProto();
  if (!filter.ok()) return ReportUsage(MessageOf(filter.status()), session);
  v1::ListOutboxRequest request;
  *request.mutable_filter() = *filter;
  request.set_tenant_id(options.filter.tenant);
  const auto stub = Outbox(session);
  Table table = OutboxTable();
  const Listed listed =
      PrintPages(stub.get(), &Stub::ListOutbox, request, options.limit, &table, session,
                 [&](const v1::ListOutboxResponse& page, std::string* text) {
                   for (const v1::OutboxEntry& entry : page.entries()) {
                     session->json() ? void(*text += JsonOfOutboxEntry(entry, ""))
                                     : AddOutboxRow(entry, &table);
                   }
                   return page.entries_size();
                 });
  return FinishListing(listed, "entry", "entries", session);
}

int RunClaim(const v1::ClaimOutboxRequest& request, Session* session) {
  v1::ClaimOutboxResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Outbox(session)->ClaimOutbox(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  Table table = OutboxTable();
  std::string text;
  for (const v1::OutboxEntry& entry : response.entries()) {
    session->json() ? void(text += JsonOfOutboxEntry(entry, response.claim_token()))
                    : AddOutboxRow(entry, &table);
  }
  session->Print(session->json() ? text : table.Take());
  if (session->json()) return kExitOk;
  session->console().out->flush();
  session->Notice(response.entries().empty() ? "nothing to publish"
                                             : "claim token: " + response.claim_token());
  return kExitOk;
}

int RunComplete(const v1::CompleteOutboxRequest& request, Session* session) {
  v1::CompleteOutboxResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Outbox(session)->CompleteOutbox(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  return PrintCounts({{"completed", response.completed()}, {"skipped", response.skipped()}},
                     session);
}

int RunFail(const FailOptions& options, Session* session) {
  v1::FailOutboxRequest request = options.request;
  for (const std::string& id : options.ids) {
    v1::FailedOutboxEntry* const entry = request.add_entries();
    entry->set_id(id);
    entry->set_error(options.error);
  }
  v1::FailOutboxResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Outbox(session)->FailOutbox(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  return PrintCounts({{"retrying", response.retrying()},
                      {"failed", response.failed()},
                      {"released", response.released()},
                      {"skipped", response.skipped()}},
                     session);
}

// An interrupt ends it between two calls.
int RunRetry(const RetryOptions& options, Session* session) {
  const auto filter = options.filter.ToProto();
  if (!filter.ok()) return ReportUsage(MessageOf(filter.status()), session);
  const bool has_filter = filter->ByteSizeLong() > 0;
  if ((options.ids.empty() ? 0 : 1) + (has_filter ? 1 : 0) + (options.all ? 1 : 0) != 1) {
    return ReportUsage("give the entries' ids, a filter, or --all; one of them", session);
  }
  v1::RetryOutboxRequest request;
  request.set_tenant_id(options.filter.tenant);
  if (options.ids.empty()) *request.mutable_filter() = *filter;
  for (const std::string& id : options.ids) request.mutable_ids()->add_ids(id);
  std::int64_t retried = 0;
  do {
    v1::RetryOutboxResponse response;
    const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
      return Outbox(session)->RetryOutbox(context, request, &response);
    });
    if (!status.ok()) {
      if (retried > 0) PrintCounts({{"retried", retried}}, session);
      return ReportFailure(FailureOf(status), session);
    }
    retried += response.retried();
    request.set_after_id(response.next_after_id());
  } while (!request.after_id().empty() && !session->interrupt().raised());
  return PrintCounts({{"retried", retried}}, session);
}

int RunStats(const v1::GetOutboxStatsRequest& request, Session* session) {
  v1::GetOutboxStatsResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Outbox(session)->GetOutboxStats(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  Table table = OutboxStatsTable();
  std::string text;
  for (const v1::OutboxStats& stats : response.stats()) {
    session->json() ? void(text += JsonOfOutboxStats(stats)) : AddOutboxStatsRow(stats, &table);
  }
  session->Print(session->json() ? text : table.Take());
  if (response.truncated()) session->Notice("there are more: these figures are lower bounds");
  return kExitOk;
}

int RunPause(const v1::PauseOutboxRequest& request, Session* session) {
  v1::PauseOutboxResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Outbox(session)->PauseOutbox(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  if (session->json()) {
    JsonLine line;
    line.Bool("paused", request.paused());
    line.Bool("changed", response.changed());
    session->Print(line.Finish());
  } else {
    session->Print(fmt::format("{}{}\n", request.paused() ? "paused" : "running",
                               response.changed() ? "" : " already"));
  }
  return kExitOk;
}

int RunPurge(v1::PurgeOutboxRequest request, const std::string& before, Session* session) {
  const auto time = ParseTimeOption("--before", before);
  if (!time.ok()) return ReportUsage(MessageOf(time.status()), session);
  *request.mutable_published_before() = *time;
  std::int64_t purged = 0;
  v1::PurgeOutboxResponse response;
  do {
    const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
      return Outbox(session)->PurgeOutbox(context, request, &response);
    });
    if (!status.ok()) {
      if (purged > 0) PrintCounts({{"purged", purged}}, session);
      return ReportFailure(FailureOf(status), session);
    }
    purged += response.purged();
  } while (response.has_more() && !session->interrupt().raised());
  return PrintCounts({{"purged", purged}}, session);
}

void AddTenant(CLI::App* command, std::string* tenant) {
  command->add_option("--tenant", *tenant, "tenant (a UUID) that has a store of its own");
}

void AddWorkerCommands(CLI::App* outbox, Action* action) {
  const auto claim = std::make_shared<v1::ClaimOutboxRequest>();
  CLI::App* command = outbox->add_subcommand("claim", "Get entries to publish, for a while.");
  command->add_option("SINK", *claim->mutable_sink(), "the sink")->required();
  command->add_option("--worker", *claim->mutable_worker(), "who claims")->required();
  AddNumber(command, "--limit", "most entries; 0: 100", [claim](std::int64_t value) {
    claim->set_limit(static_cast<std::int32_t>(std::min<std::int64_t>(value, INT32_MAX)));
  });
  command->add_option_function<double>(
      "--lease", [claim](double seconds) { SetSeconds(seconds, claim->mutable_lease()); },
      "for how many seconds; default 30");
  AddTenant(command, claim->mutable_tenant_id());
  command->callback(
      [=] { *action = [=](Session& session) { return RunClaim(*claim, &session); }; });

  const auto complete = std::make_shared<v1::CompleteOutboxRequest>();
  const auto ids = std::make_shared<std::vector<std::string>>();
  command = outbox->add_subcommand("complete", "Mark entries of a claim published.");
  command->add_option("TOKEN", *complete->mutable_claim_token(), "the claim's token")->required();
  command->add_option("ID", *ids, "the entries' ids")->required();
  AddTenant(command, complete->mutable_tenant_id());
  command->callback([=] {
    complete->mutable_ids()->Assign(ids->begin(), ids->end());
    *action = [=](Session& session) { return RunComplete(*complete, &session); };
  });

  const auto fail = std::make_shared<FailOptions>();
  command = outbox->add_subcommand("fail", "Count a failed attempt for entries of a claim.");
  command->add_option("TOKEN", *fail->request.mutable_claim_token(), "the claim's token")
      ->required();
  command->add_option("ID", fail->ids, "the entries' ids")->required();
  command->add_option("--error", fail->error, "why")->required();
  command->add_option_function<double>(
      "--retry-delay",
      [fail](double seconds) { SetSeconds(seconds, fail->request.mutable_retry_delay()); },
      "not tried again for so many seconds; default: the sink's backoff");
  AddTenant(command, fail->request.mutable_tenant_id());
  command->callback([=] { *action = [=](Session& session) { return RunFail(*fail, &session); }; });
}

void AddLookCommands(CLI::App* outbox, Action* action) {
  const auto list = std::make_shared<ListOptions>();
  CLI::App* command = outbox->add_subcommand("list", "List entries, the oldest position first.");
  list->filter.AddTo(command, {"pending", "claimed", "published", "failed"});
  AddNumber(command, "--limit", "most entries to list; 0: no limit",
            [list](std::int64_t value) { list->limit = value; });
  command->callback([=] { *action = [=](Session& session) { return RunList(*list, &session); }; });

  const auto stats = std::make_shared<v1::GetOutboxStatsRequest>();
  command = outbox->add_subcommand("stats", "Tell of each sink what waits and who publishes.");
  command->add_option("--sink", *stats->mutable_sink(), "only this sink");
  AddTenant(command, stats->mutable_tenant_id());
  command->callback(
      [=] { *action = [=](Session& session) { return RunStats(*stats, &session); }; });
}

void AddChangeCommands(CLI::App* outbox, Action* action) {
  const auto retry = std::make_shared<RetryOptions>();
  CLI::App* command =
      outbox->add_subcommand("retry", "Make failed entries pending again, and pending ones due.");
  command->add_option("ID", retry->ids, "the entries' ids");
  command->add_flag("--all", retry->all, "every entry");
  retry->filter.AddTo(command, {"pending", "failed"});
  command->callback(
      [=] { *action = [=](Session& session) { return RunRetry(*retry, &session); }; });

  for (const bool paused : {true, false}) {
    const auto pause = std::make_shared<v1::PauseOutboxRequest>();
    pause->set_paused(paused);
    command = outbox->add_subcommand(
        paused ? "pause" : "resume",
        paused ? "Stop the relay of a sink, in all daemons." : "Let the relay of a sink go on.");
    command->add_option("SINK", *pause->mutable_sink(), "the sink")->required();
    AddTenant(command, pause->mutable_tenant_id());
    command->callback(
        [=] { *action = [=](Session& session) { return RunPause(*pause, &session); }; });
  }

  const auto purge = std::make_shared<v1::PurgeOutboxRequest>();
  const auto before = std::make_shared<std::string>();
  command = outbox->add_subcommand("purge", "Delete entries that were published long ago.");
  command->add_option("--before", *before, "published before this time")->required();
  command->add_option("--sink", *purge->mutable_sink(), "only of this sink");
  AddTenant(command, purge->mutable_tenant_id());
  command->callback(
      [=] { *action = [=](Session& session) { return RunPurge(*purge, *before, &session); }; });
}

}  // namespace

void AddOutboxCommand(CLI::App* app, Action* action) {
  CLI::App* const outbox = app->add_subcommand("outbox", "Events on their way to brokers.");
  outbox->require_subcommand(1);
  outbox->fallthrough();
  AddLookCommands(outbox, action);
  AddWorkerCommands(outbox, action);
  AddChangeCommands(outbox, action);
}

}  // namespace eventstore::cli
