#!/usr/bin/env -S python3 -B
"""Measures what the outbox costs, and how fast it publishes, for docs/performance.md.

    tests/bench/outbox.py BUILD [--quick] [--only appends,sinks] [--sinks redis,nats,...]

appends: `AppendEvents` of one event, 64 in flight, with the outbox off, with it on and its relay
paused (must reach 0.7x of off), and with the relay publishing to Redis, in turns on one server. sinks:
for each broker, how fast its relay works off a backlog on 500 streams, and the 99th percentile from
commit to the broker's acknowledgement at 500 events/s. Exit code: as bench.py.
"""

import argparse
import json
import pathlib
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time

import machine
from bench import (EXIT_FAILED, EXIT_MISSED, EXIT_REACHED, STORE_EVENTS, check_reachable,
                   end_in_order, find_pg_bin)
from brokers import BROKERS, Broker, Kafka
from processes import Daemon, Failure, run_tool, wait_until
from server import EVENTS_PER_STREAM, Cluster

SINK = "bus"
PAUSED_SHARE_MIN = 0.7
STREAMS = 500
RATE = 500
DRAIN_TIMEOUT_S = 600


def configure(folder: pathlib.Path, broker: Broker) -> pathlib.Path:
    """A file with one sink that gets everything."""
    path = folder / f"outbox-{type(broker).__name__.lower()}.yaml"
    settings = "".join(f"      {name}: {json.dumps(value)}\n"
                       for name, value in broker.settings.items())
    path.write_text(f"outbox:\n  enabled: true\n  sinks:\n    {SINK}:\n{settings}"
                    f"  routes:\n    - sink: {SINK}\n")
    return path


def control(cluster: Cluster, daemon: Daemon, *words) -> str:
    output = run_tool([cluster.build / "bin" / "eventstorectl", "--address", daemon.address,
                       "--output", "json", *words], timeout_s=300).stdout
    daemon.check_alive()
    return output


def append(cluster: Cluster, daemon: Daemon, *options) -> dict:
    report = json.loads(control(cluster, daemon, "bench", "append", *options))
    if report["errors"] or report["operations"] == 0:
        raise Failure(f"bench append went wrong: {report}")
    return report


def metric(daemon: Daemon, name: str) -> float:
    """The sum over a metric's series of the sink."""
    found = re.findall(rf'^{name}{{[^}}]*sink="{SINK}"[^}}]*}} (\S+)$', daemon.metrics(), re.M)
    return sum(float(value) for value in found)


def buckets(daemon: Daemon) -> dict[float, float]:
    """The histogram of publishing, cumulated: how many took at most so many seconds."""
    name = "eventstore_outbox_publish_latency_seconds_bucket"
    counts: dict[float, float] = {}
    for labels, value in re.findall(rf"^{name}{{([^}}]*)}} (\S+)$", daemon.metrics(), re.M):
        if f'sink="{SINK}"' in labels:
            counts[float(re.search(r'le="([^"]+)"', labels).group(1))] = float(value)
    return counts


