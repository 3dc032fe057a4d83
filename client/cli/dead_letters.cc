// dead-letters: events that readers could not process.
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "eventstore/v1/dead_letter_service.grpc.pb.h"

#include "client/cli/commands.h"
#include "client/cli/dead_letter_output.h"
#include "client/cli/dead_letter_selection.h"
#include "client/cli/failure.h"
#include "client/cli/fields.h"
#include "client/cli/json.h"
#include "client/cli/listing.h"
#include "client/cli/parse.h"
#include "client/cli/retry.h"
#include "client/cli/text.h"
#include "client/cli/watch.h"

namespace eventstore::cli {
namespace {

using Stub = v1::DeadLetterService::Stub;

std::unique_ptr<Stub> DeadLetters(Session* session) {
  return v1::DeadLetterService::NewStub(session->channel());
}

struct ListOptions {
  DeadLetterOptions filter;
  std::string tenant;
  std::int64_t limit = 0;
};

int RunList(const ListOptions& options, Session* session) {
  v1::ListDeadLettersRequest request;
  if (const auto status = options.filter.ToFilter(request.mutable_filter()); !status.ok()) {
    return ReportUsage(MessageOf(status), session);
  }
  request.set_tenant_id(options.tenant);
  const auto stub = DeadLetters(session);
  Table table(
      {"ID", "PROJECTION", "EVENT TYPE", "STREAM", "STATUS", "RETRIES", "LAST FAILED", "ERROR"});
  const Listed listed =
      PrintPages(stub.get(), &Stub::ListDeadLetters, request, options.limit, &table, session,
                 [&](const v1::ListDeadLettersResponse& page, std::string* text) {
                   for (const v1::DeadLetter& entry : page.dead_letters()) {
                     if (session->json()) {
                       *text += JsonOfDeadLetter(entry);
                       continue;
                     }
                     table.Add({std::to_string(entry.id()), Escape(entry.projection_name()),
                                Escape(entry.event_type()),
                                entry.has_stream() ? FormatStream(entry.stream()) : "-",
                                NameOfStatus(entry.status()), std::to_string(entry.retry_count()),
                                FormatTime(entry.last_failed_at()), Escape(entry.error_message())});
                   }
                   return page.dead_letters_size();
                 });
  return FinishListing(listed, "entry", "entries", session);
}

int RunGet(const v1::GetDeadLetterRequest& request, Session* session) {
  v1::GetDeadLetterResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return DeadLetters(session)->GetDeadLetter(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  PrintDeadLetter(response.dead_letter(), session);
  return kExitOk;
}

int RunAdd(const v1::AddDeadLetterRequest& request, Session* session) {
  v1::AddDeadLetterResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return DeadLetters(session)->AddDeadLetter(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  PrintDeadLetter(response.dead_letter(), session);
  return kExitOk;
}

// How many entries were changed, for people or programs.
int PrintChanged(std::string_view what, std::int64_t count, Session* session) {
  if (session->json()) {
    JsonLine line;
    line.Number(what, count);
    session->Print(line.Finish());
  } else {
    session->Print(fmt::format("{} {}\n", count, what));
  }
  return kExitOk;
}

// Calls `step` until all of the entries were looked at. An interrupt ends it between two steps.
template <typename Request>
int ChangeAll(
    const DeadLetterOptions& selection, Request request, std::string_view what, Session* session,
    const std::function<grpc::Status(grpc::ClientContext*, Request*, std::int64_t*)>& step) {
  if (const auto status = selection.ToProto(request.mutable_selection()); !status.ok()) {
    return ReportUsage(MessageOf(status), session);
  }
  std::int64_t changed = 0;
  do {
    std::int64_t count = 0;
    const grpc::Status status = Call(
        session, [&](grpc::ClientContext* context) { return step(context, &request, &count); });
    if (!status.ok()) {
      if (changed > 0) PrintChanged(what, changed, session);
      return ReportFailure(FailureOf(status), session);
    }
    changed += count;
  } while (request.after_id() > 0 && !session->interrupt().raised());
  return PrintChanged(what, changed, session);
}

int RunRetry(const DeadLetterOptions& selection, const std::string& tenant, Session* session) {
  v1::RetryDeadLettersRequest first;
  first.set_tenant_id(tenant);
  return ChangeAll<v1::RetryDeadLettersRequest>(
      selection, first, "retrying", session,
      [session](grpc::ClientContext* context, v1::RetryDeadLettersRequest* request,
                std::int64_t* count) {
        v1::RetryDeadLettersResponse response;
        const grpc::Status status =
            DeadLetters(session)->RetryDeadLetters(context, *request, &response);
        *count = response.retried();
        request->set_after_id(response.next_after_id());
        return status;
      });
}

int RunResolve(const DeadLetterOptions& selection, const v1::ResolveDeadLettersRequest& first,
               Session* session) {
  return ChangeAll<v1::ResolveDeadLettersRequest>(
      selection, first, "resolved", session,
      [session](grpc::ClientContext* context, v1::ResolveDeadLettersRequest* request,
                std::int64_t* count) {
        v1::ResolveDeadLettersResponse response;
        const grpc::Status status =
            DeadLetters(session)->ResolveDeadLetters(context, *request, &response);
        *count = response.resolved();
        request->set_after_id(response.next_after_id());
        return status;
      });
}

grpc::Status ShowStats(const v1::GetDeadLetterStatsRequest& request, Session* session) {
  v1::GetDeadLetterStatsResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return DeadLetters(session)->GetDeadLetterStats(context, request, &response);
  });
  if (!status.ok()) return status;
  Table table({"PROJECTION", "FAILED", "RETRYING", "RESOLVED", "OLDEST", "NEWEST"});
  std::string text;
  for (const v1::DeadLetterStats& stats : response.stats()) {
    if (!session->json()) {
      table.Add({Escape(stats.projection_name()), std::to_string(stats.failed()),
                 std::to_string(stats.retrying()), std::to_string(stats.resolved()),
                 TimeOrNone(stats.has_oldest_failed_at(), stats.oldest_failed_at()),
                 TimeOrNone(stats.has_newest_failed_at(), stats.newest_failed_at())});
      continue;
    }
    JsonLine line;
    line.Text("projection_name", stats.projection_name());
    line.Number("failed", stats.failed());
    line.Number("retrying", stats.retrying());
    line.Number("resolved", stats.resolved());
    if (stats.has_oldest_failed_at()) line.Time("oldest_failed_at", stats.oldest_failed_at());
    if (stats.has_newest_failed_at()) line.Time("newest_failed_at", stats.newest_failed_at());
    text += line.Finish();
  }
  if (!session->json()) text = table.Take();
  session->Print(text);
  if (response.truncated()) session->Notice("there are more: these figures are lower bounds");
  return grpc::Status::OK;
}

int RunPurge(v1::PurgeDeadLettersRequest request, const std::string& before, Session* session) {
  const auto time = ParseTimeOption("--before", before);
  if (!time.ok()) return ReportUsage(MessageOf(time.status()), session);
  *request.mutable_resolved_before() = *time;
  std::int64_t purged = 0;
  v1::PurgeDeadLettersResponse response;
  do {
    const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
      return DeadLetters(session)->PurgeDeadLetters(context, request, &response);
    });
    if (!status.ok()) {
      if (purged > 0) PrintChanged("purged", purged, session);
      return ReportFailure(FailureOf(status), session);
    }
    purged += response.purged();
  } while (response.has_more() && !session->interrupt().raised());
  return PrintChanged("purged", purged, session);
}

