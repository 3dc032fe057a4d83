"""Runs that are measured: what a run is, and the load on a daemon by `eventstorectl bench`."""

import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from processes import Daemon, Failure, run_tool
from server import Cluster

# How long a load may take beyond its seconds: to connect, to fill, to end.
SPARE_S = 120
# A few operations of an open loop may be due in its very last moment; more were not carried.
NOT_STARTED_SHARE_MAX = 0.001


@dataclass(frozen=True)
class Times:
    """How long a run warms up, and how long it is measured then."""
    warm_up_s: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """One measured run. Processors are how many of them each side kept busy, warm-up included."""
    rate: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu: dict = field(default_factory=dict)
    problems: tuple = ()

    def as_json(self) -> dict:
        return asdict(self)


def with_cpu(cluster: Cluster, daemon: Daemon | None, measure: Callable[[], Run]) -> Run:
    """Adds to a run what the processes used while it went on. The client is our own child."""
    def used() -> dict:
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = {"PostgreSQL": cluster.cpu_s(), "client": ours.ru_utime + ours.ru_stime}
        return seconds if daemon is None else {"daemon": daemon.cpu_s(), **seconds}

    before, began = used(), time.monotonic()
    run = measure()
    elapsed = time.monotonic() - began
    after = used()
    cpu = {name: round((after[name] - before[name]) / elapsed, 2) for name in before}
    return Run(run.rate, run.p50_ms, run.p99_ms, cpu, run.problems)


class Load:
    """Loads one daemon. The client is a process of its own and comes over TCP."""

    def __init__(self, cluster: Cluster, daemon: Daemon, times: Times):
        self.cluster = cluster
        self.daemon = daemon
        self.times = times

    def events(self, mode: str, *options) -> Run:
        """The rate of events, in a mode of `eventstorectl bench`."""
        return self._run(mode, options, lambda report: report["events_per_second"])

    def operations(self, mode: str, *options) -> Run:
        """The rate of operations."""
        return self._run(mode, options, lambda report: report["operations_per_second"])

    def delivery(self, *options) -> Run:
        """The p99 in ms of the time until an event reached its subscribers, as the figure."""
        return self._run("subscribe", options, lambda report: report["delivery_latency_ms"]["p99"],
                         latency="delivery_latency_ms")

    def _run(self, mode: str, options, figure, latency: str = "latency_ms") -> Run:
        return with_cpu(self.cluster, self.daemon,
                        lambda: self._measure(mode, options, figure, latency))

    def _measure(self, mode: str, options, figure, latency: str) -> Run:
        program = self.cluster.build / "bin" / "eventstorectl"
        times = ["--duration", self.times.seconds, "--warm-up", self.times.warm_up_s]
        output = run_tool([program, "--address", self.daemon.address, "--output", "json",
                           "bench", mode, *times, *options],
                          timeout_s=self.times.warm_up_s + self.times.seconds + SPARE_S).stdout
        self.daemon.check_alive()
        try:
            report = json.loads(output)
            return Run(figure(report), report[latency]["p50"], report[latency]["p99"],
                       problems=problems_of(mode, options, report))
        except (ValueError, KeyError) as error:
            raise Failure(f"the report of eventstorectl bench {mode} is not understood ({error}): "
                          f"{output}") from error


def events_per_read(options: tuple) -> int:
    """How many events a read of one stream brings: those after its snapshot, or all of it."""
    for name in ("--snapshot-tail", "--events-per-append"):
        if name in options:
            return options[options.index(name) + 1]
    return 1


def problems_of(mode: str, options: tuple, report: dict) -> tuple:
    """What makes a report's figures worth nothing."""
    problems = [f"{count} operations failed: {reason}"
                for reason, count in report["errors"].items()]
    if report["operations"] == 0:
        problems.append("no operation was done")
    if report["not_started"] > NOT_STARTED_SHARE_MAX * report["operations"]:
        problems.append(f"{report['not_started']} operations were never started")
    if report.get("missed", 0) > 0:
        problems.append(f"{report['missed']} events never reached a subscriber")
    if mode == "read-stream" and report["events"] != events_per_read(options) * report["operations"]:
        problems.append(f"{report['operations']} reads of {events_per_read(options)} events "
                        f"brought {report['events']}")
    return tuple(problems)
