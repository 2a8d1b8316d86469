"""`--kv-cache int8` through the front door: every command must offer it, count with it, or say how to get it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgephi import Model, SamplingOptions
from edgephi.base import hardware as machine
from edgephi.bundle.bundle import Bundle
from edgephi.cli.main import CommandGroup
from edgephi.cli.transcripts.origin import model_id
from edgephi_export.commands import export as cli
from support.bundles import copy_bundle, small_bundle, small_checkpoint
from support.media_files import write_image, write_recording
from support.shell import invoke, spawn

MISSING = "int8 keys and values were asked for, but this model folder was made without their graphs; export it again"
group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: cli.export  # type: ignore[method-assign]


def _folder() -> Path:
    return small_bundle(recipe="int4", kv_cache="int8")


def _export(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["export", *map(str, arguments)])


def test_run_answers_from_the_int8_cache():
    done = spawn("run", _folder(), "hello", "--kv-cache", "int8", "--max-new-tokens", 6, "--threads", 1)
    with Model.load(_folder(), threads=1, kv_cache="int8") as model:
        expected = model.generate("hello", options=SamplingOptions(max_new_tokens=6))
    assert (done.returncode, done.stdout) == (0, expected.text + "\n")


@pytest.mark.parametrize("command", [("run", "hello"), ("chat",), ("transcribe", "clip.wav")])
def test_a_folder_without_them_is_refused_in_one_line(command: tuple[str, ...], tmp_path: Path):
    name, *rest = command
    rest = [str(write_recording(tmp_path / word)) if word.endswith(".wav") else word for word in rest]
    done = invoke(name, small_bundle(), *rest, "--kv-cache", "int8", stdin="")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: {MISSING} with --kv-cache int8, or leave kv_cache at 'auto'\n"


def test_a_prompt_that_was_kept_in_the_other_kind_is_refused_and_stays(tmp_path: Path):
    kept = tmp_path / "kept"
    words = ("run", _folder(), "hello", "--cache-prompt", kept, "--max-new-tokens", 2, "--threads", 1)
    assert invoke(*words, "--kv-cache", "int8").exit_code == 0
    content = kept.read_bytes()
    done = invoke(*words, "--kv-cache", "float")
    assert (done.exit_code, done.stdout) == (3, "")
    assert f"{kept}: holds keys and values in int8, this model was loaded with them in float32" in done.stderr
    assert kept.read_bytes() == content
    assert invoke(*words, "--kv-cache", "int8").exit_code == 0


def test_who_exported_with_int8_gets_it_without_asking_again(tmp_path: Path):
    """A quarter of the memory was the point; other folders stay with floats."""
    kept = tmp_path / "kept"
    words = ("hello", "--cache-prompt", kept, "--max-new-tokens", 2, "--threads", 1)
    assert invoke("run", _folder(), *words).exit_code == 0
    assert invoke("run", _folder(), *words, "--kv-cache", "int8").exit_code == 0  # the same kind is in the file
    kept.unlink()
    plain = small_bundle()
    assert invoke("run", plain, *words).exit_code == 0
    assert invoke("run", plain, *words, "--kv-cache", "float").exit_code == 0
    for folder, dtype in ((_folder(), "int8"), (plain, "float32")):
        with Model.load(folder, threads=1) as model:
            model.generate("hello", options=SamplingOptions(max_new_tokens=1))
            assert model._decoder.limit.shape.dtype == dtype
    with Model.load(_folder(), threads=1, kv_cache="float") as model:
        assert model._decoder.limit.shape.dtype == "float32"


def test_a_transcript_goes_on_if_the_same_cache_is_only_spelt_differently():
    """What identifies a run is what it computes with, not how it was asked for."""
    assert model_id(_folder(), "auto") == model_id(_folder(), "int8") != model_id(_folder(), "float")
    plain = small_bundle()
    assert model_id(plain, "auto") == model_id(plain, "float") != ""
    assert model_id(plain, "int8") == ""  # loading refuses it


def test_inspect_shows_both_sizes_of_a_position():
    assert "KV cache bytes per token: 256 (int8; with --kv-cache float 1,024)\n" in invoke("inspect", _folder()).stdout
    facts = json.loads(invoke("inspect", _folder(), "--json").stdout)["context"]
    assert (facts["cache_bytes_per_position"], facts["int8_cache_bytes_per_position"]) == (1024, 256)
    assert "KV cache bytes per token: 1,024\n" in invoke("inspect", small_bundle()).stdout
    facts = json.loads(invoke("inspect", small_bundle(), "--json").stdout)["context"]
    assert facts["int8_cache_bytes_per_position"] is None


def test_doctor_counts_with_the_smaller_positions(monkeypatch: pytest.MonkeyPatch):
    found = machine.Memory(total_bytes=8 * 10**9, available_bytes=8 * 10**9, limit_bytes=None)
    monkeypatch.setattr(machine, "memory", lambda: found)
    monkeypatch.setattr(machine, "read_bandwidths", lambda threads: (20e9, 20e9))
    words = ("doctor", _folder(), "--max-context", 100_000, "--json")
    float_, int8 = (json.loads(invoke(*words, "--kv-cache", kind).stdout)["prospects"] for kind in ("float", "int8"))
    for one, other in zip(float_, int8, strict=True):
        assert one["memory_bytes"] - other["memory_bytes"] == 100_000 * (1024 - 256)
        assert other["most_tokens_s_filled"] > 2 * one["most_tokens_s_filled"]
    few = machine.Memory(total_bytes=8 * 10**9, available_bytes=float_[-1]["memory_bytes"] - 1, limit_bytes=None)
    monkeypatch.setattr(machine, "memory", lambda: few)
    advice = json.loads(invoke(*words, "--kv-cache", "float").stdout)["advice"]
    assert "with --kv-cache int8 the model's whole context fits with text, images, audio" in advice
    for more in (("--kv-cache", "int8"), ()):
        assert not [line for line in json.loads(invoke(*words, *more).stdout)["advice"] if "int8" in line]
    done = invoke("doctor", small_bundle(), "--kv-cache", "int8", "--json")
    assert done.exit_code == 2
    assert [line for line in json.loads(done.stdout)["problems"] if MISSING in line]


def test_verify_covers_the_graphs_and_the_scales(tmp_path: Path):
    assert invoke("verify", _folder(), "--reference", small_checkpoint().path).exit_code == 0
    for name in ("decoder_kv8.onnx", "decoder_text_kv8.onnx", "weights/cache_scales.bin"):
        folder = copy_bundle(_folder(), tmp_path / name.replace("/", "-"))
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(content)
        done = invoke("verify", folder)
        assert done.exit_code == 3
        assert f"{folder}/{name}: content differs from the manifest" in done.stderr


def test_export_writes_them_with_the_users_own_files(tmp_path: Path):
    notes = tmp_path / "notes.txt"
    notes.write_text("our own words", encoding="utf-8")
    own = [notes, write_image(tmp_path / "a.png"), write_recording(tmp_path / "b.wav")]
    words = [word for path in own for word in ("--calibration", path)]
    done = _export(small_checkpoint().path, "-o", tmp_path / "out", "--method", "rtn", "--kv-cache", "int8", *words)
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)
    assert done.stderr.splitlines()[-1] == "writing key and value scales"
    assert Bundle(tmp_path / "out", check_hashes=True).manifest.decoder.int8_cache is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kv-cache", "int8", "--layout", "genai"], "error: --kv-cache int8 is for edgephi's own layout"),
        (["--kv-cache", "int8", "--recipe", "fp16"], "error: recipe fp16 computes with float16"),
        (["--calibration", "notes.txt"], "error: --calibration is for --kv-cache int8"),
        (["--kv-cache", "int4"], "Invalid value for '--kv-cache'"),
    ],
)
def test_impossible_wishes_are_usage_errors(tmp_path: Path, arguments: list[str], message: str):
    done = _export(small_checkpoint("phi3").path, "-o", tmp_path / "out", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_shows_how_to_make_and_how_to_use_them():
    assert "--kv-cache int8 --calibration manual.txt" in " ".join(_export("--help").output.split())
    for command in ("run", "chat", "transcribe", "doctor"):
        assert "--kv-cache [auto|float|int8]" in invoke(command, "--help").output
