// A certificate authority for tests, and what it signed.
#ifndef EVENTSTORE_TESTS_SUPPORT_CERTIFICATES_H_
#define EVENTSTORE_TESTS_SUPPORT_CERTIFICATES_H_

#include <string>

#include "tests/support/broker_process.h"

namespace eventstore::testing {

// An authority, and a server's certificate for "localhost" by it (not for 127.0.0.1), all as PEM
// files.
class Certificates {
 public:
  Certificates();

  [[nodiscard]] std::string ca() const { return folder_.path() + "/ca.pem"; }
  [[nodiscard]] std::string certificate() const { return folder_.path() + "/server.pem"; }
  [[nodiscard]] std::string key() const { return folder_.path() + "/server.key"; }
  // Both in one file.
  [[nodiscard]] std::string both() const { return folder_.path() + "/both.pem"; }

 private:
  TempFolder folder_;
};

// Those that the tests of a program share; made at the first call.
const Certificates& SharedCertificates();

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_CERTIFICATES_H_
