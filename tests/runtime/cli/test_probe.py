"""`edgephi probe`: exit 0 only where the model answers as recorded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi.media import processor
from edgephi_export import ExportOptions, export
from support.adapters import AdapterSpec, decoder_shapes, write_adapter
from support.bundles import small_bundle, small_checkpoint
from support.faults import with_file, with_manifest, with_tensor
from support.probes import write_samples
from support.shell import invoke
from support.sizes import SMALL

Fault = Callable[[Path, Path], Path]
_QKV, _DOWN = "layers.0.self_attn.qkv_proj", "layers.1.mlp.down_proj"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of every mode and their record. Read only."""
    place = write_samples(tmp_path_factory.mktemp("probe"), _bundle(), ("text", "speech", "vision_speech"))
    done = invoke("probe", _bundle(), "--cases", place, "--record")
    assert (done.exit_code, done.stdout) == (0, f"{place / 'cases.json'}: 3 cases recorded\n"), done.stderr
    return place


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of text for a model without media. Read only."""
    place = write_samples(tmp_path_factory.mktemp("probe"), _text_bundle(), ("text",))
    assert invoke("probe", _text_bundle(), "--cases", place, "--record").exit_code == 0
    return place


def _bundle() -> Path:
    return small_bundle(recipe="int4")


def _text_bundle() -> Path:
    return small_bundle("phi3")


def _set(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["rope"].update(values)


def _empty_from_the_middle(content: np.ndarray) -> np.ndarray:
    content[len(content) // 2 :] = 0
    return content


FAULTS: dict[str, Fault] = {
    "one layer's scales shifted by a bit": lambda bundle, copy: with_tensor(bundle, copy, _DOWN, lambda a: a * 2),
    "another adapter": lambda bundle, copy: with_tensor(
        bundle, copy, f"{_QKV}.lora_B.speech", lambda a: a[::-1].copy()
    ),
    "wrong rotary factors": lambda bundle, copy: with_manifest(bundle, copy, _set(short_factor=[1.0] * 24)),
    "a wrong row of the head": lambda bundle, copy: with_tensor(
        bundle, copy, "lm_head", lambda a: np.concatenate([a[:77], a[77:78] * 0, a[78:]])
    ),
    "half of the speech encoder empty": lambda bundle, copy: with_file(
        bundle, copy, "weights/speech.bin", _empty_from_the_middle
    ),
}


def test_a_clean_run_is_exit_0_whatever_the_number_of_threads(folder: Path):
    for threads in (1, 2):
        done = invoke("probe", _bundle(), "--cases", folder, "--threads", threads)
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.count("ok  ") == 3
        assert done.stdout.endswith("as recorded\n")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_gross_fault_that_no_checksum_finds_is_exit_5(folder: Path, tmp_path: Path, fault: str):
    done = invoke("probe", FAULTS[fault](_bundle(), tmp_path / "model"), "--cases", folder, "--json")
    facts = json.loads(done.stdout)
    assert (done.exit_code, facts["ok"]) == (5, False)
    assert "does not answer as recorded" in done.stderr
    assert facts["worst_sd"] > 0.25  # refused on any other machine too


def test_another_adapter_merged_into_the_base_is_exit_5(text_folder: Path, tmp_path: Path):
    adapter = write_adapter(tmp_path / "adapter", AdapterSpec(shapes=decoder_shapes(SMALL)))
    options = ExportOptions(recipe="fp32", merge_adapter=adapter)
    merged = export(small_checkpoint("phi3").path, tmp_path / "merged", options)
    done = invoke("probe", merged, "--cases", text_folder, "--json")
    assert (done.exit_code, json.loads(done.stdout)["worst_sd"] > 0.25) == (5, True)


def test_a_truncated_encoder_is_a_damaged_folder(folder: Path, tmp_path: Path):
    copy = with_file(_bundle(), tmp_path / "model", "weights/vision.bin", lambda content: content[: len(content) // 2])
    done = invoke("probe", copy, "--cases", folder, "--json")
    assert (done.exit_code, json.loads(done.stdout)["error"]["type"]) == (3, "ArtifactError")


def test_json_says_how_far_each_case_is(folder: Path):
    facts = json.loads(invoke("probe", _bundle(), "--cases", folder, "--json").stdout)
    assert (facts["ok"], facts["problems"], facts["num_cases"]) == (True, [], 3)
    assert [case["mode"] for case in facts["cases"]] == ["text", "speech", "vision_speech"]
    assert all(case["worst_sd"] <= facts["tolerance_sd"] for case in facts["cases"])
    assert facts["tolerance_sd"] == 0.02  # the machine that recorded
    assert facts["memory_bytes"] > 10_000_000
    assert facts["ttft_ms"] is None  # there is no limit to measure it for


def test_each_image_and_recording_is_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Media take most of the time of a small model's probe, and a device waits for it at each update."""
    decoded: list[str] = []
    for name in ("load_image", "load_audio"):
        load = getattr(processor, name)
        monkeypatch.setattr(
            processor, name, lambda source, load=load: decoded.append(Path(source).name) or load(source)
        )
    assert invoke("probe", _bundle(), "--cases", folder).exit_code == 0
    assert sorted(decoded) == ["sign.png", "voice.wav", "voice.wav"]  # of the two samples with media


