"""Record the golden values from PyTorch transformers into tests/golden: `python tests/reference/record.py [NAME]...`.

Run it after a deliberate change of cases or weights; `make reference` fails while the
committed values differ from what it would write.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reference.mel_features import log_mel
from reference.oracle import Oracle
from support.cases import CASES, CASES_BY_NAME, LONG_REPLY_TOKENS, kept_rows, long_prompt_ids
from support.checkpoints import write_checkpoint
from support.golden import GOLDEN_DIR, MEL_RATES_HZ, MEL_STRIDE, weight_sums
from support.sizes import SMALL

Arrays = dict[str, NDArray[Any]]
#: Below this lead a greedy choice could flip between machines.
_SAFE_LEAD = 0.05
_SIDES = (4, 12, 32)


def logits(oracle: Oracle) -> Arrays:
    """Every case's last row, some of its rows, and how many there are."""
    arrays: Arrays = {}
    for case in CASES:
        rows = oracle.logits(case)
        arrays[f"{case.name}/last"] = rows[-1]
        arrays[f"{case.name}/rows"] = rows[kept_rows(len(rows))]
        arrays[f"{case.name}/count"] = np.int64(len(rows))
    return arrays


def crossing(oracle: Oracle) -> Arrays:
    """A greedy reply that crosses LongRoPE's boundary, every step a fresh read of the whole sequence."""
    prompt = long_prompt_ids()
    reply, rows = oracle.greedy(prompt, LONG_REPLY_TOKENS)
    best = np.sort(rows, axis=-1)
    lead = float(((best[:, -1] - best[:, -2]) / rows.std(axis=-1)).min())
    if lead < _SAFE_LEAD:
        raise ValueError(f"a token of the reply leads by {lead:.3f} standard deviations only; choose another prompt")
    return {"prompt_count": np.int64(len(prompt)), "reply": np.array(reply), "logits": rows}


def mel(_: Oracle) -> Arrays:
    """Frames of one recording per sampling rate."""
    arrays: Arrays = {}
    for rate in MEL_RATES_HZ:
        frames = log_mel(*CASES_BY_NAME[f"speech_{rate // 1000}khz"].load_audio()[0])[0].numpy()
        arrays |= {f"{rate}/frames": frames[::MEL_STRIDE], f"{rate}/count": np.int64(len(frames))}
    return arrays


def positions(oracle: Oracle) -> Arrays:
    """The tower's position ids when the first k rows and k columns are used, k = 1 .. side, at three grid sizes."""
    arrays: Arrays = {}
    for side in _SIDES:
        masks = torch.zeros(side, side, side, dtype=torch.bool)
        for k in range(side):
            masks[k, : k + 1, : k + 1] = True
        arrays[f"P{side}"] = oracle.position_ids(masks, side).astype(np.int16)
    return arrays


def weights(_: Oracle) -> Arrays:
    """Checksums of the weights that all other values belong to."""
    sums = weight_sums(SMALL, 0)
    return {"names": np.array(list(sums)), "sums": np.array(list(sums.values()))}


RECORDS = {"logits": logits, "crossing": crossing, "mel": mel, "positions": positions, "weights": weights}


def main() -> None:
    """Write every golden file, or those named on the command line."""
    with tempfile.TemporaryDirectory() as folder:
        oracle = Oracle(write_checkpoint(Path(folder)))
    GOLDEN_DIR.mkdir(exist_ok=True)
    for name in sys.argv[1:] or RECORDS:
        path = GOLDEN_DIR / f"{name}.npz"
        np.savez_compressed(path, **RECORDS[name](oracle))
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
