"""The names of devices. Imports nothing, so that help is fast."""

from __future__ import annotations

from typing import Literal, get_args

DeviceName = Literal["cpu", "webgpu"]
DEVICES: tuple[DeviceName, ...] = get_args(DeviceName)
