"""The curve of a training stage: what it says while it runs.

It is written to the file `curve.txt`.
"""

from __future__ import annotations

from pathlib import Path


def report(folder: Path, line: str) -> None:
    """Say one line on the terminal and append it to the stage's curve."""
    print(line, flush=True)
    with (folder / "curve.txt").open("a", encoding="utf-8") as curve:
        curve.write(line + "\n")
