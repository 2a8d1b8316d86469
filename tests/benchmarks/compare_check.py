"""How often `edgephi bench compare` is right: identical builds against each other, and against one that is 5 % slower.

    make compare-check
    python tests/benchmarks/compare_check.py [--count 20] [--percent 5] [--model DIR] [--threads 1]

The other build is a copy of this checkout's packages in a scratch folder, with an interpreter of its own. The slower
one has a decoder that goes on computing nothing after each step, for 5 % of the time that the step took. Both series
take turns, so that both see the same machine. The last line is the summary; the exit code is 0 if at most 1 in 20 of
the identical builds fails and 19 in 20 of the slower ones are found.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

import edgephi
import edgephi_bench
from edgephi_bench.engines.workers.edgephi_decoder import Decoder

_SLOWER = """

def _slower(forward, factor, call_s):
    import time

    def slow_forward(self, sequence, **options):
        entered = time.perf_counter()  # what this wrapper itself takes is part of the wait
        is_step = len(sequence) - self.num_cached == 1
        before = time.perf_counter()
        result = forward(self, sequence, **options)
        if is_step:
            end = entered + (time.perf_counter() - before) * factor - call_s
            while time.perf_counter() < end:
                pass
        return result

    return slow_forward


def _call_s():
    # Seconds that going through the wrapper costs, which the wait must not come on top of.
    import timeit

    class Nothing:
        num_cached = 0
        def forward(self, sequence, **options): pass

    plain = min(timeit.repeat(lambda: Nothing.forward(Nothing, (0,), adapter=0), number=1000, repeat=5))
    wrapped = _slower(Nothing.forward, 1.0, 0.0)
    return (min(timeit.repeat(lambda: wrapped(Nothing, (0,), adapter=0), number=1000, repeat=5)) - plain) / 1000


Decoder.forward = _slower(Decoder.forward, FACTOR, _call_s())
"""
_CHECKPOINT = Path(__file__).parents[2] / "nano" / "checkpoint"


def main() -> None:
    """Run both series."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="compare-check-") as name:
        scratch, begin = Path(name), time.monotonic()
        model = arguments.model or _exported(scratch / "model")
        pythons = {
            "identical": _build(scratch / "identical", None),
            "slower": _build(scratch / "slower", 1 + arguments.percent / 100),
        }
        verdicts: dict[str, list[str]] = {series: [] for series in pythons}
        losses: dict[str, list[float]] = {series: [] for series in pythons}
        for number in range(1, arguments.count + 1):
            for series, python in pythons.items():
                verdict, loss, line = _compare(model, python, arguments.threads, arguments.max_time)
                verdicts[series].append(verdict)
                losses[series].append(loss)
                print(f"{number} of {arguments.count}, {series}: {line}", flush=True)
    middle = {series: statistics.median(found) for series, found in losses.items()}
    print(f"median change: {middle['identical']:+.1%} identical, {middle['slower']:+.1%} slower")
    _summary(verdicts, arguments, time.monotonic() - begin)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=20, help="Comparisons in each series.")
    parser.add_argument("--percent", type=float, default=5.0, help="By how much the slower build is slower.")
    parser.add_argument("--threads", type=int, default=1, help="Of all processes.")
    parser.add_argument("--max-time", type=float, default=30.0, help="Seconds after which a comparison begins no pair.")
    parser.add_argument("--model", type=Path, help="A model folder; without it nano is exported.")
    return parser.parse_args()


def _exported(folder: Path) -> Path:
    command = [sys.executable, "-m", "edgephi", "export", str(_CHECKPOINT), "-o", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def _build(folder: Path, factor: float | None) -> Path:
    """An environment with a copy of the packages; the interpreter's path."""
    folder.mkdir()
    copies = []
    for package in (edgephi, edgephi_bench):
        source = Path(package.__file__ or "").parent
        copies.append(folder / "packages" / source.parent.name)
        shutil.copytree(source, copies[-1] / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    if factor is not None:
        module = copies[0].joinpath(*Decoder.__module__.split(".")).with_suffix(".py")
        module.write_text(module.read_text() + _SLOWER.replace("FACTOR", repr(factor)))
    environment = folder / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    # Lines of a .pth file come in this order, and what this environment installed comes after the copies.
    (site / "copies.pth").write_text("\n".join([*map(str, copies), sysconfig.get_paths()["purelib"]]) + "\n")
    python = environment / "bin" / "python"
    where = subprocess.run(
        [str(python), "-I", "-c", "import edgephi, edgephi_bench; print(edgephi.__file__, edgephi_bench.__file__)"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    if not all(path.startswith(str(folder)) for path in where):
        raise SystemExit(f"the copy in {folder} is not what its interpreter imports: {where}")
    return python


def _compare(model: Path, python: Path, threads: int, max_time: float) -> tuple[str, float, str]:
    """The verdict, by what share the other build was slower, and a line about the comparison."""
    command = [sys.executable, "-m", "edgephi", "bench", "compare", str(model), str(model), "--against-python"]
    command += [str(python), "--only", "decode", "--threads", str(threads), "--max-time", str(max_time), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        raise SystemExit(f"the comparison itself failed: {done.stderr}")
    content = json.loads(done.stdout)
    (figure,) = content["compared"]["figures"]
    verdict = str(figure["verdict"])
    if (done.returncode == 1) != (verdict == "slower"):
        raise SystemExit(f"exit code {done.returncode} with the verdict {verdict}: {done.stderr}")
    ends = "unknown" if figure["low"] is None else f"{figure['low']:+.1%} to {figure['high']:+.1%}"
    compared = content["compared"]
    return (
        verdict,
        float(figure["loss"]),
        (
            f"{verdict}, {figure['loss']:+.1%} ({ends}), {compared['num_pairs']} pairs in {compared['seconds']:.0f} s, "
            f"{figure['before'] * 1e6:.0f} and {figure['after'] * 1e6:.0f} microseconds a step"
        ),
    )


def _summary(verdicts: dict[str, list[str]], arguments: argparse.Namespace, seconds: float) -> None:
    count = arguments.count
    failed, found = verdicts["identical"].count("slower"), verdicts["slower"].count("slower")
    reported = {series: count - items.count("noise") for series, items in verdicts.items()}
    print(
        f"identical builds: {failed} of {count} failed (at most 1 in 20 may; {reported['identical']} were decided); "
        f"{arguments.percent:g} % slower: {found} of {count} found (19 in 20 must be); {seconds / 60:.1f} minutes"
    )
    sys.exit(failed > count / 20 or found < count * 19 / 20)


if __name__ == "__main__":
    main()
