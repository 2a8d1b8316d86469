"""What `edgephi export` refuses, through its front door: one line that names the culprit, the exit code, no harm done.

The library's own tests look closer at each refusal; here stands what a user and a shell script see of every kind, and
that a model which was there before, about to be replaced with --force, is still there to the byte.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgephi.base import atomic_write as staging
from edgephi.bundle.bundle import MANIFEST_NAME
from edgephi.cli.main import CommandGroup
from edgephi_export.commands import export as cli
from support.bundles import small_checkpoint
from support.checkpoints import Layout
from support.tensor_files import change_json, change_tensors

Change = Callable[[Path], object]
WEIGHTS, FIRST, SECOND = "model.safetensors", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
SPEECH_LORA, VISION_LORA = (f"{name}-lora/adapter_model.safetensors" for name in ("speech", "vision"))
DOWN, NORM, TABLE = "model.layers.1.mlp.down_proj.weight", "model.norm.weight", "model.embed_tokens.weight"
IMAGE, AUDIO = (f"model.embed_tokens_extend.{name}_embed" for name in ("image", "audio"))
OLD = {MANIFEST_NAME: b'{"old": true}', "weights/decoder.bin": b"old weights"}


#: The real group, with the command put in directly: whether it is installed as an entry point is another test's matter.
group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: cli.export  # type: ignore[method-assign]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of bad input.

    Attributes:
        layout: Of the checkpoint.
        change: What is done to a copy of it.
        options: Further words of the command.
        code: The exit code.
        words: What the one line must hold.
    """

    layout: Layout = "phi3"
    change: Change = lambda folder: None
    options: tuple[str, ...] = ()
    code: int = 3
    words: tuple[str, ...]


def _cut(name: str, keep: Callable[[int], int]) -> Change:
    """The first bytes of a file."""
    return lambda folder: os.truncate(folder / name, keep((folder / name).stat().st_size))


def _header(change: Callable[[dict[str, Any]], object], name: str = WEIGHTS) -> Change:
    """Other words in the header over the same data."""

    def rewrite(folder: Path) -> None:
        content = (folder / name).read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        (folder / name).write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])

    return rewrite


def _tensors(change: Callable[[dict[str, Any]], object], name: str = WEIGHTS) -> Change:
    return lambda folder: change_tensors(folder / name, change)


def _holding(tensor: str, value: float, name: str = WEIGHTS) -> Change:
    """The last value of one tensor is `value`."""

    def put(tensors: dict[str, Any]) -> None:
        tensors[tensor].reshape(-1)[-1] = value

    return _tensors(put, name)


def _rope(**values: Any) -> Change:
    return lambda folder: change_json(folder / "config.json", lambda config: config["rope_scaling"].update(values))


def _move(tensor: str, to: str) -> Change:
    """The index promises a tensor elsewhere."""
    return lambda folder: change_json(folder / INDEX, lambda index: index["weight_map"].update({tensor: to}))


def _shifted(header: dict[str, Any]) -> None:
    header[DOWN]["data_offsets"] = [place + 4 for place in header[DOWN]["data_offsets"]]


def _transposed(header: dict[str, Any]) -> None:
    header[DOWN]["shape"] = header[DOWN]["shape"][::-1]


