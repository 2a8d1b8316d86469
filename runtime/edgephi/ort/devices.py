"""The devices by the names that `ModelOptions.device` takes."""

from __future__ import annotations

from edgephi.ort.cpu import CPU
from edgephi.ort.device import Device

DEVICES = ("cpu",)


def device_named(name: str) -> Device:
    """The device, one of DEVICES.

    Raises:
        ConfigError: This machine has no such device, or a package is missing.
    """
    return {"cpu": CPU}[name]
