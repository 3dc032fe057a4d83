"""Child processes: tools that run to their end, daemons that serve, and what each of them used.

Every child is ended by its own pid by who started it; a session of its own keeps a Ctrl-C at the
terminal from reaching it before that.
"""

import http.client
import os
import pathlib
import re
import signal
import subprocess
import time
from dataclasses import dataclass

READY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
KILL_TIMEOUT_S = 10
POLL_S = 0.05
LOG_TAIL_CHARS = 2000
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """Something that the benchmark needs went wrong; the text says what, for people."""


def wait_until(condition, timeout_s: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def run_tool(argv: list, *, timeout_s: float,
             env: dict | None = None) -> subprocess.CompletedProcess:
    """Runs a program to its end. Whatever ends this call early ends the program too."""
    words = [str(word) for word in argv]
    name = pathlib.Path(words[0]).name
    try:
        done = subprocess.run(words, env=env, timeout=timeout_s, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, start_new_session=True, check=False)
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{name} did not end within {timeout_s:.0f} s: {' '.join(words)}") from late
    except OSError as error:
        raise Failure(f"{words[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-LOG_TAIL_CHARS:]
        raise Failure(f"{name} ended with code {done.returncode}: {' '.join(words)}\n{said}")
    return done


@dataclass(frozen=True)
class ProcessTimes:
    """Processor seconds of a process, and of those of its children that it has seen end."""
    parent: int
    own_s: float
    ended_children_s: float


def process_times(pid: int) -> ProcessTimes:
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2:].split()  # from the field `state` on, see proc(5)
    user, system, children_user, children_system = (int(field) for field in fields[11:15])
    return ProcessTimes(int(fields[1]), (user + system) / CLOCK_TICKS,
                        (children_user + children_system) / CLOCK_TICKS)


def family_cpu_s(pid: int) -> float:
    """Processor seconds of a process and of its children, those included that ended already."""
    while True:
        head = process_times(pid)
        seconds = head.own_s + head.ended_children_s
        for entry in pathlib.Path("/proc").iterdir():
            try:
                child = process_times(int(entry.name)) if entry.name.isdigit() else None
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            if child is not None and child.parent == pid:
                seconds += child.own_s + child.ended_children_s
        # A child that ended meanwhile may have been missed in both places.
        if process_times(pid).ended_children_s == head.ended_children_s:
            return seconds


class Daemon:
    """An eventstored process. Serves from the end of the constructor until stop()."""

    def __init__(self, program: pathlib.Path, arguments: list, log: pathlib.Path):
        self.log = log
        self.arguments = [str(argument) for argument in arguments]
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("EVENTSTORED_")}
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [program, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0",
                 *self.arguments],
                env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True)
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def metrics(self) -> str:
        """What /metrics says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def log_match(self, pattern: str) -> re.Match | None:
        return re.search(pattern, self.log.read_text(errors="replace"))

    def cpu_s(self) -> float:
        """Processor seconds of the daemon alone: an embedded PostgreSQL is a child that lives."""
        return process_times(self.process.pid).own_s

    def peak_rss_bytes(self) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE).group(1)) * 1024

    def check_alive(self) -> None:
        if self.process.poll() is not None:
            raise Failure(f"eventstored {' '.join(self.arguments)} ended by itself with code "
                          f"{self.process.returncode}:\n{self._log_tail()}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _wait_ready(self) -> None:
        ports = None
        pattern = r"gRPC on .* \(port (\d+)\), metrics and health on .*\(port (\d+)\)"

        def listens() -> bool:
            nonlocal ports
            self.check_alive()
            ports = self.log_match(pattern)
            return ports is not None

        def ready() -> bool:
            self.check_alive()
            connection = http.client.HTTPConnection("127.0.0.1", int(ports.group(2)), timeout=5)
            try:
                connection.request("GET", "/health/ready")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False
            finally:
                connection.close()

        if not wait_until(listens, READY_TIMEOUT_S) or not wait_until(ready, READY_TIMEOUT_S):
            raise Failure(f"eventstored did not become ready within {READY_TIMEOUT_S} s:\n"
                          f"{self._log_tail()}")
        self.port, self.metrics_port = int(ports.group(1)), int(ports.group(2))

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace").strip()[-LOG_TAIL_CHARS:]
