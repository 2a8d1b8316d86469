"""Prints how far the exported models are from PyTorch transformers, case by case: `python tests/reference/parity.py`.

tests/reference/test_oracle.py holds the limits.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgephi import Model
from reference.oracle import Oracle
from support import golden
from support.bundles import small_bundle, small_checkpoint
from support.cases import CASES

_LAYOUTS = ("native", "original")


def main() -> None:
    """One line per case: the largest difference in the last row, then in any row, in standard deviations of the row."""
    oracle = Oracle(small_checkpoint("native"))
    models = {layout: Model.load(small_bundle(layout)) for layout in _LAYOUTS}
    print("| case | " + " | ".join(f"{layout}: last row | any row" for layout in _LAYOUTS) + " |")
    print("|---|" + "---|---|" * len(_LAYOUTS))
    for case in CASES:
        wanted = oracle.logits(case)
        cells = []
        for model in models.values():
            found = model.logits(list(case.token_ids), **case.media(), rows="all")
            cells += [f"{golden.distance(found[-1], wanted[-1]):.1e}", f"{golden.distance(found, wanted):.1e}"]
        print(f"| {case.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
