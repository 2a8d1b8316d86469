"""Paths that were given as a model folder and are none: what they are, and what to do."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

_MANIFEST = "edgephi.json"
#: Of a folder that edgephi wrote for another runtime.
_RECORD = "edgephi_export.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin")
_EXPORT = "make one with `edgephi export CHECKPOINT -o DIR`"


def why_missing(path: Path) -> str:
    """The error for a path where nothing is."""
    text = str(path)
    if not _HUB_ID.fullmatch(text) or path.parent.is_dir():
        return f"no such model folder; make one with `edgephi export CHECKPOINT -o {path}`"
    return (
        f"no such model folder; if it is a checkpoint on the Hugging Face hub: `edgephi export {text} -o {path.name}`, "
        f"if it is a model folder there: `edgephi pull {text} -o {path.name}`"
    )


def why_not_folder(path: Path) -> str:
    """The error for a path that is a file."""
    if (path.parent / _MANIFEST).is_file():
        return f"a file of a model folder; give the folder itself: {path.parent}"
    kind = _file_kind(path)
    return f"not an edgephi model folder but {kind}; {_EXPORT}"


def why_not_model(folder: Path) -> str:
    """The error for a folder without a manifest."""
    names = sorted(os.listdir(folder))
    found = _written_for_another_runtime(folder, names) or _checkpoint(folder, names) or _nested(folder, names)
    return found or f"not an edgephi model folder (no {_MANIFEST}{_else_there(names)}); {_EXPORT}"


def _file_kind(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except OSError:
        start = b""
    if start == b"GGUF" or path.suffix == ".gguf":
        return "a GGUF file, which llama.cpp runs; edgephi starts from the checkpoint in safetensors"
    if path.suffix == ".onnx":
        return "one ONNX graph"
    if path.suffix in (".safetensors", ".bin", ".pt", ".pth"):
        return "a file of weights; give `edgephi export` the checkpoint's folder"
    return "a file"


def _written_for_another_runtime(folder: Path, names: list[str]) -> str | None:
    if _RECORD in names:
        source, layout = "CHECKPOINT", "another layout"
        try:
            facts = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
            layout = f"`--layout {facts['layout']}`"
            source = facts["source"]["id"] if facts["source"]["revision"] else source
        except (OSError, ValueError, KeyError, TypeError):
            pass  # the advice is the same without its name
        return (
            f"not an edgephi model folder (no {_MANIFEST}) but one for another runtime, made with {layout}; "
            f"run it there, or export again without that: `edgephi export {source} -o DIR`"
        )
    if "genai_config.json" in names:
        return (
            f"not an edgephi model folder (no {_MANIFEST}) but one for onnxruntime-genai; edgephi starts from the "
            "checkpoint: `edgephi export CHECKPOINT -o DIR`"
        )
    return None


def _checkpoint(folder: Path, names: list[str]) -> str | None:
    if "config.json" not in names or not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        return None
    name = folder.absolute().name
    return (
        f"not an edgephi model folder (no {_MANIFEST}) but a checkpoint; turn it into one: "
        f"`edgephi export {folder} -o {name}-edgephi`"
    )


def _nested(folder: Path, names: list[str]) -> str | None:
    """A model folder one or, as in the hub's cache, two folders deeper."""
    inside = [name for name in names if (folder / name / _MANIFEST).is_file()]
    inside += [path.parent.relative_to(folder).as_posix() for path in folder.glob(f"snapshots/*/{_MANIFEST}")]
    if not inside:
        return None
    return f"not an edgephi model folder (no {_MANIFEST}), but {folder / inside[0]} is one; give that"


def _else_there(names: list[str]) -> str:
    """Files there that show where the folder came from."""
    for suffix, kind in ((".gguf", "GGUF files, for llama.cpp"), (".onnx", "ONNX graphs of another tool")):
        if any(name.endswith(suffix) for name in names):
            return f"; it holds {kind}"
    return "; it is empty" if not names else ""
