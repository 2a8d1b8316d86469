"""Accuracy of the demo checkpoint on held-out data, against the bars it must clear.

    python -m edgephi_nano.accuracy [--engine edgephi|transformers] [--count 300] [--checkpoint DIR] [--json]

Needs espeak-ng's C library and the DejaVu fonts; no PyTorch with the `edgephi` engine. Exit code 1 when a bar is
missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from edgephi_nano.engines import Engine, open_engine
from edgephi_nano.questions import SETS, QuestionSet

CHECKPOINT = Path(__file__).parents[1] / "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured set. `figure` and `bar` are shares, 0 to 1."""

    name: str
    measure: str
    count: int
    figure: float
    bar: float
    met: bool
    seconds: float


def measure(engine: Engine, chosen: QuestionSet, count: int) -> Figure:
    """Ask `count` questions of a set."""
    before = time.perf_counter()
    questions = list(chosen.draw(count))
    got = [engine.answer(question, chosen.adapter) for question in questions]
    figure = chosen.figure([question.answer for question in questions], got)
    return Figure(
        name=chosen.name,
        measure=chosen.measure,
        count=count,
        figure=figure,
        bar=chosen.bar,
        met=chosen.is_met(figure),
        seconds=time.perf_counter() - before,
    )


def as_table(figures: list[Figure], engine: str) -> Table:
    """Figures beside their bars."""
    table = Table(title=f"nano through {engine}, held-out data")
    for heading, justify in (
        ("set", "left"),
        ("items", "right"),
        ("measure", "left"),
        ("figure", "right"),
        ("bar", "right"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("met")
    for row in figures:
        name = "word error rate" if row.measure == "wer" else "exact"
        table.add_row(row.name, str(row.count), name, f"{row.figure:.1%}", f"{row.bar:.0%}", "yes" if row.met else "NO")
    return table


def main() -> None:
    """Measure every set and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("edgephi", "transformers"), default="edgephi")
    parser.add_argument("--count", type=int, default=300, help="items per set")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    given = parser.parse_args()
    figures = []
    with open_engine(given.engine, given.checkpoint) as engine:
        for chosen in SETS:
            print(f"measuring {chosen.name} ...", file=sys.stderr, flush=True)
            figures.append(measure(engine, chosen, given.count))
    if given.json:
        print(json.dumps({"engine": given.engine, "sets": [asdict(figure) for figure in figures]}))
    else:
        Console().print(as_table(figures, given.engine))
    sys.exit(0 if all(figure.met for figure in figures) else 1)


if __name__ == "__main__":
    main()
