#include "client/cli/snapshot_output.h"

#include <absl/strings/escaping.h>

#include <optional>

#include "client/cli/fields.h"
#include "client/cli/json.h"
#include "client/cli/text.h"
#include "server/core/validation.h"

namespace eventstore::cli {

std::string JsonOfSnapshot(const v1::Snapshot& snapshot, bool with_state) {
  JsonLine line;
  line.Stream(snapshot.stream());
  line.Number("version", snapshot.version());
  line.Number("schema_version", snapshot.schema_version());
  line.Text("content_type", snapshot.content_type());
  line.Number("size_bytes", snapshot.size_bytes());
  line.Time("created_at", snapshot.created_at());
  if (with_state) {
    std::optional<std::string> json;
    if (IsJsonContentType(snapshot.content_type())) json = CompactJson(snapshot.state());
    if (json.has_value()) {
      line.Raw("state", *json);
    } else {
      line.Text("state_base64", absl::Base64Escape(snapshot.state()));
    }
  }
  return line.Finish();
}

void PrintSnapshot(const v1::Snapshot& snapshot, Session* session) {
  if (session->json()) {
    session->Print(JsonOfSnapshot(snapshot, /*with_state=*/true));
    return;
  }
  PrintFields({{"stream", FormatStream(snapshot.stream())},
               {"version", std::to_string(snapshot.version())},
               {"schema version", std::to_string(snapshot.schema_version())},
               {"content type", Escape(snapshot.content_type())},
               {"size", std::to_string(snapshot.size_bytes())},
               {"saved", FormatTime(snapshot.created_at())},
               {"state", FormatPayload(snapshot.state(), snapshot.content_type())}},
              session);
}

}  // namespace eventstore::cli
