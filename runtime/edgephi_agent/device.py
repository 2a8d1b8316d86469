"""Whether a release is for this device: its product, its audience, and what it requires."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from edgephi_agent.errors import RefusedError, RequestError, SpaceError
from edgephi_agent.index import Release
from edgephi_agent.json_values import decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The content of `/etc/edgephi/device.json`.

    Attributes:
        appliance: The product; None takes any.
        fleet: Of this device; None for none.
        device: Its own name; None for none.
    """

    appliance: str | None = None
    fleet: str | None = None
    device: str | None = None


def read_device(path: Path) -> Device:
    """The device's description; an empty one where there is no file.

    Raises:
        RequestError: The file cannot be read.
        RefusedError: It is malformed.
    """
    try:
        return decode(Device, path.read_bytes(), str(path))
    except FileNotFoundError:
        return Device()
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); mend its permissions") from None


def check_device(release: Release, device: Device) -> None:
    """Refuse a release that is not for this device.

    Raises:
        RefusedError: Another product, fleet, device or processor.
        SpaceError: The device has too little memory, or another Python.
    """
    if device.appliance not in (None, release.appliance):
        raise RefusedError(f"the bundle is for {release.appliance!r}, this device is {device.appliance!r}")
    audience = release.audience
    is_meant = device.fleet in audience.fleets or device.device in audience.devices
    if (audience.fleets or audience.devices) and not is_meant:
        raise RefusedError("the bundle is for other fleets or devices; see device.json, or get the one for this device")
    needs = release.requires
    if needs.arch not in (None, platform.machine()):
        raise RefusedError(f"the bundle is for {needs.arch}, this device is {platform.machine()}; get the one for it")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if needs.python not in (None, python):
        raise SpaceError(f"the release needs Python {needs.python}, this device has {python}; get the one for it")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needs.memory_bytes is not None and memory < needs.memory_bytes:
        raise SpaceError(f"the release needs {needs.memory_bytes:,} bytes of memory, this device has {memory:,}")