CHECKPOINTS = {
    "truncated file": Case(change=_cut(WEIGHTS, lambda size: size - 1), words=(WEIGHTS, "the file is truncated")),
    "truncated header": Case(
        change=_cut(WEIGHTS, lambda size: 100), words=(WEIGHTS, "truncated, or not a safetensors")
    ),
    "empty file": Case(change=_cut(WEIGHTS, lambda size: 0), words=(WEIGHTS, "truncated, or not a safetensors")),
    "truncated shard": Case(
        layout="original", change=_cut(SECOND, lambda size: size // 2), words=(SECOND, "the file is truncated")
    ),
    "truncated adapter": Case(
        layout="native", change=_cut(SPEECH_LORA, lambda size: size - 4), words=(SPEECH_LORA, "the file is truncated")
    ),
    "offsets that overlap": Case(change=_header(_shifted), words=(WEIGHTS, "overlaps another or leaves a gap")),
    "offsets too short": Case(
        change=_header(lambda h: h[DOWN].update(data_offsets=[0, 8])), words=(DOWN, "its header entry gives it 8")
    ),
    "shape too large": Case(
        change=_header(lambda h: h[DOWN].update(shape=[10**6, 10**6])), words=(DOWN, "needs 4,000,000,000,000 bytes")
    ),
    "shape of the same size": Case(
        change=_header(_transposed), words=(DOWN, "has shape [256, 192]; the config asks for [192, 256]")
    ),
    "dtype of another width": Case(change=_header(lambda h: h[DOWN].update(dtype="F16")), words=(DOWN, "F16")),
    "missing shard": Case(
        layout="original",
        change=lambda folder: (folder / SECOND).unlink(),
        words=(SECOND, "missing from the checkpoint"),
    ),
    "index to a tensor that is not there": Case(
        layout="original", change=_move("model.layers.9.x", FIRST), words=(FIRST, "model.layers.9.x", "is missing")
    ),
    "index to the wrong shard": Case(
        layout="original", change=_move(NORM, SECOND), words=(SECOND, NORM, "is missing, though")
    ),
    "index to a shard that is not there": Case(
        layout="original", change=_move(NORM, "model-00003-of-00002.safetensors"), words=("model-00003-of-00002",)
    ),
    "missing tensor": Case(change=_tensors(lambda t: t.pop(DOWN)), words=("layers.1.mlp.down_proj.weight is missing",)),
    "unexpected tensor": Case(
        change=_tensors(lambda t: t.update({"model.layers.0.extra.weight": t[NORM]})),
        words=(WEIGHTS, "unexpected tensor model.layers.0.extra.weight"),
    ),
    "unexpected layer": Case(
        change=_tensors(lambda t: t.update({"model.layers.2.input_layernorm.weight": t[NORM]})),
        words=(WEIGHTS, "unexpected tensor model.layers.2.input_layernorm.weight"),
    ),
    "wrong shape": Case(
        change=_tensors(lambda t: t.update({NORM: np.ones(191, np.float32)})), words=(NORM, "[191]", "[192]")
    ),
    "unknown rope type": Case(
        change=_rope(type="yarn"),
        words=("config.json", "rope_scaling", "unknown rope type 'yarn'; supported: longrope"),
    ),
}
NOT_FINITE = {
    "linear": (WEIGHTS, DOWN),
    "embedding": (WEIGHTS, TABLE),
    "last norm": (WEIGHTS, NORM),
    "norm of a layer": (WEIGHTS, "model.layers.0.post_attention_layernorm.weight"),
    "adapter A": (SPEECH_LORA, "base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.weight"),
    "adapter B": (VISION_LORA, "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"),
    "vision linear": (WEIGHTS, f"{IMAGE}.img_processor.encoder.layers.0.mlp.fc1.weight"),
    "vision bias": (WEIGHTS, f"{IMAGE}.img_processor.encoder.layers.0.self_attn.q_proj.bias"),
    "vision patches": (WEIGHTS, f"{IMAGE}.img_processor.embeddings.patch_embedding.weight"),
    "vision positions": (WEIGHTS, f"{IMAGE}.img_processor.embeddings.position_embedding.weight"),
    "vision separator": (WEIGHTS, f"{IMAGE}.sub_img_feature_extensor"),
    "speech linear": (WEIGHTS, f"{AUDIO}.encoder.encoders.0.self_attn.k_proj.weight"),
    "speech convolution": (WEIGHTS, f"{AUDIO}.encoder.encoders.1.conv.dw_sep_conv_1d.dw_conv.weight"),
    "speech stem": (WEIGHTS, f"{AUDIO}.encoder.embed.conv.0.weight"),
    "speech norm": (WEIGHTS, f"{AUDIO}.encoder.encoders.0.layer_norm_att.bias"),
    "speech mean": (WEIGHTS, f"{AUDIO}.encoder.encoder_embedding.global_mean"),
    "speech positions": (WEIGHTS, f"{AUDIO}.encoder.relative_attention_bias_layer.bias_values.weight"),
    "projector": (WEIGHTS, f"{AUDIO}.down_proj_for_vision_speech.weight"),
}
VALUES = {"NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf}
OPTIONS = {
    "recipe": (("--recipe", "int3"), "unknown recipe 'int3'; known: fp32, int8, int4, int4-fast, int2-abs"),
    "method": (("--method", "hqq"), "unknown method 'hqq'; known: rtn, search, weighted, gptq"),
    "method without codes": (("--recipe", "fp32", "--method", "rtn"), "--method rtn has nothing to choose"),
    "method for codes that overrides took away": (
        ("--recipe", "int4", "--method", "rtn", "--override", "*=float32"),
        "--method rtn has nothing to choose: no weight is stored in blocks",
    ),
    "rows in float16": (
        ("--recipe", "fp16", "--override", "layers.*=int8:rows"),
        "layers.*=int8:rows: recipe fp16 computes with float16",
    ),
    "override without format": (("--override", "lm_head"), "'lm_head' is no rule; write PATTERN=FORMAT"),
    "override without pattern": (("--override", "=int4:32"), "'=int4:32' is no rule; write PATTERN=FORMAT"),
    "override format": (("--override", "lm_head=int5:32"), "unknown format 'int5:32'; use float32, float16, int8:rows"),
    "override block size": (("--override", "lm_head=int4:48"), "unknown format 'int4:48'; use float32"),
    "override for nothing": (
        ("--override", "layers.*.mlp.up_proj=int8:32"),
        "pattern 'layers.*.mlp.up_proj' matches no linear of this model; there are ",
    ),
    "override with a stored name": (
        ("--override", "model.layers.*.weight=int8:32"),
        "pattern 'model.layers.*.weight' matches no linear of this model; there are layers.0.",
    ),
    "one override of two for nothing": (
        ("--override", "lm_head=int4:32", "--override", "vision.*=int8:32"),
        "pattern 'vision.*' matches no linear of this model",
    ),
    "head in rows": (("--override", "lm_head=int8:rows"), "lm_head cannot be int8:rows"),
    "modality": (("--modalities", "text,vision"), "this checkpoint has no vision; it has text"),
}  # fmt: skip


@pytest.fixture
def existing(tmp_path: Path) -> Iterator[Path]:
    """A model folder in the place of the output, checked to be as it was when the test ends."""
    out = tmp_path / "work" / "out"
    for name, content in OLD.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    yield out
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()} == OLD


def _export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, ["export", *map(str, arguments)])


