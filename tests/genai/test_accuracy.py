"""Nano's held-out questions through onnxruntime-genai: the items of `make accuracy`, and its bars.

Recordings are read by the library's processor, images are cut by edgephi (nano's crops are not 448 pixels), and prompts
are cut by nano's own tokenizer, whose pattern the library does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import soundfile

from edgephi_export.runtimes.genai import LoadedGenai
from edgephi_export.runtimes.runtime import RuntimeRequest
from edgephi_nano.questions import MOST_NEW_TOKENS, SETS, Question, QuestionSet
from edgephi_nano.scoring import word_error_rate
from edgephi_nano.tokenizer import build_tokenizer
from genai.conftest import MediaPair
from genai.media import audio_read_by, image_of, turn
from genai.test_media import without_switch

pytestmark = pytest.mark.genai

#: As many items as `make accuracy` asks; fewer where the figure is far from the bar.
COUNTS = {
    "speech, known voices": 300,
    "speech, adapter off": 60,
    "pictures": 300,
    "pictures, adapter off": 60,
    "tool calls": 100,
    "spoken questions, known": 300,
}
TOKENIZER = build_tokenizer()


def _request(pair: MediaPair, question: Question, scratch: Path) -> RuntimeRequest:
    audio = []
    if question.samples is not None:
        path = scratch / "question.wav"
        soundfile.write(path, question.samples, 16_000)
        recording = pair.genai.library.Audios.open(str(path))
        audio = audio_read_by(pair.processor(turn("<|audio_1|>"), audios=recording))
    images = [] if question.image is None else [image_of(pair.edgephi, question.image)]
    text = question.prompt.replace("<|image_1|>", "<|endoftext10|>").replace("<|audio_1|>", "<|endoftext11|>")
    return RuntimeRequest(
        token_ids=tuple(TOKENIZER.encode(text).ids), images=tuple(images), audio=tuple(audio),
        tokens=pair.edgephi.manifest.tokens, max_new_tokens=MOST_NEW_TOKENS,
    )  # fmt: skip


@pytest.mark.parametrize("media_pair", ["int4"], indirect=True)
@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_held_out_questions_are_answered_within_the_bar(media_pair: MediaPair, tmp_path: Path, name: str, count: int):
    chosen = next(one for one in SETS if one.name == name)
    folder = media_pair.folder
    if chosen.adapter == "none":
        folder = without_switch(folder, tmp_path / "off")
    questions, eos = list(chosen.draw(count)), media_pair.edgephi.manifest.tokens.eos
    with LoadedGenai(folder) as loaded:
        replies = [loaded.reply(_request(media_pair, question, tmp_path)).token_ids for question in questions]
    answers = [
        TOKENIZER.decode([token for token in reply if token not in eos], skip_special_tokens=False) for reply in replies
    ]
    figure = _figure(chosen, [question.answer for question in questions], answers)
    print(line := f"{name}: {figure:.1%} of {count}, the bar is {chosen.bar:.0%}")
    assert chosen.is_met(figure), line


def _figure(chosen: QuestionSet, wanted: Sequence[str], got: Sequence[str]) -> float:
    """Word errors over the words wanted, or the share of answers that are right to the letter."""
    if chosen.measure == "wer":
        return word_error_rate(wanted, got)
    return sum(one == other for one, other in zip(wanted, got, strict=True)) / len(wanted)
