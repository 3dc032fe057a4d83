"""The rows of the table: each workload, what it is measured against, and what it must reach."""

import pathlib
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

from baseline import LIBRARY_DATABASE, Bulk, Copy, Library, Pgbench
from load import Load, Run, Times
from server import EVENTS_PER_STREAM, Cluster

STORE = "store"
MEMORY_BYTES_MAX = 300 << 20
READ_EVENTS = 20_000  # in each ReadAll: long enough for a rate, short enough to count many
PGBENCH_CLIENTS = (16, 64)
TAGGED_EVENTS = 1_000_000
TAGS = 100_000
SUBSCRIBERS = 50
SUBSCRIBER_CONNECTIONS = 10
SUBSCRIBE_RATE = 1000
GROWTH_WARM_UPS = 2
SNAPSHOT_STREAMS = 100
SNAPSHOT_STREAM_EVENTS = 1000
SNAPSHOT_TAIL = 10


@dataclass(frozen=True)
class Plan:
    """What the command line asked for."""
    build: pathlib.Path
    pg_bin: pathlib.Path
    folder: pathlib.Path
    times: Times
    rounds: int
    store_events: int
    large_events: int
    single_statement: bool
    growth_recent: bool

    def existing_streams(self) -> list:
        """Options for loads on streams that are there, beside the 10 % new ones of appends. As many
        in a large store as in a small one, so that the load is the same."""
        return ["--existing", "fill", "--streams", self.store_events // EVENTS_PER_STREAM]


@dataclass
class Outcome:
    """What was measured for a row. Baselines by name; the best one of them counts, unless they are
    `beside`, which is only shown."""
    ours: list[Run]
    baselines: dict[str, list[Run]]
    rows_at_start: str
    peak_rss_bytes: int
    settings: dict
    beside: frozenset[str] = frozenset()

    def median(self) -> float:
        return statistics.median(run.rate for run in self.ours)

    def best_baseline(self) -> tuple[str, float] | None:
        medians = {name: statistics.median(run.rate for run in runs)
                   for name, runs in self.baselines.items() if name not in self.beside}
        best = max(medians, key=medians.get, default=None)
        return None if best is None else (best, medians[best])

    def problems(self) -> list[str]:
        found = [problem for run in self.ours for problem in run.problems]
        found += [problem for runs in self.baselines.values() for run in runs
                  for problem in run.problems]
        if self.peak_rss_bytes > MEMORY_BYTES_MAX:
            found.append(f"the daemon's memory peaked at {self.peak_rss_bytes >> 20} MiB, over "
                         f"{MEMORY_BYTES_MAX >> 20} MiB")
        return found


@dataclass(frozen=True)
class Row:
    """A line of the table. `must` and `aim` are ratios to the baseline; ms if `is_latency`."""
    key: str
    title: str
    baseline: str
    unit: str
    must: float
    aim: float
    measure: Callable[["Row", Plan, Cluster], Outcome]
    is_latency: bool = False

    def score(self, outcome: Outcome) -> float:
        """What is compared with `must` and `aim`."""
        best = outcome.best_baseline()
        return outcome.median() if best is None else outcome.median() / best[1]

    def reaches(self, outcome: Outcome, target: float) -> bool:
        score = self.score(outcome)
        return score <= target if self.is_latency else score >= target

    def run(self, plan: Plan) -> Outcome:
        with Cluster(plan.build, plan.pg_bin, plan.folder / self.key) as cluster:
            return self.measure(self, plan, cluster)


def alternate(row: Row, plan: Plan, cluster: Cluster, rows_at_start: str,
              baselines: dict[str, Callable[[], Run]], ours: Callable[[], Run],
              warm_ups: tuple = (), beside: frozenset[str] = frozenset()) -> Outcome:
    """Runs baselines and ours in turns, so that what befalls the machine befalls both."""
    cluster.sql("postgres", "CHECKPOINT")
    measured = {name: [] for name in baselines}
    own = []

    def note(turn: int, name: str, run: Run) -> None:
        print(f"{row.key}: round {turn + 1} of {plan.rounds}: {name} {run.rate:,.1f} {row.unit}"
              f"{''.join('; ' + problem for problem in run.problems)}", file=sys.stderr, flush=True)

    for warm_up in warm_ups:
        warm_up()
    for turn in range(plan.rounds):
        for name, measure in baselines.items():
            measured[name].append(measure())
            note(turn, name, measured[name][-1])
        own.append(ours())
        note(turn, "eventstored", own[-1])
    # The first daemon keeps the server and serves nobody; the others are measured.
    peak = max(daemon.peak_rss_bytes() for daemon in cluster.daemons[1:])
    return Outcome(own, measured, rows_at_start, peak, cluster.settings, beside)


def appends(mode: str, in_flight: int, clients: tuple) -> Callable[[Row, Plan, Cluster], Outcome]:
    """One-event appends beside those of a library."""
    def measure(row: Row, plan: Plan, cluster: Cluster) -> Outcome:
        library = Library(cluster, plan.times, plan.store_events, plan.single_statement)
        cluster.create_store(STORE, plan.store_events)
        load = Load(cluster, cluster.serve(STORE), plan.times)
        starts = f"{cluster.store_events(STORE):,}; {LIBRARY_DATABASE} {library.rows():,}"
        return alternate(
            row, plan, cluster, starts,
            {f"pgbench, {count} clients" if count > 1 else "pgbench, 1 client":
             lambda count=count: library.append(count) for count in clients},
            lambda: load.events(mode, "--in-flight", in_flight, *plan.existing_streams()))
    return measure


def transact(condition: str) -> Callable[[Row, Plan, Cluster], Outcome]:
    """Transactions with a condition and without one, on one store and daemon; beside them appends
    of events without a tag.

    Every event of the store has one of the tags, ten events each; a condition asks whether its tag
    has an event of a type that was never written, so that all ten are looked at.
    """
    def measure(row: Row, plan: Plan, cluster: Cluster) -> Outcome:
        cluster.create_store(STORE, max(plan.store_events, TAGGED_EVENTS), tags=TAGS)
        load = Load(cluster, cluster.serve(STORE), plan.times)
        options = ("--in-flight", 64, *plan.existing_streams())
        transactions = ("transact", *options, "--tags", TAGS, "--condition")
        plain = "appends without a tag"
        return alternate(row, plan, cluster, f"{cluster.store_events(STORE):,} with {TAGS:,} tags",
                         {"without a condition": lambda: load.events(*transactions, "none"),
                          plain: lambda: load.events("append", *options)},
                         lambda: load.events(*transactions, condition), beside=frozenset({plain}))
    return measure


def bulk(row: Row, plan: Plan, cluster: Cluster) -> Outcome:
    inserts = Bulk(cluster, plan.times, "bulk", plan.store_events)
    cluster.create_store(STORE, plan.store_events)
    load = Load(cluster, cluster.serve(STORE), plan.times)
    starts = f"{cluster.store_events(STORE):,}; bulk {cluster.store_events('bulk'):,}"
    return alternate(row, plan, cluster, starts, {"bulk insert": inserts.insert},
                     lambda: load.events("append", "--in-flight", 16, "--events-per-append", 100,
                                         *plan.existing_streams()))


def read_stream(row: Row, plan: Plan, cluster: Cluster) -> Outcome:
    cluster.create_store(STORE, plan.store_events)
    load = Load(cluster, cluster.serve(STORE), plan.times)
    pgbench = Pgbench(cluster, plan.times)
    streams = plan.store_events // EVENTS_PER_STREAM
    return alternate(
        row, plan, cluster, f"{cluster.store_events(STORE):,}",
        {"pgbench, 16 clients":
         lambda: pgbench.run(STORE, "read_stream.sql", 16, streams=streams)},
        lambda: load.operations("read-stream", "--in-flight", 16, "--events-per-append",
                                EVENTS_PER_STREAM, *plan.existing_streams()))


def snapshot(row: Row, plan: Plan, cluster: Cluster) -> Outcome:
    """The same streams read whole, and from a snapshot shortly before their end."""
    cluster.create_store(STORE, plan.store_events)
    load = Load(cluster, cluster.serve(STORE), plan.times)
    streams = ("--in-flight", 16, "--events-per-append", SNAPSHOT_STREAM_EVENTS, "--streams",
               SNAPSHOT_STREAMS)
    return alternate(
        row, plan, cluster, f"{cluster.store_events(STORE):,}",
        {"full replay": lambda: load.operations("read-stream", *streams)},
        lambda: load.operations("read-stream", *streams, "--snapshot-tail", SNAPSHOT_TAIL))


def read_all(row: Row, plan: Plan, cluster: Cluster) -> Outcome:
    cluster.create_store(STORE, plan.store_events)
    load = Load(cluster, cluster.serve(STORE), plan.times)
    copy = Copy(cluster, plan.times, STORE)
    count = min(READ_EVENTS, plan.store_events)
    return alternate(row, plan, cluster, f"{copy.events:,}", {"COPY": copy.read},
                     lambda: load.events("read-all", "--in-flight", 1, "--events-per-read", count))


def subscribe(row: Row, plan: Plan, cluster: Cluster) -> Outcome:
    cluster.create_store(STORE, plan.store_events)
    load = Load(cluster, cluster.serve(STORE), plan.times)
    return alternate(row, plan, cluster, f"{cluster.store_events(STORE):,}", {},
                     lambda: load.delivery("--rate", SUBSCRIBE_RATE, "--subscribers", SUBSCRIBERS,
                                           "--connections", SUBSCRIBER_CONNECTIONS))


def growth(row: Row, plan: Plan, cluster: Cluster) -> Outcome:
    """The same load on a small and on a large store of one server, in turns.

    The load's streams lie all over the large store. After a checkpoint each page that is touched
    first goes whole into the log: a cost of the filling just before, which both stores pay off in
    an unmeasured load.
    """
    loads = {}
    for name, events in (("small", plan.store_events), ("large", plan.large_events)):
        cluster.create_store(name, events)
        loads[name] = Load(cluster, cluster.serve(name), plan.times)
    starts = f"{cluster.store_events('large'):,}; small {cluster.store_events('small'):,}"

    streams = [] if plan.growth_recent else plan.existing_streams()

    def small() -> Run:
        return loads["small"].events("append", "--in-flight", 64, *streams)

    def large() -> Run:
        return loads["large"].events("append", "--in-flight", 64, *streams)

    return alternate(row, plan, cluster, starts, {"small store": small}, large,
                     warm_ups=(small, large) * GROWTH_WARM_UPS)


BEST = "best of 16/64-client pgbench, one-event transactions, a library's schema"
UNCONDITIONAL = "the same without a condition; 1 million events with 100,000 tags"

ROWS = (
    Row("append64", "`AppendEvents`, 1 event, 64 in flight", BEST, "events/s", 1.3, 2.0,
        appends("append", 64, PGBENCH_CLIENTS)),
    Row("append1", "the same, 1 in flight", "the same pgbench with 1 client", "events/s", 0.9, 1.3,
        appends("append", 1, (1,))),
    Row("stream256", "`AppendEventsStream`, 1 event, 256 in flight", "as the first", "events/s",
        2.0, 3.0, appends("append-stream", 256, PGBENCH_CLIENTS)),
    Row("transact", "`Transact`, 1 event under a condition, 64 in flight", UNCONDITIONAL,
        "events/s", 0.7, 0.9, transact("all")),
    Row("decide", "the same, the condition after the position just read", UNCONDITIONAL, "events/s",
        0.7, 0.9, transact("recent")),
    Row("bulk", "`AppendEvents`, 100 events, 16 in flight",
        "bulk insert of 500 rows into our own tables by one connection", "events/s", 0.7, 0.9,
        bulk),
    Row("readstream", "`ReadStream` of 10 events, 16 in flight", "pgbench doing that query",
        "reads/s", 0.5, 0.7, read_stream),
    Row("snapshot", "`ReadStream` from a snapshot with 10 events after it, 16 in flight",
        "full replay of the same 1,000 events", "reads/s", 10.0, 20.0, snapshot),
    Row("readall", "`ReadAll`, 1 reader", "binary COPY of the same columns", "events/s", 0.3, 0.6,
        read_all),
    Row("subscribe", "append to subscriber, 1,000 events/s, 50 subscribers", "–", "ms (p99)",
        10.0, 4.0, subscribe, is_latency=True),
    Row("growth", "appends at {large} events", "at {small}", "events/s", 0.85, 0.95, growth),
)