def _refused(case: Case, tmp_path: Path, out: Path, *, force: bool = True) -> str:
    folder = tmp_path / "checkpoint"
    shutil.copytree(small_checkpoint(case.layout).path, folder)
    case.change(folder)
    result = _export(folder, "-o", out, "--json", *(["--force"] if force else []), *case.options)
    assert result.exit_code == case.code, result.stderr
    assert json.loads(result.stdout)["error"]["exit_code"] == case.code
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert [words for words in case.words if words not in result.stderr] == [], result.stderr
    return result.stderr


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_damaged_checkpoint(name: str, tmp_path: Path, existing: Path):
    _refused(CHECKPOINTS[name], tmp_path, existing)


@pytest.mark.parametrize(
    ("place", "value"), [(place, list(VALUES)[index % 3]) for index, place in enumerate(NOT_FINITE)]
)
def test_a_weight_that_is_no_number_is_named(place: str, value: str, tmp_path: Path, existing: Path):
    """One would make every answer nonsense; the name is the one that the checkpoint's maker knows."""
    file, tensor = NOT_FINITE[place]
    change = _holding(tensor, VALUES[value], file)
    words = (f"checkpoint/{file}: tensor {tensor} holds NaN or infinity",)
    _refused(Case(layout="native", change=change, words=words), tmp_path, existing)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    "options",
    [("--recipe", "fp32"), ("--recipe", "int8"), ("--recipe", "fp16"), ("--recipe", "int4-gpu"), ("--method", "rtn"),
     ("--override", "layers.1.*=int8:rows")],
    ids=" ".join,
)  # fmt: skip
def test_no_way_of_storing_lets_it_pass(options: tuple[str, ...], value: str, tmp_path: Path, existing: Path):
    words = (f"tensor {DOWN} holds NaN or infinity",)
    _refused(Case(change=_holding(DOWN, VALUES[value]), options=options, words=words), tmp_path, existing)


