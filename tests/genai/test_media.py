"""onnxruntime-genai must answer requests with images and audio as edgephi does, token by token.

Recordings are read by the library's own processor and both sides get its features; images are cut by edgephi, since
that processor cuts crops of 448 pixels only, which nano's are not (test_processors.py has those).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from edgephi_export.layouts.genai.slots import AUDIO_SLOT, IMAGE_SLOT
from edgephi_export.runtimes.genai import LoadedGenai, greedy
from genai.conftest import MediaPair
from genai.media import (
    MOST_TOKENS,
    SAMPLES,
    TRANSCRIBE,
    audio_read_by,
    deviation,
    generator_of,
    ids_of,
    image_of,
    ours,
    request_of,
    theirs,
    turn,
)
from support.shell import invoke

pytestmark = pytest.mark.genai

RECORDINGS = ("command.wav", "sentence.wav", "spoken-colour-question.wav", "spoken-number-question.wav")
#: Both sides run the same kernels on the same numbers; the overview of images is summed in another order.
MOST_DEVIATION = 1e-4
fp32 = pytest.mark.parametrize("media_pair", ["fp32"], indirect=True)


def _recordings(og: ModuleType, *paths: Path) -> Any:
    return og.Audios.open(*map(str, paths))


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_is_answered_with_the_same_tokens(og: ModuleType, media_pair: MediaPair, name: str):
    text = turn(f"<|audio_1|>{TRANSCRIBE}")
    inputs = media_pair.processor(text, audios=_recordings(og, SAMPLES / name))
    expected, tokens = ours(media_pair, ids_of(media_pair, text), audio=audio_read_by(inputs))
    got, reply = theirs(media_pair, inputs)
    assert reply == tokens
    assert deviation(expected, got) < MOST_DEVIATION


IMAGES: dict[str, tuple[tuple[str, ...], str]] = {
    "an image": (("number.png",), "What number is shown?"),
    "a wide image of several crops": (("sign.png",), "What does the sign say?"),
    "two images of different sizes": (("sign.png", "bars.png"), "Which bar is tallest?"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_are_answered_with_the_same_tokens(media_pair: MediaPair, name: str):
    files, question = IMAGES[name]
    images = [image_of(media_pair.edgephi, SAMPLES / file) for file in files]
    ids = ids_of(media_pair, turn("<|image_1|>" * len(images) + question))
    expected, tokens = ours(media_pair, ids, images=images)
    reply = media_pair.genai.reply(request_of(media_pair, ids, images=images))
    assert list(reply.token_ids) == tokens
    assert deviation(expected, reply.logits) < MOST_DEVIATION


@pytest.mark.parametrize("name", ["spoken-number", "spoken-colour"])
def test_a_spoken_question_about_an_image_has_the_same_answer(og: ModuleType, media_pair: MediaPair, name: str):
    """The vision adapter, and the projection of audio beside an image."""
    images = [image_of(media_pair.edgephi, SAMPLES / f"{name}.png")]
    recording = _recordings(og, SAMPLES / f"{name}-question.wav")
    audio = audio_read_by(media_pair.processor(turn("<|audio_1|>"), audios=recording))
    ids = ids_of(media_pair, turn("<|image_1|><|audio_1|>"))
    expected, tokens = ours(media_pair, ids, images=images, audio=audio)
    reply = media_pair.genai.reply(request_of(media_pair, ids, images=images, audio=audio))
    assert list(reply.token_ids) == tokens
    assert deviation(expected, reply.logits) < MOST_DEVIATION


def test_text_alone_takes_no_adapter(media_pair: MediaPair):
    ids = ids_of(media_pair, turn("turn on the kitchen light"))
    expected, tokens = ours(media_pair, ids)
    reply = media_pair.genai.reply(request_of(media_pair, ids))
    assert list(reply.token_ids) == tokens
    assert deviation(expected, reply.logits) < MOST_DEVIATION


def _long(path: Path, seconds: float) -> Path:
    samples, hertz = soundfile.read(SAMPLES / "sentence.wav", dtype="float32")
    soundfile.write(path, np.resize(samples, round(seconds * hertz)), hertz)
    return path


@fp32
def test_a_recording_of_48_s_is_read_whole(og: ModuleType, media_pair: MediaPair, tmp_path: Path):
    """Without `max_samples` the library's decoder would drop all after 30 s: 375 rows instead of 600."""
    text = turn(f"<|audio_1|>{TRANSCRIBE}")
    inputs = media_pair.processor(text, audios=_recordings(og, _long(tmp_path / "long.wav", 48)))
    audio = audio_read_by(inputs)
    assert audio[0].num_rows == 600
    ids = ids_of(media_pair, text)
    assert np.array(inputs["input_ids"].as_numpy()).size == len(ids) + 599
    expected, tokens = ours(media_pair, ids, audio=audio)
    got, reply = theirs(media_pair, inputs)
    assert (reply, deviation(expected, got) < MOST_DEVIATION) == (tokens, True)


