"""The embedded PostgreSQL of one row of the table, and the stores on it.

A row gets a server of its own, so that no row sees what another one left. `eventstored --data-dir`
runs it; that daemon idles. The stores are databases beside the baseline's, each with a daemon of
its own (`--database`), so that a daemon can be away while its store is made.
"""

import os
import pathlib
import signal

from processes import KILL_TIMEOUT_S, Daemon, Failure, family_cpu_s, run_tool, wait_until

HERE = pathlib.Path(__file__).resolve().parent
SCHEMA = "eventstore"
SQL_TIMEOUT_S = 1800
# As fill.sql has them.
EVENTS_PER_STREAM = 10
STREAMS_PRIME = 7919

SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers",
            "max_wal_size", "wal_compression", "jit")


class Cluster:
    """A server in a folder of its own. Use it in a `with`: the end stops every process."""

    def __init__(self, build: pathlib.Path, pg_bin: pathlib.Path, folder: pathlib.Path):
        self.build = build
        self.pg_bin = pg_bin
        self.folder = folder
        self.daemons: list[Daemon] = []
        self.postmaster = 0

    def __enter__(self) -> "Cluster":
        self.folder.mkdir()
        self.folder.chmod(0o755)  # root's daemon runs PostgreSQL as another user
        try:
            owner = self._start_daemon("server", ["--data-dir", self.folder / "data"])
            self._find_server(owner)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _find_server(self, owner: Daemon) -> None:
        found = owner.log_match(r"embedded PostgreSQL runs \(pid (\d+)\) in (.+)")
        if found is None:
            raise Failure(f"eventstored does not say where its PostgreSQL runs: {owner.log}")
        self.postmaster = int(found.group(1))
        lines = (pathlib.Path(found.group(2)) / "postmaster.pid").read_text().splitlines()
        self.port, self.socket = lines[3].strip(), lines[4].strip()
        settings = ", ".join(f"current_setting('{name}')" for name in SETTINGS)
        values = self.sql("postgres", f"SELECT {settings}").split("|")
        self.settings = dict(zip(SETTINGS, values))
        if self.settings["fsync"] != "on" or self.settings["synchronous_commit"] != "on":
            raise Failure(f"the server is not durable: {self.settings}")

    def environment(self) -> dict:
        """For libpq's programs. A store's tables are in a schema, the baseline's in `public`."""
        return {**os.environ, "PGHOST": self.socket, "PGPORT": self.port, "PGUSER": "postgres",
                "PGOPTIONS": f"-c search_path={SCHEMA},public"}

    def sql(self, database: str, text: str) -> str:
        """Runs SQL and returns its rows, columns parted by `|`."""
        return self._psql(database, ["-c", text])

    def sql_file(self, database: str, name: str, **variables) -> str:
        """Runs a file of this folder with psql's variables."""
        chosen = [word for item in variables.items() for word in ("-v", "{}={}".format(*item))]
        return self._psql(database, [*chosen, "-f", HERE / name])

    def create_database(self, database: str) -> None:
        self.sql("postgres", f"CREATE DATABASE {database} TEMPLATE template0")

    def create_store(self, database: str, events: int, tags: int = 0) -> None:
        """Makes a store of so many events: a daemon the tables and partitions, SQL the rest. With
        `tags`, every event has one of so many."""
        if events % EVENTS_PER_STREAM or events // EVENTS_PER_STREAM % STREAMS_PRIME == 0:
            raise Failure(f"a store of {events} events cannot be filled: take another number")
        self.create_database(database)
        self.stop(self.serve(database))
        if events > 0:
            self.sql_file(database, "fill.sql", events=events, tags=tags)

    def serve(self, database: str, *arguments) -> Daemon:
        """Starts a daemon on a store."""
        dsn = f"host='{self.socket}' port={self.port} user=postgres dbname={database}"
        return self._start_daemon(database, ["--database", dsn, *arguments])

    def stop(self, daemon: Daemon) -> None:
        self.daemons.remove(daemon)
        daemon.stop()

    def store_events(self, database: str) -> int:
        return int(self.sql(database, "SELECT last_position FROM log_head"))

    def cpu_s(self) -> float:
        """Processor seconds of the PostgreSQL server with all of its processes."""
        return family_cpu_s(self.postmaster)

    def close(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.stop()
        self.daemons.clear()
        self._end_server()

    def _psql(self, database: str, arguments: list) -> str:
        command = [self.pg_bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database]
        return run_tool([*command, *arguments], timeout_s=SQL_TIMEOUT_S,
                        env=self.environment()).stdout.strip()

    def _start_daemon(self, name: str, arguments: list) -> Daemon:
        log = self.folder / f"{name}.log"
        daemon = Daemon(self.build / "bin" / "eventstored", arguments, log)
        self.daemons.append(daemon)
        return daemon

    def _end_server(self) -> None:
        """Ends the server if its daemon was killed before it could, so that nothing is left."""
        def gone() -> bool:
            return not pathlib.Path(f"/proc/{self.postmaster}").exists()

        for how in (signal.SIGQUIT, signal.SIGKILL):
            if self.postmaster == 0 or gone():
                return
            os.kill(self.postmaster, how)
            wait_until(gone, KILL_TIMEOUT_S)
