#include "server/sinks/registry.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "server/core/errors.h"
#include "server/sinks/settings.h"

namespace eventstore::sinks {
namespace {

using Values = std::map<std::string, std::string>;

const SettingRules& Rules() {
  static const SettingRules rules =
      Joined({{AddressRule("url", {"http", "https"}, false, "Where."),
               NumberRule("count", 5, 1, 10, "How many."), FlagRule("flag", true, "Whether."),
               TemplateRule("key", "{aggregate_id}", true, "The key.")},
              SecretRules("password", "The password."),
              TlsRules(),
              CloudEventRules()});
  return rules;
}

// The message for a setting; empty if there is none.
std::string ProblemOf(const Values& values, const std::string& key) {
  for (const SinkProblem& problem : CheckSettings(Rules(), values)) {
    if (problem.key == key) return problem.message;
  }
  return "";
}

TEST_CASE("SettingsWhatIsRightHasNoProblems") {
  CHECK(CheckSettings(Rules(), {{"url", "https://[::1]:8443/hook?x=1"},
                                {"count", "10"},
                                {"flag", "false"},
                                {"mode", "structured"},
                                {"password", ""}})
            .empty());
}

TEST_CASE("SettingsAnUnknownNameIsRefusedWithTheNearestOne") {
  CHECK(ProblemOf({{"url", "http://a"}, {"cuont", "1"}}, "cuont") ==
        "is not a setting of this type; did you mean count?");
  CHECK(ProblemOf({{"url", "http://a"}, {"something_else", "1"}}, "something_else") ==
        "is not a setting of this type");
}

TEST_CASE("SettingsWhatIsMissingAndWhatIsNotAllowedIsToldAtOnce") {
  CHECK(CheckSettings(Rules(), {{"count", "11"}, {"flag", "yes"}}).size() == 3);
  CHECK(ProblemOf({}, "url").find("is missing; it must be an address") == 0);
  CHECK(ProblemOf({{"count", "11"}}, "count") ==
        "it must be a whole number from 1 to 10, but is \"11\"");
  CHECK(ProblemOf({{"flag", "yes"}}, "flag") == "it must be true or false, but is \"yes\"");
  CHECK_FALSE(ProblemOf({{"key", "{event_type}"}}, "key").empty());
  CHECK_FALSE(ProblemOf({{"count", ""}}, "count").empty());
  CHECK_FALSE(ProblemOf({{"mode", "both"}}, "mode").empty());
  CHECK_FALSE(ProblemOf({{"password_file", "/does/not/exist"}}, "password_file").empty());
}

TEST_CASE("SettingsCredentialsInAnAddressAreRefusedAndNotRepeated") {
  const std::string problem = ProblemOf({{"url", "http://me:s3cret@host/"}}, "url");
  CHECK(problem.find("has no user or password") != std::string::npos);
  CHECK(problem.find("s3cret") == std::string::npos);
}

TEST_CASE("SettingsMalformedAddressesAreRefused") {
  for (const char* text : {"", "host", "http://", "ftp://host", "http://host:0", "http://host:x",
                           "http://host:70000", "http://a,http://b", "http:// host"}) {
    INFO(text);
    CHECK_FALSE(ProblemOf({{"url", text}}, "url").empty());
  }
}

TEST_CASE("SettingsOfASecretAndItsFileOneMayBeSetOfACertificateAndItsKeyBoth") {
  CHECK(ProblemOf({{"password", "a"}, {"password_file", "/dev/null"}}, "password") ==
        "stands beside password_file; set one of them");
  CHECK(ProblemOf({{"tls_cert_file", "/dev/null"}}, "tls_key_file").find("is missing") == 0);
  CHECK(ProblemOf({{"tls_key_file", "/dev/null"}}, "tls_cert_file").find("is missing") == 0);
}

TEST_CASE("SettingsDefaultsStandWhereNothingIsSet") {
  const Settings settings(&Rules(), {{"count", "7"}});
  CHECK(settings.Number("count") == 7);
  CHECK(settings.Flag("flag"));
  CHECK(settings.Text("mode") == "binary");
  CHECK_FALSE(settings.Has("password"));
}

TEST_CASE("SettingsAnAddressIsTakenApart") {
  Address address;
  REQUIRE(ParseAddress("amqps://[::1]:5671/x", 1, &address));
  CHECK(address.scheme == "amqps");
  CHECK(address.host == "::1");
  CHECK(address.port == 5671);
  CHECK(address.path == "/x");
  REQUIRE(ParseAddress("redis://host", 6379, &address));
  CHECK(address.port == 6379);
}

TEST_CASE("RegistryTypesAreSortedAndEverySettingIsDocumentedAndRightByDefault") {
  CHECK(std::is_sorted(SinkTypes().begin(), SinkTypes().end()));
  for (const std::string& type : SinkTypes()) {
    std::set<std::string> names;
    for (const SinkKey& key : KeysOf(type)) {
      INFO(type << " " << key.name);
      CHECK(names.insert(key.name).second);
      CHECK(key.doc.size() > 10);
      CHECK(key.doc.back() == '.');
      CHECK_FALSE(key.allowed.empty());
      CHECK(key.is_required == (key.name == "url" || key.name == "brokers"));
      if (key.default_text.empty()) continue;
      for (const SinkProblem& problem : CheckSink({"s", type, {{key.name, key.default_text}}})) {
        CHECK(problem.key != key.name);
      }
    }
    CHECK(names.count("source") == 1);
    CHECK(names.count("mode") == 1);
  }
}

TEST_CASE("RegistrySecretsAreMarked") {
  for (const std::string& type : SinkTypes()) {
    for (const SinkKey& key : KeysOf(type)) {
      INFO(type << " " << key.name);
      CHECK(key.is_secret ==
            (key.name == "password" || key.name == "secret" || key.name == "headers"));
    }
  }
}

TEST_CASE("RegistryAnUnknownTypeIsRefusedWithThoseOfThisBuild") {
  const auto problems = CheckSink({"s", "pigeon", {}});
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].key == "type");
  for (const std::string& type : SinkTypes()) {
    CHECK(problems[0].message.find(type) != std::string::npos);
  }
  CHECK(KeysOf("pigeon").empty());
}

TEST_CASE("RegistryASinkWithProblemsIsNotMadeAndTheErrorHasAllOfThem") {
  const auto sink = MakeSink({"orders", "pigeon", {}});
  REQUIRE_FALSE(sink.ok());
  const auto details = DetailsOf(sink.status());
  REQUIRE(details.size() == 1);
  CHECK(details[0].reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(details[0].message().find("orders") != std::string::npos);
}

TEST_CASE("RegistryMakingASinkConnectsToNothing") {
  const std::map<std::string, Values> settings = {
      {"kafka", {{"brokers", "127.0.0.1:1,[::1]:2"}}},
      {"nats", {{"url", "nats://127.0.0.1:1,tls://127.0.0.1:2"}}},
      {"rabbitmq", {{"url", "amqp://127.0.0.1:1"}}},
      {"redis", {{"url", "redis://127.0.0.1:1"}}},
      {"webhook", {{"url", "http://127.0.0.1:1"}, {"headers", "A: b\nC: d"}}}};
  for (const std::string& type : SinkTypes()) {
    INFO(type);
    CHECK(MakeSink({"s", type, settings.at(type)}).ok());
  }
}

}  // namespace
}  // namespace eventstore::sinks
