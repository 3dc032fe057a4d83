#!/usr/bin/env bash
# One-event appends through the daemon, next to pgbench doing one-event transactions on a schema with
# a version per aggregate in the events table, on the same PostgreSQL with fsync on. Alternates the two
# and prints each run; a first figure, not a verdict.
#
#   tests/bench/run.sh [BUILD_DIR]     SECONDS_PER_RUN=10 ROUNDS=3 IN_FLIGHT=64
set -euo pipefail
build=$(realpath "${1:-build}")
here=$(realpath "$(dirname "$0")")
seconds=${SECONDS_PER_RUN:-10}
rounds=${ROUNDS:-3}
in_flight=${IN_FLIGHT:-64}
pgbench=$(ls -d /usr/lib/postgresql/*/bin/pgbench | sort -V | tail -1)
psql=$(dirname "$pgbench")/psql

work=$(mktemp -d)
chmod 755 "$work"
"$build/bin/eventstored" --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 \
  --data-dir "$work/data" 2> "$work/log" &
daemon=$!
trap 'kill $daemon 2>/dev/null || true; wait $daemon 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 300); do
  grep -q ' ready$\|ready' "$work/log" && break
  kill -0 $daemon || { cat "$work/log"; exit 1; }
  read -rt 0.1 <> <(:) || true
done
port=$(grep -o 'gRPC on .* (port [0-9]*)' "$work/log" | head -1 | grep -o 'port [0-9]*' | head -1 | cut -d' ' -f2)
cluster=$(sed -n 's/.*embedded PostgreSQL runs (pid [0-9]*) in \(.*\)/\1/p' "$work/log" | head -1)
socket=$(sed -n 5p "$cluster/postmaster.pid")
export PGHOST=$socket PGUSER=postgres PGPORT=$(sed -n 4p "$cluster/postmaster.pid")

"$psql" -qd eventstore -c 'CREATE DATABASE baseline' 
"$psql" -qd baseline -f "$here/baseline.sql"
echo "cores $(nproc), $("$psql" -Atd eventstore -c "SELECT 'PostgreSQL ' || current_setting('server_version') ||
  ', fsync ' || current_setting('fsync') || ', synchronous_commit ' || current_setting('synchronous_commit')")"
for round in $(seq "$rounds"); do
  for clients in 16 "$in_flight"; do
    tps=$("$pgbench" -n -f "$here/baseline_append.sql" -M prepared -c "$clients" -j 2 -T "$seconds" baseline |
      sed -n 's/^tps = \([0-9.]*\).*/\1/p')
    echo "round $round: pgbench, $clients clients: $tps/s"
  done
  "$build/bin/eventstorectl" --address "127.0.0.1:$port" bench append --in-flight "$in_flight" \
    --duration "$seconds" --warm-up 2
done
