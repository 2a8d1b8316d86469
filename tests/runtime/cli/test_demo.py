"""`edgephi demo`: every mode shown and judged; success only if all answers are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgephi import Model, Reply, SamplingOptions, Timing, ToolCall
from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import decode
from edgephi.console.report import printable
from edgephi.inspection.samples import Sample
from support.bundles import small_bundle
from support.media_files import write_image, write_recording
from support.shell import invoke, spawn


def _write(folder: Path, samples: list[dict[str, Any]]) -> Path:
    (folder / "samples.json").write_text(json.dumps({"samples": samples}), encoding="utf-8")
    return folder


@pytest.fixture
def samples(tmp_path: Path) -> list[dict[str, Any]]:
    """One sample per mode; what the random model says is made the right answer."""
    write_image(tmp_path / "sign.png")
    write_recording(tmp_path / "voice.wav")
    media = {
        "text": {},
        "speech": {"audio": "voice.wav"},
        "vision": {"image": "sign.png"},
        "vision_speech": {"image": "sign.png", "audio": "voice.wav"},
    }
    entries = [{"mode": mode, "title": f"a {mode} sample", "prompt": "what", **parts} for mode, parts in media.items()]
    with Model.load(small_bundle()) as model:
        for entry in entries:
            reply = model.generate(
                "what",
                images=[tmp_path / entry["image"]] if "image" in entry else [],
                audio=[tmp_path / entry["audio"]] if "audio" in entry else [],
                options=SamplingOptions(max_new_tokens=128),
            )
            entry["expected"] = reply.text
    return entries


def test_all_right_is_exit_0_with_a_summary_and_something_to_try(samples: list[dict[str, Any]], tmp_path: Path):
    done = spawn("demo", small_bundle(), "--samples", _write(tmp_path, samples))
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout  # no terminal, no colours
    for number, entry in enumerate(samples, start=1):
        assert f"[{number}/4] {entry['mode'].replace('_', ' + ')}: {entry['title']}" in done.stdout
    assert "sign.png 90x60" in done.stdout
    assert "voice.wav 1.0 s" in done.stdout
    assert done.stdout.count("right · first token") == 4
    assert "4 of 4 right" in done.stdout
    assert str(small_bundle()) in done.stdout
    assert f"edgephi run {small_bundle()} what --image" in done.stdout


def test_one_wrong_answer_is_exit_5_and_says_what_was_expected(samples: list[dict[str, Any]], tmp_path: Path):
    samples[1]["expected"] = "turn on the lamp"
    done = invoke("demo", small_bundle(), "--samples", _write(tmp_path, samples))
    assert done.exit_code == 5
    assert "wrong, expected 'turn on the lamp'" in done.stdout
    assert "3 of 4 right" in done.stdout


def test_json_holds_every_outcome(samples: list[dict[str, Any]], tmp_path: Path):
    samples[0]["expected"] = "no"
    done = invoke("demo", small_bundle(), "--samples", _write(tmp_path, samples), "--json")
    result = json.loads(done.stdout)
    assert (done.exit_code, result["right"], result["total"]) == (5, 3, 4)
    assert [sample["right"] for sample in result["samples"]] == [False, True, True, True]
    assert result["samples"][1]["timing"]["ttft_s"] > 0


def test_a_sample_that_fails_is_shown_and_the_others_are_done(samples: list[dict[str, Any]], tmp_path: Path):
    (tmp_path / "voice.wav").write_bytes(b"no sound")
    done = invoke("demo", small_bundle(), "--samples", _write(tmp_path, samples))
    assert done.exit_code == 1
    assert done.stdout.count("  error ") == 2
    assert "2 of 4 right" in done.stdout


def _reply(text: str, calls: tuple[ToolCall, ...] = ()) -> Reply:
    timing = Timing(
        prompt_tokens=1,
        cached_tokens=0,
        new_tokens=1,
        preprocess_s=0,
        encode_s=0,
        prefill_s=0,
        ttft_s=0,
        decode_s=0,
        peak_rss_bytes=0,
    )
    return Reply(text=text, token_ids=(), finish_reason="stop", tool_calls=calls, timing=timing)


def test_tool_calls_are_judged_by_meaning_not_by_spelling():
    sample = Sample(
        mode="text", title="t", prompt="on", tools="[]", expected='[{"arguments":{"b":1,"a":2},"name":"lamp"}]'
    )
    call = ToolCall(name="lamp", arguments={"a": 2, "b": 1}, error=None, text="")
    assert sample.is_right(_reply("", (call,)))
    assert not sample.is_right(_reply("", (call, call)))
    assert not sample.is_right(_reply(sample.expected))  # text that looks like a call is no call
    broken = ToolCall(name="", arguments={}, error="not valid JSON", text="[")
    assert not sample.is_right(_reply("", (call, broken)))


def test_outer_white_space_does_not_matter_but_letters_do():
    sample = Sample(mode="text", title="t", prompt="p", expected="EXIT")
    assert sample.is_right(_reply(" EXIT\n"))
    assert not sample.is_right(_reply("exit"))


def test_a_models_text_cannot_steer_the_terminal():
    assert printable("a\x1b[31mb\tc\nd\x9b") == "a\ufffd[31mb\tc\nd\ufffd"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mode": "smell"}, "'smell' is not one of"),
        ({"mode": "speech"}, "mode is 'speech' but image is None and audio is None"),
        ({"image": "a.png"}, "mode is 'text' but image is 'a.png'"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"expected": 7}, "expected str"),
        ({"tools": "[]"}, "must be a JSON list of calls"),
    ],
)
def test_a_malformed_sample_is_refused(change: dict[str, Any], match: str):
    raw = {"mode": "text", "title": "t", "prompt": "p", "expected": "e", **change}
    with pytest.raises(ArtifactError, match=match):
        decode(Sample, raw, "samples.json")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "samples.json: cannot be read"),
        ("{", "not valid JSON"),
        ("9" * 5000, "not valid JSON"),
        ('{"samples": []}', "has no samples"),
        ('{"samples": [{"mode": "speech", "title": "t", "prompt": "p", "expected": "e", "audio": "gone.wav"}]}',
         "gone.wav: missing"),
    ],
)  # fmt: skip
def test_a_damaged_sample_list_is_refused_before_the_model_loads(tmp_path: Path, content: str | None, match: str):
    if content is not None:
        (tmp_path / "samples.json").write_text(content, encoding="utf-8")
    done = invoke("demo", "no/such/model", "--samples", tmp_path)
    assert (done.exit_code, done.stdout) == (3, "")
    assert match in done.stderr
