"""The machine that a table was made on."""

import os
import pathlib
import platform
import re
import statistics
import tempfile
import time

from processes import Failure

FSYNC_COUNT = 200
FSYNC_BYTES = 8192
# File systems whose fsync does nothing.
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs"}


def first_match(path: str, pattern: str) -> str:
    found = re.search(pattern, pathlib.Path(path).read_text(), re.MULTILINE)
    return found.group(1).strip() if found else "unknown"


def file_system(folder: pathlib.Path) -> str:
    """The type of the file system that a folder is on."""
    best = ("", "unknown")
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def fsync_ms(folder: pathlib.Path) -> list[float]:
    """How long each of many writes of a page took, with the fdatasync that makes it last."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        page = os.urandom(FSYNC_BYTES)
        os.pwrite(file.fileno(), page * 16, 0)
        os.fsync(file.fileno())
        for i in range(FSYNC_COUNT):
            began = time.perf_counter()
            os.pwrite(file.fileno(), page, i % 16 * FSYNC_BYTES)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return times


def describe(folder: pathlib.Path) -> dict:
    """What a reader must know of the machine to compare figures. Refuses a folder in memory."""
    kind = file_system(folder)
    if kind in MEMORY_FILE_SYSTEMS:
        raise Failure(f"{folder} is on {kind}, where fsync costs nothing: choose a folder on a "
                      "disk by --work-dir")
    times = fsync_ms(folder)
    memory_kb = int(first_match("/proc/meminfo", r"^MemTotal:\s+(\d+) kB"))
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": first_match("/proc/cpuinfo", r"^model name\s*:\s*(.+)$"),
        "memory_gib": round(memory_kb / 2**20, 1),
        "kernel": platform.release(),
        "system": first_match("/etc/os-release", r'^PRETTY_NAME="?([^"\n]+)'),
        "file_system": kind,
        "fsync_ms_median": round(statistics.median(times), 3),
        "fsync_ms_p99": round(statistics.quantiles(times, n=100)[98], 3),
        "load_average_at_start": os.getloadavg()[0],
    }
