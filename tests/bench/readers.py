#!/usr/bin/env -S python3 -B
"""Measures what many readers cost, for docs/performance.md.

    tests/bench/readers.py BUILD [--quick] [--only streams,idle,groups,filters]

streams: appends at 2,000 events/s, with and without 200 subscribers each on a stream of its own, in
turns; the appends' p99 must stay within 1.5 times. idle: the daemon's memory with 1,000 idle
subscriptions, and its processor time with 100. groups: how fast eight members of a consumer group
work through a store, next to one `ReadAll` at a time, in turns; and how long it takes until all
lanes work again when members come and go, or their daemon is killed. filters: how long a reader
takes through 5 million events by way of a filter that matches one in 100,000. Exit code: as
bench.py.
"""

import argparse
import json
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import machine
from bench import (EXIT_FAILED, EXIT_MISSED, EXIT_REACHED, STORE_EVENTS, check_reachable,
                   end_in_order, find_pg_bin)
from processes import Daemon, Failure, run_tool, wait_until
from server import Cluster

RATE = 2000
STREAMS = 200
CONNECTIONS = 10
P99_RATIO_MAX = 1.5
IDLE_MANY, IDLE_FEW = 1000, 100
IDLE_CPU_MAX = 0.02
LIVE_TIMEOUT_S = 60
MEMBERS = 8
LANES = 16
READ_EVENTS = 100_000  # of each ReadAll; the most that it may be asked for here
READ_ALL_SHARE_MIN = 0.5
# Two seconds until an owner looks (a renewal may put a look off), one until the next owner does.
REBALANCE_S_MAX = 3.0
REBALANCES = 5
LEASE_S = 10
RARE = ["00000000-0000-0000-0000-00000000000b", "00000000-0000-0000-0000-00000000000a"]
FILTERS = {
    "event type": ["--event-type", "RareHappened"],
    "event type prefix": ["--event-type-prefix", "seldom."],
    "aggregate type": ["--type", "Rare"],
    "tag": ["--tag", "rare"],
    "two tags": ["--tag", "rare", "--tag", "some"],
    "tenant": ["--tenant", RARE[0]],
    "aggregate type and event type": ["--type", "Rare", "--event-type", "RareHappened"],
    "common tenant and event type": ["--tenant", RARE[1], "--event-type", "RareHappened"],
    "aggregate type and id prefix": ["--type", "Rare", "--id-prefix", "rare-"],
    "aggregate id prefix": ["--id-prefix", "rare-"],
    "regular expression": ["--regex", "^Rare"],
}


def bench(cluster: Cluster, daemon: Daemon, mode: str, *options) -> dict:
    output = run_tool([cluster.build / "bin" / "eventstorectl", "--address", daemon.address,
                       "--output", "json", "bench", mode, *options], timeout_s=300).stdout
    daemon.check_alive()
    report = json.loads(output)
    if report["errors"] or report.get("missed", 0) or report["operations"] == 0:
        raise Failure(f"bench {mode} went wrong: {output}")
    return report


def rss_mib(daemon: Daemon) -> float:
    for line in pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise Failure("the daemon's memory is not known")


def streams(cluster: Cluster, arguments: argparse.Namespace) -> list[str]:
    """The appends are the same in both: of `bench append` without subscribers."""
    cluster.create_store("streams", STORE_EVENTS)
    daemon = cluster.serve("streams")
    common = ["--rate", RATE, "--in-flight", 256, "--connections", CONNECTIONS, "--duration",
              arguments.seconds, "--warm-up", 2]
    without, with_them, delivered = [], [], []
    idle_rss = rss_mib(daemon)
    for _ in range(arguments.rounds):
        alone = bench(cluster, daemon, "append", *common, "--streams", STREAMS, "--new-streams", 0)
        crowd = bench(cluster, daemon, "subscribe", *common, "--subscribers", STREAMS,
                      "--own-streams")
        without.append(alone["latency_ms"]["p99"])
        with_them.append(crowd["latency_ms"]["p99"])
        delivered.append(crowd["delivery_latency_ms"]["p99"])
        print(f"streams: p99 {without[-1]} ms without, {with_them[-1]} ms with, delivery "
              f"{delivered[-1]} ms, {crowd['events_per_second']} events/s", file=sys.stderr)
    ratio = statistics.median(with_them) / statistics.median(without)
    peak = daemon.peak_rss_bytes() / 2**20
    cluster.stop(daemon)
    reached = ratio <= P99_RATIO_MAX
    return [f"| append p99 at {RATE:,} events/s, with {STREAMS} subscribers each on its own stream "
            f"| {statistics.median(without):.2f} ms without, {statistics.median(with_them):.2f} ms "
            f"with: {ratio:.2f}x; delivery p99 {statistics.median(delivered):.2f} ms; memory "
            f"{idle_rss:.0f} MiB idle, {peak:.0f} MiB at most | <= {P99_RATIO_MAX}x "
            f"| {'yes' if reached else '**no**'} |"]


