#include "server/sinks/nats_subject.h"

#include <absl/strings/str_cat.h>

namespace eventstore::sinks {
namespace {

std::string SubjectPart(std::string_view value) {
  std::string part;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte == 0x7f || c == '*' || c == '>' || c == '%') {
      absl::StrAppend(&part, "%", absl::Hex(byte, absl::kZeroPad2));
    } else {
      part += c;
    }
  }
  return part;
}

}  // namespace

std::string NatsSubject(const Template& subject, const v1::Event& event) {
  std::string text = subject.Expand(event, SubjectPart);
  if (text.front() == '.' || text.back() == '.' || text.find("..") != std::string::npos) return "";
  return text;
}

}  // namespace eventstore::sinks
