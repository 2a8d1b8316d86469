"""The devices by the names that `ModelOptions.device` takes."""

from __future__ import annotations

import functools
from threading import Lock

from edgephi.ort.cpu import CPU
from edgephi.ort.device import Device
from edgephi.ort.device_names import DeviceName

_opening = Lock()


def device_named(name: DeviceName) -> Device:
    """The device, one of DEVICES; every model of the process shares it.

    Raises:
        ConfigError: This machine has no such device, or a package is missing.
    """
    with _opening:
        return CPU if name == "cpu" else _gpu(name)


@functools.cache
def _gpu(name: DeviceName) -> Device:
    from edgephi.ort.webgpu import WebGpuDevice  # noqa: PLC0415 - not every machine has one

    return {"webgpu": WebGpuDevice}[name]()
