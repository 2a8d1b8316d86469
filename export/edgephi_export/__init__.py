"""Turns a Phi-4 checkpoint into a folder of ONNX graphs. Runs on the host, without PyTorch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgephi_export.exporter import export
    from edgephi_export.options import ExportOptions
    from edgephi_export.progress import Progress

__all__ = ["ExportOptions", "Progress", "export"]

# Loaded on first use (PEP 562): `edgephi --help` needs none of these.
_HOME = {
    "ExportOptions": "edgephi_export.options",
    "Progress": "edgephi_export.progress",
    "export": "edgephi_export.exporter",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
