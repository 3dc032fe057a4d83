#include "server/pg/errors.h"

#include <absl/strings/cord.h>
#include <absl/strings/string_view.h>

#include <string>
#include <utility>

#include "server/telemetry/logging.h"

namespace eventstore::pg {
namespace {

// Where the detail lies inside a status. Its form never leaves the process: outcome, two flags, the
// SQLSTATE, a slash, and the constraint's name, which may hold any character.
constexpr char kPayloadUrl[] = "eventstore.pg.Error";

constexpr char kFlagOff = '0';
constexpr char kFlagOn = '1';
constexpr char kSeparator = '/';

std::string Encode(const Error& error) {
  std::string text;
  text += static_cast<char>('0' + static_cast<int>(error.outcome));
  text += error.connection_lost ? kFlagOn : kFlagOff;
  text += error.timed_out ? kFlagOn : kFlagOff;
  text += error.sqlstate;
  text += kSeparator;
  text += error.constraint;
  return text;
}

}  // namespace

absl::Status MakeStatus(absl::StatusCode code, std::string_view message, const Error& error) {
  std::string text(message);
  const std::string suffix = " (SQLSTATE " + error.sqlstate + ")";
  // A status that is made from another one's message says it once.
  if (!error.sqlstate.empty() && !text.ends_with(suffix)) text += suffix;
  absl::Status status(code, text);
  status.SetPayload(kPayloadUrl, absl::Cord(Encode(error)));
  return status;
}

std::optional<Error> ErrorOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return std::nullopt;
  const std::string text(*payload);
  const std::size_t separator = text.find(kSeparator);
  if (separator == std::string::npos || separator < 3) return std::nullopt;
  Error error;
  error.outcome = static_cast<Outcome>(text[0] - '0');
  error.connection_lost = text[1] == kFlagOn;
  error.timed_out = text[2] == kFlagOn;
  error.sqlstate = text.substr(3, separator - 3);
  error.constraint = text.substr(separator + 1);
  return error;
}

absl::Status WithConnectionLost(const absl::Status& status) {
  std::optional<Error> error = ErrorOf(status);
  if (!error.has_value()) return status;
  error->connection_lost = true;
  return MakeStatus(absl::StatusCode::kUnavailable, telemetry::MessageOf(status), *error);
}

}  // namespace eventstore::pg
