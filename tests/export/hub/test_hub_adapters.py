"""Adapters on the hub: an id that holds one must never become the base without it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import MergedAdapterInfo
from edgephi_export import ExportOptions, export
from support.adapters import AdapterSpec, decoder_shapes, write_adapter
from support.bundles import small_checkpoint
from support.fake_hub import FakeHub
from support.hub_process import run_with_hub
from support.sizes import SMALL
from support.tensor_files import change_json

BASE, ADAPTER = "microsoft/Phi-4-small", "me/my-lora"
SPEC = AdapterSpec(shapes=decoder_shapes(SMALL))


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as server:
        yield server


def _run(hub: FakeHub, tmp_path: Path, *arguments: object) -> Any:
    return run_with_hub(hub, tmp_path, "export", *arguments)


def _base(hub: FakeHub, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(small_checkpoint("phi3").path, tmp_path / "base"))
    hub.add(BASE, folder)
    return folder


def _merged(tmp_path: Path) -> tuple[Any, ...]:
    """The files of an export that merged the same adapter from a folder here."""
    options = ExportOptions(recipe="fp32", merge_adapter=write_adapter(tmp_path / "here", SPEC))
    return Bundle(export(small_checkpoint("phi3").path, tmp_path / "wanted", options)).manifest.files


def test_an_id_of_an_adapter_alone_says_how_it_is_merged(hub: FakeHub, tmp_path: Path):
    hub.add(ADAPTER, write_adapter(tmp_path / "adapter", SPEC))
    done = _run(hub, tmp_path, ADAPTER, "-o", tmp_path / "out")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"error: {ADAPTER}: an adapter (LORA) without its base model; merge it: edgephi export "
        f"microsoft/Phi-4-mini-instruct --merge-adapter {ADAPTER} -o DIR\n"
    )


@pytest.mark.parametrize("by_id", [True, False])
def test_an_adapter_is_merged_by_its_id(hub: FakeHub, tmp_path: Path, by_id: bool):
    folder = _base(hub, tmp_path)
    hub.add(ADAPTER, write_adapter(tmp_path / "adapter", SPEC))
    arguments = ("--recipe", "fp32", "--merge-adapter", ADAPTER, "-o", tmp_path / "out")
    done = _run(hub, tmp_path, BASE if by_id else folder, *arguments)
    assert done.returncode == 0, done.stderr
    manifest = Bundle(tmp_path / "out").manifest
    assert manifest.files == _merged(tmp_path)
    assert isinstance(manifest.source.merged_adapter, MergedAdapterInfo)
    assert manifest.source.merged_adapter.id == ADAPTER


def test_a_repository_of_a_base_and_its_adapter_is_never_the_base_alone(hub: FakeHub, tmp_path: Path):
    write_adapter(_base(hub, tmp_path), SPEC)
    done = _run(hub, tmp_path, BASE, "-o", tmp_path / "out")
    assert (done.returncode, done.stdout) == (3, "")
    assert "a PEFT adapter beside the base model, not merged; merge it with --merge-adapter" in done.stderr
    done = _run(hub, tmp_path, BASE, "--recipe", "fp32", "-o", tmp_path / "out", "--merge-adapter")
    assert done.returncode == 0, done.stderr
    assert Bundle(tmp_path / "out").manifest.files == _merged(tmp_path)


def test_an_id_without_an_adapter_is_refused(hub: FakeHub, tmp_path: Path):
    _base(hub, tmp_path)
    done = _run(hub, tmp_path, BASE, "-o", tmp_path / "out", "--merge-adapter", BASE)
    assert done.returncode == 3
    assert f"{BASE}: the repository has no adapter_config.json, so it holds no adapter" in done.stderr


def test_a_quantized_repository_is_refused_before_its_weights_are_downloaded(hub: FakeHub, tmp_path: Path):
    folder = _base(hub, tmp_path)
    change_json(folder / "config.json", lambda c: c.update(quantization_config={"quant_method": "bitsandbytes"}))
    done = _run(hub, tmp_path, BASE, "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "the checkpoint is quantized already (bitsandbytes, " in done.stderr
    assert not [name for name in hub.files() if name.endswith(".safetensors")]
