// snapshots: saved states of streams.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "eventstore/v1/snapshot_service.grpc.pb.h"

#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/json.h"
#include "client/cli/listing.h"
#include "client/cli/retry.h"
#include "client/cli/snapshot_output.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

using Stub = v1::SnapshotService::Stub;

std::unique_ptr<Stub> Snapshots(Session* session) {
  return v1::SnapshotService::NewStub(session->channel());
}

struct ListOptions {
  v1::ListSnapshotsRequest request;
  std::int64_t limit = 0;
};

struct GetOptions {
  v1::GetSnapshotRequest request;
  bool raw = false;
};

struct SaveOptions {
  v1::SaveSnapshotRequest request;
  std::string state;
  std::string file;
};

struct DeleteOptions {
  v1::StreamId stream;
  std::int32_t schema_version_below = 0;
};

int RunList(const ListOptions& options, Session* session) {
  const auto stub = Snapshots(session);
  Table table({"STREAM", "VERSION", "SCHEMA", "SIZE", "CONTENT TYPE", "SAVED"});
  const Listed listed = PrintPages(
      stub.get(), &Stub::ListSnapshots, options.request, options.limit, &table, session,
      [&](const v1::ListSnapshotsResponse& page, std::string* text) {
        for (const v1::Snapshot& snapshot : page.snapshots()) {
          if (session->json()) {
            *text += JsonOfSnapshot(snapshot, /*with_state=*/false);
            continue;
          }
          table.Add({FormatStream(snapshot.stream()), std::to_string(snapshot.version()),
                     std::to_string(snapshot.schema_version()),
                     std::to_string(snapshot.size_bytes()), Escape(snapshot.content_type()),
                     FormatTime(snapshot.created_at())});
        }
        return page.snapshots_size();
      });
  return FinishListing(listed, "snapshot", "snapshots", session);
}

