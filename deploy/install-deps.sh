#!/bin/sh
# Installs what this project needs from Debian 12's own packages. Used by `make deps` and by the
# Dockerfile's stages, so that there is one list.
#
#   deploy/install-deps.sh build      compilers, libraries, format and lint tools
#   deploy/install-deps.sh test       build, and what the tests start: PostgreSQL, its tools, brokers
#   deploy/install-deps.sh lint       npm, which brings buf; nothing if there is one
#   deploy/install-deps.sh runtime    the shared libraries that the daemon loads
#   deploy/install-deps.sh embedded   runtime, and the PostgreSQL server for embedded mode
#
# Nothing happens, and root is not asked for, when everything is there already.
set -eu

libraries_dev="libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libabsl-dev
  libspdlog-dev libfmt-dev prometheus-cpp-dev libcivetweb-dev libpq-dev libre2-dev libyaml-cpp-dev
  rapidjson-dev libcli11-dev catch2 libssl-dev pkg-config librdkafka-dev libnats-dev librabbitmq-dev
  libhiredis-dev libcurl4-openssl-dev libjemalloc-dev"
tools="g++ clang-14 clang-tidy-14 clang-format-14 libclang-rt-14-dev cmake ninja-build make ccache
  git ca-certificates python3"
server="postgresql-15 postgresql-client-15"
brokers="rabbitmq-server redis-server nats-server openssl"
libraries="libgrpc++1.51 libprotobuf32 libabsl20220623 libspdlog1.10 libfmt9 libprometheus-cpp-core1.0
  libcivetweb1 libpq5 libre2-9 libyaml-cpp0.7 ca-certificates librdkafka1 libnats3.4 librabbitmq4
  libhiredis0.14 libcurl4 libjemalloc2"

case "${1:-test}" in
  build) packages="$libraries_dev $tools" ;;
  test) packages="$libraries_dev $tools $server $brokers" ;;
  lint) if command -v npm >/dev/null 2>&1; then packages=""; else packages="npm"; fi ;;
  runtime) packages="$libraries" ;;
  embedded) packages="$libraries $server" ;;
  *)
    echo "install-deps.sh: unknown set '$1' (build, test, lint, runtime or embedded)" >&2
    exit 2
    ;;
esac

missing=""
for package in $packages; do
  if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" != installed ]; then
    missing="$missing $package"
  fi
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=""
elif command -v sudo >/dev/null 2>&1; then
  as_root="sudo"
else
  echo "install-deps.sh: root or sudo is needed to install:$missing" >&2
  exit 1
fi

echo "Installing:$missing"
# A server package would otherwise create and start a cluster of its own on port 5432; the daemon
# and the tests make private ones.
if echo "$missing" | grep -q postgresql && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
  $as_root mkdir -p /etc/postgresql-common
  echo "create_main_cluster = false" | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
# Nor shall a broker's package start it on its usual port: the tests start their own. A policy that is
# there already is left as it is.
policy=/usr/sbin/policy-rc.d
if echo "$missing" | grep -Eq 'rabbitmq-server|redis-server|nats-server' && [ ! -e "$policy" ]; then
  trap '$as_root rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
  $as_root chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086  # the list is meant to be split into words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
# Nor at the next start of the machine.
if command -v systemctl >/dev/null 2>&1; then
  for service in rabbitmq-server redis-server nats-server; do
    case "$missing" in
      *"$service"*) $as_root systemctl disable --quiet "$service" 2>/dev/null || true ;;
    esac
  done
fi
