"""CUDA: NVIDIA's GPUs, by the onnxruntime-gpu package in place of onnxruntime."""

from __future__ import annotations

from typing import Any

from edgephi.base.errors import ConfigError
from edgephi.ort.gpu import GpuDevice
from edgephi.ort.library import runtime
from edgephi.ort.vulkan import vulkan_gpus

_PROVIDER = "CUDAExecutionProvider"
_NVIDIA = 0x10DE


class CudaDevice(GpuDevice):
    """See Device.

    Raises:
        ConfigError: This ONNX Runtime was built without CUDA.
    """

    def __init__(self) -> None:
        if _PROVIDER not in runtime().get_available_providers():
            raise ConfigError(
                "device 'cuda' needs an ONNX Runtime with CUDA in place of the present one; run: pip uninstall "
                'onnxruntime && pip install "edgephi[cuda]"'
            )
        facts = next((gpu for gpu in vulkan_gpus() if gpu.vendor_id == _NVIDIA), None)
        super().__init__("cuda", _PROVIDER, facts)

    def _choose(self, settings: Any, graph: bytes) -> list[Any]:
        """The first GPU of NVIDIA's; memory grows by what is asked for, as caches and graphs share it."""
        del settings, graph
        return [(_PROVIDER, {"arena_extend_strategy": "kSameAsRequested"}), "CPUExecutionProvider"]
