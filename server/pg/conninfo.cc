#include "server/pg/conninfo.h"

#include <absl/status/status.h>
#include <absl/strings/numbers.h>
#include <libpq-fe.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "server/pg/connection.h"

namespace eventstore::pg {
namespace {

constexpr char kMask[] = "***";
constexpr int kPortMax = 65'535;

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};
using OptionsPtr = std::unique_ptr<PQconninfoOption, FreeOptions>;

bool IsPasswordKeyword(std::string_view keyword) {
  return keyword == "password" || keyword == "sslpassword";
}

// "postgresql+asyncpg" of "postgresql+asyncpg://...", or nothing if the text is no URI: keywords
// may well have a value with "://" in it.
std::optional<std::string_view> SchemeOf(std::string_view conninfo) {
  const std::size_t end = conninfo.find("://");
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view scheme = conninfo.substr(0, end);
  const bool plain = std::all_of(scheme.begin(), scheme.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '+' || c == '-' || c == '.';
  });
  return plain ? std::optional(scheme) : std::nullopt;
}

bool IsLibpqScheme(std::string_view scheme) {
  return scheme == "postgresql" || scheme == "postgres";
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// SQLAlchemy's drivers call sslmode `ssl`.
std::string LibpqParameter(const std::string& parameter) {
  if (!parameter.starts_with("ssl=")) return parameter;
  const std::string value = parameter.substr(4);
  if (value == "true" || value == "1") return "sslmode=require";
  if (value == "false" || value == "0") return "sslmode=disable";
  return "sslmode=" + value;
}

// The libpq form of a SQLAlchemy-style URI.
std::string LibpqForm(std::string_view uri) {
  const std::size_t rest = uri.find("://");
  const std::size_t query = uri.find('?');
  std::string form = "postgresql";
  form += uri.substr(rest, query == std::string_view::npos ? query : query - rest);
  if (query == std::string_view::npos) return form;
  char separator = '?';
  for (const std::string& parameter : Split(uri.substr(query + 1), '&')) {
    form += std::exchange(separator, '&');
    form += LibpqParameter(parameter);
  }
  return form;
}

// libpq quotes what it could not read, and that may be a part of a password: its text is shown only
// where it is a keyword.
std::string ExplainParseError(std::string_view message) {
  for (const std::string_view known :
       {"invalid connection option \"", "invalid URI query parameter: \""}) {
    const std::size_t begin = message.find(known);
    if (begin == std::string_view::npos) continue;
    const std::string_view keyword = message.substr(begin + known.size());
    const std::string name(keyword.substr(0, keyword.find('"')));
    return fmt::format("it has no parameter \"{}\"{}", name,
                       name == "ssl" ? "; write sslmode=require instead of ssl=require" : "");
  }
  const bool uri = message.find("URI") != std::string_view::npos;
  if (message.find("percent-encod") != std::string_view::npos) {
    return "a % must be followed by two hexadecimal digits; write % itself as %25";
  }
  if (message.find("unterminated quoted string") != std::string_view::npos) {
    return "a quoted value lacks its closing quote";
  }
  if (!uri && message.find("missing \"=\"") != std::string_view::npos) {
    return "a parameter lacks its \"=\"; values with spaces are quoted: password='a b'";
  }
  return uri ? "the URI is malformed; it should be postgresql://user@host:port/database?name=value"
             : "it should be name=value pairs, such as host=db1 dbname=events user=app";
}

std::string MaskUri(std::string_view uri) {
  const std::size_t authority = uri.find("://") + 3;
  std::size_t query = uri.find('?', authority);
  std::size_t at = uri.substr(0, query).rfind('@');
  // A password with an unescaped '?' in it: masking too much is better than too little.
  if (at == std::string_view::npos || at < authority) at = uri.rfind('@');
  std::string masked;
  if (at != std::string_view::npos && at >= authority) {
    if (query < at) query = uri.find('?', at);
    const std::size_t colon = uri.find(':', authority);
    masked = uri.substr(0, std::min(colon, at));
    if (colon < at) masked += std::string(":") + kMask;
    masked += uri.substr(at, query == std::string_view::npos ? query : query - at);
  } else {
    masked = uri.substr(0, query);
  }
  if (query == std::string_view::npos) return masked;
  char separator = '?';
  for (const std::string& parameter : Split(uri.substr(query + 1), '&')) {
    masked += std::exchange(separator, '&');
    const std::string name = parameter.substr(0, parameter.find('='));
    masked += IsPasswordKeyword(name) ? name + "=" + kMask : parameter;
  }
  return masked;
}

// Walks over `name = value` pairs as libpq does; an unreadable text is not shown at all.
std::string MaskKeywords(std::string_view text) {
  constexpr char kUnreadable[] = "(an unreadable connection string)";
  constexpr char kSpaces[] = " \t\r\n\f\v";
  std::string masked;
  for (;;) {
    const std::size_t name_begin = text.find_first_not_of(kSpaces);
    if (name_begin == std::string_view::npos) return masked;
    text.remove_prefix(name_begin);
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) return kUnreadable;
    std::string_view name = text.substr(0, equals);
    const std::size_t name_end = name.find_last_not_of(kSpaces);
    name = name.substr(0, name_end == std::string_view::npos ? 0 : name_end + 1);
    if (name.find_first_of(kSpaces) != std::string_view::npos) return kUnreadable;
    const std::size_t value_begin =
        std::min(text.find_first_not_of(kSpaces, equals + 1), text.size());
    const bool quoted = value_begin < text.size() && text[value_begin] == '\'';
    std::size_t end = value_begin + (quoted ? 1 : 0);
    while (end < text.size() &&
           (quoted ? text[end] != '\''
                   : std::string_view(kSpaces).find(text[end]) == std::string_view::npos)) {
      end += text[end] == '\\' ? 2 : 1;
    }
    if (quoted && end >= text.size()) return kUnreadable;
    end = std::min(end + (quoted ? 1 : 0), text.size());
    if (!masked.empty()) masked += ' ';
    masked += name;
    masked += '=';
    masked += IsPasswordKeyword(name) ? kMask : text.substr(value_begin, end - value_begin);
    text.remove_prefix(end);
  }
}

