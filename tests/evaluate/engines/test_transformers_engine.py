"""`edgephi evaluate --engine transformers` must be the original model: in float32 it answers as edgephi's fp32 does."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgephi import Model
from edgephi_evaluate.engines.edgephi_engine import EdgephiEngine
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.engines.transformers_engine import TransformersEngine
from edgephi_evaluate.item import Item, Turn
from edgephi_evaluate.readers.rows import media_file
from edgephi_export import ExportOptions, export

pytestmark = pytest.mark.reference

NANO = Path(__file__).parents[3] / "nano"
RULES = AnswerRules(max_new_tokens=32)


def _item(text: str, *, images: tuple[str, ...] = (), audio: tuple[str, ...] = (), tools: str | None = None) -> Item:
    kinds = ([media_file(NANO / "samples" / name, text) for name in names] for names in (images, audio))
    system = () if tools is None else (Turn(role="system", text="You are a home assistant.", tools=tools),)
    found = [tuple(one) for one in kinds]
    turns = (*system, Turn(role="user", text=text))
    return Item(id=text or "spoken", turns=turns, images=found[0], audio=found[1], answers=("",), group="1")


ITEMS = (
    _item("Repeat: the small red house"),
    _item("lock the door", tools='[{"name": "lock", "parameters": {}}]'),
    _item("What does the sign say?", images=("sign.png",)),
    _item("Which bar is tallest?", images=("sign.png", "bars.png")),
    _item("Transcribe the audio clip into text.", audio=("sentence.wav",)),
    _item("", images=("number.png",), audio=("spoken-number-question.wav",)),
)


@pytest.mark.parametrize("adapter", ["auto", "none"])
def test_it_answers_as_the_export_in_float32(tmp_path: Path, adapter: str):
    rules = AnswerRules(max_new_tokens=32, adapter="auto" if adapter == "auto" else "none")
    folder = export(NANO / "checkpoint", tmp_path / "fp32", ExportOptions(recipe="fp32"))
    original = TransformersEngine(NANO / "checkpoint", "float32", threads=2)
    with Model.load(folder) as model:
        ours = EdgephiEngine(model, folder)
        for item in ITEMS:
            one, other = ours.answer(item, rules), original.answer(item, rules)
            assert (one.token_ids, one.marked_text, one.finish_reason) == (
                other.token_ids, other.marked_text, other.finish_reason,
            ), item.id  # fmt: skip
    assert original.identity.settings == ("precision float32",)


def test_weights_are_kept_as_the_checkpoint_stores_them():
    engine = TransformersEngine(NANO / "checkpoint")
    assert str(engine._model._model.dtype) == "torch.bfloat16"
    assert engine.answer(ITEMS[0], RULES).text == "the small red house"