@fp32
@pytest.mark.parametrize("seconds", [(2.0, 0.7), (48.0, 2.0), (1.0, 45.0, 3.0)])
def test_recordings_of_all_lengths_side_by_side(
    og: ModuleType, media_pair: MediaPair, tmp_path: Path, seconds: tuple[float, ...]
):
    """The library fills the shorter ones up; each must give the rows that it gives alone."""
    paths = [_long(tmp_path / f"{number}.wav", length) for number, length in enumerate(seconds)]
    text = turn("<|audio_1|>" * len(paths) + TRANSCRIBE)
    inputs = media_pair.processor(text, audios=_recordings(og, *paths))
    expected, tokens = ours(media_pair, ids_of(media_pair, text), audio=audio_read_by(inputs))
    got, reply = theirs(media_pair, inputs)
    assert (reply, deviation(expected, got) < MOST_DEVIATION) == (tokens, True)


@fp32
def test_a_further_turn_of_text_keeps_the_adapter(og: ModuleType, media_pair: MediaPair):
    text, further = turn(f"<|audio_1|>{TRANSCRIBE}"), turn("turn on the kitchen light")
    inputs = media_pair.processor(text, audios=_recordings(og, SAMPLES / "command.wav"))
    audio, ids = audio_read_by(inputs), ids_of(media_pair, text)
    generator = generator_of(media_pair)
    generator.set_inputs(inputs)
    first = greedy(generator, MOST_TOKENS)
    assert first[-1] in media_pair.edgephi.manifest.tokens.eos  # the end is not in the library's sequence yet
    generator.append_tokens(np.array([first[-1], *ids_of(media_pair, further)], np.int32))
    _, tokens = ours(media_pair, [*ids, *first, *ids_of(media_pair, further)], audio=audio)
    assert list(greedy(generator, MOST_TOKENS)) == tokens


@fp32
def test_media_after_the_first_prompt_are_refused(og: ModuleType, media_pair: MediaPair):
    inputs = media_pair.processor(turn("<|audio_1|>"), audios=_recordings(og, SAMPLES / "command.wav"))
    generator = generator_of(media_pair)
    generator.set_inputs(inputs)
    generator.generate_next_token()
    with pytest.raises(Exception, match="ScatterND"):
        generator.set_inputs(inputs)


@fp32
def test_a_reply_that_would_cross_4096_positions_is_refused(media_pair: MediaPair):
    """The library reads the sequence again for its text models only."""
    ids = [*ids_of(media_pair, "<|user|>" + "cat dog " * 2100)[:4090], *ids_of(media_pair, "<|end|><|assistant|>")]
    generator = generator_of(media_pair, max_length=4200)
    generator.append_tokens(np.array(ids, np.int32))
    with pytest.raises(Exception, match="grew beyond 4096 tokens: append all of it at once to a new generator"):
        generator.append_tokens(np.array(ids_of(media_pair, turn("hello there you")), np.int32))


@fp32
def test_with_the_switch_off_nothing_is_transcribed(og: ModuleType, media_pair: MediaPair, tmp_path: Path):
    """The control: the folder above answers right because of its adapters."""
    text = turn(f"<|audio_1|>{TRANSCRIBE}")
    inputs = media_pair.processor(text, audios=_recordings(og, SAMPLES / "command.wav"))
    _, tokens = theirs(media_pair, inputs)
    decoded = og.Tokenizer(media_pair.genai.model).decode(tokens[:-1])
    assert decoded == "open the kitchen window"
    with LoadedGenai(without_switch(media_pair.folder, tmp_path / "off")) as off:
        other = MediaPair(media_pair.edgephi, off, off.folder, media_pair.bundle)
        assert theirs(other, inputs)[1] != tokens


def without_switch(folder: Path, out: Path) -> Path:
    """A copy whose decoder looks for slots of other ids, so that it never takes an adapter."""
    shutil.copytree(folder, out)
    path = out / "model.onnx"
    data = path.read_bytes()
    for slot in (IMAGE_SLOT, AUDIO_SLOT):
        assert data.count(np.int64(slot).tobytes()) == 1
        data = data.replace(np.int64(slot).tobytes(), np.int64(slot + 1000).tobytes())
    path.write_bytes(data)
    return out


@fp32
def test_contents_in_parts_become_tags(og: ModuleType, media_pair: MediaPair):
    """Foundry Local gives the template lists; the checkpoint's own would print them into the prompt."""
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": [{"type": "input_audio"}, {"type": "image_url"}, {"type": "text", "text": "And?"}]},
    ]
    tokenizer = og.Tokenizer(media_pair.genai.model)
    text = tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True)
    assert text == (
        "<|system|>Be kind.<|end|><|user|><|image_1|>What is it?<|end|><|assistant|>A cat.<|end|>"
        "<|user|><|audio_1|><|image_2|>And?<|end|><|assistant|>"
    )


def test_verify_runs_the_library_and_finds_the_same(media_pair: MediaPair):
    done = invoke("verify", media_pair.folder, "--runtime", "genai", "--reference", media_pair.bundle, "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["runtime"] == "onnxruntime-genai"
    assert max(request["deviation"] for request in report["requests"]) < MOST_DEVIATION
