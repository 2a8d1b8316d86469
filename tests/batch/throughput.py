"""Recordings per second of two workers of one thread each, beside one process of two threads, in turns.

    python tests/batch/throughput.py MODEL RECORDINGS... [--count 500] [--rounds 3] [--engine processes|ray]

RECORDINGS are repeated, each under a name of its own, until there are as many as --count. Prints a line for each run
and the ratio of the medians; exit code 1 where it is below 0.9. Both sides load their models in the measured time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from support.process_tree import descendants

LEAST_RATIO = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """How many workers there are, of how many threads."""

    workers: int
    threads: int

    @property
    def name(self) -> str:
        return f"{self.workers} x {self.threads} threads"


SIDES = (Side(workers=2, threads=1), Side(workers=1, threads=2))


def corpus(folder: Path, recordings: list[Path], count: int) -> Path:
    """A list of as many recordings."""
    lines = [{"id": str(n), "audio": str(recordings[n % len(recordings)].resolve())} for n in range(count)]
    path = folder / "recordings.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def run(model: str, listed: Path, side: Side, engine: str) -> tuple[float, int]:
    """Seconds of a whole run, and the most resident bytes of a worker."""
    command = [sys.executable, "-m", "edgephi", "batch", "transcribe", model, str(listed), "--engine", engine]
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        command += ["-o", f"{out}/out", "--actors", str(side.workers), "--threads", str(side.threads), "--json"]
        began_s, most = time.perf_counter(), 0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        while process.poll() is None:
            most = max(most, _resident(process.pid, engine))
            time.sleep(0.5)
        seconds = time.perf_counter() - began_s
        errors.seek(0)
        if process.returncode:
            sys.exit(errors.read() or "a run failed")
    return seconds, most


def _resident(driver: int, engine: str) -> int:
    """Of the largest worker."""
    process = "\0".join((sys.executable, "-P", "-m", "edgephi_batch.engines.worker"))
    name = process if engine == "processes" else "ray::MapWorker(MapBatches(_Actor)"
    return max((_resident_bytes(one) for one in descendants(driver, name)), default=0)


def _resident_bytes(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", choices=("processes", "ray"), default="processes")
    given = parser.parse_args()
    seconds: dict[str, list[float]] = {side.name: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        listed = corpus(Path(folder), given.recordings, given.count)
        for number in range(given.rounds):
            for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                took_s, most = run(given.model, listed, side, given.engine)
                seconds[side.name].append(took_s)
                print(f"{side.name}: {given.count / took_s:.2f} recordings/s, {most / 1e6:.0f} MB a worker", flush=True)
    two, one = (statistics.median(seconds[side.name]) for side in SIDES)
    ratio = one / two
    print(f"two workers of one thread are {ratio:.2f} times as fast as one process of two")
    sys.exit(0 if ratio >= LEAST_RATIO else 1)


if __name__ == "__main__":
    main()