@pytest.mark.parametrize("part", ["lora_A", "lora_B", "base"])
def test_nor_does_merging_an_adapter(part: str, tmp_path: Path, existing: Path):
    lora = f"base_model.model.model.layers.1.mlp.down_proj.{part}.weight"
    file, tensor = (WEIGHTS, DOWN) if part == "base" else (SPEECH_LORA, lora)
    case = Case(
        layout="native",
        change=_holding(tensor, np.nan, file),
        options=("--adapters", "speech"),
        words=(f"{file}: tensor {tensor} holds NaN or infinity",),
    )
    _refused(case, tmp_path, existing)


def test_a_shard_of_the_original_layout_is_named_too(tmp_path: Path, existing: Path):
    tensor = "model.layers.1.mlp.down_proj.lora_B.vision.weight"
    places = json.loads((small_checkpoint("original").path / INDEX).read_text())["weight_map"]
    change = _holding(tensor, np.inf, places[tensor])
    words = (f"checkpoint/{places[tensor]}: tensor {tensor} holds NaN or infinity",)
    _refused(Case(layout="original", change=change, words=words), tmp_path, existing)


def test_a_part_that_is_left_out_may_be_damaged(tmp_path: Path):
    """A text model can be made from a checkpoint whose ears are broken."""
    folder = Path(shutil.copytree(small_checkpoint().path, tmp_path / "checkpoint"))
    _holding(NOT_FINITE["speech linear"][1], np.nan)(folder)
    assert _export(folder, "-o", tmp_path / "out", "--adapters", "none", "--json").exit_code == 0


@pytest.mark.parametrize("name", OPTIONS)
def test_an_impossible_option(name: str, tmp_path: Path, existing: Path):
    options, words = OPTIONS[name]
    _refused(Case(options=options, code=2, words=(words,)), tmp_path, existing)


def test_a_value_that_float16_cannot_hold(tmp_path: Path, existing: Path):
    case = Case(
        change=_holding(DOWN, 1e6),
        options=("--recipe", "fp16"),
        code=2,
        words=("layers.1.mlp.down_proj", "1e+06", "float16 ends at 65504; choose a recipe that computes with float32"),
    )
    _refused(case, tmp_path, existing)


def test_an_existing_output_without_force(tmp_path: Path, existing: Path):
    words = (f"{existing}: already exists; choose another folder, or --force replaces it when done",)
    _refused(Case(code=2, words=words), tmp_path, existing, force=False)


def test_too_little_space_to_start(tmp_path: Path, existing: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: SimpleNamespace(free=3_000_000))
    words = (f"{existing}: the export needs ", " MB, the disk has 3.00 MB free; free some space or choose another disk")
    _refused(Case(code=4, words=words), tmp_path, existing)


@pytest.fixture
def file_limit() -> Iterator[None]:
    """The system lets no file of this process grow over 100 kB; the writes that try fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    small_checkpoint()  # written without the limit
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def _limit(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_space_that_runs_out_half_way(tmp_path: Path, existing: Path, file_limit: None):
    words = (f"{existing}: the disk filled up; nothing was kept. Free some space and retry",)
    _refused(Case(layout="native", change=_limit, code=4, words=words), tmp_path, existing)


#: The command with each chunk of weights held up, so that there is a middle to stop it in.
_SLOW = """
import sys, time
from edgephi_export.weights.encode import Encoder
encode = Encoder.encode
def slow(*arguments):
    time.sleep(0.05)
    return encode(*arguments)
Encoder.encode = slow
from edgephi.cli.main import CommandGroup
from edgephi_export.commands.export import export
group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: export
group(prog_name="edgephi")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_in_the_middle(number: signal.Signals, tmp_path: Path, existing: Path):
    """Ctrl-C, or a shutdown: the half-made folder goes, the old model stays, and no worker goes on."""
    command = [sys.executable, "-c", _SLOW, "export", str(small_checkpoint().path), "-o", str(existing), "--force"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as running:
        try:
            _wait_for(lambda: any(path.stat().st_size for path in existing.parent.glob(".out.partial-*/weights/*.bin")))
            running.send_signal(number)
            stdout, stderr = running.communicate(timeout=30)
        finally:
            running.kill()
    assert (running.returncode, stdout) == (130, ""), stderr
    assert stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in stderr


def _wait_for(reached: Callable[[], bool]) -> None:
    for _ in range(2000):
        if reached():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")