absl::Status Refuse(std::string_view conninfo, const std::string& why) {
  return MakeStatus(
      absl::StatusCode::kInvalidArgument,
      fmt::format("the connection string \"{}\" is not valid: {}", MaskConninfo(conninfo), why),
      {});
}

absl::StatusOr<OptionsPtr> Parse(std::string_view conninfo) {
  const std::optional<std::string_view> scheme = SchemeOf(conninfo);
  if (scheme.has_value() && !IsLibpqScheme(*scheme)) {
    const bool sqlalchemy = IsLibpqScheme(scheme->substr(0, scheme->find('+')));
    if (sqlalchemy) {
      return MakeStatus(
          absl::StatusCode::kInvalidArgument,
          fmt::format("the connection string is in SQLAlchemy's form ({}://); write libpq's: {}",
                      *scheme, MaskConninfo(LibpqForm(conninfo))),
          {});
    }
    return Refuse(conninfo, fmt::format("its scheme is {}; it must be postgresql", *scheme));
  }
  char* raw_error = nullptr;
  OptionsPtr options(PQconninfoParse(std::string(conninfo).c_str(), &raw_error));
  if (options != nullptr) return options;
  const std::string message = raw_error == nullptr ? "out of memory" : raw_error;
  PQfreemem(raw_error);
  return Refuse(conninfo, ExplainParseError(message));
}

// The lists of hosts that a connection string names; each part may be empty.
struct Hosts {
  std::vector<std::string> hosts;
  std::vector<std::string> addresses;
  std::vector<std::string> ports;
  std::size_t count = 1;
};

absl::StatusOr<Hosts> HostsOf(std::string_view conninfo,
                              const std::map<std::string, std::string>& parameters) {
  Hosts hosts;
  const auto list = [&parameters](const char* keyword) {
    const auto found = parameters.find(keyword);
    return found == parameters.end() ? std::vector<std::string>() : Split(found->second, ',');
  };
  hosts.hosts = list("host");
  hosts.addresses = list("hostaddr");
  hosts.ports = list("port");
  hosts.count = std::max({hosts.hosts.size(), hosts.addresses.size(), std::size_t{1}});
  if (!hosts.hosts.empty() && !hosts.addresses.empty() &&
      hosts.hosts.size() != hosts.addresses.size()) {
    return Refuse(conninfo, fmt::format("it has {} hosts but {} hostaddrs", hosts.hosts.size(),
                                        hosts.addresses.size()));
  }
  if (hosts.ports.size() > 1 && hosts.ports.size() != hosts.count) {
    return Refuse(conninfo,
                  fmt::format("it has {} hosts but {} ports; give one port for all, or one each",
                              hosts.count, hosts.ports.size()));
  }
  for (const std::string& port : hosts.ports) {
    int number = 0;
    if (!port.empty() && (!absl::SimpleAtoi(port, &number) || number < 1 || number > kPortMax)) {
      return Refuse(conninfo,
                    fmt::format("the port \"{}\" is not a number from 1 to {}", port, kPortMax));
    }
  }
  return hosts;
}

