"""A long recording through `edgephi transcribe` must be as right as its sentences alone, and dated.

The three minutes need espeak-ng's C library and are skipped without it.
"""

from __future__ import annotations

import ctypes.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgephi import Model, SamplingOptions
from edgephi.inspection.samples import read_samples
from edgephi.transcription.prompts import TRANSCRIBE
from edgephi.transcription.recording import open_recording
from edgephi.transcription.transcriber import TranscriptionOptions, transcribe
from edgephi_export import export
from edgephi_nano.recordings import LongRecording, long_recording
from edgephi_nano.scoring import word_error_rate
from support.shell import invoke

NANO = Path(__file__).parents[2] / "nano"
MOST_LATE_S = 0.3
MOST_LOST = 0.01
SECONDS = 180


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(NANO / "checkpoint", tmp_path_factory.mktemp("nano") / "model")


def _joined() -> tuple[np.ndarray, list[str]]:
    """Six bundled recordings, 2 s apart, and the words of each; needs no espeak-ng."""
    samples = [sample for sample in read_samples(NANO / "samples") if sample.mode == "speech"] * 3
    recordings = [soundfile.read(NANO / "samples" / str(sample.audio), dtype="float32")[0] for sample in samples]
    silence = np.zeros(32_000, np.float32)
    joined = np.concatenate([part for one in recordings for part in (silence, one)])
    return joined, [sample.expected for sample in samples]


def test_encoding_ahead_changes_no_segment(model_dir: Path):
    """Nor a confidence, beyond what guessing moves a probability."""
    joined, expected = _joined()
    made = []
    with Model.load(model_dir, threads=2) as model:
        for encode_ahead in (False, True):
            model.clear_cache()
            with open_recording((joined, 16_000)) as recording:
                options = TranscriptionOptions(prompt=TRANSCRIBE, encode_ahead=encode_ahead)
                made.append(list(transcribe(model, recording, options)))
    assert [segment.text for segment in made[0]] == expected
    for inside, ahead in zip(*made, strict=True):
        assert ahead == replace(inside, confidence=ahead.confidence)
        assert ahead.confidence == pytest.approx(inside.confidence, abs=0.01)


def test_the_bundled_recordings_joined_are_transcribed_one_by_one(model_dir: Path, tmp_path: Path):
    """In stereo."""
    joined, expected = _joined()
    soundfile.write(tmp_path / "a.flac", np.stack([joined, joined], axis=1), 16_000)
    done = invoke("transcribe", model_dir, tmp_path / "a.flac", "--json", "--threads", "1")
    (transcript,) = json.loads(done.stdout)["files"]
    assert [segment["text"] for segment in transcript["segments"]] == expected
    assert all(segment["confidence"] > 0.5 for segment in transcript["segments"])


@pytest.mark.parametrize("gain", [-1.0, -0.6])
def test_an_inverted_channel_does_not_cost_the_words(model_dir: Path, tmp_path: Path, gain: float):
    """Under hiss, at another rate, in a format that loses some."""
    joined, expected = _joined()
    rng = np.random.default_rng(3)
    left = np.repeat(joined, 2) + 0.002 * rng.standard_normal(2 * len(joined))
    right = gain * np.repeat(joined, 2) + 0.002 * rng.standard_normal(2 * len(joined))
    soundfile.write(tmp_path / "a.ogg", np.stack([left, right], axis=1), 32_000)
    done = invoke("transcribe", model_dir, tmp_path / "a.ogg", "--json", "--threads", "1")
    (transcript,) = json.loads(done.stdout)["files"]
    assert [segment["text"] for segment in transcript["segments"]] == expected


@pytest.mark.parametrize("level_db", [-20, -40, -60])
def test_quiet_speech_is_written_down_as_loud_speech_is(model_dir: Path, tmp_path: Path, level_db: float):
    joined, expected = _joined()
    soundfile.write(tmp_path / "a.wav", joined * 10 ** (level_db / 20), 16_000, "PCM_24")
    done = invoke("transcribe", model_dir, tmp_path / "a.wav", "--json", "--threads", "1")
    (transcript,) = json.loads(done.stdout)["files"]
    assert [segment["text"] for segment in transcript["segments"]] == expected


@pytest.mark.slow
@pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is None, reason="needs libespeak-ng1 and espeak-ng-data")
@pytest.mark.parametrize("seed", [11, 12])
def test_three_minutes_are_as_right_as_their_sentences_and_dated(model_dir: Path, tmp_path: Path, seed: int):
    recording = long_recording(SECONDS, seed)
    soundfile.write(tmp_path / "a.wav", recording.samples, 16_000)
    done = invoke("transcribe", model_dir, tmp_path / "a.wav", "--json", "--threads", "1")
    assert done.exit_code == 0
    (transcript,) = json.loads(done.stdout)["files"]
    assert not any(segment["gap"] for segment in transcript["segments"])

    wanted = [sentence.text for sentence in recording.sentences]
    alone = word_error_rate(wanted, _alone(model_dir, recording))
    joined = word_error_rate([" ".join(wanted)], [transcript["text"]])
    late = [
        error
        for segment, sentence in zip(transcript["segments"], recording.sentences, strict=True)
        for error in (segment["start_s"] - sentence.start_s, segment["end_s"] - sentence.end_s)
    ]
    print(
        f"\nseed {seed}: {len(wanted)} sentences in {SECONDS} s; word errors {joined:.1%} joined, {alone:.1%} alone; "
        f"times off by {min(late):+.2f} to {max(late):+.2f} s; real-time factor {transcript['real_time_factor']:.2f}"
    )
    assert joined <= alone + MOST_LOST
    assert max(map(abs, late)) <= MOST_LATE_S


def _alone(model_dir: Path, recording: LongRecording) -> list[str]:
    with Model.load(model_dir, threads=1) as model:
        return [
            model.generate(
                TRANSCRIBE,
                audio=[(recording.alone(sentence), 16_000)],
                options=SamplingOptions(max_new_tokens=96),
            ).text
            for sentence in recording.sentences
        ]
