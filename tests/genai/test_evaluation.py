"""`edgephi evaluate --engine genai` must give what edgephi gives on the same weights, and say what it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_evaluate.engines.edgephi_engine import EdgephiEngine
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.engines.genai_engine import GenaiEngine
from edgephi_evaluate.item import Item, Media, Turn
from genai.conftest import Pair

pytestmark = pytest.mark.genai

RULES = AnswerRules(max_new_tokens=24)
TEXTS = ("Repeat: red lamp", "turn on the kitchen light", "what is two and three", "spell cat")


def _item(text: str, *system: Turn) -> Item:
    return Item(id=text, turns=(*system, Turn(role="user", text=text)), answers=("",), group="1")


def test_both_engines_give_the_same_replies(pair: Pair):
    tools = Turn(role="system", text="You are a home assistant.", tools='[{"name": "lock", "parameters": {}}]')
    items = [*map(_item, TEXTS), _item("lock the door", tools)]
    ours = EdgephiEngine(pair.edgephi, pair.folder.with_name("edgephi"))
    theirs = GenaiEngine(pair.folder, threads=2)
    for item in items:
        one, other = ours.answer(item, RULES), theirs.answer(item, RULES)
        assert (one.marked_text, one.finish_reason) == (other.marked_text, other.finish_reason), item.id
        assert one.token_ids == other.token_ids
        assert other.seconds.total >= other.seconds.prefill + other.seconds.decode


def test_what_it_cannot_answer_is_refused(pair: Pair, tmp_path: Path):
    engine = GenaiEngine(pair.folder)
    image = Media(name="x", size_bytes=1, block="", read=lambda: b"x")
    with pytest.raises(ConfigError, match="answers text alone"):
        engine.answer(Item(id="1", turns=(Turn(role="user", text=""),), images=(image,), group="1"), RULES)
    with pytest.raises(ArtifactError, match=r"genai_config\.json: cannot be read"):
        GenaiEngine(tmp_path)
    assert engine.identity.model_sha256 == GenaiEngine(pair.folder).identity.model_sha256
