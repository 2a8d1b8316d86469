"""Accuracy of the demo checkpoint on held-out data, for every recipe, against the bars it must clear.

The sets are suites of `edgephi evaluate`, which asks and judges.

    python -m edgephi_nano.accuracy [--recipes fp32,int8,int4,int4-fast] [--engine edgephi|transformers] [--count 300]
                                    [--override PATTERN=FORMAT]... [--kv-cache float|int8] [--prefill int8]
                                    [--stress] [--checkpoint DIR] [--keep DIR] [--json]

Needs espeak-ng's C library and the DejaVu fonts; no PyTorch with the `edgephi` engine. Exit code 1 when a bar is
missed: the set's own, or a recipe's distance from fp32.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from edgephi.base.step import Step
from edgephi_evaluate.runs.evaluation import Evaluation, evaluate, load_suites
from edgephi_evaluate.runs.folder import read_records, read_run, suite_folder
from edgephi_evaluate.statistics.summary import SuiteSummary, summarize
from edgephi_evaluate.suites.registry import Selection, find_suite
from edgephi_nano.engines import EdgephiEngine, Engine, TransformersEngine
from edgephi_nano.evaluation_items import write_items
from edgephi_nano.questions import SETS, QuestionSet
from edgephi_nano.stress import STRESS

CHECKPOINT = Path(__file__).parents[1] / "checkpoint"
BASELINE = "fp32"
#: How far a recipe may fall behind fp32, as a share: half a point at 8 bits, one and a half at 4.
MOST_LOST = {"int8": 0.005, "int4": 0.015}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One set measured through one engine. `figure`, `bar` and `lost` are shares, 0 to 1.

    Attributes:
        engine: A recipe, or `transformers`.
        name: The set.
        measure: `wer` or `exact`.
        count: Questions.
        figure: The measure.
        bar: What it must clear.
        lost: How much worse it is than fp32 in this run; None without fp32 and with the adapter off.
        met: Whether the bar is cleared and no more is lost than the recipe may lose.
        seconds: What the answers took.
    """

    engine: str
    name: str
    measure: str
    count: int
    figure: float
    bar: float
    lost: float | None
    met: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a measurement keeps what it needs: the items of every set, and the answers of every engine."""

    folder: Path

    @property
    def data(self) -> Path:
        """Items."""
        return self.folder / "data"

    def run(self, engine: str) -> Path:
        """Answers of one engine, for `edgephi evaluate report`."""
        return self.folder / engine


def measure(engines: dict[str, Engine], chosen: QuestionSet, place: Place) -> list[Figure]:
    """Ask every engine the items of a set."""
    figures: list[Figure] = []
    baseline: float | None = None
    for name, engine in engines.items():
        before = time.perf_counter()
        summary = _summary(engine, chosen.suite, place.data, place.run(name))
        figure = summary.whole.estimate.value / 100
        if name == BASELINE and chosen.adapter == "auto":
            baseline = figure
        lost = None if baseline is None else (figure - baseline) * (1 if chosen.measure == "wer" else -1)
        figures.append(
            Figure(
                engine=name,
                name=chosen.name,
                measure=chosen.measure,
                count=summary.whole.items,
                figure=figure,
                bar=chosen.bar,
                lost=lost,
                met=chosen.is_met(figure) and (lost is None or lost <= MOST_LOST.get(name, 1.0)),
                seconds=time.perf_counter() - before,
            )
        )
    return figures


def _summary(engine: Engine, suite: str, data: Path, run: Path) -> SuiteSummary:
    loaded = load_suites((suite,), data, Selection())
    wanted = Evaluation(engine=engine.asked(), run=run, selection=Selection(), command=tuple(sys.argv))
    evaluate(wanted, loaded, _unshown)
    folder = suite_folder(run, suite)
    return summarize(find_suite(suite), read_run(folder), read_records(folder))


def _unshown(_: Step) -> None:
    """Sets take seconds; their names are enough."""


def as_table(rows: list[list[Figure]]) -> Table:
    """One line for each set, one column for each engine; what misses its bar is marked."""
    table = Table(title="nano on held-out data")
    for heading in ("set", "measure"):
        table.add_column(heading)
    for heading in ("items", *(figure.engine for figure in rows[0]), "bar"):
        table.add_column(heading, justify="right")
    for row in rows:
        first = row[0]
        figures = (f"{figure.figure:.1%}{'' if figure.met else ' MISSED'}" for figure in row)
        words = "word errors" if first.measure == "wer" else "exact"
        table.add_row(first.name, words, str(first.count), *figures, f"{first.bar:.0%}")
    return table


def _engines(given: argparse.Namespace) -> dict[str, Engine]:
    if given.engine == "transformers" and given.kv_cache != "float":
        sys.exit("--kv-cache int8 is for --engine edgephi")
    if given.engine == "transformers" and given.prefill is not None:
        sys.exit("--prefill int8 is for --engine edgephi")
    if given.engine == "transformers":
        return {"transformers": TransformersEngine(given.checkpoint)}
    names = given.recipes.split(",")
    # The baseline comes first, so that the others can be compared with it.
    names.sort(key=lambda name: name != BASELINE)
    overrides = tuple(given.override)
    return {name: EdgephiEngine(given.checkpoint, name, overrides, given.kv_cache, given.prefill) for name in names}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("edgephi", "transformers"), default="edgephi")
    parser.add_argument("--recipes", default="fp32,int8,int4,int4-fast", help="recipes of `edgephi export`")
    parser.add_argument("--override", action="append", default=[], help="as for `edgephi export`; not for fp32")
    parser.add_argument(
        "--kv-cache", choices=("float", "int8"), default="float", help="as for `edgephi run`; fp32 always has floats"
    )
    parser.add_argument(
        "--prefill", choices=("int8",), help="as for `edgephi export`; every prompt then goes through it"
    )
    parser.add_argument("--stress", action="store_true", help="harder sets: noise, accents, small type, long copying")
    parser.add_argument("--count", type=int, default=300, help="items per set")
    parser.add_argument("--keep", type=Path, help="keep items and answers here, for `edgephi evaluate report`")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    return parser.parse_args()


def main() -> None:
    """Measure every set and print the figures."""
    given = _parse()
    rows = []
    with contextlib.ExitStack() as stack:
        place = Place(given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory())))
        engines = {name: stack.enter_context(engine) for name, engine in _engines(given).items()}
        for chosen in STRESS if given.stress else SETS:
            print(f"measuring {chosen.name} ...", file=sys.stderr, flush=True)
            write_items(place.data, (chosen,), given.count)
            rows.append(measure(engines, chosen, place))
    if given.json:
        print(json.dumps({"figures": [asdict(figure) for row in rows for figure in row]}))
    else:
        Console(width=max(100, Console().width)).print(as_table(rows))
    sys.exit(0 if all(figure.met for row in rows for figure in row) else 1)


if __name__ == "__main__":
    main()
