// The main function of every test program.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>

#include "server/telemetry/logging.h"

int main(int argc, char** argv) {
  // EVENTSTORE_TEST_LOG=debug shows the server's log of in-process tests.
  const char* level = std::getenv("EVENTSTORE_TEST_LOG");
  eventstore::telemetry::LoggingOptions logging;
  logging.level = level != nullptr ? level : "off";
  if (!eventstore::telemetry::SetUpLogging(logging).ok()) return 2;
  std::signal(SIGPIPE, SIG_IGN);
  return Catch::Session().run(argc, argv);
}
