// Prints events as they arrive.
#ifndef EVENTSTORE_CLIENT_CLI_EVENT_PRINTER_H_
#define EVENTSTORE_CLIENT_CLI_EVENT_PRINTER_H_

#include <cstdint>

#include "eventstore/v1/types.pb.h"

#include "client/cli/session.h"
#include "client/cli/text.h"

namespace eventstore::cli {

// Rows in aligned columns, or JSON lines. Owned by a command, one thread; the session outlives it.
class EventPrinter {
 public:
  enum class Columns { kOneStream, kWholeStore };

  EventPrinter(Columns columns, Session* session);

  // Prints the batch's first `limit` events (0: all). False if the output
  // cannot be written any more.
  [[nodiscard]] bool Print(const v1::EventBatch& batch, std::int64_t limit);

  // How many events were printed.
  [[nodiscard]] std::int64_t printed() const { return printed_; }

 private:
  Session* const session_;
  const Columns columns_;
  Table table_;
  std::int64_t printed_ = 0;
};

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_EVENT_PRINTER_H_
