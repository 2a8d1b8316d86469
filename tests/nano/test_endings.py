"""A fine-tune whose files lost the turn's end must still answer and stop, not talk to itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgephi import Model, SamplingOptions
from edgephi_export import ExportOptions, export
from support.tensor_files import change_json

CHECKPOINT = Path(__file__).parents[2] / "nano" / "checkpoint"
CHANGES: dict[str, Callable[[Path], object]] = {
    "only <|endoftext|>": lambda path: change_json(path, lambda c: c.update(eos_token_id=756)),
    "none": lambda path: change_json(path, lambda c: c.pop("eos_token_id")),
    "no file": Path.unlink,
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_reply_ends_with_the_turn(tmp_path: Path, name: str):
    folder = Path(shutil.copytree(CHECKPOINT, tmp_path / "checkpoint"))
    CHANGES[name](folder / "generation_config.json")
    out = export(folder, tmp_path / "out", ExportOptions(recipe="int4", method="rtn", adapters="none"))
    with Model.load(out) as model:
        reply = model.generate("Repeat: the small red house", options=SamplingOptions(max_new_tokens=40))
    assert (reply.text, reply.finish_reason) == ("the small red house", "stop")
