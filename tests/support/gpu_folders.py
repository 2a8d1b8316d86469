"""Nano for GPUs, exported once per test run, and the requests of its samples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from edgephi import Request
from edgephi_export import ExportOptions, export
from support.bundles import bundles_root

NANO = Path(__file__).parents[2] / "nano"
#: The weights of either are what GPUs have kernels for, and either computes with float32.
FORMATS: dict[str, tuple[str, ...]] = {"fp32": ("*=float32",), "int4": ()}


@cache
def gpu_folder(format_: str, recipe: str = "int4-gpu-fp32") -> Path:
    """Nano for a GPU, without float16 unless the recipe has it. Read only."""
    method = None if FORMATS[format_] else "rtn"
    options = ExportOptions(recipe=recipe, overrides=FORMATS[format_], method=method)
    return export(NANO / "checkpoint", bundles_root() / f"nano-{recipe}-{format_}", options)


def request_of(sample: Mapping[str, str]) -> Request:
    """The request of a sample."""
    system: dict[str, str] = {"role": "system", "content": sample.get("system", "")}
    if "tools" in sample:
        system["tools"] = sample["tools"]
    turns = [system] if system["content"] or "tools" in sample else []
    media: dict[str, Any] = {
        field: [NANO / "samples" / sample[kind]]
        for kind, field in (("image", "images"), ("audio", "audio"))
        if kind in sample
    }
    return Request([*turns, {"role": "user", "content": sample.get("prompt", "")}], **media)