class Idle:
    """Subscriptions to streams of which about one a second gets an event."""

    def __init__(self, cluster: Cluster, daemon: Daemon, count: int, seconds: float):
        self.process = subprocess.Popen(
            [str(word) for word in (
                cluster.build / "bin" / "eventstorectl", "--address", daemon.address, "--output",
                "json", "bench", "subscribe", "--own-streams", "--subscribers", count, "--rate", 1,
                "--connections", CONNECTIONS, "--warm-up", 0, "--duration", seconds)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)

    def __enter__(self) -> "Idle":
        return self

    def __exit__(self, *_) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(LIVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def idle(cluster: Cluster, arguments: argparse.Namespace) -> list[str]:
    cluster.create_store("idle", STORE_EVENTS)
    lines = []
    settle_s = 5
    for count in (IDLE_MANY, IDLE_FEW):
        daemon = cluster.serve("idle")
        before = rss_mib(daemon)
        with Idle(cluster, daemon, count, settle_s + arguments.seconds + 30):
            time.sleep(settle_s)
            began, used = time.monotonic(), daemon.cpu_s()
            time.sleep(arguments.seconds)
            cpu = (daemon.cpu_s() - used) / (time.monotonic() - began)
            after = rss_mib(daemon)
        cluster.stop(daemon)
        must = f"<= {IDLE_CPU_MAX:.0%} of a core" if count == IDLE_FEW else "–"
        reached = "–" if count != IDLE_FEW else "yes" if cpu <= IDLE_CPU_MAX else "**no**"
        lines.append(f"| {count:,} idle subscriptions | {cpu:.2%} of a core; memory {before:.0f} "
                     f"MiB before, {after:.0f} MiB with them: "
                     f"{(after - before) * 1024 / count:.0f} KiB each | {must} | {reached} |")
        print(lines[-1], file=sys.stderr)
    return lines


def groups(cluster: Cluster, arguments: argparse.Namespace) -> list[str]:
    return group_rate(cluster, arguments) + rebalances(cluster)


def group_rate(cluster: Cluster, arguments: argparse.Namespace) -> list[str]:
    cluster.create_store("groups", STORE_EVENTS)
    daemon = cluster.serve("groups")
    read_all, group = [], []
    for _ in range(arguments.rounds):
        read = bench(cluster, daemon, "read-all", "--in-flight", 1, "--events-per-read",
                     READ_EVENTS, "--duration", arguments.seconds, "--warm-up", 0)
        worked = bench(cluster, daemon, "consume", "--members", MEMBERS, "--duration", 60)
        if worked["events"] != STORE_EVENTS:
            raise Failure(f"the group worked off {worked['events']} of {STORE_EVENTS} events")
        read_all.append(read["events_per_second"])
        group.append(worked["events_per_second"])
        print(f"groups: ReadAll {read_all[-1]:,.0f} events/s, {MEMBERS} members {group[-1]:,.0f}",
              file=sys.stderr)
    cluster.stop(daemon)
    share = statistics.median(group) / statistics.median(read_all)
    reached = share >= READ_ALL_SHARE_MIN
    return [f"| a consumer group with {MEMBERS} members, acks batched "
            f"| {statistics.median(group):,.0f} events/s; one `ReadAll` "
            f"{statistics.median(read_all):,.0f}: {share:.0%} | >= {READ_ALL_SHARE_MIN:.0%} "
            f"| {'yes' if reached else '**no**'} |"]


class Member:
    """A member of the group "g" at a daemon, as a process."""

    def __init__(self, cluster: Cluster, daemon: Daemon):
        self.process = subprocess.Popen(
            [str(cluster.build / "bin" / "eventstorectl"), "--address", daemon.address, "groups",
             "consume", "g"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)

    def leave(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Owners:
    """Who has the lanes, by the tables."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster

    def counts(self) -> list[int]:
        rows = self.cluster.sql(
            "rebalance", "SELECT count(*) FROM consumer_group_lanes WHERE daemon IS NOT NULL"
            " AND lease_until > clock_timestamp() GROUP BY daemon ORDER BY 1")
        return [int(row) for row in rows.split()]

    def wait(self, wanted: list[int]) -> float:
        """Seconds until the daemons have so many lanes each."""
        began = time.monotonic()
        if not wait_until(lambda: self.counts() == wanted, LIVE_TIMEOUT_S):
            raise Failure(f"the lanes are {self.counts()}, and never became {wanted}")
        return time.monotonic() - began


def rebalances(cluster: Cluster) -> list[str]:
    """Two daemons with a member each; the second one's member or the daemon itself goes."""
    cluster.create_database("rebalance")
    first = cluster.serve("rebalance")
    run_tool([cluster.build / "bin" / "eventstorectl", "--address", first.address, "groups",
              "create", "g", "--lanes", LANES, "--lease-ms", LEASE_S * 1000], timeout_s=30)
    owners = Owners(cluster)
    members, joins, leaves, kills = [Member(cluster, first)], [], [], []
    try:
        owners.wait([LANES])
        for turn in range(2 * REBALANCES):
            second = cluster.serve("rebalance")
            members.append(Member(cluster, second))
            joins.append(owners.wait([LANES // 2] * 2))
            if turn % 2 == 0:
                members[-1].leave()
                leaves.append(owners.wait([LANES]))
                cluster.stop(second)
            else:
                second.process.kill()
                second.process.wait()
                kills.append(owners.wait([LANES]))
                cluster.stop(second)
            members.pop().end()
    finally:
        for member in members:
            member.end()
    lines = []
    for what, times, limit in (("a member joins at another daemon", joins, REBALANCE_S_MAX),
                               ("a member at another daemon leaves", leaves, REBALANCE_S_MAX),
                               (f"the other daemon is killed, with leases of {LEASE_S} s", kills,
                                LEASE_S + REBALANCE_S_MAX)):
        worst = max(times)
        lines.append(f"| {what}, until all lanes work again | {statistics.median(times):.1f} s, "
                     f"at most {worst:.1f} s | <= {limit:.0f} s "
                     f"| {'yes' if worst <= limit else '**no**'} |")
        print(lines[-1], file=sys.stderr)
    return lines


def filters(cluster: Cluster, arguments: argparse.Namespace) -> list[str]:
    cluster.create_database("filters")
    cluster.stop(cluster.serve("filters"))
    cluster.sql_file("filters", "filters.sql", events=arguments.events)
    return measure_filters(cluster.build, cluster.serve("filters"), arguments.events)


def measure_filters(build: pathlib.Path, daemon: Daemon, events: int) -> list[str]:
    program = [build / "bin" / "eventstorectl", "--address", daemon.address, "--output", "json"]
    lines = []
    for name, options in FILTERS.items():
        times = []
        for _ in range(3):
            began = time.monotonic()
            found = run_tool([*program, "read-all", *options], timeout_s=300).stdout
            times.append(time.monotonic() - began)
        took = statistics.median(times)
        count = found.count('"event_id"')
        lines.append(f"| {name} | {count} | {took:.2f} s | {events / took / 1e6:.1f} million |")
        print(lines[-1], file=sys.stderr)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, help="the folder that has bin/eventstored")
    parser.add_argument("--only", default="streams,idle,groups,filters", help="which parts")
    parser.add_argument("--quick", action="store_true", help="a look, not a verdict")
    parser.add_argument("--seconds", type=float, help="of each run; 10, --quick: 4")
    parser.add_argument("--rounds", type=int, help="alternations; 3, --quick: 1")
    parser.add_argument("--events", type=int, help="filters: 5000000, --quick: 500000")
    parser.add_argument("--work-dir", type=pathlib.Path, default=tempfile.gettempdir())
    arguments = parser.parse_args()
    quick = {"seconds": 4.0, "rounds": 1, "events": 500_000}
    full = {"seconds": 10.0, "rounds": 3, "events": 5_000_000}
    for name, value in (quick if arguments.quick else full).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    parts = arguments.only.split(",")
    signal.signal(signal.SIGTERM, end_in_order)
    signal.signal(signal.SIGINT, end_in_order)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="eventstore-bench-", dir=arguments.work_dir))
    try:
        folder.chmod(0o755)
        check_reachable(folder)
        machine.describe(folder)
        lines = []
        with Cluster(arguments.build.resolve(), find_pg_bin(), folder / "server") as cluster:
            if "streams" in parts:
                lines += streams(cluster, arguments)
            if "idle" in parts:
                lines += idle(cluster, arguments)
            if "groups" in parts:
                lines += groups(cluster, arguments)
            if lines:
                print("| what | measured | must | reached |\n| --- | --- | --- | --- |")
                print("\n".join(lines))
            if "filters" in parts:
                print("\n| filter | events found | whole store | positions/s |\n"
                      "| --- | --- | --- | --- |")
                print("\n".join(filters(cluster, arguments)))
        return EXIT_MISSED if any("**no**" in line for line in lines) else EXIT_REACHED
    except Failure as failure:
        print(f"readers: {failure}", file=sys.stderr)
        return EXIT_FAILED
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
