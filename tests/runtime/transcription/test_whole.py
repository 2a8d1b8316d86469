"""`Model.transcribe`: what the command writes, for programs; channels apart; stopped and damaged recordings."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgephi import ConfigError, Model, Segment, Transcript, TranscriptProgress
from edgephi.transcription.recording import open_recordings
from edgephi.transcription.transcriber import TranscriptionOptions, transcribe
from edgephi.transcription.whole import transcribe_whole
from edgephi_export import export
from support.bundles import small_bundle
from support.shell import invoke
from support.speech_model import FakeModel, loudness, turns

NANO = Path(__file__).parents[3] / "nano"
HERTZ = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(NANO / "checkpoint", tmp_path_factory.mktemp("nano") / "model")


@pytest.fixture(scope="module")
def model(folder: Path):
    with Model.load(folder, threads=1) as loaded:
        yield loaded


def call() -> np.ndarray:
    """One speaker a channel, at the same time and alone: float32 [n, 2]."""
    one = soundfile.read(NANO / "samples" / "command.wav", dtype="float32")[0]
    other = soundfile.read(NANO / "samples" / "sentence.wav", dtype="float32")[0]
    channels = np.zeros((8 * HERTZ, 2), np.float32)
    for channel, voice, start in ((0, one, 0), (1, other, 8_000), (1, one, 4 * HERTZ)):
        channels[start : start + len(voice), channel] += voice
    return channels


def words(transcript: Transcript) -> list[tuple[int | None, str]]:
    return [(segment.channel, segment.text) for segment in transcript.segments]


WORDS = [(1, "open the kitchen window"), (2, "the small cat likes my red circle"), (2, "open the kitchen window")]


def test_both_speakers_of_a_call_who_talk_at_once_are_written_down(model: Model):
    """In the mix only one of them is transcribed."""
    assert words(model.transcribe((call(), HERTZ), channel="all")) == WORDS
    assert words(model.transcribe((call(), HERTZ), channel=1)) == [(None, WORDS[0][1])]
    assert words(model.transcribe((call(), HERTZ), channel=2)) == [(None, text) for _, text in WORDS[1:]]


@pytest.mark.parametrize("channel", ["all", "mix", "2"])
def test_the_command_and_the_library_write_the_same(model: Model, folder: Path, tmp_path: Path, channel: str):
    path = tmp_path / "call.flac"
    soundfile.write(path, call(), HERTZ)
    done = invoke("transcribe", folder, path, "--json", "--channel", channel, "--threads", "1", "--language", "en")
    (written,) = json.loads(done.stdout)["files"]
    made = model.transcribe(path, channel=int(channel) if channel.isdigit() else channel, language="en")  # type: ignore[arg-type]
    assert [(s["channel"], s["text"]) for s in written["segments"]] == words(made)
    assert [s["start_s"] for s in written["segments"]] == pytest.approx([s.start_s for s in made.segments], abs=1e-3)
    assert (written["text"], written["duration_s"], written["language"]) == (made.text, made.duration_s, made.language)
    assert (made.is_complete, made.error, made.file) == (True, None, str(path))


def test_the_channels_of_a_file_its_bytes_and_its_samples_are_the_same(model: Model, tmp_path: Path):
    buffer = io.BytesIO()
    soundfile.write(buffer, call(), HERTZ, format="WAV", subtype="FLOAT")
    (tmp_path / "a.wav").write_bytes(buffer.getvalue())
    for source in (tmp_path / "a.wav", buffer.getvalue(), io.BytesIO(buffer.getvalue()), (call(), HERTZ)):
        assert words(model.transcribe(source, channel="all")) == WORDS


def test_channels_are_written_down_in_the_order_of_time():
    """One channel says nothing for a minute, which must not hold the other's text back to the end."""
    first, second = turns(1.0, 2.0, 80.0, 2.0, 1.0), turns(70.0, 2.0, 14.0)
    fake = FakeModel(lambda number, _: [number])
    with open_recordings((np.stack([first, second], axis=1), HERTZ), "all") as recordings:
        options = TranscriptionOptions(prompt="", make_detector=lambda: loudness, channel="all")
        segments = list(transcribe(fake, recordings, options))
    assert [segment.channel for segment in segments] == [1, 2, 1]
    assert [round(segment.start_s) for segment in segments] == [1, 70, 83]


