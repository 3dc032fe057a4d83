// payload-indexes: what makes queries of payloads fast.
#include <fmt/format.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "eventstore/v1/admin_service.grpc.pb.h"

#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/json.h"
#include "client/cli/retry.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

std::unique_ptr<v1::AdminService::Stub> Admin(Session* session) {
  return v1::AdminService::NewStub(session->channel());
}

std::string StateOf(const v1::PayloadIndex& index) {
  switch (index.state()) {
    case v1::PAYLOAD_INDEX_STATE_BUILDING:
      return "building";
    case v1::PAYLOAD_INDEX_STATE_READY:
      return "ready";
    case v1::PAYLOAD_INDEX_STATE_FAILED:
      return "failed";
    case v1::PAYLOAD_INDEX_STATE_DROPPING:
      return "dropping";
    default:
      return fmt::format("state {}", static_cast<int>(index.state()));
  }
}

std::string JsonOf(const v1::PayloadIndex& index) {
  JsonLine line;
  line.Text("name", index.name());
  line.TextUnlessEmpty("field", index.field());
  line.Text("state", StateOf(index));
  line.TextUnlessEmpty("error", index.error());
  line.Number("partitions_done", index.partitions_done());
  line.Number("partitions_total", index.partitions_total());
  line.Number("blocks_done", index.blocks_done());
  line.Number("blocks_total", index.blocks_total());
  line.Time("created_at", index.created_at());
  return line.Finish();
}

void AddRow(const v1::PayloadIndex& index, Table* table) {
  const std::string blocks =
      index.blocks_total() > 0
          ? fmt::format("{}%", 100 * index.blocks_done() / index.blocks_total())
          : "-";
  table->Add({Escape(index.name()), index.field().empty() ? "(contains)" : Escape(index.field()),
              StateOf(index),
              fmt::format("{}/{}", index.partitions_done(), index.partitions_total()), blocks,
              index.error().empty() ? "-" : Escape(index.error())});
}

template <typename Indexes>
int PrintIndexes(const Indexes& indexes, Session* session) {
  Table table({"NAME", "FIELD", "STATE", "PARTITIONS", "CURRENT", "ERROR"});
  std::string text;
  for (const v1::PayloadIndex& index : indexes) {
    if (session->json()) {
      text += JsonOf(index);
    } else {
      AddRow(index, &table);
    }
  }
  if (!session->json()) text = table.Take();
  session->Print(text);
  return kExitOk;
}

int RunList(const v1::ListPayloadIndexesRequest& request, Session* session) {
  v1::ListPayloadIndexesResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Admin(session)->ListPayloadIndexes(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  return PrintIndexes(response.indexes(), session);
}

int RunCreate(const v1::CreatePayloadIndexRequest& request, Session* session) {
  v1::CreatePayloadIndexResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Admin(session)->CreatePayloadIndex(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  return PrintIndexes(std::initializer_list<v1::PayloadIndex>{response.index()}, session);
}

int RunDrop(const v1::DropPayloadIndexRequest& request, Session* session) {
  v1::DropPayloadIndexResponse response;
  const grpc::Status status = Call(session, [&](grpc::ClientContext* context) {
    return Admin(session)->DropPayloadIndex(context, request, &response);
  });
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  return PrintIndexes(std::initializer_list<v1::PayloadIndex>{response.index()}, session);
}

// A command that makes one request of this type.
template <typename Request>
std::pair<CLI::App*, std::shared_ptr<Request>> AddOne(CLI::App* indexes, Action* action,
                                                      const char* name, const char* description,
                                                      int (*run)(const Request&, Session*)) {
  auto request = std::make_shared<Request>();
  CLI::App* const command = indexes->add_subcommand(name, description);
  command->add_option("--tenant", *request->mutable_tenant_id(),
                      "tenant (a UUID) that has a store of its own");
  command->callback([=] { *action = [=](Session& session) { return run(*request, &session); }; });
  return {command, request};
}

}  // namespace

void AddPayloadIndexesCommand(CLI::App* app, Action* action) {
  CLI::App* const indexes =
      app->add_subcommand("payload-indexes", "Indexes over JSON payloads, for query.");
  indexes->require_subcommand(1);
  indexes->fallthrough();
  AddOne<v1::ListPayloadIndexesRequest>(indexes, action, "list", "List them with their progress.",
                                        RunList);
  {
    const auto [command, request] = AddOne<v1::CreatePayloadIndexRequest>(
        indexes, action, "create", "Start building one; list tells when it is ready.", RunCreate);
    command->add_option("NAME", *request->mutable_name(), "its name")->required();
    command->add_option("FIELD", *request->mutable_field(),
                        "path of a field, for --equals; without it the index is for --contains");
  }
  {
    const auto [command, request] = AddOne<v1::DropPayloadIndexRequest>(
        indexes, action, "drop", "Start dropping one.", RunDrop);
    command->add_option("NAME", *request->mutable_name(), "its name")->required();
  }
}

}  // namespace eventstore::cli
