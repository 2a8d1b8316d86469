"""The final captions of a recording that is pushed as it would come are the segments of `Model.transcribe`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from edgephi import Model, Segment, WindowRules
from edgephi.transcription.live.captions import Caption, FinalCaption, PartialCaption
from edgephi.transcription.live.session import LiveOptions, LiveTranscription
from edgephi_export import export

NANO = Path(__file__).parents[4] / "nano"
SPEECH = ("sentence", "command", "spoken-colour-question", "spoken-number-question")
HERTZ = 16_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with Model.load(export(NANO / "checkpoint", tmp_path_factory.mktemp("nano") / "model"), threads=1) as loaded:
        yield loaded


def recording(*pauses: float, hertz: int = HERTZ, noise: float = 0.0) -> np.ndarray:
    """The samples of speech with these pauses before each, and one behind: float32 [n]."""
    rng = np.random.default_rng(2)
    parts = []
    for pause, name in zip(pauses, itertools.cycle(SPEECH), strict=False):
        speech = soundfile.read(NANO / "samples" / f"{name}.wav", dtype="float32")[0]
        parts += [np.zeros(round(pause * HERTZ), np.float32), speech]
    samples = np.concatenate([*parts, np.zeros(HERTZ, np.float32)])
    samples += (noise * rng.standard_normal(len(samples))).astype(np.float32)
    return samples if hertz == HERTZ else soxr.resample(samples, HERTZ, hertz).astype(np.float32)


def live(model: Model, samples: np.ndarray, hertz: int, chunk_s: float, **options: object) -> list[Caption]:
    """Every caption, from empty caches; the model is free whenever a piece has come."""
    model.clear_cache()
    session = LiveTranscription(model, hertz, LiveOptions(**options))  # type: ignore[arg-type]
    captions: list[Caption] = []
    size = max(1, round(chunk_s * hertz))
    for start in range(0, len(samples), size):
        session.push(samples[start : start + size])
        if caption := session.step():
            captions.append(caption)
    session.end()
    return [*captions, *session.captions()]


def segments(captions: list[Caption]) -> list[Segment]:
    return [segment for one in captions if isinstance(one, FinalCaption) for segment in one.segments]


def transcribed(model: Model, samples: np.ndarray, hertz: int = HERTZ, **options: object) -> tuple[Segment, ...]:
    """Of the whole recording, from empty caches."""
    model.clear_cache()
    return model.transcribe((samples, hertz), **options).segments  # type: ignore[arg-type]


def check_same_text(made: list[Segment], expected: tuple[Segment, ...]) -> None:
    """Equal in every field; probabilities up to what a cached prompt changes of them."""
    assert [(s.start_s, s.end_s, s.text, s.is_gap, s.channel, s.speech) for s in made] == [
        (s.start_s, s.end_s, s.text, s.is_gap, s.channel, s.speech) for s in expected
    ]
    assert [s.confidence for s in made] == pytest.approx([s.confidence for s in expected], rel=1e-3)


@pytest.mark.parametrize(
    ("hertz", "chunk_s"), [(16_000, 0.02), (16_000, 1.0), (8_000, 0.02), (24_000, 0.05), (44_100, 0.1)]
)
def test_final_captions_are_the_segments_of_the_recording(model: Model, hertz: int, chunk_s: float):
    samples = recording(0.8, 1.2, 0.7, 3.0, hertz=hertz)
    expected = transcribed(model, samples, hertz)
    assert len(expected) == 4
    assert segments(live(model, samples, hertz, chunk_s, has_partials=False)) == list(expected)
    check_same_text(segments(live(model, samples, hertz, chunk_s)), expected)


def test_partial_captions_change_nothing_and_lead_to_the_final_one(model: Model):
    samples = recording(0.8, 1.2, 0.7, 3.0)
    captions = live(model, samples, HERTZ, 0.1, least_growth_s=0.3)
    partials = [caption for caption in captions if isinstance(caption, PartialCaption)]
    assert len(partials) >= 6
    check_same_text(segments(captions), transcribed(model, samples))
    for number, group in itertools.groupby(partials, key=lambda partial: partial.number):
        settled = ""
        for partial in group:
            assert partial.settled == settled + partial.added, number
            settled = partial.settled


@pytest.mark.parametrize("rules", [WindowRules(window_s=2.0), WindowRules(pause_s=0.3), WindowRules(pause_s=1.5)])
def test_other_rules_cut_both_alike(model: Model, rules: WindowRules):
    samples = recording(0.1, 0.4, 0.9, 0.5, 0.2, 2.0)
    expected = transcribed(model, samples, rules=rules)
    assert segments(live(model, samples, HERTZ, 0.05, rules=rules, has_partials=False)) == list(expected)


def test_noise_before_the_first_word_is_not_raised(model: Model):
    """A room is quiet until somebody speaks; then it is too late to take back what was raised."""
    samples = recording(12.0, 1.2, 0.7, noise=0.002)
    expected = transcribed(model, samples)
    assert segments(live(model, samples, HERTZ, 0.1, has_partials=False)) == list(expected)


def test_quiet_speech_is_raised_by_what_came_before(model: Model):
    """A whole recording is raised by what comes, so the first words of live audio may be missed, and no more."""
    quiet = recording(*[1.0] * 8) * np.float32(0.002)
    expected = [segment.text for segment in transcribed(model, quiet)]
    made = [segment.text for segment in segments(live(model, quiet, HERTZ, 0.1, has_partials=False))]
    assert len(expected) == 8
    assert made[-6:] == expected[-6:]
