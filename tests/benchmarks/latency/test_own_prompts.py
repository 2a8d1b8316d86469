"""A user's own prompts, reports appended to a file, and how much of a run is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgephi.base.errors import ConfigError
from edgephi.base.step import Step
from edgephi.bundle.bundle import Bundle
from edgephi_bench.latency.own_prompts import read_prompts
from edgephi_bench.latency.plan import BenchPlan, parse_seconds, parse_sizes
from edgephi_bench.latency.progress import Progress, count_steps
from edgephi_bench.measure.modes import modes
from edgephi_bench.report.append_file import append_line, check_appendable
from support.bundles import small_bundle


def _file(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_prompts_have_modes_names_and_paths_beside_the_file(tmp_path: Path) -> None:
    for name in ("door.jpg", "call.wav"):
        (tmp_path / name).write_bytes(b"x")
    path = _file(
        tmp_path,
        '\ufeff{"prompt": "Hi"}',
        "",
        '{"prompt": "Who?", "images": ["door.jpg"], "audio": ["call.wav"], "name": "visitor"}',
        '{"prompt": "", "audio": ["call.wav"]}',
    )
    first, second, third = read_prompts(path)
    assert [(item.mode, item.name) for item in (first, second, third)] == [
        ("text", "line 1"), ("vision", "visitor"), ("speech", "line 4"),
    ]  # fmt: skip
    assert second.images == (str(tmp_path / "door.jpg"),)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 1: not valid JSON"), ('["Hi"]', "expected an object"), ('{"promt": "Hi"}', "unknown key 'promt'"),
        ('{"images": []}', "'prompt' is missing"), ('{"prompt": " "}', "the prompt is empty"),
        ('{"prompt": "Hi", "images": ["no.png"]}', "no.png is no file"), ('{"prompt": 7}', "prompt"),
        ("", "no prompts"),
        ('{"prompt": "a", "name": "n"}\n{"prompt": "b", "name": "n"}', "'n' comes twice"),
    ],
)  # fmt: skip
def test_prompts_that_cannot_be_used_are_refused_with_their_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"--prompts") as caught:
        read_prompts(_file(tmp_path, line))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_of_prompts_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.jsonl: cannot be read"):
        read_prompts(tmp_path / "none.jsonl")


def test_reports_are_appended_also_behind_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_line(path, '{"a": 1}')
    append_line(path, '{"a": 2}')
    with path.open("a") as file:
        file.write('{"a": ')  # the power went
    append_line(path, '{"a": 3}')
    lines = path.read_text().splitlines()
    assert [json.loads(line)["a"] for line in (lines[0], lines[1], lines[3])] == [1, 2, 3]


def test_a_file_of_something_else_is_not_appended_to(tmp_path: Path) -> None:
    recording = tmp_path / "a.wav"
    recording.write_bytes(b"RIFF")
    for path in (recording, tmp_path, tmp_path / "no" / "x.jsonl"):
        with pytest.raises(ConfigError, match="--append"):
            check_appendable(path)
    assert recording.read_bytes() == b"RIFF"


def test_lists_of_recordings_and_images_are_read_and_checked() -> None:
    assert parse_seconds("5, 30,5") == (5.0, 30.0)
    assert parse_sizes("640x480,1344x1008, 640x480") == ((640, 480), (1344, 1008))
    for text in ("", "5;6", "0", "nan", "99999"):
        with pytest.raises(ConfigError, match="--audio-s"):
            parse_seconds(text)
    for text in ("", "640", "0x5", "640x480;1x1"):
        with pytest.raises(ConfigError, match="--image"):
            parse_sizes(text)


def test_what_is_left_is_reported_once_it_can_be() -> None:
    steps: list[Step] = []
    now = [0.0]
    progress = Progress(4, steps.append, lambda: now[0])
    for second in (0.0, 1.0, 30.0, 400.0, 500.0):
        now[0] = second
        progress("x")
    progress.note("one is missing")
    assert [step.label for step in steps[:-1]] == [
        "[1/4] x", "[2/4] x", "[3/4, about 30 s left] x", "[4/4, about 2 min left] x", "[4/4] x",
    ]  # fmt: skip
    assert [step.done for step in steps[:-1]] == [0, 1, 2, 3, 3]
    assert (steps[-1].label, steps[-1].stays) == ("one is missing", True)


def test_the_steps_are_counted_for_every_part() -> None:
    bundle = Bundle(small_bundle())
    plan = BenchPlan(model=bundle.path, threads=1, runs=2, depths=(0, 5), thread_counts=(1, 2), prompt_tokens=(8, 9))
    # load 2; requests (2 text, 1 speech, 1 vision) x 3 and a second turn; decode 2, prefill 2, adapters 2, 2 threads 1
    assert count_steps(plan, modes(bundle.manifest), bundle) == 2 + 4 * 3 + 1 + 7 * 3 + 3 + 1 + 3
