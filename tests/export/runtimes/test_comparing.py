"""`edgephi verify --runtime`: a folder for another runtime is compared with edgephi's own, request by request.

Here ONNX Runtime alone stands for the library; tests/genai runs the real one.
"""

from __future__ import annotations

import functools
import importlib
import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from click.testing import Result

from edgephi.base.errors import ArtifactError, ConfigError, EdgeError
from edgephi.inspection import plugins, runtime_comparison
from edgephi_export import ExportOptions, export
from edgephi_export.options import LayoutName
from edgephi_export.runtimes import registry
from edgephi_export.runtimes.comparing import compare_with_runtime
from edgephi_export.runtimes.genai_tensors import request_tensors
from edgephi_export.runtimes.runtime import RuntimeReply, RuntimeRequest
from support.bundles import small_bundle, small_checkpoint
from support.genai_pipeline import GenaiPipeline
from support.shell import invoke


class _LibraryOfGraphs:
    layout: LayoutName = "genai"

    def version(self) -> str:
        return "1.2"

    def load(self, folder: Path) -> _LoadedGraphs:
        return _LoadedGraphs(folder)


class _LoadedGraphs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def reply(self, request: RuntimeRequest) -> RuntimeReply:
        pipeline = GenaiPipeline(self._folder)
        tensors = request_tensors(request.token_ids, request.images, request.audio, request.tokens)
        logits = first = pipeline.start(tensors)
        tokens: list[int] = []
        while len(tokens) < request.max_new_tokens and not set(tokens) & set(request.tokens.eos):
            tokens.append(int(logits.argmax()))
            logits = pipeline.append(tokens[-1])
        return RuntimeReply(logits=first, token_ids=tuple(tokens))


@functools.cache
def _folder() -> Path:
    out = small_bundle().parent / "genai-to-verify"
    return export(small_checkpoint().path, out, ExportOptions(layout="genai", recipe="fp32"))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "RUNTIMES", {"genai": _LibraryOfGraphs()})


def _verify(folder: Path, reference: Path, *others: str) -> Result:
    return invoke("verify", folder, "--runtime", "genai", "--reference", reference, *others)


@pytest.mark.usefixtures("library")
def test_a_folder_that_answers_as_edgephi_does_is_exit_0():
    done = _verify(_folder(), small_bundle(), "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["runtime"], report["version"], report["ok"]) == ("onnxruntime-genai", "1.2", True)
    modes = {request["mode"] for request in report["requests"]}
    assert modes == {"text", "vision", "speech", "vision_speech"}
    assert all(request["deviation"] < 1e-3 and request["num_tokens"] for request in report["requests"])


@pytest.mark.usefixtures("library")
def test_a_folder_that_answers_otherwise_is_exit_3(tmp_path: Path):
    """Its files are as they were written: only running it shows that the vision adapter is never chosen."""
    folder = Path(shutil.copytree(_folder(), tmp_path / "m"))
    path, slot = folder / "model.onnx", (200010).to_bytes(8, "little")
    assert path.read_bytes().count(slot) == 1
    path.write_bytes(path.read_bytes().replace(slot, (7777777).to_bytes(8, "little")))
    record = json.loads((folder / "edgephi_export.json").read_text())
    record["files"] = [file for file in record["files"] if file["path"] != "model.onnx"]
    (folder / "edgephi_export.json").write_text(json.dumps(record))
    done = _verify(folder, small_bundle())
    assert done.exit_code == ArtifactError.exit_code
    assert "answers 2 of 16 requests in another way than edgephi" in done.stderr
    off = [line for line in done.stdout.splitlines() if line.startswith("! ")]
    assert len(off) == 2
    assert all("(vision" in line for line in off)


@pytest.mark.usefixtures("library")
def test_what_cannot_be_compared_is_refused(tmp_path: Path):
    done = invoke("verify", _folder(), "--runtime", "genai")
    assert (done.exit_code, "--runtime compares with edgephi: add --reference" in done.stderr) == (2, True)
    with pytest.raises(ConfigError, match="unknown runtime 'llama'; use genai"):
        compare_with_runtime(_folder(), "llama", "x", lambda done, total: None)
    done = _verify(_folder(), small_bundle(recipe="int8"))
    assert (done.exit_code, "has another recipe than the folder to compare" in done.stderr) == (2, True)
    folder = Path(shutil.copytree(_folder(), tmp_path / "m"))
    (folder / "chat_template.jinja").write_text("x")
    done = _verify(folder, small_bundle())
    assert done.exit_code == ArtifactError.exit_code
    assert "chat_template.jinja: missing or changed since it was written" in done.stderr


def test_what_is_not_installed_is_named_with_the_pip_command(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(plugins.metadata, "entry_points", lambda **_: [])
    with pytest.raises(EdgeError, match=r'needs more packages \(.*\); run: pip install "edgephi\[export\]"'):
        runtime_comparison.find_compare_runtime()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(EdgeError, match=r'onnxruntime-genai is not installed .*; run: pip install "edgephi\[genai\]"'):
        registry.find_runtime("genai").version()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (None, r"node cannot be run \(No such file or directory\); install Node.js"),
        (
            "echo \"Error: Cannot find module '@huggingface/transformers'\" >&2; exit 1",
            r"transformers.js is not found \(Error: Cannot find .*\); run `npm install @huggingface/transformers`",
        ),
        ("exit 3", r"transformers.js is not found \(ended with exit code 3\)"),
        ("kill -9 $$", "killed by SIGKILL; the system may have run out of memory"),
    ],
    ids=["no node", "no package", "silent end", "killed"],
)
def test_a_node_that_cannot_serve_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str | None, message: str
):
    if program is not None:
        (tmp_path / "node").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgeError, match=message):
        registry.find_runtime("transformersjs").version()
