"""The names of devices. Imports nothing, so that help is fast."""

from __future__ import annotations

from typing import Literal, get_args

DeviceName = Literal["cpu", "webgpu", "cuda"]
DEVICES: tuple[DeviceName, ...] = get_args(DeviceName)
#: `auto` is a GPU where there is one that the folder suits, else the CPU.
DeviceChoice = Literal["cpu", "webgpu", "cuda", "auto"]
DEVICE_CHOICES: tuple[DeviceChoice, ...] = get_args(DeviceChoice)
