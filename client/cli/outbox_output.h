// How an outbox entry and a sink's figures are shown.
#ifndef EVENTSTORE_CLIENT_CLI_OUTBOX_OUTPUT_H_
#define EVENTSTORE_CLIENT_CLI_OUTBOX_OUTPUT_H_

#include <string>

#include "eventstore/v1/outbox_service.pb.h"

#include "client/cli/session.h"
#include "client/cli/text.h"

namespace eventstore::cli {

[[nodiscard]] std::string NameOfStatus(v1::OutboxStatus status);

// One line for programs, with the event; `claim_token` unless it is empty.
[[nodiscard]] std::string JsonOfOutboxEntry(const v1::OutboxEntry& entry,
                                            const std::string& claim_token);
[[nodiscard]] std::string JsonOfOutboxStats(const v1::OutboxStats& stats);

// Rows for people.
[[nodiscard]] Table OutboxTable();
void AddOutboxRow(const v1::OutboxEntry& entry, Table* table);
[[nodiscard]] Table OutboxStatsTable();
void AddOutboxStatsRow(const v1::OutboxStats& stats, Table* table);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_OUTBOX_OUTPUT_H_