def test_a_single_channel_is_no_speaker_of_a_call(model: Model):
    assert words(model.transcribe((call()[:, :1], HERTZ), channel="all")) == [(None, WORDS[0][1])]
    assert words(model.transcribe((call()[:, 0], HERTZ), channel="all")) == [(None, WORDS[0][1])]


def test_progress_is_reported_for_each_segment(model: Model):
    reported: list[TranscriptProgress] = []
    made = model.transcribe((call(), HERTZ), channel="all", on_progress=reported.append)
    assert tuple(progress.segment for progress in reported) == made.segments
    assert {progress.duration_s for progress in reported} == {8.0}
    assert reported[-1].reached_s == made.reached_s


def test_a_stopped_transcript_says_that_it_is_not_complete(model: Model, tmp_path: Path):
    kept: list[Segment] = []
    path = tmp_path / "a.wav"
    soundfile.write(path, np.tile(call(), (3, 1)), HERTZ)
    for enough in (0, 1, 2):
        kept.clear()
        made = model.transcribe(
            path,
            channel=2,
            on_progress=lambda progress: kept.append(progress.segment),
            should_stop=lambda enough=enough: len(kept) >= enough,
        )
        assert (made.is_complete, made.error) == (False, None)
        assert list(made.segments) == kept
        assert len(kept) == enough


def test_what_came_before_the_damage_is_returned_with_the_reason(tmp_path: Path):
    samples = np.concatenate([turns(1.0, 2.0, 1.0), np.zeros(1 << 21, np.float32)])
    samples[-1] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, HERTZ, subtype="FLOAT")
    fake = FakeModel(lambda number, _: [number])
    fake.manifest = Model.load(small_bundle()).manifest  # type: ignore[attr-defined]
    made = transcribe_whole(
        fake,  # type: ignore[arg-type]
        tmp_path / "a.wav",
        TranscriptionOptions(prompt="", make_detector=lambda: loudness),
    )
    assert made.text == "0"
    assert made.is_complete is False
    assert "is nan" in str(made.error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"language": "klingon"}, "language is 'klingon'; use one of en"),
        ({"translate_to": "xx"}, "translate_to is 'xx'"),
        ({"channel": 3}, "has 2 channels, so no channel 3"),
        ({"channel": 0}, "channel is 0; use 'mix', 'all' or"),
        ({"channel": True}, "channel is True"),
        ({"channel": "left"}, "channel is 'left'"),
    ],
)
def test_what_cannot_be_meant_is_refused(model: Model, arguments: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        model.transcribe((call(), HERTZ), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["no-such-file.wav", b"", b"no sound", 7, (np.zeros(5), 16_000)])
def test_a_source_that_is_no_recording_is_refused(model: Model, source: object):
    for channel in ("mix", "all"):
        with pytest.raises(ConfigError):
            model.transcribe(source, channel=channel)  # type: ignore[arg-type]


def test_a_folder_without_speech_says_how_to_export_one():
    with Model.load(small_bundle(modalities=("text", "vision"))) as deaf, pytest.raises(ConfigError, match="no speech"):
        deaf.transcribe((call(), HERTZ))


@pytest.mark.parametrize("given", ["0", "-1", "left", "1.5", ""])
def test_a_channel_that_is_none_is_refused_before_the_model_is_loaded(given: str):
    done = invoke("transcribe", "no-such-model", "a.wav", "--channel", given)
    assert done.exit_code == 2
    assert "give a number from 1, `all` or `mix`" in done.stderr