def percentile_ms(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """Between the bounds of its bucket, as if what is in there were spread evenly."""
    counts = {bound: after[bound] - before.get(bound, 0) for bound in sorted(after)}
    wanted = share * counts[float("inf")]
    if wanted == 0:
        raise Failure("nothing was published")
    low_bound = low_count = 0.0
    for bound, count in counts.items():
        if count >= wanted:
            if bound == float("inf"):
                return low_bound * 1000
            part = (wanted - low_count) / (count - low_count)
            return (low_bound + part * (bound - low_bound)) * 1000
        low_bound, low_count = bound, count
    raise Failure("the histogram has no end")


def appends(cluster: Cluster, arguments: argparse.Namespace) -> list[str]:
    broker = BROKERS["redis"](cluster.folder / "redis-appends")
    try:
        return measure_appends(cluster, arguments, configure(cluster.folder, broker))
    finally:
        broker.stop()


def measure_appends(cluster: Cluster, arguments: argparse.Namespace,
                    config: pathlib.Path) -> list[str]:
    daemons = {}
    for name in ("off", "paused", "running"):
        cluster.create_store(name, STORE_EVENTS)
        daemons[name] = cluster.serve(name, *([] if name == "off" else ["--config", config]))
    control(cluster, daemons["paused"], "outbox", "pause", SINK)
    rates: dict[str, list[float]] = {name: [] for name in daemons}
    cluster.sql("postgres", "CHECKPOINT")
    for _ in range(arguments.rounds):
        for name, daemon in daemons.items():
            report = append(cluster, daemon, "--in-flight", 64, "--duration", arguments.seconds,
                            "--warm-up", 2, "--existing", "fill", "--streams",
                            STORE_EVENTS // EVENTS_PER_STREAM)
            rates[name].append(report["events_per_second"])
            print(f"appends: outbox {name} {rates[name][-1]:,.0f} events/s", file=sys.stderr)
    pending = cluster.sql("paused", "SELECT count(*) FROM event_outbox WHERE status = 'pending'")
    if int(pending) == 0:
        raise Failure("nothing was written to the outbox")
    for daemon in daemons.values():
        cluster.stop(daemon)
    off = statistics.median(rates["off"])
    paused = statistics.median(rates["paused"]) / off
    running = statistics.median(rates["running"]) / off
    reached = "yes" if paused >= PAUSED_SHARE_MIN else "**no**"
    return [f"| `AppendEvents`, 1 event, 64 in flight, outbox on, relay paused | "
            f"{statistics.median(rates['paused']):,.0f} events/s; off {off:,.0f}: {paused:.2f}x "
            f"| >= {PAUSED_SHARE_MIN}x | {reached} |",
            f"| the same, the relay publishing to Redis meanwhile | "
            f"{statistics.median(rates['running']):,.0f} events/s: {running:.2f}x | – | – |"]


def sinks(cluster: Cluster, arguments: argparse.Namespace) -> list[str]:
    lines = []
    for name in arguments.sinks.split(","):
        if name not in BROKERS:
            raise Failure(f"no broker {name}: it must be one of {', '.join(BROKERS)}")
        broker = BROKERS[name](cluster.folder / f"broker-{name}")
        try:
            lines.append(measure_sink(cluster, arguments, name, configure(cluster.folder, broker)))
        finally:
            broker.stop()
        print(lines[-1], file=sys.stderr)
    return lines


def measure_sink(cluster: Cluster, arguments: argparse.Namespace, name: str,
                 config: pathlib.Path) -> str:
    database = f"sink_{name}"
    cluster.create_database(database)
    daemon = cluster.serve(database, "--config", config)

    def published() -> float:
        return metric(daemon, "eventstore_outbox_published_total")

    def drain(count: float) -> None:
        if not wait_until(lambda: published() >= count, DRAIN_TIMEOUT_S):
            raise Failure(f"{name}: {published():,.0f} of {count:,.0f} events were published")

    control(cluster, daemon, "outbox", "pause", SINK)
    common = ["--streams", STREAMS, "--new-streams", 0, "--warm-up", 0]
    append(cluster, daemon, *common, "--in-flight", 64, "--duration", arguments.seconds)
    count = int(cluster.sql(database, "SELECT count(*) FROM event_outbox"))
    control(cluster, daemon, "outbox", "resume", SINK)
    if not wait_until(lambda: published() > 0, DRAIN_TIMEOUT_S):
        raise Failure(f"{name}: nothing was published")
    began, before = time.monotonic(), published()
    drain(count)
    rate = (published() - before) / (time.monotonic() - began)
    before = buckets(daemon)
    append(cluster, daemon, *common, "--in-flight", 64, "--rate", RATE, "--duration",
           arguments.seconds)
    drain(int(cluster.sql(database, "SELECT count(*) FROM event_outbox")))
    after = buckets(daemon)
    cluster.stop(daemon)
    return (f"| {name} | {rate:,.0f} events/s | {percentile_ms(before, after, 0.5):.1f} ms "
            f"| {percentile_ms(before, after, 0.99):.1f} ms |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, help="the folder that has bin/eventstored")
    parser.add_argument("--only", default="appends,sinks", help="which parts")
    parser.add_argument("--sinks", default=",".join(BROKERS), help="which brokers")
    parser.add_argument("--quick", action="store_true", help="a look, not a verdict")
    parser.add_argument("--seconds", type=float, help="of each run; 10, --quick: 4")
    parser.add_argument("--rounds", type=int, help="alternations; 3, --quick: 1")
    parser.add_argument("--work-dir", type=pathlib.Path, default=tempfile.gettempdir())
    arguments = parser.parse_args()
    for name, value in ({"seconds": 4.0, "rounds": 1} if arguments.quick
                        else {"seconds": 10.0, "rounds": 3}).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    signal.signal(signal.SIGTERM, end_in_order)
    signal.signal(signal.SIGINT, end_in_order)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="eventstore-bench-", dir=arguments.work_dir))
    try:
        folder.chmod(0o755)
        check_reachable(folder)
        machine.describe(folder)
        lines = []
        Kafka.program = arguments.build.resolve() / "bin" / "kafka_mock"
        with Cluster(arguments.build.resolve(), find_pg_bin(), folder / "server") as cluster:
            if "appends" in arguments.only.split(","):
                lines = appends(cluster, arguments)
                print("| what | measured | must | reached |\n| --- | --- | --- | --- |")
                print("\n".join(lines))
            if "sinks" in arguments.only.split(","):
                print("\n| sink | backlog | commit to ack, median | 99th percentile |\n"
                      "| --- | --- | --- | --- |")
                print("\n".join(sinks(cluster, arguments)))
        return EXIT_MISSED if any("**no**" in line for line in lines) else EXIT_REACHED
    except Failure as failure:
        print(f"outbox: {failure}", file=sys.stderr)
        return EXIT_FAILED
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