void AddTenant(CLI::App* command, std::string* tenant) {
  command->add_option("--tenant", *tenant, "tenant (a UUID) that has a store of its own");
}

void AddLookCommands(CLI::App* letters, Action* action) {
  const auto list = std::make_shared<ListOptions>();
  CLI::App* command = letters->add_subcommand("list", "List entries, the oldest first.");
  list->filter.AddFilterTo(command);
  AddNumber(command, "--limit", "most entries to list; 0: no limit",
            [list](std::int64_t value) { list->limit = value; });
  AddTenant(command, &list->tenant);
  command->callback([=] { *action = [=](Session& session) { return RunList(*list, &session); }; });

  const auto get = std::make_shared<v1::GetDeadLetterRequest>();
  command = letters->add_subcommand("get", "Show one entry with its event's data.");
  AddNumber(command, "ID", "the entry's number", [get](std::int64_t value) {
    get->set_id(value);
  })->required();
  AddTenant(command, get->mutable_tenant_id());
  command->callback([=] { *action = [=](Session& session) { return RunGet(*get, &session); }; });

  for (const bool watch : {false, true}) {
    const auto stats = std::make_shared<v1::GetDeadLetterStatsRequest>();
    const auto options = std::make_shared<WatchOptions>();
    command = letters->add_subcommand(watch ? "watch" : "stats",
                                      watch ? "Count them again and again until Ctrl-C."
                                            : "Count them by projection and status.");
    command->add_option("--projection", *stats->mutable_projection_name(),
                        "only of this projection");
    AddTenant(command, stats->mutable_tenant_id());
    if (watch) options->AddTo(command);
    command->callback([=] {
      *action = [=](Session& session) {
        const auto show = [&] { return ShowStats(*stats, &session); };
        if (watch) return Watch(*options, &session, show);
        const grpc::Status status = show();
        return status.ok() ? static_cast<int>(kExitOk) : ReportFailure(FailureOf(status), &session);
      };
    });
  }
}

