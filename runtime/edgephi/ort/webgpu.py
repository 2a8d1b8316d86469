"""WebGPU: any GPU that Vulkan, Direct3D 12 or Metal reach, by the plugin provider beside ONNX Runtime."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgephi.base.errors import ConfigError
from edgephi.ort.gpu import GpuDevice
from edgephi.ort.library import first_line, runtime
from edgephi.ort.vulkan import GpuFacts, vulkan_gpus

_PROVIDER = "WebGpuExecutionProvider"
_INSTALL = 'pip install "edgephi[webgpu]"'
#: Names of nodes, which are those of their outputs, of an encoder's attention.
_ATTENTION = re.compile(rb"[\w.]+\.MultiHeadAttention(?:_\d+)?")
#: Convolutions stay in the graphs' own layout. The provider's default puts a transposition before and after each, and
#: computes the patches of an image from three channels at the end: four times as long on the software GPU.
_LAYOUT = {"preferredLayout": "NCHW"}
_LEAST_SUBGROUP, _FEW_POSITIONS = 8, 31
_WARNING, _FATAL = 2, 4  # ONNX Runtime's severities; the first is its default


class WebGpuDevice(GpuDevice):
    """See Device.

    Raises:
        ConfigError: The provider's package is missing, or it finds no GPU.
    """

    def __init__(self) -> None:
        found = _gpus(runtime())
        if not found:
            raise ConfigError(
                "device is 'webgpu', but no GPU was found: on Linux it needs a Vulkan driver, such as "
                "mesa-vulkan-drivers, and libvulkan1; use 'cpu'"
            )

        self._found = found[:1]
        super().__init__("webgpu", _PROVIDER, _facts_of(found[0].device))

    @property
    def most_positions(self) -> int | None:
        """31 where subgroups have fewer than 8 lanes: attention of 32 positions and more is wrong there.

        Found with version 0.4.0 of the provider on subgroups of 4: only the first 4 rows of a pass were right. An
        encoder's pass cannot be shortened, so its attention runs on the CPU there.
        """
        facts = self.facts
        return _FEW_POSITIONS if facts is not None and 0 < facts.subgroup_size < _LEAST_SUBGROUP else None

    def _choose(self, settings: Any, graph: bytes) -> None:
        """The first GPU; ONNX Runtime's CPU provider takes what it has no kernel for, or none that is right."""
        options = dict(_LAYOUT)
        if self.most_positions and (names := sorted(set(_ATTENTION.findall(graph)))):
            options["forceCpuNodeNames"] = "\n".join(name.decode() for name in names)
        settings.add_provider_for_devices(self._found, options)


def _facts_of(device: Any) -> GpuFacts | None:
    """Vulkan's GPU of the same maker and model; that of a software device is the only one there is."""
    gpus = vulkan_gpus()
    same = [gpu for gpu in gpus if (gpu.vendor_id, gpu.device_id) == (device.vendor_id, device.device_id)]
    return next(iter(same or (gpus if len(gpus) == 1 else ())), None)


def _gpus(ort: Any) -> list[Any]:
    """What the provider can run on, its library registered at the first call in a process."""
    found = _listed(ort)
    if found:  # registered already, by this program or another part of it
        return found
    with _quiet(ort):
        try:
            ort.register_execution_provider_library("webgpu", _library())
        except ConfigError:
            raise
        except Exception as error:  # the library raises a dozen unrelated classes
            raise ConfigError(
                f"device is 'webgpu', but its provider cannot be loaded ({first_line(error)}); use 'cpu', or run: "
                f"{_INSTALL}"
            ) from error
    return _listed(ort)


def _listed(ort: Any) -> list[Any]:
    return [device for device in ort.get_ep_devices() if device.ep_name == _PROVIDER]


def _library() -> str:
    try:
        package = importlib.import_module("onnxruntime_ep_webgpu")
    except ModuleNotFoundError as error:
        raise ConfigError(f"device 'webgpu' needs a package that is not installed; run: {_INSTALL}") from error
    return str(package.get_library_path())


@contextmanager
def _quiet(ort: Any) -> Iterator[None]:
    """Errors are raised as well; they would be said twice."""
    ort.set_default_logger_severity(_FATAL)
    try:
        yield
    finally:
        ort.set_default_logger_severity(_WARNING)
