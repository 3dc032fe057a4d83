#!/usr/bin/env -S python3 -B
"""Measures eventstored against PostgreSQL used directly, for the table of docs/performance.md.

    tests/bench/bench.py BUILD [--rows append64,growth] [--quick] [--json FILE]

Every row gets a new embedded PostgreSQL with fsync on; its baseline and the daemon run in turns on
it, and medians are compared. The table goes to stdout, progress to stderr. Exit code: 0 if every
row reached what it must, 1 if one did not (the table is printed all the same), 2 if the benchmark
itself failed.
"""

import argparse
import glob
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile

import machine
import report
from load import Times
from processes import Failure, run_tool
from rows import ROWS, Plan

EXIT_REACHED, EXIT_MISSED, EXIT_FAILED = 0, 1, 2
QUICK = {"seconds": 3.0, "rounds": 1, "warm_up": 1.0, "large_events": 1_000_000}
FULL = {"seconds": 10.0, "rounds": 3, "warm_up": 2.0, "large_events": 5_000_000}
STORE_EVENTS = 200_000


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    keys = [row.key for row in ROWS]
    parser.add_argument("build", type=pathlib.Path, help="the folder that has bin/eventstored")
    parser.add_argument("--rows", default=",".join(keys), help="which rows, of " + ", ".join(keys))
    parser.add_argument("--seconds", type=float, help="of each run; 10, --quick: 3")
    parser.add_argument("--rounds", type=int, help="alternations; 3, --quick: 1")
    parser.add_argument("--warm-up", type=float, help="seconds before each run; 2, --quick: 1")
    parser.add_argument("--store-events", type=int, default=STORE_EVENTS,
                        help="events of every store and baseline at the start; 200000")
    parser.add_argument("--large-events", type=int,
                        help="events of the grown store; 5000000, --quick: 1000000")
    parser.add_argument("--quick", action="store_true", help="a look, not a verdict")
    parser.add_argument("--single-statement", action="store_true",
                        help="the library appends by one statement, not by four in a transaction")
    parser.add_argument("--growth-recent", action="store_true",
                        help="growth: append to the run's own streams, not all over the store")
    parser.add_argument("--json", type=pathlib.Path, help="write everything measured to this file")
    parser.add_argument("--work-dir", type=pathlib.Path, default=tempfile.gettempdir(),
                        help="where the servers' folders are made; on a disk")
    arguments = parser.parse_args()
    arguments.rows = arguments.rows.split(",")
    unknown = sorted(set(arguments.rows) - set(keys))
    if unknown:
        parser.error(f"there is no row {', '.join(unknown)}; choose of {', '.join(keys)}")
    for name, value in (QUICK if arguments.quick else FULL).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if arguments.rounds < 1 or arguments.seconds < 1 or arguments.warm_up < 0:
        parser.error("at least one round of one second is needed")
    return arguments


def find_pg_bin() -> pathlib.Path:
    """The newest PostgreSQL's programs, which is the one that the daemon takes."""
    found = glob.glob("/usr/lib/postgresql/*/bin/pgbench")
    newest = max(found, key=lambda path: float(pathlib.Path(path).parts[4]), default=None)
    program = newest or shutil.which("pgbench")
    if program is None:
        raise Failure("pgbench is not installed: apt-get install postgresql-15")
    return pathlib.Path(program).parent


def check_reachable(folder: pathlib.Path) -> None:
    """PostgreSQL refuses to run as root, so root's server runs as a user who must get in."""
    closed = [str(path) for path in (folder, *folder.parents) if not path.stat().st_mode & 0o001]
    if os.geteuid() == 0 and closed:
        raise Failure(f"{closed[-1]} is closed to other users: choose another --work-dir")


def measure(arguments: argparse.Namespace, folder: pathlib.Path) -> int:
    build = arguments.build.resolve()
    plan = Plan(build, find_pg_bin(), folder, Times(arguments.warm_up, arguments.seconds),
                arguments.rounds, arguments.store_events, arguments.large_events,
                arguments.single_statement, arguments.growth_recent)
    described = machine.describe(folder)
    described["eventstored"] = run_tool([build / "bin" / "eventstored", "--version"],
                                        timeout_s=10).stdout.strip()
    results = []
    try:
        for row in (row for row in ROWS if row.key in arguments.rows):
            results.append((row, row.run(plan)))
            shutil.rmtree(folder / row.key)
    finally:  # what was measured is told even if a later row failed
        if results:
            print(report.markdown(described, results, plan))
    if arguments.quick:
        print("\nA quick look: too short to say whether a target is reached.")
    if arguments.json is not None:
        text = json.dumps(report.as_json(described, results, plan), indent=2)
        arguments.json.write_text(text + "\n")
    missed = [row.key for row, outcome in results if report.reached(row, outcome) == "**no**"]
    if missed:
        print(f"bench: not reached: {', '.join(missed)}", file=sys.stderr)
    return EXIT_MISSED if missed else EXIT_REACHED


def end_in_order(*_) -> None:
    """A signal unwinds the stack, so that everything that was started is ended."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Failure("interrupted")


def main() -> int:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, end_in_order)
    signal.signal(signal.SIGINT, end_in_order)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="eventstore-bench-", dir=arguments.work_dir))
    try:
        folder.chmod(0o755)
        check_reachable(folder)
        return measure(arguments, folder)
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return EXIT_FAILED
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