void AddChangeCommands(CLI::App* letters, Action* action) {
  const auto add = std::make_shared<v1::AddDeadLetterRequest>();
  CLI::App* command = letters->add_subcommand("add", "Set an event aside for a projection.");
  command->add_option("EVENT_ID", *add->mutable_event_id(), "the event, a UUID")->required();
  command->add_option("PROJECTION", *add->mutable_projection_name(), "the projection")->required();
  command->add_option("--message", *add->mutable_error_message(), "why it failed")->required();
  command->add_option("--stacktrace", *add->mutable_error_stacktrace(), "where it failed");
  AddTenant(command, add->mutable_tenant_id());
  command->callback([=] { *action = [=](Session& session) { return RunAdd(*add, &session); }; });

  const auto retried = std::make_shared<DeadLetterOptions>();
  const auto tenant = std::make_shared<std::string>();
  command = letters->add_subcommand("retry", "Ask for failed entries to be processed again.");
  retried->AddTo(command);
  AddTenant(command, tenant.get());
  command->callback(
      [=] { *action = [=](Session& session) { return RunRetry(*retried, *tenant, &session); }; });

  const auto resolved = std::make_shared<DeadLetterOptions>();
  const auto resolve = std::make_shared<v1::ResolveDeadLettersRequest>();
  command = letters->add_subcommand("resolve", "Close entries, and say who did and why.");
  resolved->AddTo(command);
  command->add_option("--by", *resolve->mutable_resolved_by(), "who resolves them")->required();
  command->add_option("--note", *resolve->mutable_note(), "why they are done with");
  AddTenant(command, resolve->mutable_tenant_id());
  command->callback([=] {
    *action = [=](Session& session) { return RunResolve(*resolved, *resolve, &session); };
  });

  const auto purge = std::make_shared<v1::PurgeDeadLettersRequest>();
  const auto before = std::make_shared<std::string>();
  command = letters->add_subcommand("purge", "Delete entries that were resolved long ago.");
  command->add_option("--before", *before, "resolved before this time")->required();
  command->add_option("--projection", *purge->mutable_projection_name(), "only of this projection");
  AddTenant(command, purge->mutable_tenant_id());
  command->callback(
      [=] { *action = [=](Session& session) { return RunPurge(*purge, *before, &session); }; });
}

}  // namespace

void AddDeadLettersCommand(CLI::App* app, Action* action) {
  CLI::App* const letters =
      app->add_subcommand("dead-letters", "Events that readers could not process.");
  letters->require_subcommand(1);
  letters->fallthrough();
  AddLookCommands(letters, action);
  AddChangeCommands(letters, action);
}

}  // namespace eventstore::cli
