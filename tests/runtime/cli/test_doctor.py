"""`edgephi doctor`: what somebody must know before a model is copied to a device, or when one does not run there."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgephi.base import hardware as machine
from edgephi.cli import doctor
from support.bundles import copy_bundle, small_bundle
from support.shell import invoke, spawn

GB = 10**9


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 8 GB that reads 20 GB a second; measuring takes time and differs."""
    _offer(monkeypatch, available=8 * GB)


def _offer(monkeypatch: pytest.MonkeyPatch, *, available: int, total: int = 8 * GB, limit: int | None = None) -> None:
    found = machine.Memory(total_bytes=total, available_bytes=available, limit_bytes=limit)
    monkeypatch.setattr(machine, "memory", lambda: found)
    monkeypatch.setattr(machine, "read_bandwidths", lambda threads: (12e9, 20e9))


def _json(*arguments: object, code: int = 0) -> dict[str, Any]:
    done = invoke("doctor", *arguments, "--json")
    assert (done.exit_code, done.stderr) == (code, "")
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def test_the_machine_and_the_software_are_shown():
    done = spawn("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("cores ", "memory ", "GB/s with ", "disk ", "onnxruntime ", "CPUExecutionProvider", "telemetry "):
        assert words in done.stdout
    assert "no problems found" in done.stdout
    assert "model" not in done.stdout


def test_programs_get_the_facts_as_json():
    facts = _json()
    assert facts["machine"]["physical_cores"] == facts["machine"]["threads"] == machine.num_physical_cores()
    assert facts["machine"]["read_bandwidth_bytes_s"] == 20e9
    versions = {package["name"]: package["version"] for package in facts["software"]["packages"]}
    assert set(versions) > {"edgephi", "onnxruntime", "numpy", "tokenizers", "soundfile"}
    assert all(versions.values())
    assert (facts["software"]["telemetry"], facts["model"], facts["prospects"]) == (False, None, [])


def test_a_model_that_fits_is_reported_with_its_speed_and_its_reach():
    facts = _json(small_bundle(), "--max-context", 2000)
    assert [estimate["mode"] for estimate in facts["prospects"]] == ["text", "speech", "vision", "vision_speech"]
    for estimate in facts["prospects"]:
        assert estimate["fits"]
        assert (estimate["context"], estimate["positions"]) == (2000, 131072)
        assert estimate["most_tokens_s"] == pytest.approx(20e9 / estimate["step_bytes"])
        assert estimate["most_tokens_s_low"] == pytest.approx(12e9 / estimate["step_bytes"])
        filled = estimate["step_bytes"] + 2000 * 1024
        assert estimate["most_tokens_s_filled"] == pytest.approx(20e9 / filled)
    shown = invoke("doctor", small_bundle()).stdout
    assert "at 4,096 tokens: fits, at most " in shown
    assert "the model's whole context fits with text, images, audio" in shown


def test_a_context_is_reported_up_to_where_it_fits(monkeypatch: pytest.MonkeyPatch):
    need = _json(small_bundle("phi3"))["prospects"][0]["memory_bytes"]  # at 4,096 positions of 1,024 bytes
    _offer(monkeypatch, available=need - 96 * 1024)
    done = invoke("doctor", small_bundle("phi3"))
    assert done.exit_code == 4
    assert "DOES NOT FIT" in done.stdout
    assert "are available; use at most 4,000 tokens" in done.stdout
    fits = invoke("doctor", small_bundle("phi3"), "--max-context", 4000)
    assert (fits.exit_code, "a context up to 4,000 fits with text" in fits.stdout) == (0, True)


@pytest.mark.parametrize(
    ("total", "limit", "advice"),
    [
        (8 * GB, None, "close other programs"),
        (8 * GB, GB // 50, "use a machine with more memory"),
        (GB // 50, None, "use a machine with more memory"),
    ],
)
def test_a_model_that_does_not_fit_is_exit_4_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, total: int, limit: int | None, advice: str
):
    _offer(monkeypatch, available=GB // 50, total=total, limit=limit)
    done = invoke("doctor", small_bundle())
    assert done.exit_code == 4
    assert done.stdout.count(advice) == 4
    assert "--recipe int4-fast" in done.stdout
    assert _json(small_bundle(), code=4)["prospects"][0]["positions"] == 0


def test_text_is_reported_to_fit_where_only_media_do_not(monkeypatch: pytest.MonkeyPatch):
    text, *_, both = _json(small_bundle())["prospects"]
    _offer(monkeypatch, available=(text["memory_bytes"] + both["memory_bytes"]) // 2)
    facts = _json(small_bundle(), code=4)
    assert [estimate["fits"] for estimate in facts["prospects"]][:: len(facts["prospects"]) - 1] == [True, False]


def test_a_context_beyond_the_models_own_is_reported():
    facts = _json(small_bundle(), "--max-context", 200_000)
    assert facts["prospects"][0]["context"] == 131072
    assert any("ends at 131,072 tokens; 200,000 were asked for" in line for line in facts["advice"])


def test_every_damaged_file_is_one_line_and_the_rest_is_reported(tmp_path: Path):
    """Somebody who copied a folder badly must not find out file by file."""
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    (folder / "speech.onnx").unlink()
    weights = folder / "weights" / "decoder.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    template = folder / "chat_template.jinja"
    template.write_bytes(template.read_bytes()[::-1])
    facts = _json(folder, code=3)
    assert sorted(line.partition(": ")[0] for line in facts["problems"]) == sorted(
        str(path) for path in (folder / "speech.onnx", weights, template)
    )
    for words in ("speech.onnx: missing", "decoder.bin: ", "chat_template.jinja: content differs"):
        assert sum(words in line for line in facts["problems"]) == 1
    assert facts["machine"]["physical_cores"] >= 1


def test_a_changed_file_alone_leaves_the_estimate(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    graph = folder / "vision.onnx"
    graph.write_bytes(graph.read_bytes()[::-1])
    facts = _json(folder, code=3)
    assert facts["problems"] == [f"{graph}: content differs from the manifest; copy or export the model again"]
    assert len(facts["prospects"]) == 4


def test_a_damaged_tensor_index_is_one_line(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    index = folder / "tensors.json"
    index.write_bytes(b"{" * index.stat().st_size)
    facts = _json(folder, code=3)
    assert [line.partition(":")[0] for line in facts["problems"]] == [str(index)]
    assert facts["prospects"] == []


@pytest.mark.parametrize(
    ("content", "words"), [(None, "not an edgephi model folder"), ("{", "not valid JSON"), ("[]", "no schema_version")]
)
def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path, content: str | None, words: str):
    if content is not None:
        (tmp_path / "edgephi.json").write_text(content, encoding="utf-8")
    done = invoke("doctor", tmp_path)
    assert (done.exit_code, done.stdout.count(words)) == (3, 1)
    assert "cores " in done.stdout
    missing = invoke("doctor", tmp_path / "no")
    assert (missing.exit_code, "no such model folder" in missing.stdout) == (3, True)


def test_a_broken_library_is_one_line_and_the_rest_is_reported(tmp_path: Path):
    """A device without the audio library still has a machine and a model to report."""
    (tmp_path / "soundfile.py").write_text("raise OSError('cannot load library libsndfile.so')", encoding="utf-8")
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no such symbol')", encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from edgephi.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", str(small_bundle())], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "soundfile cannot be imported (cannot load library libsndfile.so); run: pip install" in done.stdout
    assert "onnxruntime cannot be imported (no such symbol)" in done.stdout
    assert "telemetry   no ONNX Runtime" in done.stdout
    assert ": fits, " in done.stdout


def test_telemetry_that_is_not_off_is_a_problem():
    code = "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '0'; from edgephi.cli.main import main; main(['doctor'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "ONNX Runtime may send telemetry" in done.stdout


def test_speeds_are_ranges_of_two_digits_and_not_one_reading_with_five():
    done = invoke("doctor", small_bundle())
    assert "reads     12 to 20 GB/s" in done.stdout
    rates = re.findall(r"at most (\S+) to (\S+) tokens/s, (\S+) to (\S+) when filled", done.stdout)
    assert rates
    for rate in itertools.chain.from_iterable(rates):
        assert len(rate.replace(",", "").rstrip("0").replace(".", "")) <= 2


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(7201.3, 7201.3, "7,200"), (3.14, 9.99, "3.1 to 10"), (12.4, 35.2, "12 to 35"), (None, 99.6, "100")],
)
def test_a_range_has_the_digits_that_hold(low: float | None, high: float, words: str):
    assert doctor._range(low, high) == words
