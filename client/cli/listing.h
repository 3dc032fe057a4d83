// Listings that come in pages.
#ifndef EVENTSTORE_CLIENT_CLI_LISTING_H_
#define EVENTSTORE_CLIENT_CLI_LISTING_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/retry.h"
#include "client/cli/session.h"
#include "client/cli/text.h"

namespace eventstore::cli {

// How far a listing came.
struct Listed {
  grpc::Status status;  // of the last page
  std::int64_t entries = 0;
  bool output_failed = false;
};

// Asks for page after page by the stub's method and prints each as it comes, until there are no
// more, `limit` entries (0: all of them) are printed, or somebody interrupts. `add(page, &text)`
// adds the page's entries to the table, or with --json to the text, and returns their number.
template <typename Stub, typename Request, typename Page, typename Add>
[[nodiscard]] Listed PrintPages(
    Stub* stub, grpc::Status (Stub::*list)(grpc::ClientContext*, const Request&, Page*),
    Request request, std::int64_t limit, Table* table, Session* session, const Add& add) {
  constexpr std::int64_t kPageSize = 1000;  // the server's default limit
  Listed listed;
  while (!session->interrupt().raised()) {
    const std::int64_t left = limit > 0 ? limit - listed.entries : kPageSize;
    request.set_page_size(static_cast<std::int32_t>(std::min(left, kPageSize)));
    Page page;
    listed.status = Call(session, [&](grpc::ClientContext* context) {
      return (stub->*list)(context, request, &page);
    });
    if (!listed.status.ok()) break;
    std::string text;
    const std::int64_t entries = add(page, &text);
    if (!session->json()) text = table->Take();
    listed.output_failed = !session->Print(text);
    if (listed.output_failed) break;
    listed.entries += entries;
    if (page.next_page_token().empty() || (limit > 0 && listed.entries >= limit)) break;
    request.set_page_token(page.next_page_token());
  }
  return listed;
}

// Ends a command that listed: tells people how many, or what went wrong. Returns the exit code.
[[nodiscard]] inline int FinishListing(const Listed& listed, std::string_view singular,
                                       std::string_view plural, Session* session) {
  if (!listed.status.ok()) return ReportFailure(FailureOf(listed.status), session);
  if (listed.output_failed) return kExitFailed;
  if (session->json()) return kExitOk;
  session->console().out->flush();
  session->Notice(Grouped(listed.entries) + " " +
                  std::string(listed.entries == 1 ? singular : plural));
  return kExitOk;
}

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_LISTING_H_
