#include "tests/support/certificates.h"

#include <cstdlib>
#include <stdexcept>

namespace eventstore::testing {
namespace {

constexpr char kScript[] =
    "cd \"$FOLDER\" && exec >log 2>&1 && "
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca "
    "-keyout ca.key -out ca.pem && "
    "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost "
    "-keyout server.key -out server.csr && "
    "printf 'subjectAltName=DNS:localhost' >ext && "
    "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
    "-extfile ext -out server.pem && "
    "cat server.key server.pem >both.pem";

}  // namespace

Certificates::Certificates() {
  const std::string script = "FOLDER='" + folder_.path() + "'; " + kScript;
  if (std::system(script.c_str()) != 0) throw std::runtime_error("openssl made no certificates");
}

const Certificates& SharedCertificates() {
  static const Certificates certificates;
  return certificates;
}

}  // namespace eventstore::testing
