"""`edgephi evaluate --engine genai` must give what edgephi gives on the same weights, and say what it cannot."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_bench.measure.energy import EnergyMeter
from edgephi_evaluate.engines.edgephi_engine import EdgephiEngine
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.engines.genai_engine import GenaiEngine
from edgephi_evaluate.item import Item, Media, Turn
from edgephi_evaluate.metrics.words import WordErrors
from edgephi_evaluate.readers.rows import media_file
from edgephi_evaluate.runs.runner import ask
from edgephi_evaluate.statistics.bootstrap import resample
from edgephi_export.layouts.genai.processors import vision_processor
from genai.conftest import MediaPair, Pair
from genai.media import SAMPLES, TRANSCRIBE

pytestmark = pytest.mark.genai

RULES = AnswerRules(max_new_tokens=24)
TEXTS = ("Repeat: red lamp", "turn on the kitchen light", "what is two and three", "spell cat")
RECORDINGS = ("command.wav", "sentence.wav", "spoken-colour-question.wav", "spoken-number-question.wav")


def _item(text: str, *system: Turn) -> Item:
    return Item(id=text, turns=(*system, Turn(role="user", text=text)), answers=("",), group="1")


def _recording(name: str) -> Item:
    return dataclasses.replace(_item(TRANSCRIBE), id=name, group=name, audio=(media_file(SAMPLES / name, name),))


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


def test_recordings_and_texts_of_a_folder_with_encoders_have_the_same_replies(media_pair: MediaPair):
    """The library's own log-mel differs a little; so little that no word of the samples does."""
    ours, theirs = EdgephiEngine(media_pair.edgephi, media_pair.bundle), GenaiEngine(media_pair.folder, threads=2)
    for item in (*map(_recording, RECORDINGS), *map(_item, TEXTS)):
        assert ours.answer(item, RULES).token_ids == theirs.answer(item, RULES).token_ids, item.id


@pytest.mark.parametrize("media_pair", ["int4"], indirect=True)
def test_the_figures_are_within_the_paired_interval_of_edgephi_s(media_pair: MediaPair):
    """References are edgephi's own replies, so its word error rate is 0, and the change is what the peer does else."""
    ours, theirs = EdgephiEngine(media_pair.edgephi, media_pair.bundle), GenaiEngine(media_pair.folder)
    metric, sides = WordErrors(is_marked=True), []
    items = [_recording(name) for name in RECORDINGS]
    judged = [dataclasses.replace(one, answers=(ours.answer(one, RULES).marked_text,)) for one in items]
    for engine in (ours, theirs):
        records = [ask(engine, metric, item, RULES, EnergyMeter()) for item in judged]
        sides.append(resample(records, metric, is_mean_of_parts=False))
    change = sides[1].less(sides[0])
    assert change.low is not None
    assert change.low <= 0 <= (change.high or 0)


def test_a_group_of_recordings_by_bytes_is_one_request(media_pair: MediaPair):
    content = (SAMPLES / "command.wav").read_bytes()
    item = dataclasses.replace(_recording("command.wav"), audio=(_bytes(content), _bytes(content)))
    ours, theirs = EdgephiEngine(media_pair.edgephi, media_pair.bundle), GenaiEngine(media_pair.folder)
    assert ours.answer(item, RULES).token_ids == theirs.answer(item, RULES).token_ids


def _bytes(content: bytes) -> Media:
    return Media(name="x", size_bytes=len(content), block="", read=lambda: content)


@pytest.mark.parametrize("media_pair", ["int4"], indirect=True)
def test_what_it_would_misread_is_refused(media_pair: MediaPair, tmp_path: Path):
    image = dataclasses.replace(_item("What is it?"), images=(_bytes(b"RIFF0000WEBP"),))
    engine = GenaiEngine(media_pair.folder)
    with pytest.raises(ConfigError, match="into crops of 448 pixels only"):  # nano's are smaller
        engine.answer(image, RULES)
    with pytest.raises(ConfigError, match="own rule for adapters"):
        engine.answer(_item("x"), AnswerRules(max_new_tokens=1, adapter="none"))
    large = Path(shutil.copytree(media_pair.folder, tmp_path / "large"))
    (large / "vision_processor.json").write_text(vision_processor(448, 36))
    with pytest.raises(ConfigError, match="neither PNG nor JPEG"):  # at which the library would end this process
        GenaiEngine(large).answer(image, RULES)


def test_what_it_cannot_answer_is_refused(pair: Pair, tmp_path: Path):
    engine = GenaiEngine(pair.folder)
    item = dataclasses.replace(_item(""), images=(_bytes(b"x"),))
    with pytest.raises(ConfigError, match="this folder is for text alone"):
        engine.answer(item, RULES)
    with pytest.raises(ArtifactError, match=r"genai_config\.json: cannot be read"):
        GenaiEngine(tmp_path)
    assert engine.identity.model_sha256 == GenaiEngine(pair.folder).identity.model_sha256
