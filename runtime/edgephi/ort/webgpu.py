"""WebGPU: any GPU that Vulkan, Direct3D 12 or Metal reach, by the plugin provider beside ONNX Runtime."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgephi.base.errors import ConfigError
from edgephi.ort.gpu import GpuDevice
from edgephi.ort.library import first_line

_PROVIDER = "WebGpuExecutionProvider"
_INSTALL = 'pip install "edgephi[webgpu]"'
_WARNING, _FATAL = 2, 4  # ONNX Runtime's severities; the first is its default


class WebGpuDevice(GpuDevice):
    """See Device.

    Raises:
        ConfigError: The provider's package is missing, or it finds no GPU.
    """

    def __init__(self) -> None:
        super().__init__("webgpu")
        self._found = _gpus(self._ort)
        if not self._found:
            raise ConfigError(
                "device is 'webgpu', but no GPU was found: on Linux it needs a Vulkan driver, such as "
                "mesa-vulkan-drivers, and libvulkan1; use 'cpu'"
            )

    def configure(self, settings: Any) -> None:
        """The first GPU; ONNX Runtime's CPU provider takes what it has no kernel for."""
        settings.add_provider_for_devices(self._found[:1], {})


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
