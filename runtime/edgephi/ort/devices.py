"""The devices by the names that `ModelOptions.device` takes, and which one suits a model folder."""

from __future__ import annotations

import functools
from threading import Lock

from edgephi.base.errors import ConfigError
from edgephi.base.log import logger
from edgephi.bundle.bundle import Bundle
from edgephi.ort.cpu import CPU
from edgephi.ort.device import Device
from edgephi.ort.device_names import DeviceChoice, DeviceName

_log = logger(__name__)
_opening = Lock()
#: As `auto` tries them.
_GPUS: tuple[DeviceName, ...] = ("cuda", "webgpu")
_GPU_FORMATS = ("int4:", "int8:")
_NOT_FOR_GPU = "int8:rows"


def device_named(name: DeviceName) -> Device:
    """The device, which every model of the process shares.

    Raises:
        ConfigError: This machine has no such device, or a package is missing.
    """
    with _opening:
        return CPU if name == "cpu" else _gpu(name)


@functools.cache
def _gpu(name: DeviceName) -> Device:
    from edgephi.ort.cuda import CudaDevice  # noqa: PLC0415 - not every machine has one
    from edgephi.ort.webgpu import WebGpuDevice  # noqa: PLC0415

    return CudaDevice() if name == "cuda" else WebGpuDevice()


def choose_device(bundle: Bundle, wanted: DeviceChoice) -> DeviceName:
    """The device for a model folder; which one `auto` became, and why, is logged.

    Raises:
        ConfigError: This machine has no such device, a package is missing, or the folder cannot run there.
    """
    if wanted == "cpu":
        return wanted
    if wanted != "auto":
        check_device(bundle, device_named(wanted))
        return wanted
    reasons = []
    for name in _GPUS:
        try:
            device = device_named(name)
            check_device(bundle, device)
            _check_kernels(bundle)
        except ConfigError as error:
            reasons.append(f"{name}: {error}")
        else:
            _log.warning("device auto: %s", device)
            return name
    _log.warning("device auto: cpu, as no GPU serves (%s)", "; ".join(reasons))
    return "cpu"


def check_device(bundle: Bundle, device: Device) -> None:
    """Refuse a folder that the device cannot compute.

    Raises:
        ConfigError: So it is. The message names the recipe to export with.
    """
    if bundle.manifest.decoder.dtype == "float16" and not device.has_float16:
        raise ConfigError(
            f"{bundle.path}: computes with float16, which {device} does not (shader-f16); export with "
            "--recipe int4-gpu-fp32"
        )


def _check_kernels(bundle: Bundle) -> None:
    """Refuse a folder whose decoder would run on the CPU in part: it computes the same there, and slower.

    Raises:
        ConfigError: So it is.
    """
    matrices = (one for one in bundle.tensor_index().tensors if one.part == "decoder" and len(one.shape) > 1)
    odd = next((one for one in matrices if not _has_kernel(one.format)), None)
    if odd is not None:
        raise ConfigError(
            f"{odd.name} is stored as {odd.format}, without a kernel there; export with --recipe int4-gpu"
        )


def _has_kernel(format_: str) -> bool:
    return format_.startswith(_GPU_FORMATS) and format_ != _NOT_FOR_GPU