// Sets `keyword` to the `index`th entry of a list, to its only one, or not at all.
void SetFromList(const std::vector<std::string>& list, std::size_t index, const char* keyword,
                 std::map<std::string, std::string>* parameters) {
  parameters->erase(keyword);
  if (list.empty()) return;
  const std::string& value = list[list.size() == 1 ? 0 : index];
  if (!value.empty()) (*parameters)[keyword] = value;
}

std::string LabelOf(const std::map<std::string, std::string>& parameters) {
  std::string label;
  for (const char* keyword : {"host", "hostaddr", "port"}) {
    const auto found = parameters.find(keyword);
    if (found == parameters.end()) continue;
    label += fmt::format("{}{} {}", label.empty() ? "" : ", ", keyword, found->second);
  }
  return label.empty() ? "the default host" : label;
}

// The connection string's parameters; hosts and session attributes that it does not name come from
// libpq's environment variables, as libpq would take them.
std::map<std::string, std::string> ParametersOf(const PQconninfoOption* options) {
  std::map<std::string, std::string> parameters;
  for (const PQconninfoOption* option = options; option->keyword != nullptr; ++option) {
    if (option->val != nullptr) parameters[option->keyword] = option->val;
  }
  if (parameters.contains("service")) return parameters;  // The file's hosts are libpq's to read.
  const OptionsPtr defaults(PQconndefaults());
  for (const PQconninfoOption* option = defaults.get();
       option != nullptr && option->keyword != nullptr; ++option) {
    const std::string_view keyword = option->keyword;
    const bool of_hosts = keyword == "host" || keyword == "hostaddr" || keyword == "port" ||
                          keyword == "target_session_attrs";
    if (of_hosts && option->val != nullptr) parameters.try_emplace(option->keyword, option->val);
  }
  return parameters;
}

// A vanished server is noticed within a minute, unless the connection string wants otherwise. libpq
// ignores these on a Unix socket.
void SetDefaults(std::map<std::string, std::string>* parameters) {
  parameters->try_emplace("keepalives_idle", "30");
  parameters->try_emplace("keepalives_interval", "10");
  parameters->try_emplace("keepalives_count", "3");
  parameters->try_emplace("tcp_user_timeout", "30000");
  (*parameters)["client_encoding"] = "UTF8";
}

}  // namespace

absl::Status CheckConninfo(std::string_view conninfo) { return ConnectTargets(conninfo).status(); }

std::string MaskConninfo(std::string_view conninfo) {
  return SchemeOf(conninfo).has_value() ? MaskUri(conninfo) : MaskKeywords(conninfo);
}

absl::StatusOr<std::vector<ConnectTarget>> ConnectTargets(std::string_view conninfo) {
  absl::StatusOr<OptionsPtr> options = Parse(conninfo);
  if (!options.ok()) return options.status();
  std::map<std::string, std::string> parameters = ParametersOf(options->get());
  SetDefaults(&parameters);
  absl::StatusOr<Hosts> hosts = HostsOf(conninfo, parameters);
  if (!hosts.ok()) return hosts.status();
  ConnectTarget target{.parameters = parameters};
  int timeout_s = 0;
  const auto timeout = parameters.find("connect_timeout");
  if (timeout != parameters.end() && absl::SimpleAtoi(timeout->second, &timeout_s) &&
      timeout_s > 0) {
    target.connect_timeout = std::chrono::seconds(timeout_s);
  }
  std::vector<std::string> wanted = {parameters["target_session_attrs"]};
  if (hosts->count > 1 && wanted.front() == "prefer-standby") wanted = {"standby", "any"};
  std::vector<ConnectTarget> targets;
  for (const std::string& attributes : wanted) {
    for (std::size_t i = 0; i < hosts->count; ++i) {
      SetFromList(hosts->hosts, i, "host", &target.parameters);
      SetFromList(hosts->addresses, i, "hostaddr", &target.parameters);
      SetFromList(hosts->ports, i, "port", &target.parameters);
      if (!attributes.empty()) target.parameters["target_session_attrs"] = attributes;
      target.label = LabelOf(target.parameters);
      targets.push_back(target);
    }
  }
  return targets;
}

}  // namespace eventstore::pg