int RunGet(const GetOptions& options, Session* session) {
  v1::GetSnapshotResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Snapshots(session)->GetSnapshot(context, options.request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  if (options.raw) {
    session->Print(response.snapshot().state());
  } else {
    PrintSnapshot(response.snapshot(), session);
  }
  return kExitOk;
}

// Takes the state from where the options say. Returns "" or what is wrong.
std::string TakeState(const SaveOptions& options, Session* session, std::string* state) {
  if (options.file.empty() == options.state.empty()) {
    return "give either STATE, or --file F (- is stdin)";
  }
  *state = options.state;
  if (options.file.empty()) return "";
  std::ifstream file;
  std::istream* in = session->console().in;
  if (options.file != "-") {
    file.open(options.file, std::ios::binary);
    in = &file;
    // Opening a folder succeeds; reading it is what fails.
    if (!file.is_open() || (file.peek() == std::ifstream::traits_type::eof() && !file.eof())) {
      return fmt::format("cannot read {}: {}", options.file, std::strerror(errno));
    }
  }
  state->assign(std::istreambuf_iterator<char>(*in), {});
  return "";
}

int RunSave(const SaveOptions& options, Session* session) {
  v1::SaveSnapshotRequest request = options.request;
  const std::string wrong = TakeState(options, session, request.mutable_state());
  if (!wrong.empty()) return ReportUsage(wrong, session);
  v1::SaveSnapshotResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Snapshots(session)->SaveSnapshot(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  if (session->json()) {
    JsonLine line;
    line.Bool("saved", response.saved());
    line.Number("newest_version", response.newest_version());
    session->Print(line.Finish());
  } else if (response.saved()) {
    session->Print(fmt::format("saved; the newest is of version {}\n", response.newest_version()));
  } else {
    session->Notice(fmt::format("not saved: the newest is of version {} already; --keep keeps more",
                                response.newest_version()));
  }
  return response.saved() ? kExitOk : kExitFailed;
}

int RunDelete(const DeleteOptions& options, Session* session) {
  v1::DeleteSnapshotsRequest request;
  request.set_schema_version_below(options.schema_version_below);
  if (!options.stream.aggregate_id().empty()) {
    *request.mutable_stream() = options.stream;
  } else if (options.schema_version_below > 0) {
    request.set_aggregate_type(options.stream.aggregate_type());
    request.set_tenant_id(options.stream.tenant_id());
  } else {
    return ReportUsage("give the ID too, or --schema-version-below for all old ones of the type",
                       session);
  }
  v1::DeleteSnapshotsResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Snapshots(session)->DeleteSnapshots(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  if (session->json()) {
    JsonLine line;
    line.Number("deleted", response.deleted());
    session->Print(line.Finish());
  } else {
    session->Print(fmt::format("{} deleted\n", response.deleted()));
  }
  return kExitOk;
}

// TYPE and ID of a stream, and its tenant.
void AddStream(CLI::App* command, v1::StreamId* stream, bool id_required) {
  command->add_option("TYPE", *stream->mutable_aggregate_type(), "aggregate type")->required();
  command->add_option("ID", *stream->mutable_aggregate_id(), "aggregate id")->required(id_required);
  command->add_option("--tenant", *stream->mutable_tenant_id(), "tenant, a UUID");
}

void AddInt32(CLI::App* command, const std::string& name, const std::string& description,
              std::function<void(std::int32_t)> set) {
  command->add_option_function<std::int32_t>(name, std::move(set), description)
      ->check(CLI::NonNegativeNumber);
}

void AddList(CLI::App* snapshots, Action* action) {
  const auto options = std::make_shared<ListOptions>();
  CLI::App* const command = snapshots->add_subcommand("list", "List them, without their states.");
  command->add_option("TYPE", *options->request.mutable_aggregate_type(), "only of this type");
  command->add_option("ID", *options->request.mutable_aggregate_id(), "only of this aggregate");
  command->add_option("--tenant", *options->request.mutable_tenant_id(), "tenant, a UUID");
  AddNumber(command, "--limit", "most snapshots to list; 0: no limit",
            [options](std::int64_t value) { options->limit = value; });
  command->callback(
      [=] { *action = [=](Session& session) { return RunList(*options, &session); }; });
}

void AddGet(CLI::App* snapshots, Action* action) {
  const auto options = std::make_shared<GetOptions>();
  CLI::App* const command = snapshots->add_subcommand("get", "Show a stream's newest one.");
  v1::GetSnapshotRequest* const request = &options->request;
  AddStream(command, request->mutable_stream(), /*id_required=*/true);
  AddNumber(command, "--max-version", "only one of this version or an older one",
            [request](std::int64_t value) { request->set_max_version(value); });
  AddInt32(command, "--schema-version", "only one of this schema version",
           [request](std::int32_t value) { request->set_schema_version(value); });
  command->add_flag("--raw", options->raw, "print the state's bytes and nothing else");
  command->callback(
      [=] { *action = [=](Session& session) { return RunGet(*options, &session); }; });
}

void AddSave(CLI::App* snapshots, Action* action) {
  const auto options = std::make_shared<SaveOptions>();
  CLI::App* const command = snapshots->add_subcommand(
      "save", "Save a stream's state at a version; exit code 1 if it was not saved.");
  v1::SaveSnapshotRequest* const request = &options->request;
  AddStream(command, request->mutable_stream(), /*id_required=*/true);
  AddNumber(command, "VERSION", "the version of the last event that is part of the state",
            [request](std::int64_t value) { request->set_version(value); })
      ->required();
  command->add_option("STATE", options->state, "the state");
  command->add_option("--file", options->file, "read the state from this file, or stdin for -");
  AddInt32(command, "--schema-version", "version of the state's schema; 1 if not given",
           [request](std::int32_t value) { request->set_schema_version(value); });
  command->add_option("--content-type", *request->mutable_content_type(),
                      "media type of the state; application/json if not given");
  AddInt32(command, "--keep", "how many snapshots of the stream to keep; 1 if not given",
           [request](std::int32_t value) { request->set_keep_versions(value); });
  command->callback(
      [=] { *action = [=](Session& session) { return RunSave(*options, &session); }; });
}

void AddDelete(CLI::App* snapshots, Action* action) {
  const auto options = std::make_shared<DeleteOptions>();
  CLI::App* const command = snapshots->add_subcommand(
      "delete", "Delete those of a stream, or those of a type with an old schema.");
  AddStream(command, &options->stream, /*id_required=*/false);
  AddInt32(command, "--schema-version-below", "only those whose schema version is below",
           [options](std::int32_t value) { options->schema_version_below = value; });
  command->callback(
      [=] { *action = [=](Session& session) { return RunDelete(*options, &session); }; });
}

}  // namespace

void AddSnapshotsCommand(CLI::App* app, Action* action) {
  CLI::App* const snapshots = app->add_subcommand("snapshots", "Saved states of streams.");
  snapshots->require_subcommand(1);
  snapshots->fallthrough();
  AddList(snapshots, action);
  AddGet(snapshots, action);
  AddSave(snapshots, action);
  AddDelete(snapshots, action);
}

}  // namespace eventstore::cli