def test_the_folder_probe_beside_the_model_is_the_default(text_folder: Path, tmp_path: Path):
    shutil.copytree(text_folder, tmp_path / "probe")
    (tmp_path / "model").symlink_to(_text_bundle())
    assert invoke("probe", tmp_path / "model").exit_code == 0


def test_another_machine_is_judged_by_its_own_tolerance(text_folder: Path, tmp_path: Path):
    place = shutil.copytree(text_folder, tmp_path / "probe")
    raw = json.loads((place / "cases.json").read_text())
    raw["machine"]["kernels"] = "aarch64-asimd"
    (place / "cases.json").write_text(json.dumps(raw))
    facts = json.loads(invoke("probe", _text_bundle(), "--cases", place, "--json").stdout)
    assert (facts["ok"], facts["tolerance_sd"]) == (True, 0.25)


def test_limits_of_latency_and_memory_are_kept_and_judged(text_folder: Path, tmp_path: Path):
    place = shutil.copytree(text_folder, tmp_path / "probe")
    record = ("probe", _text_bundle(), "--cases", place, "--record")
    assert invoke(*record, "--headroom", "1000").exit_code == 0
    facts = json.loads(invoke("probe", _text_bundle(), "--cases", place, "--json").stdout)
    assert facts["ok"]
    assert 0 < facts["ttft_ms"] < facts["limits"]["ttft_ms"]
    assert 0 < facts["step_ms"] < facts["limits"]["step_ms"]
    tight = ("--max-ttft-ms", "0.001", "--max-step-ms", "0.001", "--max-memory", "1MB")
    assert invoke(*record, *tight).exit_code == 0
    done = invoke("probe", _text_bundle(), "--cases", place, "--json")
    problems = json.loads(done.stdout)["problems"]
    assert (done.exit_code, len(problems)) == (5, 3)
    assert "the first token took" in problems[0]
    assert "the limit of the record is 1.0 MB" in problems[2]


def test_an_answer_that_is_not_the_expected_one_is_not_recorded(text_folder: Path, tmp_path: Path):
    place = shutil.copytree(text_folder, tmp_path / "probe")
    (place / "cases.json").unlink()
    samples = json.loads((place / "samples.json").read_text())
    samples["samples"][0]["expected"] = "a dog"
    (place / "samples.json").write_text(json.dumps(samples))
    done = invoke("probe", _text_bundle(), "--cases", place, "--record")
    assert (done.exit_code, (place / "cases.json").exists()) == (5, False)
    assert "'a text sample' was answered" in done.stderr


def _without_rows(raw: dict[str, Any]) -> None:
    raw["cases"][0]["rows"] = []


BAD: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda raw: raw.update(schema=2), "schema is 2, this edgephi reads 1"),
    (lambda raw: raw.update(cases=[]), "there are no cases"),
    (lambda raw: raw.update(colour="red"), "unknown key 'colour'"),
    (_without_rows, "0 rows for"),
    (lambda raw: raw["head"].update(codes="%"), "codes are no base64"),
    (lambda raw: raw["tolerance_sd"].update(other=0), "other is 0"),
    (lambda raw: raw["cases"][1]["request"]["audio"][0].update(name="../voice.wav"), "is no file in the record"),
    (lambda raw: raw["cases"][1]["request"]["audio"][0].update(sha256="0"), "voice.wav: is not the file of"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "match"), BAD, ids=[match for _, match in BAD])
def test_a_bad_record_is_exit_3_before_the_model_loads(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], match: str
):
    place = shutil.copytree(folder, tmp_path / "probe")
    raw = json.loads((place / "cases.json").read_text())
    change(raw)
    (place / "cases.json").write_text(json.dumps(raw))
    done = invoke("probe", "no/such/model", "--cases", place)
    assert (done.exit_code, done.stdout) == (3, "")
    assert match in done.stderr


def test_bad_input_is_one_line_with_what_to_do(tmp_path: Path):
    missing = invoke("probe", _bundle(), "--cases", tmp_path)
    assert (missing.exit_code, "make it with `edgephi probe MODEL --record`" in missing.stderr) == (3, True)
    lost = invoke("probe", _bundle(), "--max-step-ms", "5")
    assert (lost.exit_code, "give them with --record" in lost.stderr) == (2, True)
