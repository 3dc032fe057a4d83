#include "server/pg/conninfo.h"

#include <catch2/catch.hpp>
#include <string>

#include "server/pg/connection.h"
#include "server/telemetry/logging.h"

namespace eventstore::pg {
namespace {

std::string Refusal(const std::string& conninfo) {
  const absl::Status status = CheckConninfo(conninfo);
  if (status.ok()) return "(accepted)";
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  return std::string(telemetry::MessageOf(status));
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("libpq's forms are accepted", "[conninfo]") {
  const std::string conninfo = GENERATE(
      "", "host=db1 dbname=events user=app password='a b'", "postgresql://app@db1:5432/events",
      "postgres://app:secret@db1,db2:5433/events?sslmode=verify-full&target_session_attrs=primary",
      "host=a,b,c port=1,2,3", "host=a,b,c port=5432", "password=a://b host=x",
      "postgresql:///events?host=/var/run/postgresql");
  CAPTURE(conninfo);
  CHECK(CheckConninfo(conninfo).ok());
}

TEST_CASE("A SQLAlchemy URL is refused with libpq's form shown", "[conninfo]") {
  const std::string message = Refusal("postgresql+asyncpg://user:pass@host:5432/db?ssl=require");
  CHECK(Contains(message, "postgresql://user:***@host:5432/db?sslmode=require"));
  CHECK_FALSE(Contains(message, "pass@"));
  CHECK(Contains(Refusal("postgresql+psycopg2://u@h/db"), "postgresql://u@h/db"));
  CHECK(Contains(Refusal("postgres+asyncpg://u@h/db?ssl=false&application_name=x"),
                 "postgresql://u@h/db?sslmode=disable&application_name=x"));
}

TEST_CASE("Another scheme is named", "[conninfo]") {
  CHECK(Contains(Refusal("mysql://u:geheim@h/db"), "its scheme is mysql; it must be postgresql"));
  CHECK_FALSE(Contains(Refusal("mysql://u:geheim@h/db"), "geheim"));
}

TEST_CASE("An unknown keyword is named", "[conninfo]") {
  CHECK(Contains(Refusal("host=x pool_size=3"), "no parameter \"pool_size\""));
  CHECK(Contains(Refusal("postgresql://h/db?ssl=require"), "write sslmode=require"));
}

TEST_CASE("Lists of hosts and ports must fit", "[conninfo]") {
  CHECK(Contains(Refusal("host=a,b,c port=1,2"), "3 hosts but 2 ports"));
  CHECK(Contains(Refusal("host=a,b hostaddr=127.0.0.1"), "2 hosts but 1 hostaddrs"));
  CHECK(Contains(Refusal("host=a port=70000"), "\"70000\""));
  CHECK(Contains(Refusal("host=a port=x"), "\"x\""));
}

TEST_CASE("No refusal shows a password", "[conninfo]") {
  const std::string conninfo =
      GENERATE("postgresql+asyncpg://u:geheim@h/db", "password=geheim nonsense=1",
               "password=geheim =", "password=x geheim host=y", "password='geheim",
               "postgresql://u:geheim%zz@h/db", "postgresql://u:geheim@h/db?nonsense=1",
               "postgresql://u:ge?heim@h:1:2/db", "postgresql://h/db?password=geheim&nonsense=1",
               "postgresql://u:geheim@[::1/db", "host=a port=1,2,3 password = 'x geheim'");
  CAPTURE(conninfo);
  const std::string message = Refusal(conninfo);
  CHECK(message != "(accepted)");
  CHECK_FALSE(Contains(message, "heim"));
}

TEST_CASE("Masking hides the password and nothing else", "[conninfo]") {
  CHECK(MaskConninfo("postgresql://u:p@h:5432/db?sslmode=require") ==
        "postgresql://u:***@h:5432/db?sslmode=require");
  CHECK(MaskConninfo("postgresql://u@h/db") == "postgresql://u@h/db");
  CHECK(MaskConninfo("postgresql://h:5432/db") == "postgresql://h:5432/db");
  CHECK(MaskConninfo("postgresql://u:p@q@h/db") == "postgresql://u:***@h/db");
  CHECK(MaskConninfo("postgresql://h/db?user=u&password=p&application_name=a") ==
        "postgresql://h/db?user=u&password=***&application_name=a");
  CHECK(MaskConninfo("host=h password=p user=u") == "host=h password=*** user=u");
  CHECK(MaskConninfo("host = h  password = 'a \\' b'  user=u") == "host=h password=*** user=u");
  CHECK(MaskConninfo("password=a\\ b user=u") == "password=*** user=u");
  CHECK(MaskConninfo("host='' dbname=x") == "host='' dbname=x");
  CHECK(MaskConninfo("user=u sslpassword=p") == "user=u sslpassword=***");
  CHECK(MaskConninfo("host=") == "host=");
  CHECK(MaskConninfo("").empty());
}

TEST_CASE("Each host is one target", "[conninfo]") {
  const auto targets = ConnectTargets("host=a,b port=1,2 user=u target_session_attrs=read-write");
  REQUIRE(targets.ok());
  REQUIRE(targets->size() == 2);
  CHECK(targets->at(0).parameters.at("host") == "a");
  CHECK(targets->at(0).parameters.at("port") == "1");
  CHECK(targets->at(1).parameters.at("host") == "b");
  CHECK(targets->at(1).parameters.at("port") == "2");
  CHECK(targets->at(1).parameters.at("user") == "u");
  CHECK(targets->at(1).parameters.at("target_session_attrs") == "read-write");
  CHECK(targets->at(1).label == "host b, port 2");
}

TEST_CASE("One port serves all hosts", "[conninfo]") {
  const auto targets = ConnectTargets("postgresql://a,b/db?port=7");
  REQUIRE(targets.ok());
  REQUIRE(targets->size() == 2);
  CHECK(targets->at(1).parameters.at("port") == "7");
}

TEST_CASE("prefer-standby tries all hosts as standbys, then as anything", "[conninfo]") {
  const auto targets = ConnectTargets("host=a,b target_session_attrs=prefer-standby");
  REQUIRE(targets.ok());
  std::string order;
  for (const ConnectTarget& target : *targets) {
    order +=
        target.parameters.at("host") + ":" + target.parameters.at("target_session_attrs") + " ";
  }
  CHECK(order == "a:standby b:standby a:any b:any ");
}

TEST_CASE("TCP keepalives have defaults that the connection string overrides", "[conninfo]") {
  const auto defaults = ConnectTargets("host=a");
  REQUIRE(defaults.ok());
  CHECK(defaults->front().parameters.at("keepalives_idle") == "30");
  CHECK(defaults->front().parameters.at("keepalives_interval") == "10");
  CHECK(defaults->front().parameters.at("keepalives_count") == "3");
  CHECK(defaults->front().parameters.at("tcp_user_timeout") == "30000");
  CHECK_FALSE(defaults->front().connect_timeout.has_value());
  const auto own = ConnectTargets("host=a keepalives_idle=7 tcp_user_timeout=0 connect_timeout=9");
  REQUIRE(own.ok());
  CHECK(own->front().parameters.at("keepalives_idle") == "7");
  CHECK(own->front().parameters.at("tcp_user_timeout") == "0");
  CHECK(own->front().connect_timeout == std::chrono::seconds(9));
}

}  // namespace
}  // namespace eventstore::pg
