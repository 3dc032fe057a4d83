"""What the daemon is compared with: pgbench and COPY on the same server."""

import math
import random
import re
import string

from load import SPARE_S, Run, Times, with_cpu
from processes import Failure, run_tool
from server import EVENTS_PER_STREAM, HERE, Cluster

LIBRARY_DATABASE = "library"
PGBENCH_THREADS = 2
NEW_PERCENT = 10  # of the appends, as `eventstorectl bench` does
PAYLOAD_BYTES = 250
ROWS_A_BULK = 500

# What the daemon reads of an event, see read_stream.sql.
EVENT_COLUMNS = ("global_position, event_id, aggregate_id, aggregate_type, event_type, tenant_id, "
                 "actor_id, version, timestamp, payload, created_at, payload_binary, content_type, "
                 "correlation_id, causation_id, metadata, schema_version, tags")


def make_payload() -> str:
    """JSON of PAYLOAD_BYTES with random text, as `eventstorectl bench` makes it."""
    opening, closing = '{"data":"', '"}'
    letters = random.choices(string.ascii_letters + string.digits + "-_",
                             k=PAYLOAD_BYTES - len(opening) - len(closing))
    return opening + "".join(letters) + closing


def rate_after(progress: str, warm_up_s: float) -> float:
    """The mean of pgbench's progress lines, one a second, without those of the warm-up."""
    done, seconds, last = 0.0, 0.0, 0.0
    for line in re.finditer(r"^progress: ([\d.]+) s, ([\d.]+) tps", progress, re.MULTILINE):
        now, rate = float(line.group(1)), float(line.group(2))
        if last >= warm_up_s - 0.5:
            done += rate * (now - last)
            seconds += now - last
        last = now
    if seconds == 0:
        raise Failure(f"pgbench showed no progress after its warm-up:\n{progress}")
    return done / seconds


class Pgbench:
    """Runs scripts of this folder against a database, with statements prepared."""

    def __init__(self, cluster: Cluster, times: Times):
        self.cluster = cluster
        self.times = times

    def run(self, database: str, script: str, clients: int, *, rows: int = 1, **variables) -> Run:
        """The rate of the script's transactions times its rows. A script knows `clients` too."""
        def measure() -> Run:
            total_s = round(self.times.warm_up_s + self.times.seconds)
            known = {"clients": clients, **variables}
            chosen = [word for item in known.items() for word in ("-D", "{}={}".format(*item))]
            done = run_tool(
                [self.cluster.pg_bin / "pgbench", "-n", "-M", "prepared", "-c", clients,
                 "-j", min(clients, PGBENCH_THREADS), "-T", total_s, "-P", 1, *chosen,
                 "-f", HERE / script, database],
                timeout_s=total_s + SPARE_S, env=self.cluster.environment())
            if not re.search(r"^number of failed transactions: 0 ", done.stdout, re.MULTILINE):
                raise Failure(f"transactions of {script} failed:\n{done.stdout}")
            return Run(rows * rate_after(done.stderr, self.times.warm_up_s))

        return with_cpu(self.cluster, None, measure)


class Library:
    """A library's appends: one-event transactions on one table with all of its indexes."""

    def __init__(self, cluster: Cluster, times: Times, events: int, single_statement: bool):
        self.pgbench = Pgbench(cluster, times)
        self.streams = events // EVENTS_PER_STREAM
        self.payload = make_payload()
        self.script = "baseline_append_single.sql" if single_statement else "baseline_append.sql"
        cluster.create_database(LIBRARY_DATABASE)
        cluster.sql_file(LIBRARY_DATABASE, "baseline.sql", events=events, payload=self.payload)

    def append(self, clients: int) -> Run:
        return self.pgbench.run(LIBRARY_DATABASE, self.script, clients, streams=self.streams,
                                new_percent=NEW_PERCENT, payload=self.payload)

    def rows(self) -> int:
        return int(self.pgbench.cluster.sql(LIBRARY_DATABASE, "SELECT count(*) FROM events"))


class Bulk:
    """Inserts of many rows at a time into a store that no daemon serves."""

    def __init__(self, cluster: Cluster, times: Times, database: str, events: int):
        self.pgbench = Pgbench(cluster, times)
        self.database = database
        cluster.create_store(database, events)
        cluster.sql_file(database, "bulk_source.sql")

    def insert(self) -> Run:
        return self.pgbench.run(self.database, "bulk_insert.sql", 1, rows=ROWS_A_BULK)


class Copy:
    """Binary COPY of all events of a store, again and again, by one psql."""

    def __init__(self, cluster: Cluster, times: Times, database: str):
        self.cluster = cluster
        self.times = times
        self.database = database
        self.events = cluster.store_events(database)

    def read(self) -> Run:
        first_s = self._time(1)[0]  # warms up, and tells how many fill the time
        count = max(1, math.ceil(self.times.seconds / first_s))
        return with_cpu(self.cluster, None,
                        lambda: Run(self.events * count / sum(self._time(count))))

    def _time(self, count: int) -> list[float]:
        """The seconds that each of so many copies took."""
        copy = (f"\\copy (SELECT {EVENT_COLUMNS} FROM events WHERE global_position <= "
                f"{self.events}) TO '/dev/null' WITH (FORMAT binary)")
        commands = [word for _ in range(count) for word in ("-c", copy)]
        output = run_tool([self.cluster.pg_bin / "psql", "-XAt", "-v", "ON_ERROR_STOP=1",
                           "-d", self.database, "-c", "\\timing on", *commands],
                          timeout_s=2 * self.times.seconds + SPARE_S,
                          env=self.cluster.environment()).stdout
        seconds = [float(found) / 1000 for found in re.findall(r"^Time: ([\d.]+) ms", output,
                                                               re.MULTILINE)]
        if output.count(f"COPY {self.events}\n") != count or len(seconds) != count:
            raise Failure(f"psql did not copy {self.events} events {count} times:\n{output}")
        return seconds
