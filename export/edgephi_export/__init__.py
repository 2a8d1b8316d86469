"""Turns a Phi-4 checkpoint into a folder of ONNX graphs. Runs on the host, without PyTorch."""

from edgephi_export.api import ExportOptions, Progress, export

__all__ = ["ExportOptions", "Progress", "export"]
