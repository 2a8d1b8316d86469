"""Turns a Phi-4 checkpoint into a folder of ONNX graphs. Runs on the host, without PyTorch."""

from edgephi_export.api import export
from edgephi_export.options import ExportOptions, Progress

__all__ = ["ExportOptions", "Progress", "export"]
