"""Tokens a second of many folders of nano, step by step in turn, so that a slow moment of the machine falls on all.

    python -m edgephi_nano.decode_rates FOLDER... [--threads 1] [--rounds 20] [--depth 128]

Prints a table of the median step and the rate of each, without an adapter where one is routed.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from edgephi_bench.engines.workers.edgephi_decoder import DecoderEngine, open_engine

_STEPS = 33


def measure_steps(folders: Sequence[Path], *, threads: int, rounds: int, depth: int) -> dict[str, float]:
    """The median decoding step of each folder in seconds, by the folder's name.

    Args:
        folders: Model folders; all of them are loaded at once.
        threads: Of each.
        rounds: How often each of them makes some 30 steps; the first round does not count.
        depth: Cached positions before the steps.
    """
    engines: dict[str, DecoderEngine] = {}
    for folder in folders:
        options = {"model": str(folder), "threads": threads, "adapter": "none", "kv_cache": "float"}
        engines[folder.resolve().name] = open_engine(options)
    steps: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(rounds + 1):
        for name, engine in engines.items():
            found = engine.decode(depth, _STEPS)
            steps[name] += found if number else []
    return {name: statistics.median(found) for name, found in steps.items()}


def main() -> None:
    """Measure the folders of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--depth", type=int, default=128)
    given = parser.parse_args()
    found = measure_steps(given.folders, threads=given.threads, rounds=given.rounds, depth=given.depth)
    print("| folder | median step | decode rate |\n| --- | ---: | ---: |")
    for name, step_s in found.items():
        print(f"| {name} | {step_s * 1e3:.3f} ms | {1 / step_s:,.0f} tokens/s |")


if __name__ == "__main__":
    main()
