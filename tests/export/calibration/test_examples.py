"""A folder of examples is read as it is described, and a line that cannot be used is named before any work begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import ConfigError, Model
from edgephi_export.calibration.examples import EXAMPLES_NAME, read_examples
from edgephi_export.calibration.sequences import SequenceBuilder
from support.bundles import small_bundle
from support.media_files import write_image, write_recording


def _folder(tmp_path: Path, *lines: dict[str, Any] | str) -> Path:
    write_image(tmp_path / "a.png")
    write_recording(tmp_path / "b.wav")
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (tmp_path / EXAMPLES_NAME).write_text("\n".join(texts) + "\n", encoding="utf-8")
    return tmp_path


def test_every_mode_is_known_by_its_media_and_named_by_its_line(tmp_path: Path):
    examples = read_examples(
        _folder(
            tmp_path,
            {"messages": "Hello"},
            "",
            {"messages": [{"role": "user", "content": "Read"}], "images": ["a.png"], "answer": "x", "measure": "exact"},
            {"messages": "Write it down", "audio": ["b.wav"], "answer": "y z", "measure": "wer", "set": "far away"},
            {"messages": "<|image_1|>and<|audio_1|>", "images": ["a.png"], "audio": ["b.wav"]},
        )
    )
    found = [(example.name, example.mode, example.group, example.measure) for example in examples]
    assert found == [
        (f"{EXAMPLES_NAME}:1", "text", "text", None),
        (f"{EXAMPLES_NAME}:3", "vision", "vision", "exact"),
        (f"{EXAMPLES_NAME}:4", "speech", "far away", "wer"),
        (f"{EXAMPLES_NAME}:5", "vision_speech", "vision_speech", None),
    ]


def test_a_changed_line_or_recording_has_another_digest(tmp_path: Path):
    """Results of earlier runs are found by it."""
    line = {"messages": "Write it down", "audio": ["b.wav"]}
    first, again, other = read_examples(_folder(tmp_path, line, line, {**line, "answer": "x"}))
    assert first.digest == again.digest != other.digest
    write_recording(tmp_path / "b.wav", seconds=0.5)
    assert read_examples(tmp_path)[0].digest != first.digest


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "a JSON list; write one object a line"),
        ({"messages": "x", "image": ["a.png"]}, "unknown key 'image'; known: messages, images"),
        ({"answer": "x"}, "messages are missing"),
        ({"messages": "x", "images": "a.png"}, "images is 'a.png'; give a list of paths"),
        ({"messages": "x", "images": ["c.png"]}, "c.png: no such file"),
        ({"messages": "x", "images": ["b.wav"]}, "b.wav: "),
        ({"messages": "x", "audio": ["a.png"]}, "a.png: "),
        ({"messages": "x", "measure": "wer"}, "no answer to judge by"),
        ({"messages": "x", "answer": "x", "measure": "bleu"}, "measure is 'bleu'; use wer, cer, exact"),
        ({"messages": "x", "answer": " "}, "the answer is empty"),
        ({"messages": "x", "answer": 3}, "answer is 3; it must be a string"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role is 'robot'"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "image": "a.png"}]}]}, "send the data itself"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: dict[str, Any] | str, message: str):
    folder = _folder(tmp_path, {"messages": "good"}, line)
    with pytest.raises(ConfigError, match=message) as caught:
        read_examples(folder)
    assert str(caught.value).startswith(f"{folder / EXAMPLES_NAME}:2: ")
    assert "\n" not in str(caught.value)


def test_a_folder_without_examples_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=f"has no {EXAMPLES_NAME}; give a folder"):
        read_examples(tmp_path)
    with pytest.raises(ConfigError, match="has no examples"):
        read_examples(_folder(tmp_path, "", ""))
    (tmp_path / EXAMPLES_NAME).write_bytes(b'{"messages": "x"}\n\xff\xfe\n')
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_examples(tmp_path)


def test_teacher_forced_logits_are_those_of_the_answers_positions(tmp_path: Path):
    """Row i predicts answer token i; the last row predicts the end."""
    path = small_bundle()
    builder = SequenceBuilder(path)
    (example,) = read_examples(_folder(tmp_path, {"messages": "Say", "audio": ["b.wav"], "answer": "one two"}))
    assert example.answer is not None
    ids = builder.answer_ids(example.answer)
    with Model.load(path) as model:
        forced = builder.forced(model, example, ids)
        logits = forced.logits(model)
        prompt = forced.prompt.token_ids[: -len(ids)]
        assert forced.prompt.token_ids[len(prompt) :].tolist() == ids
        for number in range(len(ids) + 1):
            alone = model.logits([*prompt, *ids[:number]], audio=forced.prompt.audio)
            np.testing.assert_allclose(logits[number], alone, atol=2e-5)
        with pytest.raises(ConfigError, match="has no tokens"):
            builder.forced(model, example, [])
